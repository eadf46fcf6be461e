"""Series of known memory and waves of known frequency."""

import numpy as np
import pytest

from latticemd.analysis.dynamics import dynamical_structure, evenly_spaced, zone_path
from latticemd.analysis.timeseries import autocorrelation, autocorrelation_time, block_errors, stationary_average
from latticemd.errors import InputError
from latticemd.lattice import Lattice


def remembering(memory, count, samples=1, seed=0):
    """AR(1): a_t = memory a_{t-1} + noise, of unit variance; tau = (1 + memory)/(1 - memory)/2 spacings."""
    rng = np.random.default_rng(seed)
    series = np.empty((count, samples))
    series[0] = rng.normal(size=samples)
    noise = np.sqrt(1 - memory**2) * rng.normal(size=(count, samples))
    for n in range(1, count):
        series[n] = memory * series[n - 1] + noise[n]
    return series


# series


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_a_series_has_its_autocorrelation_time(memory):
    series = remembering(memory, 20_000, samples=2)
    rho = autocorrelation(series)
    assert rho[:8] == pytest.approx(memory ** np.arange(8), abs=0.03)
    exact = 0.5 * (1 + memory) / (1 - memory)
    average = stationary_average(series, spacing=0.2)
    assert average.memory == pytest.approx(0.2 * exact, abs=4 * average.memory_error)
    assert average.memory_error < 0.08 * average.memory
    assert average.independent == pytest.approx(40_000 / (2 * exact), rel=0.15)


def test_the_error_of_an_average_is_its_scatter_between_experiments():
    averages = [stationary_average(remembering(0.8, 1000, seed=n), 1.0) for n in range(200)]
    told, found = np.mean([one.error for one in averages]), np.std([one.mean for one in averages])
    assert told == pytest.approx(found, rel=0.15)
    assert np.sqrt(9 / 1000) == pytest.approx(found, rel=0.15)  # 2 tau = 9


def test_both_ways_to_the_error_of_a_mean_agree():
    series = remembering(0.9, 20_000, samples=4)  # tau = 9.5 spacings
    average = stationary_average(series, spacing=0.5)
    time, errors, _ = average.blocks
    assert average.memory == pytest.approx(4.75, rel=0.15)
    assert errors[0] < 0.3 * average.error  # of single values, as if they were independent
    assert average.block_error == pytest.approx(average.error, rel=0.2)
    assert time[errors.tolist().index(average.block_error)] >= 47.5
    short = stationary_average(series[:60], spacing=0.5)
    assert np.isnan(short.block_error)


def test_block_errors_rise_to_the_error_of_the_average():
    series = remembering(0.8, 2**15)
    lengths, errors, doubts = block_errors(series)
    assert lengths.tolist() == [2**n for n in range(14)]
    assert errors[0] == pytest.approx(1 / np.sqrt(2**15), rel=0.05)
    plateau = errors[7:10]
    assert plateau == pytest.approx(np.full(3, stationary_average(series, 1.0).error), rel=0.15)
    assert (np.abs(plateau - 3 / np.sqrt(2**15)) < 4 * doubts[7:10]).all()


def test_what_drifts_is_told():
    still = remembering(0.5, 4000, samples=2)
    assert stationary_average(still, 1.0).drift.verdict == "agree"
    assert stationary_average(still + np.linspace(0, 0.5, 4000)[:, None], 1.0).drift.verdict == "differ"


def test_a_constant_has_no_memory_and_no_error():
    average = stationary_average(np.full((50, 2), 3.0), 0.1)
    assert (average.mean, average.error, average.memory) == (3.0, 0.0, 0.05)
    assert autocorrelation_time(np.full((50, 1), 3.0), 0.1) == (0.05, 0)
    with pytest.raises(InputError, match="at least 16 values of a series, there are 6"):
        stationary_average(np.zeros((6, 1)), 1.0)


# waves


def travelling_waves(lattice, path, frequency, count, spacing, seed=0):
    """a_q (F, 1, K, 1) of waves exp(i (phase - w_q t)) with amplitudes of their own."""
    rng = np.random.default_rng(seed)
    amplitude = rng.uniform(0.5, 2.0, size=len(path.q)) * np.exp(2j * np.pi * rng.random(len(path.q)))
    time = spacing * np.arange(count)
    return (amplitude * np.exp(-1j * time[:, None] * frequency))[:, None, :, None], np.abs(amplitude) ** 2


def test_phonons_have_their_dispersion_and_the_area_of_their_amplitude():
    lattice = Lattice("square", (16, 16))
    path = zone_path(lattice)
    frequency = np.sqrt(1.0 + 0.36 * np.cos(path.q).sum(axis=1))  # sqrt((k + 2 kappa sum cos q)/m)
    amplitudes, power = travelling_waves(lattice, path, frequency, 2000, 0.2)
    omega, structure = dynamical_structure(amplitudes, 0.2)
    step = omega[1]
    assert omega[structure[0].argmax(axis=1)] == pytest.approx(frequency, abs=step)
    assert structure[0].sum(axis=1) * step == pytest.approx(power, rel=0.02)


def test_noise_is_white_up_to_the_highest_frequency_and_what_stands_still_is_left_out():
    rng = np.random.default_rng(1)
    amplitudes = rng.normal(size=(4000, 2, 3, 2)) + 100.0
    omega, structure = dynamical_structure(amplitudes, 0.5, segments=39)
    assert omega[-1] == pytest.approx(np.pi / 0.5, rel=0.02)
    inner = structure[..., 2:]  # the window spreads what is left of the mean over two frequencies
    assert inner.mean() == pytest.approx(2 / (np.pi / 0.5), rel=0.03)  # two components of unit variance
    assert inner.mean(axis=-1) == pytest.approx(np.full((2, 3), inner.mean()), rel=0.1)


@pytest.mark.parametrize(
    ("name", "shape", "corners"),
    [
        ("chain", (10,), {0: "0", 5: "1"}),
        ("square", (8, 8), {0: "00", 4: "10", 8: "11", 12: "00"}),
        ("square", (8, 12), {0: "00", 4: "10", 10: "11", 12: "00"}),
        ("cubic", (4, 4, 4), {0: "000", 2: "100", 4: "110", 6: "111", 8: "000"}),
    ],
)
def test_the_path_turns_at_the_corners_of_the_zone(name, shape, corners):
    path = zone_path(Lattice(name, shape))
    assert path.corners == corners
    for place, digits in corners.items():
        assert path.q[place] == pytest.approx([np.pi * int(digit) for digit in digits], abs=1e-12)
    assert (np.diff(path.distance) > 0).all()


def test_a_triangular_path_fits_the_box():
    lattice = Lattice("triangular", (6, 6))
    path = zone_path(lattice)
    turns = lattice.vectors @ path.q.T * 6 / (2 * np.pi)
    np.testing.assert_allclose(turns, turns.round(), atol=1e-12)


def test_frames_must_be_even_and_many():
    time = np.array([0.0, 1, 2, 3, 4, 6, 8])
    assert evenly_spaced(time, 0, 4) == ([0, 1, 2, 3, 4], 1.0)
    with pytest.raises(InputError, match="evenly spaced frames between t = 0 and 8"):
        evenly_spaced(time, 0, 8)
    with pytest.raises(InputError, match="at least 40 evenly spaced frames, there are 30"):
        dynamical_structure(np.zeros((30, 1, 1, 1)), 1.0)
    with pytest.raises(InputError, match="one site per cell"):
        zone_path(Lattice("honeycomb", (4, 4)))
