"""Splitting integrators: the step is a word, each letter an exactly solved piece of the equations of motion."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from cuda_kernels.letters import DRIFT, KICK, ORNSTEIN_UHLENBECK, ROTATION
from latticemd.backends import kernels_for
from latticemd.errors import InputError
from latticemd.integrators.integrator import COLD, Array, Integrator, mass_root
from latticemd.models.model import Model
from latticemd.rng import Stream
from latticemd.state import State
from latticemd.system import System

_MOVES = "AR"
_CODES = {"A": DRIFT, "B": KICK, "O": ORNSTEIN_UHLENBECK, "R": ROTATION}


@dataclass(frozen=True)
class Splitting(Integrator):
    """One step is the product of the exact flows of its letters, applied from left to right.

    ======  =====================================================================  ============================
    letter  flow over a time tau                                                   solves
    ======  =====================================================================  ============================
    A       x <- x + tau p/m                                                       x' = p/m
    B       p <- p + tau F                                                         p' = F
    O       p <- a p + sqrt((1 - a^2) m kT) xi,  a = exp(-gamma tau)               p' = -gamma p + noise
    R       (x, p) <- (cos wt x + sin wt p/(m w), cos wt p - m w sin wt x)         x' = p/m, p' = -k x
    ======  =====================================================================  ============================

    A letter that occurs n times has tau = dt/n. With R, which replaces A, letter B kicks with F + k x, so the on-site
    springs no longer limit dt. Where the model has none, k = 0, R is A. Where sites have different masses m_i, the letters act on
    x sqrt(m_i/m), p sqrt(m/m_i) and F sqrt(m/m_i), in which all masses are m. Palindromes are of second order in dt, other words
    of first order.

    Cost: one force evaluation per step for words with one B (or two that meet at the ends). Letters between two force
    evaluations are fused into one sweep over memory.

    References: Leimkuhler and Matthews, doi:10.1093/amrx/abs010 (words, BAOAB); Bussi and Parrinello,
    doi:10.1103/PhysRevE.75.056707 (OBABO and its effective energy).
    """

    word: str = "BAOAB"
    _plans: dict[Any, list[tuple[Array, Array, int, int | None]]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_word(self.word)

    @cached_property
    def forces_current(self) -> bool:  # type: ignore[override]
        """False for words that end by moving x and begin the next step by moving it again, such as ABOBA."""
        last_move = max(self.word.rfind(letter) for letter in _MOVES)
        return self.word.rfind("B") > last_move or self._strings[-1][1]

    @cached_property
    def _strings(self) -> list[tuple[str, bool]]:
        """Letters that share one force, each string with whether a new force follows it."""
        strings, current, stale = [], "", False
        for letter in self.word:
            if letter == "B" and stale:
                strings.append((current, True))
                current, stale = "", False
            current += letter
            stale = stale or letter in _MOVES
        kicks_first = self.word.index("B") < min(self.word.index(letter) for letter in _MOVES if letter in self.word)
        return [*strings, (current, stale and kicks_first)]

    def step(self, state: State, system: System) -> None:
        """Apply the word once."""
        kernels = kernels_for(state.x)
        noise = (self.seed, int(Stream.THERMOSTAT), state.step, self.first_replica)
        model = system.model_at(state.step)
        inverse_mass = 1.0 / model.inertia()
        heat, root = state.thermostat["heat"], mass_root(model)
        for letters, coefficients, drawn, arrived in self._plan(model, state.step):
            x, p, f = (state.x, state.p, state.f) if root is None else (state.x * root, state.p / root, state.f / root)
            kernels.split(letters, coefficients, x, p, f, noise, drawn, inverse_mass, heat, system.share)
            if root is not None:
                state.x[...], state.p[...] = x / root, p * root
            if arrived is not None:
                system.update_forces(state, state.step + arrived)
        state.step += 1

    def isolated(self, dt: float) -> Integrator:
        """The word with friction and temperature zero, under which O does nothing."""
        return dataclasses.replace(self, dt=dt, temperature=COLD, friction=0.0)

    @property
    def order(self) -> int:
        """2 for palindromes, else 1; O counts only where it changes the conserved energy, which it does not."""
        return 2 if self.reversible else 1

    @property
    def reversible(self) -> bool:
        """Whether the word without O reads the same backwards."""
        moves = self.word.replace("O", "")
        return moves == moves[::-1]

    def _plan(self, model: Model, step: int) -> list[tuple[Array, Array, int, int | None]]:
        """Per string: letter codes, coefficients at this step, O letters before it, and the step of the force that follows it.

        That step is 0 for this one and 1 for the next, or None where no force follows.
        """
        settings = (self.temperature(step), model.harmonic_stiffness(), model.inertia())
        if settings not in self._plans:
            self._plans.clear()  # protocols rarely return to an earlier value
            rows = {letter: self._coefficients(letter, *settings) for letter in set(self.word)}
            plan, done = [], ""
            for letters, followed in self._strings:
                drawn = done.count("O")
                done += letters
                arrived = int(not set(self.word[len(done) :]) & set(_MOVES)) if followed else None
                codes = np.array([_CODES[letter] for letter in letters], dtype=np.int8)
                plan.append((codes, np.array([rows[letter] for letter in letters]).reshape(-1, 3), drawn, arrived))
            self._plans[settings] = plan
        return self._plans[settings]

    def _coefficients(self, letter: str, temperature: float, stiffness: float, mass: float) -> tuple[float, ...]:
        tau = self.dt / self.word.count(letter)
        if letter == "A":
            return tau / mass, 0.0, 0.0
        if letter == "B":
            return tau, tau * stiffness if "R" in self.word else 0.0, 0.0
        if letter == "O":
            a = math.exp(-self.friction * tau)
            return a, math.sqrt(-math.expm1(-2.0 * self.friction * tau) * mass * temperature), 0.0
        if stiffness == 0.0:  # the limit of a rotation: sin(wt)/(m w) -> t/m
            return 1.0, tau / mass, 0.0
        frequency = math.sqrt(stiffness / mass)
        cosine, sine = math.cos(frequency * tau), math.sin(frequency * tau)
        return cosine, sine / (mass * frequency), sine * mass * frequency


@dataclass(frozen=True)
class Langevin(Splitting):
    """BAOAB: samples harmonic wells exactly at any stable dt; the choice for sampling and for quenches with inertia."""

    word: str = "BAOAB"


@dataclass(frozen=True)
class LangevinOBABO(Splitting):
    """OBABO: velocity Verlet between two half Ornstein-Uhlenbeck steps, the scheme of arXiv:2601.04104 and 2603.02039."""

    word: str = "OBABO"


@dataclass(frozen=True)
class Verlet(Splitting):
    """BAB: velocity Verlet, energy-conserving motion (NVE); reversible, and symplectic when the force is conservative."""

    word: str = "BAB"


def check_word(word: str) -> None:
    """Raise InputError unless the word kicks, moves in exactly one way, and uses known letters."""
    unknown = sorted(set(word) - set(_CODES))
    if unknown:
        raise InputError(f"splitting word {word!r}: unknown letter {unknown[0]!r}; letters are A, B, O, R")
    if "B" not in word:
        raise InputError(f"splitting word {word!r} has no B: without a kick the forces would never act")
    if ("A" in word) == ("R" in word):
        raise InputError(f"splitting word {word!r} needs either A (drift) or R (harmonic rotation), and not both")
