"""Through ASE's door: its forces, motion, minimisers, phonons, sockets and files give the engine's own numbers."""

from __future__ import annotations

import contextlib
import os
import threading

import numpy as np
import pytest
from conftest import random_positions, simulation

pytest.importorskip("ase")

import ase.calculators.calculator as ase_calculators
import ase.io
from ase import Atoms, units
from ase.build import make_supercell
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.db import connect
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons
from ase.vibrations import Vibrations

from latticemd import Holstein, Lattice, Motion, State, System, load_plugin
from latticemd.ase import LatticeCalculator, atoms_of, configuration_of, momenta_of, register
from latticemd.build import read_momenta, read_positions
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.runner import run
from latticemd.testing.probes import positions

ED = load_plugin("forcefield", "ed")
LATTICES = {
    "holstein": Lattice("square", (4, 3)),
    "ssh": Lattice("chain", (6,)),
    "jahn_teller": Lattice("square", (3, 3)),
    "double_exchange": Lattice("chain", (5,)),
    "falicov_kimball": Lattice("square", (3, 3)),
    "hubbard_holstein": Lattice("chain", (4,)),
}


def made(name: str, **parameters):
    """A model and a force field that serves it."""
    model = load_plugin("model", name)(LATTICES[name], **parameters)
    return model, load_plugin("forcefield", "mean_field" if model.interacting else "ed")()


def with_calculator(model, x, p=None):
    atoms = atoms_of(model, x, p)
    atoms.calc = LatticeCalculator(model, ED())
    return atoms


def engine(model, forcefield, x):
    """Total force (N, D) and free energy by the engine itself."""
    system, state = System(model, forcefield), State.at_rest(x)
    system.update_forces(state, 0)
    system.update_potential(state, 0)
    return state.f[0], float(state.potential[0])


@pytest.mark.parametrize("name", LATTICES)
def test_every_model_has_its_own_numbers_behind_the_door(name):
    model, forcefield = made(name)
    x = model.admissible(positions(model))
    force, energy = engine(model, forcefield, x)
    atoms = atoms_of(model, x[0])
    atoms.calc = LatticeCalculator(model, forcefield)
    np.testing.assert_array_equal(configuration_of(model, atoms).round(14), x.round(14))
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    forces = atoms.get_forces()
    if model.motion is Motion.DISPLACEMENT:
        np.testing.assert_allclose(forces[:, list(model.axes)], force, rtol=0, atol=1e-12)
        others = [axis for axis in range(3) if axis not in model.axes]
        assert not forces[:, others].any()
    else:
        assert not forces.any()
        np.testing.assert_allclose(atoms.calc.get_property("field", atoms), force, rtol=0, atol=1e-12)
    if model.motion is Motion.SPIN:
        np.testing.assert_array_equal(atoms.get_magnetic_moments(), x[0])
    density = atoms.calc.get_property("density", atoms)
    assert density.shape == (len(atoms),)
    assert 0.0 < density.mean() < model.orbitals
    assert atoms.calc.get_property("order_parameter", atoms) >= 0.0
    assert atoms.calc.export_properties()["energy"] == atoms.get_potential_energy()  # extra results are no obstacle


@pytest.mark.parametrize("name", [name for name in LATTICES if name not in ("double_exchange", "falicov_kimball")])
def test_forces_are_the_differences_that_ase_takes(name):
    model, forcefield = made(name)
    atoms = atoms_of(model, 0.3 * positions(model)[0])
    atoms.calc = LatticeCalculator(model, forcefield)
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), numerical, rtol=0, atol=1e-6)


def test_moving_what_stands_for_nothing_changes_nothing():
    model = Holstein(Lattice("square", (4, 4)))
    atoms = with_calculator(model, random_positions(model)[0])
    energy = atoms.get_potential_energy()
    atoms.positions[:, :2] += 0.3
    assert atoms.get_potential_energy() == energy
    atoms.positions[5, 2] += 0.3
    assert atoms.get_potential_energy() != energy


@pytest.mark.parametrize("name", ["holstein", "ssh"])
def test_ase_and_the_engine_walk_the_same_way(name):
    # ASE's own unit of time is Angstrom sqrt(u/eV), so that the steps are the same numbers.
    dt, steps = 0.05, 200
    model, _ = made(name, mass=2.5)
    x, p = 0.5 * positions(model), 0.7 * positions(model, seed=1)
    ours = simulation(model, "verlet", x, dt=dt)
    ours.state.p[...] = p
    ours.run(steps)
    atoms = with_calculator(model, x[0], p[0])
    VelocityVerlet(atoms, timestep=dt).run(steps)
    np.testing.assert_allclose(configuration_of(model, atoms), ours.state.x, rtol=0, atol=1e-10)
    np.testing.assert_allclose(momenta_of(model, atoms), ours.state.p, rtol=0, atol=1e-10)
    assert atoms.get_kinetic_energy() == pytest.approx(ours.frame().kinetic_energy[0], abs=1e-10)


@pytest.mark.parametrize("optimiser", [BFGS, FIRE])
def test_minimisers_find_the_charge_density_wave(optimiser):
    model = Holstein(Lattice("square", (4, 4)))
    atoms = with_calculator(model, model.ordered(0.5) + 0.05 * random_positions(model)[0])
    assert optimiser(atoms, logfile=None).run(fmax=1e-6, steps=500)
    order = atoms.calc.get_property("order_parameter", atoms)
    # At rest, (k - 4 kappa) Q = g (n - 1/2) on every site; the order is near that of the infinite lattice, 0.447.
    softest = model.stiffness - 4 * model.intersite
    expected = model.coupling / softest * order * model.lattice.staggered
    q = configuration_of(model, atoms)[0, :, 0]
    np.testing.assert_allclose(q, np.sign(q @ expected) * expected, rtol=0, atol=1e-5)
    assert 0.42 < order < 0.46


def test_a_band_finds_the_barrier_between_the_two_waves():
    # Two sites flip from one wave to the other; half way, by symmetry, Q = 0.
    model = Holstein(Lattice("chain", (2,), "open"), coupling=2.0, intersite=0.0)
    ends = [with_calculator(model, model.ordered(sign)) for sign in (1.0, -1.0)]
    for end in ends:
        BFGS(end, logfile=None).run(fmax=1e-7)
    images = [ends[0], *(with_calculator(model, np.zeros((2, 1))) for _ in range(3)), ends[1]]
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate()
    assert FIRE(band, logfile=None).run(fmax=1e-5, steps=500)
    _, at_zero = engine(model, ED(), np.zeros((1, 2, 1)))
    barrier = images[2].get_potential_energy() - images[0].get_potential_energy()
    assert barrier == pytest.approx(at_zero - engine(model, ED(), configuration_of(model, ends[0]))[1], abs=1e-8)
    assert barrier > 0.1


def in_model_units(energies):
    """Angular frequencies [1/time] of ASE's phonon energies hbar omega."""
    return energies / (units._hbar * 1e10 / np.sqrt(units._e * units._amu))


def test_phonons_without_electrons_are_the_analytic_band(tmp_path):
    # g = 0: omega^2 m = k + 2 kappa (cos qx + cos qy).
    k, kappa, mass = 1.0, 0.18, 2.0
    supercell = Holstein(Lattice("square", (4, 4)), coupling=0.0, stiffness=k, intersite=kappa, mass=mass)
    cell = atoms_of(supercell, np.zeros((16, 1)))[:1]
    cell.set_cell([1.0, 1.0, cell.cell[2, 2]], scale_atoms=False)
    phonons = Phonons(
        cell, LatticeCalculator(supercell, ED()), supercell=(4, 4, 1), delta=0.05, name=tmp_path / "phonon"
    )
    phonons.run()
    phonons.read(method="standard", acoustic=False)  # sites are pinned: no sum rule
    q = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0.25, 0, 0], [0.25, 0.5, 0]])
    found = in_model_units(phonons.band_structure(q)[:, -1].real)
    cosines = np.cos(2 * np.pi * q[:, :2]).sum(axis=1)
    np.testing.assert_allclose(found, np.sqrt((k + 2 * kappa * cosines) / mass), rtol=0, atol=1e-10)


def test_a_supercell_of_ase_has_its_atoms_in_the_order_of_sites():
    lattice = Lattice("honeycomb", (3, 4))
    large, small = (Holstein(lattice.resized(shape)) for shape in (lattice.shape, (3, 3)))
    cell = atoms_of(small, np.zeros((18, 1)))[:2]
    cell.set_cell([*(np.array([*row, 0.0]) for row in lattice.vectors), cell.cell[2]], scale_atoms=False)
    np.testing.assert_allclose((cell * (3, 4, 1)).positions, atoms_of(large, np.zeros((24, 1))).positions, atol=1e-12)
    assert len(make_supercell(cell, np.diag([3, 4, 1]))) == large.lattice.sites


def test_vibrations_of_two_sites_are_those_of_the_hessian(tmp_path):
    # g = 0: Q_1 + Q_2 has k + kappa, Q_1 - Q_2 has k - kappa.
    model = Holstein(Lattice("chain", (2,), "open"), coupling=0.0, stiffness=1.0, intersite=0.4, mass=3.0)
    atoms = with_calculator(model, np.zeros((2, 1)))
    vibrations = Vibrations(atoms, name=str(tmp_path / "vibrations"))
    vibrations.run()
    found = in_model_units(vibrations.get_energies().real[-2:])
    np.testing.assert_allclose(found, np.sqrt(np.array([0.6, 1.4]) / 3.0), rtol=0, atol=1e-9)


def test_sockets_carry_forces_to_whoever_asks():
    model = Holstein(Lattice("square", (4, 3)))
    x = random_positions(model)[0]
    name = f"latticemd-test-{os.getpid()}"
    atoms, moved = atoms_of(model, x), with_calculator(model, x)

    def client():
        # When the server hangs up, there is nothing left to do.
        with contextlib.suppress(OSError):
            SocketClient(unixsocket=name, timeout=20).run(with_calculator(model, np.zeros_like(x)))

    with SocketIOCalculator(unixsocket=name, timeout=20) as server:
        atoms.calc = server
        thread = threading.Thread(target=client, daemon=True)
        thread.start()
        for step in range(3):
            for one in (atoms, moved):
                one.positions[:, 2] += 0.1 * step
            np.testing.assert_allclose(atoms.get_forces(), moved.get_forces(), rtol=0, atol=1e-10)
            assert atoms.get_potential_energy() == pytest.approx(moved.get_potential_energy(), abs=1e-10)
    thread.join(timeout=20)
    assert not thread.is_alive()


# files


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a short run of two replicas."""
    path = tmp_path_factory.mktemp("run") / "out"
    text = f"""
lattice: {{type: square, shape: [4, 4]}}
model: {{name: holstein, mass: 2}}
dynamics: {{integrator: verlet, dt: 0.1, steps: 6, temperature: 0.1}}
output: {{every: 2, fields: [displacement, momentum, force, density], directory: {path}, figures: false}}
replicas: 2
"""
    source = path.parent / "input.yaml"
    source.write_text(text)
    run(load_input(source))
    return path


def test_ase_reads_a_run(finished):
    # found by its name, through the entry point
    frames = ase.io.read(finished / "trajectory.h5", ":")
    assert [atoms.info["step"] for atoms in frames] == [0, 2, 4, 6]
    assert frames[-1].info["time"] == pytest.approx(0.6)
    model = Holstein(Lattice("square", (4, 4)), mass=2.0)
    assert frames[0].pbc.tolist() == [True, True, False]
    np.testing.assert_allclose(frames[0].cell.lengths()[:2], 4.0)
    again = LatticeCalculator(model, ED())
    for atoms in frames:
        stored = atoms.get_forces(), atoms.get_potential_energy()
        density = atoms.get_array("density")
        assert (atoms.get_masses() == 2.0).all()
        atoms.calc = again
        np.testing.assert_allclose(atoms.get_forces(), stored[0], rtol=0, atol=1e-12)
        assert atoms.get_potential_energy() == pytest.approx(stored[1], abs=1e-11)
        np.testing.assert_allclose(again.results["density"], density, rtol=0, atol=1e-12)
    total = [atoms.get_kinetic_energy() + atoms.get_potential_energy() for atoms in frames]
    assert np.ptp(total) < 0.02 * frames[0].get_kinetic_energy()
    other = ase.io.read(finished / "trajectory.h5", replica=1)
    assert other.info["step"] == 6
    assert abs(other.positions[:, 2] - frames[-1].positions[:, 2]).max() > 0.1
    with pytest.raises(InputError, match="no replica 2"):
        ase.io.read(finished / "trajectory.h5", replica=2)


def test_a_run_goes_on_from_what_ase_wrote(finished, tmp_path):
    frames = ase.io.read(finished / "trajectory.h5", ":")
    model = Holstein(Lattice("square", (4, 4)), mass=2.0)
    for atoms in frames:
        atoms.calc = LatticeCalculator(model, ED())
    ase.io.write(tmp_path / "start.h5", frames, format="latticemd")
    np.testing.assert_array_equal(read_positions(tmp_path / "start.h5", model), configuration_of(model, frames[-1]))
    np.testing.assert_array_equal(read_momenta(tmp_path / "start.h5", model), momenta_of(model, frames[-1]))
    np.testing.assert_array_equal(
        read_positions(tmp_path / "start.h5", model, frame=1), configuration_of(model, frames[1])
    )
    again = ase.io.read(tmp_path / "start.h5", ":", format="latticemd")
    assert [atoms.info["step"] for atoms in again] == [0, 2, 4, 6]
    for one, other in zip(frames, again, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    with pytest.raises(InputError, match="LatticeCalculator"):
        ase.io.write(tmp_path / "no.h5", ase.io.read(finished / "trajectory.h5"), format="latticemd")


def test_other_programs_read_what_ase_wrote(finished, tmp_path):
    mda = pytest.importorskip("MDAnalysis")
    atoms = ase.io.read(finished / "trajectory.h5")
    atoms.calc = LatticeCalculator(Holstein(Lattice("square", (4, 4)), mass=2.0), ED())
    ase.io.write(tmp_path / "trajectory.h5", [atoms, atoms], format="latticemd")
    universe = mda.Universe.empty(16, trajectory=True)
    universe.load_new(str(tmp_path / "trajectory.h5"), format="H5MD")
    assert len(universe.trajectory) == 2
    np.testing.assert_allclose(universe.trajectory[1].positions, atoms.positions, atol=1e-6)


def test_spins_are_read_as_magnetic_moments(tmp_path):
    source = tmp_path / "spins.yaml"
    source.write_text(f"""
lattice: {{type: chain, shape: [6]}}
model: {{name: double_exchange}}
initial: {{kind: normal, width: 1}}
dynamics: {{integrator: llg, dt: 0.02, steps: 2, temperature: 0.1}}
output: {{every: 1, fields: [displacement], directory: {tmp_path}/out, figures: false}}
""")
    run(load_input(source))
    atoms = ase.io.read(tmp_path / "out/trajectory.h5")
    np.testing.assert_allclose(np.linalg.norm(atoms.get_initial_magnetic_moments(), axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(atoms.positions[:, 1:], 0.0)


def test_extended_xyz_and_databases_keep_energies_and_forces(tmp_path):
    model = Holstein(Lattice("square", (4, 4)))
    atoms = with_calculator(model, random_positions(model)[0], random_positions(model, seed=1)[0])
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    ase.io.write(tmp_path / "frames.xyz", [atoms, atoms])
    frames = ase.io.read(tmp_path / "frames.xyz", ":")
    assert len(frames) == 2
    assert frames[0].get_potential_energy() == pytest.approx(energy, abs=1e-7)
    np.testing.assert_allclose(frames[0].get_forces(), forces, rtol=0, atol=1e-7)
    np.testing.assert_allclose(configuration_of(model, frames[0]), configuration_of(model, atoms), atol=1e-7)
    with connect(tmp_path / "frames.db") as database:
        database.write(atoms, coupling=model.coupling, data={"density": atoms.calc.results["density"]})
    row = connect(tmp_path / "frames.db").get(coupling=1.5)
    assert row.energy == energy
    assert row.calculator == "latticemd"
    assert row.calculator_parameters["model"] == "Holstein"
    assert row.calculator_parameters["lattice"] == {"type": "square", "shape": [4, 4]}
    np.testing.assert_array_equal(row.data.density, atoms.calc.results["density"])
    np.testing.assert_array_equal(row.toatoms().positions, atoms.positions)


# registration and refusals


def test_ase_knows_the_calculator_by_name_however_often_it_is_told():
    register()
    register()
    assert ase_calculators.get_calculator_class("latticemd") is LatticeCalculator
    assert ase_calculators.names.count("latticemd") == 1


def test_plugins_of_the_next_ase_name_the_calculator():
    plugin = pytest.importorskip("ase._4.plugins")
    found = {one.name: one for one in plugin.plugins.calculators}
    assert found["latticemd"].implementation is LatticeCalculator
    assert "latticemd" in {one.name for one in plugin.plugins.io_formats}


def test_an_input_is_a_calculator(tmp_path):
    source = tmp_path / "input.yaml"
    source.write_text("""
lattice: {type: square, shape: [4, 4]}
model: {name: holstein, coupling: {kind: linear, from: 0.5, to: 2, start: 0, end: 10}}
dynamics: {integrator: verlet, dt: 0.1, steps: 6, temperature: 0.1}
replicas: 3
""")
    calculator = LatticeCalculator.from_input(source, "model.mass=4")
    assert calculator.model.coupling == 0.5  # of step 0
    atoms = atoms_of(calculator.model, np.zeros((16, 1)))
    atoms.calc = calculator
    assert (atoms.get_masses() == 4.0).all()
    np.testing.assert_allclose(atoms.get_forces(), 0.0, atol=1e-12)


def test_what_does_not_fit_is_refused_with_numbers():
    model = Holstein(Lattice("square", (4, 4)))
    with pytest.raises(InputError, match=r"\(16, 1\) here, got \(16, 2\)"):
        atoms_of(model, np.zeros((16, 2)))
    atoms = atoms_of(model, np.zeros((16, 1)))[:7]
    atoms.calc = LatticeCalculator(model, ED())
    with pytest.raises(InputError, match="16 sites, but there are 7 atoms"):
        atoms.get_potential_energy()
    spins, forcefield = made("double_exchange")
    atoms = Atoms("X5", positions=np.arange(15.0).reshape(5, 3), magmoms=np.ones(5))
    atoms.calc = LatticeCalculator(spins, forcefield)
    with pytest.raises(InputError, match=r"shape \(5, 3\)"):
        atoms.get_potential_energy()


def test_an_energy_does_not_depend_on_what_was_asked_before():
    model, forcefield = made("hubbard_holstein")
    x, other = positions(model)[0], positions(model, seed=1)[0]
    calculator = LatticeCalculator(model, forcefield)
    energies = []
    for each in (x, other, x):
        atoms = atoms_of(model, each)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[2] != energies[1]
