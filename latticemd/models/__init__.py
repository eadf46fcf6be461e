"""Hamiltonians. A model says what the energy is; it never solves for electrons and never steps in time."""
