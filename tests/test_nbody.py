"""The charged-particle benchmark is physics: conserved where nothing is cut, the engine's own motion, the same in any company."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import simulation

from forcefields.pairs import Coulomb
from forcefields.points import nbody
from forcefields.points.nbody import DT, HORIZON, SETS, Trajectories, charged, mean_square_error, read_charged
from latticemd.errors import InputError
from latticemd.lattice import Points
from latticemd.models.particles import Particles


@pytest.fixture(scope="module")
def samples():
    return charged(seed=0, first=0, count=200)


def test_starts_have_unit_scale_speed_one_half_and_charges_of_both_signs():
    start = Trajectories(seed=0, first=0, count=2000)
    assert np.std(start.x) == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(np.linalg.norm(start.v, axis=2), 0.5, rtol=1e-14)
    np.testing.assert_allclose(start.v.mean(axis=(0, 1)), 0.0, atol=0.02)
    assert set(np.unique(start.q)) == {-1.0, 1.0}
    assert abs(start.q.mean()) < 0.05
    np.testing.assert_allclose(np.mean(start.q[:, :, None] * start.q[:, None], axis=0), np.eye(5), atol=0.1)


def test_momentum_and_energy_stay_where_nothing_is_cut():
    moving = Trajectories(seed=1, first=0, count=300, clip=np.inf)
    energy, momentum = moving.energy + 0.5 * (moving.v**2).sum(axis=(1, 2)), moving.v.sum(axis=1)
    largest = np.abs(moving.force).max(axis=(1, 2))
    for _ in range(100):
        moving.advance(10)
        largest = np.maximum(largest, np.abs(moving.force).max(axis=(1, 2)))
    np.testing.assert_allclose(moving.v.sum(axis=1), momentum, rtol=0, atol=1e-9)
    change = np.abs(moving.energy + 0.5 * (moving.v**2).sum(axis=(1, 2)) - energy)
    smooth = largest < 10.0
    assert smooth.mean() > 0.5
    assert change[smooth].max() < 1e-4


def test_forces_beyond_the_limit_are_cut():
    cut, free = (Trajectories(seed=1, first=0, count=500, clip=clip) for clip in (5.0, np.inf))
    assert np.abs(free.force).max() > 5.0 == np.abs(cut.force).max()
    np.testing.assert_array_equal(cut.force, np.clip(free.force, -5, 5))


def test_it_is_the_motion_of_the_engine():
    number = 3
    model = next(
        model
        for seed in range(1000)
        if (model := Particles(Points([5]), charge_seed=seed)).q.tolist() == Trajectories(0, number, 1).q[0].tolist()
    )
    ours = Trajectories(seed=0, first=number, count=1)
    engine = simulation(model, "verlet", ours.x.copy(), dt=DT, forcefield=Coulomb(clip=nbody.CLIP))
    engine.state.p[...] = ours.v
    ours.advance(200)
    engine.run(200)
    np.testing.assert_allclose(engine.state.x, ours.x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(engine.state.p, ours.v, rtol=0, atol=1e-12)


def test_a_sample_is_the_same_in_any_company(samples):
    alone, among = charged(seed=0, first=17, count=1), charged(seed=0, first=10, count=20, batch=7)
    for field in ("x", "v", "q", "target"):
        whole = getattr(samples, field)
        assert getattr(alone, field)[0].tobytes() == whole[17].tobytes() == getattr(among, field)[7].tobytes()
    assert (charged(seed=1, first=17, count=1).x != alone.x).all()


def test_the_answer_lies_a_unit_of_time_ahead(samples):
    assert abs(HORIZON - 1.0) < 1e-12
    straight = mean_square_error(samples.x + HORIZON * samples.v, samples.target)
    assert straight < 0.6 * mean_square_error(samples.x, samples.target)
    assert 0.05 < straight < 0.2  # about 0.1 in the literature
    later = Trajectories(seed=0, first=0, count=2)
    later.advance(4000)
    np.testing.assert_array_equal(later.x, samples.target[:2])


def test_trajectories_lead_back():
    samples = charged(seed=2, first=0, count=6)
    both = samples.both_ways()
    assert len(both) == 12
    moving = Trajectories(seed=2, first=0, count=6)
    moving.x, moving.v = both.x[6:].copy(), both.v[6:].copy()
    moving._update()
    moving.advance(1000)
    np.testing.assert_allclose(moving.x, both.target[6:], rtol=0, atol=1e-7)
    np.testing.assert_allclose(moving.v, both.later[6:], rtol=0, atol=1e-6)


def test_sets_are_apart_and_come_back_from_their_file(tmp_path, monkeypatch):
    numbers = [set(range(first, first + count)) for first, count in SETS.values()]
    assert [len(one) for one in numbers] == [3000, 2000, 2000]
    assert not numbers[0] & numbers[1] | numbers[1] & numbers[2] | numbers[0] & numbers[2]
    monkeypatch.setattr(nbody, "SETS", {"train": (0, 3), "validation": (3, 2), "test": (5, 2)})
    nbody.write_charged(tmp_path / "data.h5", seed=4)
    sets = read_charged(tmp_path / "data.h5")
    assert {name: len(one) for name, one in sets.items()} == {"train": 3, "validation": 2, "test": 2}
    np.testing.assert_array_equal(sets["test"].target, charged(4, 5, 2).target)
    (tmp_path / "text.h5").write_text("no data")
    with pytest.raises(InputError, match="cannot be read"):
        read_charged(tmp_path / "text.h5")
