"""The bias of LoRA in risk-vs-rank: unbiased with few draws, and that of the whole matrices by an independent route."""

import numpy as np
import pytest
from comparisons import assert_means_agree, critical_z

from linreg_lora.figures import risk_vs_rank

DIMENSION, SHIFT_RANK = 20, 3
#: Draws of one estimate, and estimates: so few draws that the noise of the mean is a large part of its square.
FEW, GROUPS = 4, 500
PAIRS = 1000


@pytest.fixture(scope="module", params=(4, 36))
def problem(request):
    """One n on each side of dx, with |n - dx| = 16: the risk has 8 moments, so that z is nearly normal."""
    return risk_vs_rank.setting(request.param, DIMENSION, SHIFT_RANK)


@pytest.fixture(scope="module")
def drawn(problem):
    return risk_vs_rank._draws(problem, FEW * GROUPS, 1, "auto")


def estimates(problem, drawn, monkeypatch):
    """`decompose` on each group of `FEW` draws: its bias, and the squared bias of the sample mean."""
    found = []
    for risks, diagonals in zip(*(np.split(values, GROUPS) for values in drawn), strict=True):
        monkeypatch.setattr(risk_vs_rank, "_draws", lambda *_, pair=(risks, diagonals): pair)
        found.append(risk_vs_rank.decompose(problem, FEW, 0).bias)
    means = np.mean(np.reshape(drawn[1], (GROUPS, FEW, *drawn[1].shape[1:])), axis=1)
    return np.array(found), np.sum((means - np.asarray(problem.spectrum)) ** 2, axis=-1)


def bias_of_pairs(problem, rank):
    """<D - Delta, D' - Delta> of `PAIRS` independent pairs of data sets: unbiased, by NumPy, all entries of D_r.

    D_r truncates the fit D_FFT X and applies X^+: Proposition 2 of arXiv 2605.19018, not the code of `estimators`.
    """
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, PAIRS, problem.dx, problem.n))
    inverse = np.linalg.pinv(x)
    y = problem.shift @ x + problem.noise_std * rng.standard_normal((2, PAIRS, problem.dy, problem.n))
    u, values, vt = np.linalg.svd(y @ inverse @ x, full_matrices=False)
    update = (u[..., :rank] * values[..., None, :rank]) @ vt[..., :rank, :] @ inverse
    first, second = update - problem.shift
    return np.sum(first * second, axis=(-2, -1))


def mean_and_stderr(values):
    return np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


def test_bias_of_full_fine_tuning_is_exact_with_few_draws_and_the_naive_one_is_rejected(problem, drawn, monkeypatch):
    """E D_FFT = min(1, n/dx) Delta. Level 1e-6.

    The rival, the squared bias of a sample mean, is too large. It is rejected above dx, where the bias is 0; below, the
    estimates of a bias that is not small spread too far for that.
    """
    found, naive = (mean_and_stderr(values[:, -1]) for values in estimates(problem, drawn, monkeypatch))
    exact = (1 - min(1, problem.n / problem.dx)) ** 2 * problem.pretrained_risk
    assert_means_agree(*found, exact, 0.0)
    if problem.n > problem.dx:
        assert naive[0] - exact > critical_z(1) * naive[1]


def test_bias_at_rank_one_is_that_of_whole_matrices(problem, drawn, monkeypatch):
    """Diagonal entries alone carry it: the rest of E D_r is zero by symmetry. Level 1e-6."""
    found = mean_and_stderr(estimates(problem, drawn, monkeypatch)[0][:, 1])
    assert_means_agree(*found, *mean_and_stderr(bias_of_pairs(problem, 1)))
