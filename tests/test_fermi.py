"""The pole expansion of the Fermi function: its stated error, its symmetry, its energy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from forcefields.fermi import fermi_poles
from latticemd.errors import InputError


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    temperature=st.floats(0.005, 2.0),
    half_width=st.floats(0.0, 130.0),
    tolerance=st.sampled_from([1e-3, 1e-6, 1e-8, 1e-10]),
)
def test_errors_stay_below_tolerance_and_the_stated_ones(temperature, half_width, tolerance):
    fit = fermi_poles(temperature, half_width, tolerance=tolerance)
    # Points that no step of the fit has seen: an even grid, and a logarithmic one that finds the structure near mu.
    e = np.concatenate([np.linspace(0.0, 1.0, 5001), np.geomspace(1e-6, 1.0, 5000)]) * half_width
    e = np.concatenate([-e, e])
    assert half_width <= fit.half_width
    assert fit.error <= tolerance
    assert np.abs(fit.occupation(e) - expit(-e / temperature)).max() <= 1.001 * fit.error + 1e-15
    exact = -temperature * np.logaddexp(0.0, -e / temperature)
    rounding = 1e-14 * (temperature + half_width)
    assert np.abs(fit.free_energy(e) - exact).max() <= 1.001 * fit.energy_error + rounding


@pytest.mark.parametrize(
    ("half_width", "count", "limit"),
    [(6.5, 4, 5e-5), (6.5, 6, 1e-7), (6.5, 8, 6e-11), (63.0, 12, 2e-9), (63.0, 16, 4e-13)],
)
def test_few_poles_reach_small_errors(half_width, count, limit):
    fit = fermi_poles(0.1, half_width, count=count)
    assert len(fit.poles) == count
    assert fit.error <= limit


def test_each_pole_divides_the_error_by_the_factor_of_the_best_approximation():
    # For a Stieltjes function on an interval of ratio X the factor per pole tends to exp(pi^2 / log X), up to constants in X.
    errors = [fermi_poles(1.0, 630.0, count=count).error for count in (6, 8, 10, 12)]
    factors = np.sqrt(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(factors, np.exp(np.pi**2 / np.log(630.0 / 3.0)), rtol=0.2)


def test_occupation_is_odd_around_mu_to_the_last_bit():
    fit = fermi_poles(0.1, 6.5)
    e = np.linspace(0.0, 6.5, 1001)
    assert np.abs(fit.occupation(e) + fit.occupation(-e) - 1.0).max() <= 2.3e-16


def test_occupation_is_the_slope_of_the_free_energy():
    fit = fermi_poles(0.1, 6.5, count=4)  # coarse on purpose: consistency must not rest on accuracy
    e, h = np.linspace(-6.0, 6.0, 501), 1e-3
    values = [fit.free_energy(e + n * h) for n in (2, 1, -1, -2)]
    slope = (-values[0] + 8 * values[1] - 8 * values[2] + values[3]) / (12 * h)
    np.testing.assert_allclose(slope, fit.occupation(e), atol=1e-8)


def test_poles_and_weights_are_positive_and_scale_with_the_temperature():
    one, other = fermi_poles(0.1, 6.5), fermi_poles(0.2, 13.0)
    assert (one.poles > 0).all()
    assert (one.weights > 0).all()
    np.testing.assert_allclose(other.poles, 2.0 * one.poles, rtol=1e-15)
    np.testing.assert_allclose(other.weights, 2.0 * one.weights, rtol=1e-15)
    # The lowest poles are the first Matsubara frequencies, (2n + 1) pi kT.
    np.testing.assert_allclose(one.poles[:3], np.pi * 0.1 * np.array([1, 3, 5]), rtol=3e-3)


def test_poles_do_not_change_while_a_spectrum_breathes():
    assert fermi_poles(0.1, 6.45).poles.tobytes() == fermi_poles(0.1, 6.5).poles.tobytes()


def test_impossible_requests_are_refused_with_numbers():
    with pytest.raises(InputError, match="got 33"):
        fermi_poles(0.1, 6.5, count=33)
    with pytest.raises(InputError, match="at least 1e-13, got 1e-15"):
        fermi_poles(0.1, 6.5, tolerance=1e-15)
    with pytest.raises(ArithmeticError, match="1e\\+06 kT"):
        fermi_poles(1e-3, 1e3)
    with pytest.raises(ArithmeticError, match="poles do not reach tolerance 1e-12"):
        fermi_poles(1e-3, 99.0, tolerance=1e-12)
