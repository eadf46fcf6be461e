"""Networks that learn the electronic force of a lattice model, and the force field that runs them."""
