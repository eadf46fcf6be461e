"""The charge-density wave of the Holstein model against its mean field, which weak fluctuations approach.

For the checkerboard Q_i = Q (-1)^i the electrons have E_k = sqrt(e_k^2 + g^2 Q^2), e_k = -2t (cos k_x + cos k_y), and

    (k - 4 kappa) Q = g m,    m = <n_A> - 1/2 = 1/N sum_k (g Q / 2 E_k) tanh(E_k / 2 kT_el)
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import simulation
from scipy.optimize import brentq

from forcefields.poles import PoleExpansion
from latticemd import Holstein, Lattice, State, System
from latticemd.minimization.fire import Fire, minimize

SIDE = 12


def mean_field(model: Holstein) -> float:
    """m on the wave vectors of the lattice."""
    k = 2 * np.pi * np.arange(SIDE) / SIDE
    band = -2 * model.hopping * (np.cos(k)[:, None] + np.cos(k))
    pull = model.stiffness - 4 * model.intersite

    def charge(q: float) -> float:
        energy = np.hypot(band, model.coupling * q)
        return float((0.5 * model.coupling * q / energy * np.tanh(0.5 * energy / model.electronic_temperature)).mean())

    amplitude = brentq(lambda q: pull * q - model.coupling * charge(q), 1e-3, model.coupling / pull, xtol=1e-14)
    return charge(amplitude)


# The values of the infinite lattice; 12 x 12 wave vectors give them to a few digits.
@pytest.mark.parametrize(("coupling", "infinite"), [(0.75, 0.18), (1.0, 0.32), (1.5, 0.447), (2.0, 0.481)])
def test_the_minimum_of_the_free_energy_is_the_mean_field(coupling, infinite):
    model = Holstein(Lattice("square", (SIDE, SIDE)), coupling=coupling)
    system = System(model, PoleExpansion())
    state = State.at_rest(model.ordered(1.0)[None])
    minimize(state, system, Fire(force_tolerance=1e-8), 2000)
    order = model.order_field(state.x, system.electrons.density).mean()
    assert order == pytest.approx(mean_field(model), abs=1e-7)
    assert order == pytest.approx(infinite, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", [1.0, 1.5])
def test_weak_fluctuations_leave_the_order_near_its_mean_field(coupling):
    model = Holstein(Lattice("square", (SIDE, SIDE)), coupling=coupling)
    exact, errors = mean_field(model), []
    for temperature in (0.01, 0.0025):
        run = simulation(model, "langevin", model.ordered(1.0)[None], dt=0.2, temperature=temperature, friction=0.5,
                         forcefield=PoleExpansion(), seed=3)  # fmt: skip
        orders = []
        for step in range(200, 2200, 10):
            run.run(steps=step)
            orders.append(run.frame().order_field.mean())
        errors.append(float(np.mean(orders)) - exact)
    assert abs(errors[1]) < 0.01 * exact
    assert abs(errors[1]) < 0.5 * abs(errors[0])  # linear in the temperature of the lattice: a quarter, and noise
