"""Noise that is tiny against the shift: LoRA's directions are right, or the ranks that need them are refused."""

import itertools

import numpy as np
import pytest
from comparisons import assert_means_agree

from linreg_lora import draw_risks, monte_carlo
from linreg_lora.problem import Problem
from linreg_lora.sampling import plan
from linreg_lora.sampling.rounding import noise_to_signal, squared_is_safe

LEFT, RIGHT = (np.linalg.qr(np.random.default_rng(seed).standard_normal((20, 20)))[0] for seed in (0, 1))
PLANTED = np.outer(LEFT[0], RIGHT[0])


def planted(**changes):
    return Problem(**{"n": 40, "dx": 20, "dy": 20, "task_shift": PLANTED, "noise_std": 1e-13, **changes})


def test_tiny_noise_beside_very_many_samples():
    """n = 2^53: every rank against the limit of many samples, in NumPy; level LEVEL over 20 ranks.

    n risk(D_r) -> ||u^T N||^2 + ||P N v||^2 + sum_{i<r} s_i(P N Q)^2 with Delta = u v^T, P = I - u u^T, Q = I - v v^T.
    """
    variances = np.geomspace(0.3, 3, 20)
    problem = planted(n=2**53, noise_std=1e-3, noise_covariance=variances)
    curve = monte_carlo(problem, trials=512, seed=1)
    assert not curve.notes
    noise = np.sqrt(variances)[:, None] * np.random.default_rng(2).standard_normal((4096, 20, 20))
    u, v = LEFT[0], RIGHT[0]
    rest = noise - u[:, None] * (u @ noise)[:, None, :]
    beside = rest @ v
    values = np.linalg.svd(rest - beside[:, :, None] * v, compute_uv=False)[:, :19]
    first = np.sum((u @ noise) ** 2, axis=1) + np.sum(beside**2, axis=1)
    limit = first[:, None] + np.cumsum(np.column_stack([np.zeros(4096), values**2]), axis=1)
    unit = problem.n / problem.noise_std**2
    stderr = limit.std(axis=0) / 64
    assert_means_agree(unit * curve.risk[1:], unit * curve.stderr[1:], limit.mean(axis=0), stderr)


@pytest.mark.parametrize("dy", [20, 40])
def test_ranks_whose_directions_rounding_loses_are_refused_and_the_others_right(dy):
    """Risks scale with sigma^2 on the same seed, up to terms of order sigma (here 1e-6) and rounding."""
    shift = np.pad(PLANTED, ((0, dy - 20), (0, 0)))
    curve = monte_carlo(planted(dy=dy, task_shift=shift), trials=16, seed=1)
    known = monte_carlo(planted(dy=dy, task_shift=shift, noise_std=1e-6), trials=16, seed=1, sampler="sufficient")
    assert np.array_equal(np.flatnonzero(np.isnan(curve.risk)), np.arange(2, 20))
    assert np.array_equal(np.isnan(curve.difference), np.isnan(curve.risk))
    for name in ("risk", "stderr", "difference", "difference_stderr"):
        np.testing.assert_allclose(
            1e26 * getattr(curve, name)[[1, 20]], 1e12 * getattr(known, name)[[1, 20]], rtol=1e-3
        )
    np.testing.assert_allclose(1e26 * curve.fft_risk, 1e12 * known.fft_risk, rtol=1e-3)
    (note,) = curve.notes
    assert note.startswith("noise_std: expected 0, or at least ")
    assert "for rank 2..19, received 1e-13: beside this shift" in note
    risks = draw_risks(planted(dy=dy, task_shift=shift), trials=16, seed=1).lora
    assert np.array_equal(np.isnan(risks).all(axis=0), np.isnan(curve.risk))


def test_a_risk_that_is_rounding_is_refused():
    curve = monte_carlo(planted(noise_std=1e-17), trials=16, seed=1)
    assert np.all(np.isnan(curve.risk[1:20]))
    np.testing.assert_allclose(1e34 * curve.fft_risk, 400 / 19, rtol=0.2)  # 1/sqrt(16) of the law of Tr S^-1


@pytest.mark.parametrize(
    "changes",
    [{"noise_std": 0.0}, {"n": 10}, {"n": 10, "input_covariance": np.geomspace(1, 0.1, 20)}, {"ridge": 1.0}],
    ids=["no noise", "n < dx", "n < dx, anisotropic", "ridge"],
)
def test_nothing_is_lost_without_noise_or_beside_a_bias(changes):
    curve = monte_carlo(planted(**changes), trials=16, seed=1)
    assert np.all(np.isfinite(curve.risk))
    assert not curve.notes


@pytest.mark.parametrize("dy", [20, 40])
def test_gram_matrices_are_as_good_as_singular_value_decompositions_where_they_are_used(dy, monkeypatch):
    """Just inside the limit: a turn of at most 1e-2 would change risks by 1e-4 of themselves."""
    problem = planted(dy=dy, task_shift=np.pad(PLANTED, ((0, dy - 20), (0, 0))), noise_std=1e-6)
    assert squared_is_safe(problem)
    assert not squared_is_safe(problem.replace(noise_std=1e-7))
    curves = []
    for squared in (True, False):
        monkeypatch.setattr(plan, "squared_is_safe", lambda _, chosen=squared: chosen)
        curves.append(monte_carlo(problem, trials=64, seed=1, sampler="sufficient"))
    np.testing.assert_allclose(curves[0].risk, curves[1].risk, rtol=1e-4)


def test_usual_problems_are_far_from_the_limit():
    """Up to 10000 samples and down to sigma = 0.01: Gram matrices serve, as they always did."""
    for n, std, d, scale in itertools.product((10, 100, 10_000), (0.01, 1.0), (4, 20, 60), (0.1, 10.0)):
        assert squared_is_safe(Problem(n=n, dx=d, dy=d, spectrum=(scale,) * 3, noise_std=std))


def test_the_ratio_does_not_depend_on_units():
    problem = planted(noise_std=0.5, n=50)
    other = problem.replace(task_shift=PLANTED / 1e6, input_covariance=np.full(20, 1e12))
    assert noise_to_signal(other) == pytest.approx(noise_to_signal(problem), rel=1e-12)
    assert noise_to_signal(problem) == pytest.approx(0.5 * np.sqrt(20 / 50), rel=1e-12)
    assert noise_to_signal(problem.replace(task_shift=np.zeros((20, 20)))) == np.inf
