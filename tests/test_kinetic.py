"""Kinetic Monte Carlo: the statistics of attempts, detailed balance, the exact distribution, and what is conserved."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from conftest import forces_and_energy, simulation
from scipy import stats

from forcefields.ed import ExactDiagonalisation
from forcefields.poles import PoleExpansion
from latticemd import Holstein, Lattice, Ramp, Simulation, State, System
from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.forcefield import Capabilities, Electrons
from latticemd.integrators.kinetic import KineticMonteCarlo
from latticemd.minimization import Fire, minimize
from latticemd.models.falicov_kimball import FalicovKimball
from latticemd.runner import run
from latticemd.timestep import suggest_dt
from latticemd.verify import verify

KT = 0.2
RATES = ["metropolis", "glauber"]
EVENTS = ["attempts", "exchanges"]

INPUT = """\
lattice:    {type: square, shape: [4, 4]}
model:      {name: falicov_kimball, interaction: 4.0, repulsion: 0.1}
forcefield: {name: ed}
initial:    {kind: normal, seed: 1}
dynamics:   {integrator: kinetic_monte_carlo, dt: 0.5, steps: 6, temperature: 0.3, attempt_time: 0.5}
output:     {directory: out, figures: false, every: 2, checkpoint_every: 3}
"""


@dataclass(frozen=True)
class Remembered:
    """Exact diagonalisation that looks up the arrangements it has seen; small lattices have few."""

    exact: ExactDiagonalisation = field(default_factory=ExactDiagonalisation)
    seen: dict = field(default_factory=dict)
    rises: dict = field(default_factory=dict)

    def capabilities(self, model, replicas) -> Capabilities:
        return self.exact.capabilities(model, replicas)

    def prepare(self, model, replicas) -> None:
        self.exact.prepare(model, replicas)

    def evaluate(self, model, x, step, out) -> None:
        for r in range(len(x)):
            key = x[r].tobytes()
            if key not in self.seen:
                self.seen[key] = Electrons.empty(1, model)
                self.exact.evaluate(model, x[r : r + 1], step, self.seen[key])
            for name in ("force", "energy", "density", "mu"):
                getattr(out, name)[r] = getattr(self.seen[key], name)[0]

    def exchange_energies(self, model, x):
        bonds = model.lattice.bonds()
        rise = np.empty((len(x), len(bonds.i)))
        for r, one in enumerate(x):
            if (key := one.tobytes()) in self.rises:
                rise[r] = self.rises[key]
                continue
            images = np.repeat(one[None], len(bonds.i) + 1, axis=0)
            for n, (i, j) in enumerate(zip(bonds.i, bonds.j, strict=True)):
                images[n, [i, j]] = images[n, [j, i]]
            out = Electrons.empty(len(images), model)
            self.evaluate(model, images, 0, out)
            rise[r] = self.rises[key] = out.energy[:-1] - out.energy[-1]
        return rise

    def close(self) -> None:
        self.exact.close()


def model_of(*shape, **parameters):
    return FalicovKimball(Lattice("square", shape), electronic_temperature=KT, **parameters)


def arrangement(model, seed=0, replicas=1):
    return model.admissible(np.random.default_rng(seed).normal(size=(replicas, model.lattice.sites, 1)))


def all_arrangements(model):
    """Every arrangement of the heavy particles, (C, N, 1), and where each is found."""
    sites = model.lattice.sites
    chosen = list(itertools.combinations(range(sites), round(model.heavy * sites)))
    x = np.zeros((len(chosen), sites, 1))
    for n, occupied in enumerate(chosen):
        x[n, list(occupied)] = 1.0
    return x, {one.tobytes(): n for n, one in enumerate(x)}


def attempts_of(integrator, system, steps):
    return [integrator.attempts(step, 0, system) for step in range(steps)]


def test_attempts_are_poissonian_in_number_and_uniform_over_bonds():
    system = System(model_of(4, 3), Remembered())
    integrator = KineticMonteCarlo(dt=0.7, attempt_time=0.5, seed=3)
    made = attempts_of(integrator, system, 2000)
    numbers = np.array([len(one.i) for one in made])
    expected = 24 * 0.7 / 0.5
    assert stats.poisson(expected * len(numbers)).interval(1 - 1e-4)[0] < numbers.sum()
    assert numbers.sum() < stats.poisson(expected * len(numbers)).interval(1 - 1e-4)[1]
    spread = ((numbers - expected) ** 2).sum() / expected  # chi^2 with as many degrees of freedom as steps
    assert 1e-4 < stats.chi2(len(numbers)).cdf(spread) < 1 - 1e-4
    i, j, chance = (np.concatenate([getattr(one, name) for one in made]) for name in ("i", "j", "chance"))
    bonds = system.model.lattice.bonds()
    number = {pair: n for n, pair in enumerate(zip(bonds.i.tolist(), bonds.j.tolist(), strict=True))}
    tried = np.bincount([number[pair] for pair in zip(i.tolist(), j.tolist(), strict=True)], minlength=24)
    assert stats.chisquare(tried).pvalue > 1e-4
    assert stats.kstest(chance, "uniform").pvalue > 1e-4


def test_waiting_times_between_attempts_are_exponential_across_steps():
    """In steps much shorter than the mean waiting time tau/B, the steps between two attempts follow the geometric law."""
    system = System(model_of(4, 3), Remembered())
    integrator = KineticMonteCarlo(dt=0.01, attempt_time=2.4, seed=5)  # 24 bonds: 0.1 attempts per step
    numbers = [len(one.i) for one in attempts_of(integrator, system, 5_000)]
    filled = np.flatnonzero(numbers)
    gaps = np.diff(filled)
    law = stats.geom(-np.expm1(-0.1))
    counts = np.bincount(np.minimum(gaps, 30), minlength=31)[1:]
    shares = np.append(law.pmf(np.arange(1, 30)), law.sf(29))
    assert stats.chisquare(counts, shares * len(gaps)).pvalue > 1e-4


@pytest.mark.parametrize("rates", RATES)
def test_rates_obey_detailed_balance_for_every_exchange(rates):
    """w_ab exp(-Omega_a/kT) = w_ba exp(-Omega_b/kT) for all 126 arrangements of 4 particles on 3 x 3 sites and all 18 bonds."""
    model = model_of(3, 3, repulsion=0.3)
    x, number = all_arrangements(model)
    _, omega = forces_and_energy(model, x)
    weight = np.exp(-(omega - omega.min()) / KT)
    integrator, bonds, pairs = KineticMonteCarlo(dt=1.0, rates=rates), model.lattice.bonds(), 0
    for a, one in enumerate(x):
        for i, j in zip(bonds.i, bonds.j, strict=True):
            image = one.copy()
            image[[i, j]] = image[[j, i]]
            b = number[image.tobytes()]
            if a < b:
                there, back = (integrator.acceptance(rise, KT) for rise in (omega[b] - omega[a], omega[a] - omega[b]))
                assert there * weight[a] == pytest.approx(back * weight[b], rel=1e-12)
                pairs += 1
    assert pairs == 630  # C(7, 3) = 35 for each bond


def test_rates_have_their_limits():
    rise = np.array([-1.0, 0.0, 1.0])
    for rates, cold, warm in (
        ("metropolis", [1.0, 1.0, 0.0], [1.0, 1.0, np.exp(-5.0)]),
        ("glauber", [1.0, 0.5, 0.0], [1 / (1 + np.exp(-5.0)), 0.5, 1 / (1 + np.exp(5.0))]),
    ):
        integrator = KineticMonteCarlo(dt=1.0, rates=rates)
        np.testing.assert_array_equal(integrator.acceptance(rise, 0.0), cold)
        np.testing.assert_allclose(integrator.acceptance(rise, 0.2), warm, rtol=1e-14)
        assert integrator.acceptance(np.array([-1e300, 1e300]), 1e-300).tolist() == [1.0, 0.0]


def sampled(rates, events, replicas, steps, dt):
    """How often the 126 arrangements on 3 x 3 sites are seen in a run, and should be; those seen fewer than 5 times together."""
    model = model_of(3, 3, repulsion=0.3)
    x, number = all_arrangements(model)
    _, omega = forces_and_energy(model, x)
    motion = simulation(
        model,
        "kinetic_monte_carlo",
        arrangement(model, replicas=replicas),
        dt=dt,
        temperature=KT,
        forcefield=Remembered(),
        rates=rates,
        events=events,
        seed=2,
    )
    motion.run(20)
    counts = np.zeros(len(x))
    for step in range(steps):
        motion.run(21 + step)
        for one in motion.state.x:
            counts[number[one.tobytes()]] += 1
    weight = np.exp(-(omega - omega.min()) / KT)
    expected = counts.sum() * weight / weight.sum()
    rare = expected < 5.0
    return tuple(np.append(values[~rare], values[rare].sum()) for values in (counts, expected))


@pytest.mark.parametrize(("rates", "events"), [("metropolis", "attempts"), ("glauber", "exchanges")])
def test_arrangements_occur_as_often_as_boltzmann_says(rates, events):
    """Frames are 4 tau apart, so nearly independent; judged by chi^2."""
    counts, expected = sampled(rates, events, replicas=40, steps=25, dt=4.0)
    assert stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("events", EVENTS)
@pytest.mark.parametrize("rates", RATES)
def test_arrangements_occur_as_often_as_boltzmann_says_in_a_long_run(rates, events):
    counts, expected = sampled(rates, events, replicas=60, steps=100, dt=6.0)
    assert stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize("events", EVENTS)
def test_first_exchanges_happen_at_their_rates(events):
    """After a short time dt an arrangement is still there with probability exp(-W dt), W the sum of the rates of its exchanges;

    the arrangements one exchange away share what is gone, in leading order as their rates do.
    """
    model, dt, replicas = model_of(4, 3, repulsion=0.3), 0.02, 4000
    start = arrangement(model)
    forcefield = Remembered()
    rise = System(model, forcefield).exchange_energies(start, 0)[0]
    bonds = model.lattice.bonds()
    unlike = start[0, bonds.i, 0] != start[0, bonds.j, 0]
    rates = np.where(unlike, KineticMonteCarlo(dt=dt).acceptance(rise, KT), 0.0)
    x = np.broadcast_to(start, (replicas, 12, 1))
    motion = simulation(
        model,
        "kinetic_monte_carlo",
        x,
        dt=dt,
        temperature=KT,
        forcefield=forcefield,
        events=events,
        seed=4,
    )
    motion.run(1)
    images = np.repeat(start, len(bonds.i), axis=0)
    for n, (i, j) in enumerate(zip(bonds.i, bonds.j, strict=True)):
        images[n, [i, j]] = images[n, [j, i]]
    found = np.array([(motion.state.x == image).all(axis=(1, 2)).sum() for image in images[unlike]])
    stayed = (motion.state.x == start).all(axis=(1, 2)).sum()
    probability = np.exp(-rates.sum() * dt)
    assert abs(stayed - replicas * probability) < 4 * np.sqrt(replicas * probability * (1 - probability))
    expected = replicas * (1 - probability) * rates[unlike] / rates.sum()
    assert (np.abs(found - expected) < 4 * np.sqrt(expected) + 0.2 * expected).all()
    assert found.sum() > 300


LATTICES = {
    "square": Lattice("square", (5, 4)),
    "twisted": Lattice("square", (4, 4), boundary=["periodic", 0.3]),
    "open honeycomb": Lattice("honeycomb", (3, 3), boundary="open"),
    "kagome": Lattice("kagome", (3, 3)),
    "ladder": Lattice("ladder", (8,)),
}


@pytest.mark.parametrize("mu", [0.0, 0.4])
@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
def test_poles_know_the_energies_of_all_exchanges(lattice, mu):
    """Against the difference of two exact solutions, for every third bond of two replicas."""
    model = FalicovKimball(lattice, electronic_temperature=KT, repulsion=0.3, mu=mu)
    x, bonds = arrangement(model, replicas=2), lattice.bonds()
    rise = System(model, PoleExpansion(), 2).exchange_energies(x, 0)
    _, before = forces_and_energy(model, x)
    for n in range(0, len(bonds.i), 3):
        image = x.copy()
        image[:, [bonds.i[n], bonds.j[n]]] = image[:, [bonds.j[n], bonds.i[n]]]
        np.testing.assert_allclose(rise[:, n], forces_and_energy(model, image)[1] - before, atol=2e-10)
    like = x[:, bonds.i, 0] == x[:, bonds.j, 0]
    assert like.any()
    np.testing.assert_array_equal(rise[like], 0.0)


def test_exchanges_go_the_same_way_alone_in_a_batch_and_after_a_restart():
    model = model_of(6, 4)

    def moved(x, steps, state=None, **more):
        settings = {"dt": 0.5, "temperature": KT, "events": "exchanges", "seed": 1, **more}
        motion = simulation(model, "kinetic_monte_carlo", x, forcefield=PoleExpansion(), **settings)
        if state is not None:
            motion = Simulation(motion.system, motion.integrator, state)
        motion.run(steps)
        return motion.state

    x = arrangement(model, replicas=3)
    batch = moved(x, 6)
    assert np.abs(batch.x - x).sum() > 20
    alone = moved(x[1:2], 6, first_replica=1)
    assert alone.x.tobytes() == batch.x[1:2].tobytes()
    assert alone.thermostat["heat"].tobytes() == batch.thermostat["heat"][1:2].tobytes()
    assert moved(x, 6, moved(x, 2).copy()).digest() == batch.digest()


@pytest.mark.parametrize("events", EVENTS)
def test_particles_are_conserved_and_heat_closes_the_balance(events):
    model = model_of(6, 4, repulsion=0.2)
    motion = simulation(
        model,
        "kinetic_monte_carlo",
        arrangement(model, replicas=3),
        dt=2.0,
        temperature=KT,
        forcefield=PoleExpansion(),
        events=events,
    )
    start, moved = motion.frame().conserved_energy.copy(), 0
    for step in range(1, 6):
        before = motion.state.x.copy()
        motion.run(step)
        moved += int(np.abs(motion.state.x - before).sum())
        assert set(np.unique(motion.state.x)) == {0.0, 1.0}
        np.testing.assert_array_equal(motion.state.x.sum(axis=(1, 2)), 12)
        np.testing.assert_allclose(motion.frame().conserved_energy, start, atol=1e-11)
    assert moved > 20
    assert np.abs(motion.state.thermostat["heat"]).min() > 0.1


@pytest.mark.parametrize("events", EVENTS)
def test_without_temperature_every_exchange_goes_downhill(events):
    model = model_of(6, 4)
    x = arrangement(model, replicas=2)
    motion = simulation(
        model, "kinetic_monte_carlo", x, dt=0.2, temperature=0.0, forcefield=PoleExpansion(), events=events
    )
    energies = []
    for step in range(30):
        motion.run(step)
        energies.append(motion.frame().free_energy)
    assert (np.diff(energies, axis=0) <= 1e-12).all()
    assert (energies[-1] < energies[0] - 0.5).all()


def test_free_particles_relax_at_the_rate_of_exchanges():
    """U = V = 0: each exchange is accepted, so <n_i> obeys the lattice diffusion equation d<n>/dt = sum_j (<n_j> - <n_i>)/tau.

    A wave cos(q x) decays with 2 (1 - cos q)/tau, here 1/tau for q = pi/3.
    """
    model = model_of(6, 4, interaction=0.0)
    wave = np.cos(np.pi / 3 * model.lattice.cells[:, 0])
    x = np.broadcast_to(model.admissible(wave[None, :, None]), (400, 24, 1))
    motion = simulation(
        model, "kinetic_monte_carlo", x, dt=0.5, temperature=KT, forcefield=Remembered(), attempt_time=0.5
    )
    amplitude = motion.state.x[..., 0] @ wave
    motion.run(1)
    expected = amplitude[0] * np.exp(-0.5 / 0.5)
    after = motion.state.x[..., 0] @ wave
    assert after.mean() == pytest.approx(expected, abs=4 * after.std() / 20)
    assert after.std() / 20 < 0.07 * expected


def test_the_temperature_of_the_bath_may_ramp():
    """At a temperature of 1e6 every attempt is accepted, at 1e-6 none that goes uphill."""
    model = model_of(4, 4)
    ramp = Ramp(((0, 1e-6), (10, 1e-6), (11, 1e6)))
    system, x = System(model, ExactDiagonalisation()), model.admissible(model.ordered(1.0)[None])
    motion = Simulation(system, KineticMonteCarlo(dt=1.0, temperature=ramp, seed=1), State.at_rest(x))
    motion.run(11)
    assert motion.state.x.tobytes() == x.tobytes()
    motion.run(12)
    assert np.abs(motion.state.x - x).sum() > 4


@dataclass(frozen=True)
class Silent(ExactDiagonalisation):
    """Forces without energies."""

    def capabilities(self, model, replicas) -> Capabilities:
        return Capabilities(False, True, False, True, None, 0)


def test_what_cannot_serve_is_refused():
    model = model_of(4, 4)
    with pytest.raises(InputError, match="KineticMonteCarlo compares free energies, and force field Silent gives none"):
        simulation(model, "kinetic_monte_carlo", arrangement(model), dt=1.0, forcefield=Silent())
    with pytest.raises(
        InputError, match="ExactDiagonalisation knows no energies of exchanges; evaluate attempts instead"
    ):
        simulation(model, "kinetic_monte_carlo", arrangement(model), dt=1.0, events="exchanges")
    canonical = model_of(4, 4, filling=0.5)
    with pytest.raises(InputError, match="energies of exchanges need a fixed mu and one orbital per site"):
        simulation(
            canonical, "kinetic_monte_carlo", arrangement(model), dt=1.0, events="exchanges", forcefield=PoleExpansion()
        )
    with pytest.raises(InputError, match="moves occupations, but the variables of Holstein are displacements"):
        simulation(Holstein(model.lattice), "kinetic_monte_carlo", np.zeros((1, 16, 1)), dt=1.0)
    with pytest.raises(
        InputError, match="minimisation is for displacements, but the variables of FalicovKimball are occupations"
    ):
        minimize(State.at_rest(arrangement(model)), System(model, ExactDiagonalisation()), Fire(), 10)


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def loaded(*settings):
        path = tmp_path / "input.yaml"
        path.write_text(INPUT)
        return load_input(path, settings)

    return loaded


def test_every_check_that_applies_passes_on_an_input(load):
    checks = {check.name: check for check in verify(load())}
    assert {check.verdict for check in checks.values()} == {"pass", "skip"}
    for name in (
        "force = -d(free energy)/dx",
        "lattice symmetries",
        "internal symmetries",
        "restart = uninterrupted run",
    ):
        assert checks[name].verdict == "pass"
    assert checks["energy balance with the bath"].value < 1e-12
    assert "no motion without a bath" in checks["reversibility without bath"].note


def test_no_time_step_is_suggested_to_what_has_none(load):
    with pytest.raises(InputError, match="no dt is better than another"):
        suggest_dt(load())


def test_an_interrupted_run_resumes_to_the_same_bytes(load):
    digests = {}
    for name, stops in (("whole", [6]), ("parts", [4, 6])):
        for n, steps in enumerate(stops):
            settings = f"output.directory={name}", f"dynamics.steps={steps}", "replicas=2"
            digests[name] = run(load(*settings), resume=n > 0)["digest"]
    assert digests["whole"] == digests["parts"]
