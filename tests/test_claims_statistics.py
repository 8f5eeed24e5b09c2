"""The tests behind the verdicts keep their stated error rates."""

import numpy as np
import pytest
import scipy.stats

from linreg_lora.claims import statistics


def test_critical_value_without_skewness_is_the_normal_quantile():
    assert statistics.critical_value(1e-6, 100, 0.0) == pytest.approx(scipy.stats.norm.isf(5e-7))


@pytest.mark.parametrize("skewness", [1e-18, -1e-15, 1e-12])
def test_a_skewness_that_is_rounding_changes_no_critical_value(skewness):
    z = statistics.critical_value(1e-9, 1600, skewness)
    assert z == pytest.approx(statistics.critical_value(1e-9, 1600, 0.0), rel=1e-9)


@pytest.mark.parametrize("skewness", [-2.0, 0.5, 2.0])
def test_critical_value_solves_its_equation(skewness):
    z = statistics.critical_value(1e-7, 4096, skewness)
    tail = 2 * scipy.stats.norm.sf(z) * np.exp(abs(skewness) * z**3 / (3 * np.sqrt(4096)))
    assert tail == pytest.approx(1e-7, rel=1e-6)


def test_no_critical_value_exists_for_few_and_skewed_draws():
    assert statistics.critical_value(1e-8, 20, 5.0) == np.inf


def test_the_level_of_the_mean_test_holds_for_skewed_draws():
    """Exponential draws (skewness 2), 100 a mean, at level 1e-3, in 8,000 repetitions.

    The false-alarm count is binomial; it must not exceed its 1 - 1e-6 quantile at the stated level. Without the
    skewness factor the count is far above: the test can fail.
    """
    repetitions, trials, level = 8_000, 100, 1e-3
    draws = np.random.default_rng(0).exponential(size=(repetitions, trials)) - 1
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(trials))
    skewness = scipy.stats.skew(draws, axis=1)
    corrected = [statistics.critical_value(level, trials, float(g)) for g in skewness]
    allowed = scipy.stats.binom.isf(1e-6, repetitions, level)
    assert np.sum(np.abs(t) > corrected) <= allowed
    assert np.sum(np.abs(t) > scipy.stats.norm.isf(level / 2)) > allowed


def test_the_detectable_discrepancy_is_found_with_the_stated_power():
    """At exactly the detectable discrepancy the rejections of 2,000 repetitions are binomial with p = 0.99."""
    repetitions, trials, level = 2_000, 400, 1e-3
    rng = np.random.default_rng(0)
    critical = statistics.critical_value(level, trials, 0.0)
    shift = statistics.detectable(1 / np.sqrt(trials), critical)
    rejected = sum(
        abs((test := statistics.mean_test(rng.standard_normal(trials) + shift, 0.0, level)).z) > test.critical
        for _ in range(repetitions)
    )
    low, high = scipy.stats.binom.interval(1 - 1e-6, repetitions, statistics.POWER)
    # Estimating the standard deviation and the skewness widens the test by a few per cent of one standard error.
    assert low - 0.005 * repetitions <= rejected <= high


def test_power_against_a_rival():
    assert statistics.power_against(0.0, 0.0, 5.0) == 0.0
    assert statistics.power_against(1.0, 0.0, 5.0) == 1.0
    assert statistics.power_against(-5.0, 1.0, 5.0) == pytest.approx(0.5)


@pytest.mark.parametrize("skewness", [1.0, 4.0])
def test_a_critical_value_exists_from_the_least_number_of_draws_on(skewness):
    least = statistics.least_trials(1e-8, skewness)
    assert np.isfinite(statistics.critical_value(1e-8, least, skewness))
    assert statistics.critical_value(1e-8, least - 1, skewness) == np.inf


def test_draws_too_skewed_for_their_number_say_how_many_would_do():
    """Exponential draws, skewness 2: 50 are too few at 1e-8; with as many as are asked for, the test decides."""
    rng = np.random.default_rng(0)
    few = statistics.mean_test(rng.exponential(size=50) - 1, 0.0, 1e-8)
    assert few.critical == np.inf
    assert statistics.trials_that_decide(few, 1e3) == statistics.least_trials(1e-8, few.skewness) > 50
    enough = statistics.trials_that_decide(few, 0.5)
    found = statistics.mean_test(rng.exponential(size=2 * enough) - 1, 0.0, 1e-8)
    assert found.detectable < 0.5


def test_trials_needed_scale_with_the_square():
    assert statistics.trials_needed(100, 0.04, 0.02) == 400


def test_the_rarest_violation_found_is_found_with_the_stated_power():
    share = statistics.rarest_violation_found(500)
    assert 1 - (1 - share) ** 500 == pytest.approx(statistics.POWER)


def test_a_mean_test_of_constant_draws():
    assert statistics.mean_test(np.zeros(10), 3.0, 1e-6).z == 0.0
    assert statistics.mean_test(np.ones(10), 3.0, 1e-6).z == np.inf
