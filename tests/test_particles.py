"""Particles in space: their forces are those of textbooks, and the whole engine serves them as it serves lattices."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import simulation

from latticemd import Holstein, Lattice, State, System, load_plugin
from latticemd.build import build_model, build_system
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.lattice import Points
from latticemd.minimization import Fire
from latticemd.minimization.runner import run_minimization
from latticemd.models.particles import Particles
from latticemd.runner import run
from latticemd.testing import check_forcefield
from latticemd.verify import verify

INPUTS = Path(__file__).parents[1] / "inputs"
FORCEFIELDS = {
    "coulomb": {},
    "springs": {"length": 1.2},
    "gravity": {"softening": 0.3},
    "lennard_jones": {"diameter": 0.7},
}


def made(name, **parameters):
    return load_plugin("forcefield", name)(**{**FORCEFIELDS[name], **parameters})


def cloud(model, seed=0, replicas=1):
    """Particles (R, N, 3) that are not too close: a stretched crystal and noise."""
    noise = np.random.default_rng(seed).normal(size=(replicas, model.lattice.sites, 3))
    return model.ordered(1.3) * np.array([1.0, 1.1, 0.9]) + 0.15 * noise


def evaluated(model, forcefield, x):
    system, state = System(model, forcefield, len(x)), State.at_rest(x)
    system.update_forces(state, 0)
    system.update_potential(state, 0)
    return state.f, state.potential


@pytest.mark.parametrize("name", FORCEFIELDS)
def test_force_fields_of_particles_keep_their_promises(name):
    model = Particles(Points([7]), mass=1.3)
    skipped = check_forcefield(lambda: made(name), model, cloud(model))
    assert not {"assert_force_is_a_gradient", "assert_space_group", "assert_internal_symmetries"} & skipped.keys()


def test_two_particles_are_the_textbook():
    model = Particles(Points([2]), charges="alternating", mass=2.0)
    x = np.zeros((1, 2, 3))
    x[0, 1, 0] = r = 1.5
    sixth = (0.7 / r) ** 6
    expected = {  # energy and the force on the second particle
        "coulomb": (-1 / r, -1 / r**2),
        "springs": (0.5 * (r - 1.2) ** 2, -(r - 1.2)),
        "gravity": (-4 / np.hypot(r, 0.3), -4 * r / np.hypot(r, 0.3) ** 3),
        "lennard_jones": (4 * (sixth**2 - sixth), 24 * (2 * sixth**2 - sixth) / r),
    }
    for name, (energy, force) in expected.items():
        f, e = evaluated(model, made(name), x)
        assert e[0] == pytest.approx(energy, rel=1e-14)
        np.testing.assert_allclose(f[0], [[-force, 0, 0], [force, 0, 0]], rtol=1e-14, atol=0)


def test_lennard_jones_is_that_of_ase():
    ase = pytest.importorskip("ase")
    lj = pytest.importorskip("ase.calculators.lj")
    model = Particles(Points([8]))
    x = cloud(model)
    force, energy = evaluated(model, made("lennard_jones", depth=1.7, diameter=0.9), x)
    atoms = ase.Atoms("X8", x[0], calculator=lj.LennardJones(epsilon=1.7, sigma=0.9, rc=1000.0))
    assert atoms.get_potential_energy() == pytest.approx(energy[0], abs=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), force[0], rtol=0, atol=1e-12)


def test_the_door_to_ase_is_open_to_particles():
    pytest.importorskip("ase")
    from ase.calculators.fd import calculate_numerical_forces

    from latticemd.ase import LatticeCalculator, atoms_of

    model = Particles(Points([5]))
    x = cloud(model)[0]
    atoms = atoms_of(model, x)
    np.testing.assert_array_equal(atoms.positions, x)
    assert not atoms.pbc.any()
    atoms.calc = LatticeCalculator(model, made("coulomb"))
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FORCEFIELDS)
def test_energy_momentum_and_angular_momentum_stay(name):
    model = Particles(Points([6]), mass=2.0)
    x = cloud(model)
    moving = simulation(model, "verlet", x, dt=0.002, forcefield=made(name))
    moving.state.p[...] = 0.3 * cloud(model, seed=1)
    turning = np.cross(moving.state.x, moving.state.p).sum(axis=1)
    momentum = moving.state.p.sum(axis=1)
    before = moving.frame()
    energy = before.free_energy + before.kinetic_energy
    moving.run(500)
    after, state = moving.frame(), moving.state
    np.testing.assert_allclose(state.p.sum(axis=1), momentum, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.cross(state.x, state.p).sum(axis=1), turning, rtol=0, atol=1e-11)
    exchanged = np.abs(after.kinetic_energy - before.kinetic_energy)
    assert abs(after.free_energy + after.kinetic_energy - energy) < 2e-3 * exchanged


def test_two_masses_circle_each_other():
    # m v^2 / r = G m^2 / (2 r)^2 on a circle of radius r: period 4 pi sqrt(r^3 / G m).
    model, r = Particles(Points([2]), mass=1.0), 1.0
    x = np.array([[[r, 0, 0], [-r, 0, 0]]])
    speed = np.sqrt(1.0 / (4.0 * r))
    steps = 4000
    moving = simulation(model, "verlet", x, dt=4 * np.pi / steps, forcefield=made("gravity", softening=0.0))
    moving.state.p[0, :, 1] = speed, -speed
    moving.run(steps)
    np.testing.assert_allclose(moving.state.x, x, rtol=0, atol=1e-5)


def test_springs_without_length_are_oscillators():
    # U = k/2 sum_{i<j} (x_i - x_j)^2: every deviation from the centre of mass has the frequency sqrt(N k/m).
    model = Particles(Points([4]), mass=3.0)
    x = cloud(model)
    forcefield = made("springs", stiffness=0.7, length=0.0)
    frequency = System(model, forcefield).stiffest_frequency()
    assert frequency == pytest.approx(np.sqrt(4 * 0.7 / 3.0), rel=1e-14)
    steps = 2000
    moving = simulation(model, "verlet", x, dt=np.pi / frequency / steps, forcefield=forcefield)
    moving.run(steps)
    centre = x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(moving.state.x - centre, centre - x, rtol=0, atol=2e-6)


def test_cut_forces_are_cut_and_say_that_they_are_no_gradients():
    model = Particles(Points([3]), charges="positive")
    x = np.array([[[0.0, 0, 0], [0.02, 0.001, 0], [1, 1, 1]]])
    whole, _ = evaluated(model, made("coulomb"), x)
    cut, _ = evaluated(model, made("coulomb", clip=100.0), x)
    assert np.abs(whole).max() > 1000
    np.testing.assert_array_equal(cut, np.clip(whole, -100, 100))
    assert not made("coulomb", clip=100.0).capabilities(model, 1).conservative
    assert made("coulomb").capabilities(model, 1).conservative


def test_charges_are_drawn_once_and_for_all():
    def signs(**parameters):
        return Particles(Points([200]), **parameters).q

    np.testing.assert_array_equal(signs(charge_seed=3), signs(charge_seed=3))
    assert (signs(charge_seed=3) != signs(charge_seed=4)).any()
    assert set(signs(charge=0.5)) == {0.5, -0.5}
    assert abs(signs().mean()) < 0.2
    np.testing.assert_array_equal(signs(charges="alternating")[:4], [1, -1, 1, -1])
    np.testing.assert_array_equal(signs(charges="positive"), 1.0)


def test_a_replica_is_the_same_alone_and_in_a_batch():
    model = Particles(Points([5]))
    x = cloud(model, replicas=3)
    for name in FORCEFIELDS:
        together, energies = evaluated(model, made(name), x)
        alone, energy = evaluated(model, made(name), x[1:2])
        assert together[1:2].tobytes() == alone.tobytes()
        assert energies[1:2].tobytes() == energy.tobytes()


def test_thirteen_particles_find_the_icosahedron(tmp_path):
    # Global minimum of 13 Lennard-Jones particles: -44.326801 epsilon (doi:10.1021/jp970984n).
    golden = (1 + np.sqrt(5)) / 2
    corners = [[0, a, b * golden] for a in (1, -1) for b in (1, -1)]
    icosahedron = np.concatenate([np.zeros((1, 3)), *(np.roll(corners, k, axis=1) for k in range(3))])
    start = 0.55 * icosahedron + 0.02 * np.random.default_rng(0).normal(size=(13, 3))
    np.save(tmp_path / "start.npy", start)
    settings = [
        f"initial={{kind: file, path: {tmp_path / 'start.npy'}}}",
        f"output.directory={tmp_path / 'out'}",
        "output.figures=false",
    ]
    summary = run_minimization(load_input(INPUTS / "particles_cluster.yaml", settings), fire=Fire(force_tolerance=1e-8))
    assert summary["converged"]
    assert summary["energy"] == pytest.approx(-44.326801, abs=1e-6)
    assert "wall_fraction" not in summary


@pytest.mark.parametrize("name", ["charged", "cluster", "gravity"])
def test_verify_passes_the_inputs(name):
    checks = list(verify(load_input(INPUTS / f"particles_{name}.yaml")))
    assert [check.name for check in checks if check.verdict == "fail"] == []
    passed = {check.name for check in checks if check.verdict == "pass"}
    assert {"internal symmetries", "lattice symmetries", "restart = uninterrupted run"} <= passed


def test_a_run_of_particles_resumes_to_the_same_bytes(tmp_path):
    def settings(name, steps):
        return [f"output.directory={tmp_path / name}", f"dynamics.steps={steps}", "output.every=5",
                "output.checkpoint_every=10", "output.figures=false"]  # fmt: skip

    source = INPUTS / "particles_cluster.yaml"
    whole = run(load_input(source, settings("whole", 40)))
    run(load_input(source, settings("parts", 20)))
    (tmp_path / "parts/summary.json").unlink()
    parts = run(load_input(source, settings("parts", 40)), resume=True)
    assert parts["digest"] == whole["digest"]
    assert "order_parameter" not in whole
    with h5py.File(tmp_path / "whole/trajectory.h5") as file:
        assert set(file["observables"]) >= {"free_energy", "kinetic_energy", "temperature"}
        assert "wall_fraction" not in file["observables"]
        group = file["particles/lattice"]
        assert "density" not in group
        np.testing.assert_allclose(group["position/value"][-1], group["displacement/value"][-1], rtol=0, atol=1e-6)
        assert json.loads(file["parameters/lattice"][()]) == {"type": "points", "shape": [13]}


def test_a_resolved_input_of_particles_is_runnable(tmp_path):
    once = load_input(INPUTS / "particles_charged.yaml")
    (tmp_path / "again.yaml").write_text(once.to_yaml())
    again = load_input(tmp_path / "again.yaml")
    assert again == once
    assert build_model(again)[0] == build_model(once)[0]
    assert isinstance(build_system(again).model.lattice, Points)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["lattice={type: square, shape: [4, 4]}"], "lattice.type: expected points for system: particles, got square"),
        (["system=lattice"], "lattice.type: points are for system: particles"),
        (["lattice.shape=[2, 2]"], "lattice.shape: points have a shape of one number"),
        (["lattice.boundary=periodic"], "lattice.boundary: expected open, since points are in open space"),
        (["model={name: particles, mu: 0}"], "model.mu: unknown key"),
        (["system=fields"], "system: expected 'lattice' or 'particles', got 'fields'"),
    ],
)
def test_what_particles_are_not_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        load_input(INPUTS / "particles_charged.yaml", settings)


def test_forces_of_electrons_and_of_particles_do_not_mix():
    with pytest.raises(InputError, match="solves for electrons, but Particles has none"):
        System(Particles(Points([3])), load_plugin("forcefield", "ed")())
    with pytest.raises(InputError, match="force between particles, but Holstein is none of them"):
        System(Holstein(Lattice("square", (4, 4))), made("coulomb"))
    with pytest.raises(InputError, match="points in space, not sites of a square lattice"):
        Particles(Lattice("square", (4, 4)))


# Masses and charges of each particle

UNEQUAL = (1.0, 4.0, 0.5, 2.0, 8.0)


def unequal(replicas=1, forcefield="gravity", integrator="verlet", **settings):
    model = Particles(Points([5]), masses=UNEQUAL, charges=(1.0, -1.0, 2.0, 0.5, -3.0))
    run = simulation(model, integrator, cloud(model, replicas=replicas), forcefield=made(forcefield), **settings)
    run.state.p[...] = np.sqrt(model.m)[:, None] * np.random.default_rng(5).normal(size=run.state.p.shape)
    return model, run


def test_particles_of_unequal_mass_move_as_those_of_ase():
    pytest.importorskip("ase")
    from ase.md.verlet import VelocityVerlet

    from latticemd.ase import LatticeCalculator, atoms_of, configuration_of, momenta_of

    model, ours = unequal(dt=0.01)
    atoms = atoms_of(model, ours.state.x[0], ours.state.p[0])
    np.testing.assert_array_equal(atoms.get_masses(), UNEQUAL)
    atoms.calc = LatticeCalculator(model, made("gravity"))
    ours.run(200)
    VelocityVerlet(atoms, timestep=0.01).run(200)
    np.testing.assert_allclose(configuration_of(model, atoms), ours.state.x, rtol=0, atol=1e-10)
    np.testing.assert_allclose(momenta_of(model, atoms), ours.state.p, rtol=0, atol=1e-10)
    assert atoms.get_kinetic_energy() == pytest.approx(ours.frame().kinetic_energy[0], rel=1e-12)


def test_the_centre_of_unequal_masses_moves_straight_on():
    model, run = unequal(forcefield="coulomb", dt=0.002)
    start, drift = run.state.x.copy(), run.state.p.sum(axis=1) / model.m.sum()
    energy = run.frame().conserved_energy[0]
    run.run(500)
    centre = (model.m[:, None] * (run.state.x - start)).sum(axis=1) / model.m.sum()
    np.testing.assert_allclose(centre, drift, rtol=0, atol=1e-11)
    assert run.frame().conserved_energy[0] == pytest.approx(energy, abs=1e-3)


@pytest.mark.parametrize("integrator", ["langevin", "velocity_rescaling", "nose_hoover"])
def test_a_bath_gives_every_mass_the_same_energy(integrator):
    model = Particles(Points([5]), masses=UNEQUAL)
    settings = {"friction": 1.0} if integrator == "langevin" else {"relaxation_time": 0.5}
    run = simulation(
        model, integrator, cloud(model, replicas=400), forcefield=made("springs"), dt=0.05, temperature=0.3, **settings
    )
    run.state.p[...] = np.sqrt(0.3 * model.m)[:, None] * np.random.default_rng(0).normal(size=run.state.p.shape)
    run.run(200)
    share = np.mean(run.state.p**2, axis=(0, 2)) / model.m
    assert share.mean() == pytest.approx(0.3, rel=0.06)
    if integrator == "langevin":  # the others know the sum alone
        np.testing.assert_allclose(share, 0.3, rtol=0.12)
    frame = run.frame()
    np.testing.assert_allclose(
        frame.kinetic_energy, 0.5 * (run.state.p**2 / model.m[:, None]).sum(axis=(1, 2)), rtol=1e-12
    )


def test_gravity_pulls_all_masses_with_the_same_acceleration():
    model = Particles(Points([3]), masses=(1e-6, 5e-6, 3.0))
    x = np.array([[[2.0, 0, 0], [0, 2.0, 0], [0, 0, 0]]])
    force, _ = evaluated(model, made("gravity"), x)
    acceleration = np.linalg.norm(force[0, :2], axis=1) / model.m[:2]
    np.testing.assert_allclose(acceleration, 3.0 * 2.0 / np.hypot(2.0, 0.3) ** 3, rtol=1e-5)


def test_lists_of_masses_and_charges_are_verified_and_come_back(tmp_path):
    path = tmp_path / "input.yaml"
    path.write_text(
        "system: particles\nlattice: {type: points, shape: [4]}\n"
        "model: {name: particles, charges: [1, -1, 2, 2], masses: [1, 2, 3, 3]}\nforcefield: {name: coulomb}\n"
        "initial: {kind: ordered, amplitude: 1.5, width: 0.1, velocity: thermal}\n"
        "dynamics: {integrator: langevin, dt: 0.01, steps: 4, temperature: 0.1, friction: 1}\n"
    )
    resolved = load_input(path)
    (tmp_path / "again.yaml").write_text(resolved.to_yaml())
    assert load_input(tmp_path / "again.yaml") == resolved
    model, _ = build_model(resolved)
    assert (model.inertia(), model.q.tolist(), model.m.tolist()) == (1.0, [1, -1, 2, 2], [1, 2, 3, 3])
    assert [symmetry.name for symmetry in model.symmetries()] == ["identity", "exchange of 2 and 3"]
    assert not [check for check in verify(resolved) if check.verdict == "fail"]
    for settings, words in (
        (["model.masses=[1, 2]"], "masses lists 2 numbers for 4 particles"),
        (["model.masses=[1, 2, 0, 1]"], "masses have to be > 0, and the smallest is 0"),
        (["model.mass=2"], "either mass or masses"),
        (["model.charges=[1, 2, 3]"], "charges lists 3 numbers for 4 particles"),
    ):
        with pytest.raises(InputError, match=words):
            build_model(load_input(path, settings))
    with pytest.raises(
        InputError, match="expected 'random', 'alternating' or 'positive' signs, or the list of all charges"
    ):
        load_input(path, ["model.charges=odd"])


def test_mdanalysis_opens_a_run_of_particles(tmp_path):
    mda = pytest.importorskip("MDAnalysis", reason="checks that a reader we did not write opens the trajectory")
    settings = [f"output.directory={tmp_path / 'run'}", "output.figures=false", "dynamics.steps=20", "output.every=5"]
    run_input = load_input(INPUTS / "particles_charged.yaml", settings)
    run(run_input)
    n = run_input.lattice.shape[0]
    universe = mda.Universe.empty(n, trajectory=True)
    universe.load_new(str(tmp_path / "run" / "trajectory.h5"), format="H5MD", convert_units=False)
    with h5py.File(tmp_path / "run" / "trajectory.h5") as file:
        stored = file["particles/lattice/position/value"][()]
    seen = np.array([step.positions.copy() for step in universe.trajectory])
    assert len(seen) == 5
    np.testing.assert_allclose(seen, stored, rtol=1e-6, atol=1e-6)
    assert np.abs(seen[-1] - seen[0]).max() > 0.01


def test_ovito_opens_what_ase_exports(tmp_path):
    # OVITO knows no H5MD; extended XYZ is the way there.
    ovito = pytest.importorskip("ovito.io", reason="ovito is not installed")
    ase_io = pytest.importorskip("ase.io")
    settings = [f"output.directory={tmp_path / 'run'}", "output.figures=false", "dynamics.steps=20", "output.every=5"]
    run(load_input(INPUTS / "particles_charged.yaml", settings))
    frames = ase_io.read(tmp_path / "run" / "trajectory.h5", ":")
    ase_io.write(tmp_path / "frames.xyz", frames)
    pipeline = ovito.import_file(str(tmp_path / "frames.xyz"))
    assert pipeline.source.num_frames == len(frames) == 5
    np.testing.assert_allclose(pipeline.compute(4).particles.positions, frames[4].positions, rtol=0, atol=1e-7)


# Pictures


def test_runs_and_movies_draw_particles_where_they_are(tmp_path):
    images = pytest.importorskip("PIL.Image")
    from latticemd.figures import draw_run
    from latticemd.figures.movie import draw_movie

    settings = [f"output.directory={tmp_path / 'run'}", "output.figures=false", "dynamics.steps=40", "output.every=4"]
    run(load_input(INPUTS / "particles_charged.yaml", settings))
    names = {path.name for path in draw_run(tmp_path / "run")}
    assert {"particles.png", "time_series.png"} <= names
    with images.open(tmp_path / "run" / "figures" / "particles.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    movie = draw_movie(tmp_path / "run", frames=8)
    with images.open(movie) as picture:
        assert picture.n_frames == 8
        first = np.asarray(picture.convert("RGB")).copy()
        picture.seek(7)
        assert (np.asarray(picture.convert("RGB")) != first).any()


def test_pictures_look_along_the_direction_in_which_particles_spread_least():
    from latticemd.figures.particles import Cloud

    model = Particles(Points([40]), charges="alternating")
    x = np.random.default_rng(0).normal(size=(3, 40, 3)) * [2.0, 0.1, 5.0]
    cloud = Cloud.of(x, model)
    np.testing.assert_allclose(cloud.seen.std(axis=(0, 1)), x.std(axis=(0, 1))[[2, 0, 1]], rtol=0.02)
    between = [np.linalg.norm(one[:, :, None] - one[:, None], axis=-1) for one in (cloud.seen, x)]
    np.testing.assert_allclose(*between, rtol=0, atol=1e-12)
    assert 0.8 < (np.abs(cloud.seen[..., :2]) < cloud.extent).mean() <= 1.0


def test_particles_are_not_seen_in_a_mirror():
    from latticemd.figures.particles import viewing_axes

    rng = np.random.default_rng(3)
    for _ in range(20):
        x = rng.normal(size=(5, 7, 3)) * rng.uniform(0.1, 3.0, 3)
        axes = viewing_axes(x - x.mean(axis=(0, 1)))
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1.0)
    assert np.linalg.det(viewing_axes(np.zeros((1, 1, 3)))) == pytest.approx(1.0)  # a single one


# clouds


def test_a_cube_has_the_radius_neighbours_and_pairs_of_a_cube():
    from latticemd.analysis.clouds import gyration_radius, nearest_distance, pair_density

    corners = np.array(list(itertools.product((0.0, 2.0), repeat=3)))
    x = np.stack([corners, 0.5 * corners + 7.0])
    assert gyration_radius(x) == pytest.approx([3**0.5, 0.5 * 3**0.5])
    assert nearest_distance(x) == pytest.approx([2.0, 1.0])
    edges = np.array([0.0, 1.9, 2.1, 2.7, 2.9, 3.4, 3.5])
    density = pair_density(x[:1], edges)[0]
    # 12 edges, 12 diagonals of faces and 4 of space make 28 pairs.
    np.testing.assert_allclose(density * np.diff(edges) * 28, [0, 12, 0, 12, 0, 4], atol=1e-12)


def test_pairs_of_gaussian_clouds_have_the_distances_of_maxwell():
    from latticemd.analysis.clouds import gyration_radius, pair_density

    x = np.random.default_rng(0).normal(size=(4, 800, 3))
    edges = np.linspace(0.0, 8.0, 33)
    r = 0.5 * (edges[1:] + edges[:-1])
    maxwell = r**2 * np.exp(-(r**2) / 4) / (2 * np.pi**0.5)  # of differences, whose components have variance 2
    assert np.abs(pair_density(x, edges).mean(axis=0) - maxwell).max() < 0.01
    assert gyration_radius(x).mean() == pytest.approx(3**0.5, rel=0.02)


def test_a_single_particle_has_no_neighbour():
    from latticemd.analysis.clouds import nearest_distance, pair_density

    assert np.isnan(nearest_distance(np.zeros((2, 1, 3)))).all()
    assert pair_density(np.zeros((2, 1, 3)), np.array([0.0, 1.0])).tolist() == [[0.0], [0.0]]
