"""Every registered model on every lattice that suits it: exact and approximate electrons agree."""

from __future__ import annotations

import numpy as np
import pytest
from electrons import electrons

from latticemd import Lattice, Ramp, Simulation, State, System, load_plugin
from latticemd.errors import InputError
from latticemd.integrators import load_integrator
from latticemd.plugins import plugin_names
from latticemd.testing import DenseElectrons
from latticemd.testing.forcefields import assert_halo
from latticemd.testing.probes import positions

KPM, CAVITY, WINDOW = (load_plugin("forcefield", name) for name in ("kpm", "cavity", "window"))

SMALL = {
    "chain": Lattice("chain", (8,)),
    "twisted chain": Lattice("chain", (7,), 0.3),
    "ladder": Lattice("ladder", (4,)),
    "square": Lattice("square", (4, 3)),
    "open square": Lattice("square", (3, 3), "open"),
    "triangular": Lattice("triangular", (3, 4)),
    "honeycomb": Lattice("honeycomb", (3, 3), ("periodic", "antiperiodic")),
    "kagome": Lattice("kagome", (3, 3)),
    "cubic": Lattice("cubic", (3, 3, 3), ("periodic", "open", "periodic")),
}
LARGE = {
    "chain": Lattice("chain", (80,)),
    "ladder": Lattice("ladder", (40,), "open"),
    "square": Lattice("square", (10, 10), 0.2),
    "triangular": Lattice("triangular", (10, 10)),
    "honeycomb": Lattice("honeycomb", (8, 8)),
    "kagome": Lattice("kagome", (6, 6), ("open", "periodic")),
    "cubic": Lattice("cubic", (6, 6, 6)),
}


def free(name, lattice, **parameters):
    """The model on this lattice, if it suits it and has electrons that are free."""
    if not load_plugin("model", name).electronic:
        pytest.skip("no electrons")
    try:
        model = load_plugin("model", name)(lattice, **parameters)
    except InputError as error:
        pytest.skip(str(error))
    if model.interacting:
        pytest.skip("these electrons repel each other")
    return model


@pytest.mark.parametrize("lattice", SMALL)
@pytest.mark.parametrize("name", plugin_names("model"))
def test_what_sees_the_whole_lattice_is_exact(name, lattice):
    model = free(name, SMALL[lattice], filling=0.4)
    x = np.concatenate([positions(model), positions(model, seed=1)])
    exact = electrons(DenseElectrons(), model, x)
    for forcefield in (
        KPM(colours=18, tolerance=1e-10),
        CAVITY(radius=6, tolerance=1e-11),
        WINDOW(width=17, tolerance=1e-10),
    ):
        if lattice == "square" and not isinstance(forcefield, KPM):
            with pytest.raises(InputError, match="needs at least"):  # patches would overlap themselves
                electrons(forcefield, model, x)
            continue
        found = electrons(forcefield, model, x)
        np.testing.assert_allclose(found.force, exact.force, rtol=0, atol=1e-8)
        np.testing.assert_allclose(found.density, exact.density, rtol=0, atol=1e-8)
        np.testing.assert_allclose(
            found.energy, exact.energy, rtol=0, atol=2e-5 * exact.density[0].size * model.orbitals
        )
        np.testing.assert_allclose(found.mu, exact.mu, rtol=0, atol=1e-7)


@pytest.mark.parametrize("forcefield", [CAVITY(radius=1, sweeps=2), WINDOW(width=3)], ids=["cavity", "window"])
@pytest.mark.parametrize(
    "lattice", [Lattice("chain", (24,)), Lattice("honeycomb", (12, 13), "open")], ids=lambda one: one.type
)
@pytest.mark.parametrize("name", plugin_names("model"))
def test_local_forces_depend_on_their_halo_alone(name, lattice, forcefield):
    model = free(name, lattice)
    if model.needs_bonds and isinstance(forcefield, CAVITY):
        pytest.skip("the strongest hop, which moves with x, decides about poles")
    assert assert_halo(lambda: forcefield, model) is None


@pytest.mark.parametrize("forcefield", [CAVITY(radius=1, sweeps=2), WINDOW(width=3)], ids=["cavity", "window"])
def test_forces_of_bonds_see_one_hop_farther_than_densities(forcefield):
    model = load_plugin("model", "ssh")(Lattice("chain", (40,)))
    halo = forcefield.capabilities(model, 1).halo
    assert halo == (4 if isinstance(forcefield, CAVITY) else 5)
    x = 0.1 * positions(model)
    x[0, 35] = 2.0  # the strongest hop is here, whatever else moves
    before, away = electrons(forcefield, model, x).force[0], np.abs(np.arange(40) - 15)
    x[0, 15] += 0.05
    changed = (electrons(forcefield, model, x).force[0] != before).any(axis=1)
    assert not changed[away > halo].any()
    assert changed[away < (halo if isinstance(forcefield, CAVITY) else 2)].all()


def test_hops_to_far_cells_widen_the_halo():
    model = load_plugin("model", "holstein")(Lattice("chain", (30,)), next_hopping=0.4)
    assert CAVITY(radius=1, sweeps=2).capabilities(model, 1).halo == 6
    assert assert_halo(lambda: CAVITY(radius=1, sweeps=2), model) is None


SIZES = {
    "honeycomb": (1, 3),
    "cubic": (1, 1),
}  # of patches: the first that close a loop of hops, and that take no minutes


def sizes(method, lattice):
    """A coarse and a fine setting of a method."""
    if method is CAVITY:
        return [CAVITY(radius=radius) for radius in SIZES.get(lattice, (1, 2))]
    return [WINDOW(width=5), WINDOW(width=9)] if method is WINDOW else [KPM(colours=4), KPM(colours=8)]


# Limits: root mean square error of the force over that of the force, a quarter above the worst of all models and lattices.
@pytest.mark.parametrize(
    ("method", "limit"), [(CAVITY, 0.11), (WINDOW, 0.14), (KPM, 0.06)], ids=["cavity", "window", "kpm"]
)
@pytest.mark.parametrize("lattice", [pytest.param(one, marks=[pytest.mark.slow] * (one == "cubic")) for one in LARGE])
@pytest.mark.parametrize("name", plugin_names("model"))
def test_errors_are_small_and_fall(name, lattice, method, limit):
    model = free(name, LARGE[lattice], mu=-0.3)
    x = positions(model)
    exact = electrons(load_plugin("forcefield", "poles")(), model, x).force
    scale = float(np.sqrt(np.mean(exact**2)))
    coarse, fine = sizes(method, lattice)
    errors = [
        float(np.sqrt(np.mean((electrons(each, model, x).force - exact) ** 2))) / scale for each in (coarse, fine)
    ]
    assert errors[1] < limit
    assert coarse == fine or errors[1] < max(0.9 * errors[0], 1e-6)


@pytest.mark.parametrize(
    "forcefield", [CAVITY(radius=1), WINDOW(width=5), KPM(colours=4)], ids=["cavity", "window", "kpm"]
)
@pytest.mark.parametrize("name", ["holstein", "ssh", "jahn_teller"])
def test_isolated_motion_keeps_the_energy_as_well_as_the_force_is_known(name, forcefield):
    # Independent errors make the energy walk at random (tools/nve_drift.py); those of ordered states are less independent.
    model, steps, dt, temperature = load_plugin("model", name)(Lattice("square", (8, 8))), 200, 0.05, 0.1
    exact = load_plugin("forcefield", "poles")()
    bath = load_integrator("overdamped")(dt=0.1, temperature=Ramp.constant(temperature), friction=0.2, seed=1)
    quench = Simulation(System(model, exact), bath, State.at_rest(positions(model)))
    quench.run(200)
    x = quench.state.x.copy()
    momenta = np.sqrt(temperature * model.inertia()) * positions(model, seed=1)

    def change(moved_by) -> tuple[float, float]:
        state = State.at_rest(x)
        state.p[:] = momenta
        verlet = load_integrator("verlet")(dt=dt, temperature=Ramp.constant(0.0))
        simulation, energies, errors = Simulation(System(model, moved_by), verlet, state), [], []
        for step in range(0, steps + 1, 20):
            simulation.run(step)
            here, out = simulation.state, electrons(exact, model, simulation.state.x)
            total = np.empty_like(here.x)
            model.total_force(here.x, out.force, total)
            errors.append(here.f - total)
            kinetic = 0.5 * float((here.p**2).sum()) / model.inertia()
            energies.append(kinetic + float(out.energy[0] + model.classical_energy(here.x)[0]))
        return float(np.abs(np.array(energies) - energies[0]).max()), float(np.sqrt(np.mean(np.square(errors))))

    verlets_own, _ = change(load_plugin("forcefield", "ed")())
    found, error = change(forcefield)
    memory = np.sqrt(model.inertia() / model.largest_stiffness())
    predicted = np.sqrt(2.0 * steps * dt * memory * temperature / model.inertia() * x.size) * error
    assert found < verlets_own + 5.0 * predicted
