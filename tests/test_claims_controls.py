"""Controls that experiments of claims take off: of mean zero, with much of the spread, from code of their own."""

import numpy as np
import pytest
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora.claims.library import experiments, inputs, intruder_maps, left_out
from linreg_lora.own_data.deletion import deletions, design

TRIALS = 2048


def problem(n, dx, ridge=0.0):
    return ll.Problem(
        n=n, dx=dx, dy=5, spectrum=(2.0, 1.0), noise_std=1.5, input_covariance=np.linspace(1, 4, dx), ridge=ridge
    )


CASES = {
    "more samples than inputs": problem(26, 8),
    "fewer samples than inputs": problem(8, 28),
    "a ridge": problem(26, 8, 3.0),
    "a ridge and few samples": problem(8, 28, 3.0),
}


def is_zero(values, comparisons):
    stderr = np.std(values, ddof=1) / len(values) ** 0.5
    return abs(np.mean(values)) < critical_z(comparisons) * stderr


@pytest.mark.parametrize("at", CASES.values(), ids=list(CASES))
def test_what_full_fine_tuning_misses_of_left_out_samples_agrees_with_the_closed_form(at):
    x, y = experiments._data(at, 3, 4)
    found = left_out._missed(x, y, at.ridge)
    for draw in range(3):
        expected = deletions(design(x[draw].T, intercept=False), y[draw].T, at.ridge).missed
        np.testing.assert_allclose(found[draw].T, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("at", CASES.values(), ids=list(CASES))
def test_the_left_out_loss_of_full_fine_tuning_less_its_risk_is_the_noise(at):
    """Level 1e-6, shared by four cases. A mean that is a tenth of the noise off is found with power 0.99 and more."""
    drawn = left_out._surpluses(at, TRIALS, 5, 2)
    assert is_zero(drawn.full - at.noise_trace, len(CASES))
    stderr = np.std(drawn.full, ddof=1) / TRIALS**0.5
    assert (critical_z(len(CASES)) + 2.33) * stderr < at.noise_trace / 10
    statistic = left_out.left_out_surplus(at, TRIALS, 5, rank=2).statistic[:, 0]
    assert np.var(statistic) < 0.7 * np.var(drawn.lora)


def test_controls_of_a_spiked_map_have_mean_zero_and_half_of_its_spread():
    """Level 1e-6."""
    at = ll.Problem(n=40, dx=16, dy=12, spectrum=(1.0,), noise_std=1.0)
    strength = 1.5 * (at.dx * at.dy) ** 0.25
    largest, controls = intruder_maps._spiked(at, TRIALS, 6, strength)
    assert all(is_zero(column, 2) for column in controls.T)
    statistic = intruder_maps.spiked_map(at, TRIALS, 6, strength=1.5).statistic[:, 0]
    edge = (np.sqrt(at.dx) + np.sqrt(at.dy)) ** 2
    assert np.var(statistic) < np.var(largest / edge) / 2


def test_smaller_problems_have_more_draws_where_it_is_asked_for():
    at = ll.Problem(n=20, dx=6, dy=4, spectrum=(1.0,), noise_std=1.0, input_law="laplace")
    few, more = (
        inputs.lora_risk_of_inputs(at, 16, 7, share=0.5, **settings).statistic
        for settings in ({}, {"most_samples": 80})
    )
    assert (len(few), len(more)) == (16, 64)
    np.testing.assert_array_equal(more[:16], few)
