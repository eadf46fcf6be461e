"""Electrons that interact: mean fields against closed forms, their solutions, and runs that remember which one they are in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from electrons import electrons
from electrons import solved_in_mean_field as solved
from electrons import total_in_mean_field as total
from scipy.optimize import brentq

from forcefields.mean_field import MeanField
from forcefields.mean_field.mixing import Search
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System, load_plugin
from latticemd.config import load_input
from latticemd.errors import Diverged, InputError
from latticemd.integrators import load_integrator
from latticemd.measurements.forces import symmetry_generators
from latticemd.measurements.motion import restarted
from latticemd.models.hubbard_holstein import HubbardHolstein
from latticemd.models.tv_holstein import TVHolstein
from latticemd.output.trajectory import read_trajectory
from latticemd.runner import run
from latticemd.state import Memory
from latticemd.testing import check_forcefield

SQUARE = Lattice("square", (4, 4))
KT = 0.1
COMPETING = HubbardHolstein(SQUARE, hubbard=4.0, repulsion=0.9, coupling=1.0)  # spins and pairs are both stable


def random(model, seed=0, replicas=1, width=1.0):
    """Displacements (R, N, 1)."""
    return width * np.random.default_rng(seed).normal(size=(replicas, model.lattice.sites, model.components))


# promises


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (HubbardHolstein(SQUARE), {}),
        (HubbardHolstein(SQUARE, repulsion=0.5, filling=0.3), {"start": "seed"}),
        (HubbardHolstein(SQUARE, repulsion=0.5, mu=-0.7), {"phases": True}),
        (TVHolstein(SQUARE), {}),
        (TVHolstein(Lattice("square", (5, 3)), mu=-0.7), {}),
        (TVHolstein(SQUARE), {"solver": "poles"}),
    ],
    ids=["spins", "spins-filling", "spins-complex", "spinless", "spinless-odd", "spinless-poles"],
)
def test_every_promise_of_a_force_field_is_kept(model, settings):
    """Gradient, space group, internal symmetries, repeatability, replicas, memory."""
    check_forcefield(lambda: MeanField(**settings), model)


@pytest.mark.parametrize(
    "model", [HubbardHolstein(SQUARE, repulsion=0.4), TVHolstein(SQUARE)], ids=["spins", "spinless"]
)
def test_symmetries_hold_to_rounding_where_the_residual_is_rounding(model):
    x, settings = random(model, 5), {"start": "seed", "residual": 1e-13}
    force, energy = total(model, x, **settings)
    # These generate the space group, of which the check above takes every operation.
    for operation in symmetry_generators(model):
        image = np.empty_like(x)
        image[:, operation.permutation] = x
        found, same = total(model, image, **settings)
        assert np.abs(found[:, operation.permutation] - force).max() <= 1e-12 * np.abs(force).max(), operation.name
        assert same[0] == pytest.approx(energy[0], rel=1e-12)
    force_of_holes, same = total(model, -x, **settings)
    assert np.abs(force_of_holes + force).max() <= 1e-12 * np.abs(force).max()
    assert same[0] == pytest.approx(energy[0], rel=1e-12)


def test_solvers_agree():
    model = HubbardHolstein(Lattice("square", (4, 6)), repulsion=0.3)
    x = random(model, 1, replicas=2)
    one, other = solved(model, x), solved(model, x, solver="poles")
    np.testing.assert_allclose(other.force, one.force, atol=1e-8)
    np.testing.assert_allclose(other.energy, one.energy, rtol=1e-9)


# the search


def test_a_solution_with_turned_spins_is_a_solution():
    """Fields of converged spins along z, turned towards x and y: one solve finds the same force and free energy."""
    model = HubbardHolstein(SQUARE, repulsion=0.3)
    x = random(model, 3, width=0.5)
    method = MeanField(phases=True, residual=1e-11)
    method.prepare(model, 1)
    first = electrons(method, model, x)
    method.prepare(model, 1)
    found = method.evaluate_from(method.memory(model, 1), model, x, 0, first)["mean_field"].view(complex)
    turn = np.array([[1.0, 1j], [1j, 1.0]]) / np.sqrt(2.0)
    turned = (turn @ found.reshape(1, -1, 2, 2) @ turn.conj().T).reshape(1, -1)
    again = electrons(MeanField(), model, x)
    method.evaluate_from({"mean_field": turned.view(float)}, model, x, 0, again)
    assert again.details["solves"][0][0] == 1
    np.testing.assert_allclose(again.force, first.force, atol=1e-9)
    assert again.energy[0] == pytest.approx(first.energy[0], rel=1e-12)


def test_the_residual_is_what_was_asked_for():
    model = HubbardHolstein(SQUARE)
    x = random(model)
    exact = solved(model, x, residual=1e-12)
    solves = []
    for residual in (1e-4, 1e-7, 1e-10):
        found = solved(model, x, residual=residual)
        assert found.details["residual"][0][0] <= residual
        # The error of the force is of first order in the residual, that of the free energy of second.
        assert np.abs(found.force - exact.force).max() < 100 * residual
        assert abs(found.energy[0] - exact.energy[0]) < 1e4 * residual**2 + 1e-12 * abs(exact.energy[0])
        solves.append(found.details["solves"][0][0])
    assert solves[0] < solves[1] < solves[2]


@pytest.mark.parametrize(
    "model",
    [HubbardHolstein(SQUARE), HubbardHolstein(SQUARE, repulsion=0.5), TVHolstein(SQUARE)],
    ids=["spins", "extended", "spinless"],
)
def test_combining_trials_saves_solves(model):
    x = random(model, 4)
    linear, pulay = (solved(model, x, history=n).details["solves"][0][0] for n in (1, 8))
    assert pulay <= 0.6 * linear
    assert pulay <= 25


def test_a_linear_map_with_an_unstable_direction_is_left_and_a_curved_one_is_solved():
    """v -> 2 tanh(v): zero is a fixed point that the map leaves; from a small start the stable one is found."""
    found = Search(1e-12, 100, 8, 0.7).solve(lambda v: 2.0 * np.tanh(v), np.array([1e-3, -1e-3]))
    stable = brentq(lambda v: 2.0 * np.tanh(v) - v, 0.5, 3.0)
    np.testing.assert_allclose(found.trial, [stable, -stable], atol=1e-11)
    # Slopes below -1 overshoot: damping has to find its size.
    found = Search(1e-12, 100, 8, 1.0).solve(lambda v: 1.0 - np.array([3.0, 0.2, 8.0]) * v, np.zeros(3))
    np.testing.assert_allclose(found.trial, 1.0 / (1.0 + np.array([3.0, 0.2, 8.0])), atol=1e-11)


def test_two_seeds_find_two_solutions():
    """At Q = 0 the paramagnet is a saddle above the antiferromagnet, and an honest answer says from which seed it came."""
    model = HubbardHolstein(SQUARE)
    x = np.zeros((1, 16, 1))
    saddle, minimum = (solved(model, x, seed=seed) for seed in ("paramagnet", "antiferromagnet"))
    assert saddle.details["staggered_spin"][0][0] < 1e-12
    assert minimum.details["staggered_spin"][0][0] > 0.3
    assert minimum.energy[0] < saddle.energy[0] - 1.0


def test_spins_and_pairs_are_both_solutions_where_they_compete():
    """z V near U: without displacement spins are lower, with one pairs are, and each seed finds its own."""
    for displacement, lower in ((0.0, "antiferromagnet"), (0.3, "charge")):
        x = COMPETING.ordered(displacement)[None]
        found = {seed: solved(COMPETING, x, seed=seed) for seed in ("antiferromagnet", "charge")}
        assert found["antiferromagnet"].details["staggered_spin"][0][0] > 0.3
        assert found["charge"].density[0, 0] > 1.5
        assert min(found, key=lambda seed: found[seed].energy[0]) == lower
        assert abs(found["charge"].energy[0] - found["antiferromagnet"].energy[0]) > 1.0


def test_a_search_that_fails_says_so_with_numbers():
    model = HubbardHolstein(SQUARE)
    with pytest.raises(ArithmeticError, match=r"residual of \d\.\d\de-\d\d after 3 solves, the limit is 1e-10"):
        solved(model, random(model), iterations=3)
    system = System(model, MeanField(iterations=3))
    with pytest.raises(Diverged, match="at step 0: the force field failed: the mean field of replica 0"):
        system.update_forces(State.at_rest(random(model)), 0)


# who may serve


@pytest.mark.parametrize("name", ["ed", "poles", "kpm", "window", "cavity", "auto"])
@pytest.mark.parametrize("model", [HubbardHolstein(SQUARE), TVHolstein(SQUARE)], ids=["spins", "spinless"])
def test_plain_force_fields_do_not_drop_an_interaction(model, name):
    with pytest.raises(InputError, match=f"electrons of {type(model).__name__} interact"):
        System(model, load_plugin("forcefield", name)())


def test_electrons_without_interaction_are_sent_to_a_solver():
    with pytest.raises(InputError, match="those of Holstein do not"):
        System(Holstein(SQUARE), MeanField())


def test_settings_of_the_solver_are_checked():
    model = HubbardHolstein(SQUARE)
    with pytest.raises(InputError, match="force field poles has no key 'tolerence'; did you mean 'tolerance'"):
        System(model, MeanField(solver="poles", solver_settings={"tolerence": 1e-6}))
    with pytest.raises(InputError, match="unknown forcefield 'pole'"):
        System(model, MeanField(solver="pole"))
    found = solved(model, random(model), solver="poles", solver_settings={"tolerance": 1e-6}, residual=1e-7)
    exact = solved(model, random(model))
    assert 1e-9 < np.abs(found.force - exact.force).max() < 1e-5


# memory


MOMENTS = ["solves", "residual", "staggered_spin", "local_spin"]
WORDS = ["BAB", "BABAB", "ABOBA", "BAOAB", "OBAB", "overdamped", "nose_hoover"]


def run_of(word, state, watched=False, **settings):
    """A simulation with a bath in which two solutions compete; `watched` asks every frame for everything."""

    class Everything:
        when = type("Always", (), {"due": staticmethod(lambda step: True)})()

        def report(self, frame):
            assert np.isfinite(frame.force).all()
            assert np.isfinite(frame.conserved_energy).all()

    model = HubbardHolstein(SQUARE, electronic_temperature=0.2)
    integrator = load_integrator(word)(dt=0.1, temperature=Ramp.constant(0.2), friction=0.5, seed=4)
    system = System(model, MeanField(**settings), state.replicas)
    return Simulation(system, integrator, state, [Everything()] if watched else [])


def warm_start(word, replicas=2):
    state = State.at_rest(random(HubbardHolstein(SQUARE), 7, replicas))
    if word != "overdamped":
        state.p[...] = random(HubbardHolstein(SQUARE), 8, replicas)
    return state


@pytest.mark.parametrize("word", WORDS)
def test_a_run_that_remembers_is_the_same_run_watched_or_not_and_after_a_restart(word):
    state = warm_start(word)
    whole, parts = restarted(lambda state: run_of(word, state), state, 3, 6)
    assert whole.digest() == parts.digest()
    watched = run_of(word, state.copy(), watched=True)
    watched.run(6)
    assert watched.state.digest() == whole.digest()
    _, both = restarted(lambda state: run_of(word, state, watched=True), state, 3, 6)
    assert both.digest() == whole.digest()


def test_a_run_in_a_directory_resumes_to_the_same_bytes(tmp_path):
    """Through `latticemd run`: 6 steps at once, and 3 with a resumed run to 6, in which U falls all the while."""
    text = """
lattice:    {type: square, shape: [4, 4]}
model:      {name: hubbard_holstein, coupling: 1.0, hubbard: {kind: linear, from: 4.0, to: 3.0, end: 6}}
forcefield: {name: mean_field}
initial:    {kind: normal, width: 0.5, seed: 2}
dynamics:   {integrator: ABOBA, dt: 0.2, steps: 6, temperature: 0.2, friction: 0.5, seed: 3}
output:     {every: 1, checkpoint_every: 2, figures: false}
observables: [{name: forcefield, every: 1}]
"""
    (tmp_path / "input.yaml").write_text(text)

    def ran(directory, steps, resume=False):
        settings = [f"output.directory={tmp_path / directory}", f"dynamics.steps={steps}"]
        return run(load_input(tmp_path / "input.yaml", settings), resume=resume)["digest"]

    whole = ran("whole", 6)
    ran("parts", 3)
    assert ran("parts", 6, resume=True) == whole
    values = []
    for directory in ("whole", "parts"):
        with read_trajectory(tmp_path / directory / "trajectory.h5") as trajectory:
            values.append([trajectory.value(f"observables/forcefield/{name}")[:] for name in MOMENTS])
    np.testing.assert_array_equal(*values)


def test_a_replica_that_remembers_moves_alone_as_in_a_batch():
    state = warm_start("BAB")
    batch = run_of("BAB", state.copy())
    batch.run(4)
    for r in range(2):
        alone = run_of("BAB", State(*(a[r : r + 1].copy() for a in (state.x, state.p, state.f, state.potential))))
        alone.run(4)
        assert alone.state.x.tobytes() == batch.state.x[r : r + 1].tobytes()
        fields = (one.state.memory.result["mean_field"] for one in (alone, batch))
        assert next(fields).tobytes() == next(fields)[r : r + 1].tobytes()


def test_a_run_follows_its_solution_until_that_is_gone():
    """From a displacement that leaves pairs alone back to none: who remembers still has pairs, where spins are lower."""
    energies = {}
    for start in ("previous", "seed"):
        system, state = System(COMPETING, MeanField(start=start)), State.at_rest(COMPETING.ordered(0.6)[None])
        for step, displacement in enumerate((0.6, 0.3, 0.0)):
            state.x[...] = COMPETING.ordered(displacement)[None]
            system.update_forces(state, step)
        energies[start] = system.electrons.energy[0]
        assert bool(state.memory.result) == (start == "previous")
    spins, pairs = (solved(COMPETING, state.x, seed=seed).energy[0] for seed in ("antiferromagnet", "charge"))
    assert energies["seed"] == pytest.approx(spins, rel=1e-12)
    assert energies["previous"] == pytest.approx(pairs, rel=1e-12)
    assert pairs > spins + 1.0


def test_following_takes_fewer_solves_than_starting_anew():
    state = warm_start("BAB", replicas=1)
    counts = {}
    for start in ("previous", "seed"):
        run = run_of("BAB", state.copy(), start=start)
        counts[start] = 0.0
        for n in range(1, 6):
            run.run(n)
            counts[start] += run.system.electrons.details["solves"][0][0]
    assert counts["previous"] < counts["seed"]


def test_what_is_remembered_belongs_to_a_step():
    """Evaluations at one step start alike however often it is evaluated; the next step starts from the last result."""
    memory = Memory(3, {"a": np.zeros(1)}, {"a": np.ones(1)})
    assert memory.start_at(3)["a"] == 0.0
    assert memory.start_at(4)["a"] == 1.0
    copy = memory.copy()
    copy.result["a"] += 1.0
    assert memory.result["a"] == 1.0


def test_the_digest_covers_what_later_steps_start_from():
    state = State.at_rest(np.zeros((1, 2, 1)))
    plain = state.digest()
    state.memory = Memory(0, {"a": np.zeros((1, 3))}, {"a": np.ones((1, 3))})
    first = state.digest()
    assert first != plain
    state.memory.result["a"] += 1.0  # made anew by the next evaluation at this step
    assert state.digest() == first
    state.memory.start["a"] += 1.0
    assert state.digest() != first


def test_forces_of_random_seeds_are_repeated_by_their_number():
    model = HubbardHolstein(SQUARE)
    x = random(model, width=0.3)
    settings = {"seed": "random", "residual": 1e-6}
    one, again, other = (solved(model, x, seed_number=n, **settings) for n in (1, 1, 2))
    assert one.force.tobytes() == again.force.tobytes() != other.force.tobytes()


def test_parameters_that_ramp_carry_their_solution_along():
    """U grows from nothing while the run goes on: the antiferromagnet appears at its own pace from the remembered fields."""
    model = dataclasses.replace(HubbardHolstein(SQUARE), coupling=0.0)
    system = System(model, MeanField(), ramps={"hubbard": Ramp.linear(4.0, 0.0, 0, 4)})
    state, moments = State.at_rest(np.zeros((1, 16, 1))), []
    for step in range(5):
        system.update_forces(state, step)
        moments.append(system.electrons.details["staggered_spin"][0][0])
    assert np.all(np.diff(moments[:3]) < 0.0)
    assert moments[-1] == pytest.approx(0.0, abs=1e-9)


def test_complex_hops_make_complex_fields():
    """A flux through every plaquette: real fields would not do, and none are asked for."""

    @dataclasses.dataclass(frozen=True)
    class Flux(TVHolstein):
        def hops(self):
            hops = super().hops()
            phase = np.where(np.abs(self.lattice.bonds().vector[:, 0]) > 0.5, self.lattice.cells[hops.i, 1], 0)
            return dataclasses.replace(hops, amplitude=hops.amplitude * np.exp(0.5j * np.pi * phase))

    model = Flux(SQUARE)
    check_forcefield(MeanField, model)
    flat = np.zeros((1, 16, 1))
    assert solved(model, flat, seed="paramagnet").density[0, 0] == pytest.approx(0.5, abs=1e-9)
