"""The spiked model: noise levels against simulation, risks against the equivalent and simulation, limits."""

import numpy as np
import pytest
from comparisons import critical_z
from optht import optht

from linreg_lora import Problem, monte_carlo
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import marchenko_pastur, spiked
from linreg_lora.theory.equivalent import lora_equivalent

OVER = Problem(n=400, dx=60, dy=50, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
UNDER = Problem(n=40, dx=100, dy=60, spectrum=(6.0, 4.0, 2.0), noise_std=1.0)


@pytest.mark.parametrize(("rows", "columns"), [(30, 60), (60, 30), (40, 40)])
def test_noise_quantiles_are_those_of_simulated_noise(rows, columns):
    """Mean k-th squared singular values of 400 matrices: the law is O(1/size) off in units of the width."""
    draws = np.random.default_rng(0).standard_normal((400, rows, columns))
    simulated = np.mean(np.linalg.svd(draws, compute_uv=False) ** 2, axis=0)
    law = [marchenko_pastur.quantile(rows, columns, k + 0.5) for k in range(min(rows, columns))]
    low, high = marchenko_pastur.edges(rows, columns)
    assert np.max(np.abs(simulated - law)) < (high - low) / min(rows, columns)


def test_the_law_ends_at_its_edges():
    low, high = marchenko_pastur.edges(20, 50)
    assert marchenko_pastur.quantile(20, 50, 0.0) == pytest.approx(high)
    assert marchenko_pastur.quantile(20, 50, 20.0) == pytest.approx(low)
    with pytest.raises(InvalidInput, match=r"above: expected a number in 0\.\.min"):
        marchenko_pastur.quantile(20, 50, 21.0)


@pytest.mark.parametrize("problem", [OVER, UNDER], ids=["n > dx", "n < dx"])
def test_agrees_with_the_equivalent_and_simulation_at_the_planted_ranks(problem):
    """At detectable ranks the closed form is within 3 % of the equivalent, and of simulation plus z standard errors."""
    closed = spiked.spiked_risk(problem)[1:4]
    np.testing.assert_allclose(closed, lora_equivalent(problem, [1, 2, 3]).risk, rtol=0.03)
    simulated = monte_carlo(problem, trials=512, seed=1, ranks=[1, 2, 3])
    allowed = 0.03 * simulated.risk + critical_z(6) * simulated.stderr
    assert np.all(np.abs(closed - simulated.risk) <= allowed)


def test_full_rank_is_fft_up_to_the_bulk_error():
    assert spiked.spiked_risk(OVER)[-1] == pytest.approx(60 * 50 / (400 - 60 - 1), rel=0.02)


def test_a_direction_is_detectable_above_the_threshold_only():
    threshold = spiked.detection_threshold(OVER)
    assert threshold == pytest.approx((50 * 60) ** 0.25 / 20)
    below, above = (spiked.spikes(OVER.replace(spectrum=(factor * threshold,))) for factor in (0.99, 1.01))
    assert not below.detectable[0]
    assert above.detectable[0]
    assert below.left[0] == below.right[0] == 0
    assert below.gain[0] > 0, "keeping noise costs"
    # Just above, the overlap is small and the singular value is still the noise edge.
    assert above.singular_value[0] == pytest.approx(np.sqrt(50) + np.sqrt(60), rel=1e-3)


def test_many_samples_keep_what_the_hard_threshold_of_gavish_and_donoho_keeps():
    """Known noise, beta = smaller over larger side: keep singular values above lambda(beta) sqrt(larger side) sigma."""
    problem = Problem(n=10**7, dx=200, dy=100, spectrum=(1.0,), noise_std=1.0)
    beta = 0.5
    optimal = np.sqrt(2 * (beta + 1) + 8 * beta / ((beta + 1) + np.sqrt(beta**2 + 14 * beta + 1)))
    scale = spiked.detection_threshold(problem)
    strengths = scale * np.linspace(1.0001, 2.5, 4000)
    found = [spiked.spikes(problem.replace(spectrum=(float(s),))) for s in strengths]
    kept = np.array([f.singular_value[0] for f in found if f.keep[0]])
    dropped = np.array([f.singular_value[0] for f in found if not f.keep[0]])
    threshold = optimal * np.sqrt(200)
    # The grid resolves singular values to better than 1e-3, and n is finite: dx / n = 2e-5.
    assert np.min(kept) == pytest.approx(threshold, rel=1e-3)
    assert np.max(dropped) == pytest.approx(threshold, rel=1e-3)


@pytest.mark.parametrize(("dx", "dy"), [(200, 100), (100, 200), (150, 150)])
def test_many_samples_keep_as_many_directions_as_optht(dx, dy):
    """The package `optht` with known noise; it scales the noise by the number of singular values it is given, so they
    are padded to the larger side. Strengths within 1e-4 of its threshold do not occur on this grid.
    """
    problem = Problem(n=10**9, dx=dx, dy=dy, spectrum=(1.0,), noise_std=2.0)
    strengths = spiked.detection_threshold(problem) * np.linspace(2.5, 1.01, 40)
    found = spiked.spikes(problem.replace(spectrum=tuple(strengths)))
    padded = np.pad(found.singular_value, (0, max(dx, dy) - len(strengths)))
    kept = int(np.sum(found.keep))
    assert 0 < kept < len(strengths)
    assert kept == optht(min(dx, dy) / max(dx, dy), padded, sigma=2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ridge": 1.0}, "no ridge and isotropic noise"),
        ({"noise_std": 0.0}, "no ridge and isotropic noise"),
        ({"noise_covariance": np.geomspace(1, 2, 60)}, "no ridge and isotropic noise"),
        ({"input_covariance": np.geomspace(1, 2, 100)}, "a multiple of the identity where n < dx"),
        ({"n": 100}, "a mean that exists"),
    ],
)
def test_other_problems_are_refused(changes, message):
    with pytest.raises(InvalidInput, match=message):
        spiked.spiked_risk(UNDER.replace(**changes))
