"""What several tests build on: random positions, exact forces, a simulation in one line."""

from __future__ import annotations

import importlib.util
import os

# Matrices in tests are small, and LAPACK's threads wait for one another as soon as another process takes a core. Set before
# NumPy loads, so that it also holds in the processes tests start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

from latticemd import ForceField, Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.integrators import load_integrator

# Networks are an extra; what tests them is left out where it is not installed.
_NETWORKS = [
    "active",
    "committee",
    "equivariant",
    "evaluation",
    "modelfile",
    "network_forcefield",
    "networks",
    "point_forces",
    "point_networks",
    "propagator",
    "training",
    "training_inputs",
    "uncertainty",
]
collect_ignore = [] if importlib.util.find_spec("torch") else [f"test_{name}.py" for name in _NETWORKS]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests to those who ask for them, and say so."""
    if "slow" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with -m slow"))


def random_positions(model: Holstein, seed: int = 0, replicas: int = 1, width: float = 1.0) -> np.ndarray:
    """Disordered positions (R, N, D)."""
    shape = (replicas, model.lattice.sites, model.components)
    return width * np.random.default_rng(seed).normal(size=shape)


def forces_and_energy(model: Holstein, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Total forces (R, N, D) and free energies (R,) by exact diagonalisation."""
    from forcefields.ed import ExactDiagonalisation

    system = System(model, ExactDiagonalisation(), len(x))
    state = State.at_rest(x)
    system.update_forces(state, 0)
    system.update_potential(state, 0)
    return state.f, state.potential


def simulation(
    model: Holstein,
    integrator: str,
    x: np.ndarray,
    *,
    dt: float,
    temperature: float = 0.0,
    friction: float = 0.2,
    forcefield: ForceField | None = None,
    **more,
) -> Simulation:
    """A simulation with exact forces unless told otherwise; `more` goes to the integrator."""
    from forcefields.ed import ExactDiagonalisation

    cls = load_integrator(integrator)
    made = cls(dt=dt, temperature=Ramp.constant(temperature), friction=friction, **more)
    return Simulation(System(model, forcefield or ExactDiagonalisation(), len(x)), made, State.at_rest(x))


@pytest.fixture
def small() -> Holstein:
    """A 6 x 4 Holstein model at mu = 0."""
    return Holstein(Lattice("square", (6, 4)))
