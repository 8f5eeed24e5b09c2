"""Claims about other methods, depth and forgetting: the statements behind them."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import ks_2samp

from linreg_lora import Problem
from linreg_lora.claims import registry
from linreg_lora.claims.library import asymptotics
from linreg_lora.claims.library.depth import NetworkSize
from linreg_lora.claims.papers.linreg_lora import sums
from linreg_lora.claims.registry import Sample
from linreg_lora.errors import InvalidInput
from linreg_lora.methods.adapter import SerialAdapter


def test_the_capacity_bound_is_attained():
    """A third of the networks reach it to rounding, so that no smaller bound passes."""
    size = NetworkSize(4, 3)
    sample = registry.experiment("network-gap").run(size, 300, 0, lipschitz=2.0)
    bound = registry.prediction("network-gap.bound").value(size, sample)
    assert np.mean(sample.statistic > (1 - 1e-12) * bound) == pytest.approx(1 / 3)
    assert np.median(sample.statistic / bound) < 0.9


def test_lora_can_diverge_more_where_outputs_differ_in_noise():
    """By hand: F = (2, 1)^T with output 1 very noisy. Projecting on (1, 1)/sqrt(2) moves output 2 by 3/2, not by 1.

    So forgetting in the metric of the noise needs LoRA's directions to be of that metric.
    """
    update, direction, quiet = np.array([2.0, 1.0]), np.ones(2) / np.sqrt(2), np.diag([1e-3, 1.0])
    projected = direction * (direction @ update)
    assert np.linalg.norm(projected) < np.linalg.norm(update)
    assert np.linalg.norm(quiet @ projected) > 1.4 * np.linalg.norm(quiet @ update)


def test_the_floor_of_an_adapter_is_what_its_reduction_loses():
    """By projection, by the reduced problem, and by the risk of the best adapter, which attains it."""
    rng = np.random.default_rng(4)
    problem = Problem(
        n=40, dx=6, dy=4, task_shift=rng.standard_normal((4, 6)), noise_std=1.0, pretrained=rng.standard_normal((4, 6)),
        input_covariance=np.diag(np.arange(1.0, 7)),
    )  # fmt: skip
    floor = registry.prediction("adapter-risk.what-outputs-do-not-tell").value(problem, Sample(np.empty(0)))
    assert floor == pytest.approx(SerialAdapter(None).reduce(problem).constant, rel=1e-12)
    seen = problem.pretrained @ problem.sigma
    best = problem.shift @ seen.T @ np.linalg.inv(seen @ problem.pretrained.T) @ problem.pretrained
    assert floor == pytest.approx(np.sum(((best - problem.shift) @ problem.sigma_sqrt) ** 2), rel=1e-12)


def test_the_best_weights_of_a_sum_are_a_minimum():
    """The closed form against risks at weights around their minimum, which `scipy` finds."""
    problem = Problem(n=40, dx=6, dy=4, spectrum=(3.0, 2.0), noise_std=6.0, input_covariance=np.arange(1.0, 7))
    least = minimize(lambda weights: sums._of_weights(problem, weights), np.zeros(2)).fun
    closed = registry.prediction("best-sum.shrunk").value(problem, Sample(np.empty(0)))
    assert closed == pytest.approx(least, rel=1e-9)
    assert registry.prediction("best-sum.mean-of-updates").value(problem, Sample(np.empty(0))) > 1.01 * closed


def test_one_rank_more_can_return_more_than_the_next_singular_value():
    """By hand: Delta = diag(2, 1), no noise, and inputs that happen to be correlated: rank 1 leaves more than s_2^2."""
    delta, root = np.diag([2.0, 1.0]), np.array([[1.0, 0.4], [0.4, 1.0]])
    direction = np.linalg.svd(delta @ root)[0][:, :1]
    left = np.linalg.norm(direction @ (direction.T @ delta) - delta) ** 2
    assert 1.001 < left < 2


@pytest.mark.parametrize(("n", "dx", "condition"), [(18, 6, 9.0), (6, 18, 1.0)], ids=["n > dx, any Sigma", "n < dx"])
def test_largest_inverse_eigenvalues_have_the_law_of_explicit_data(n, dx, condition):
    """lmax(Sigma S_hat^+) from X itself, two samples of 3000 (Kolmogorov and Smirnov), level 1e-6 each; the
    same test rejects a sample less.
    """
    trials, variances = 3000, np.geomspace(condition, 1, dx)
    rng, explicit = np.random.default_rng(5), np.empty(3000)
    for i in range(trials):
        x = np.sqrt(variances)[:, None] * rng.standard_normal((dx, n))
        explicit[i] = np.max(np.linalg.eigvals(variances[:, None] * np.linalg.pinv(x @ x.T / n)).real)
    problem = Problem(n=n, dx=dx, dy=2, spectrum=(1.0,), noise_std=1.0, input_covariance=variances)
    found = asymptotics.largest_inverse_eigenvalue(problem, trials, 0).statistic[:, 0]
    assert ks_2samp(found, explicit).pvalue > 1e-6
    wrong = n / asymptotics._least_wishart_eigenvalue(min(n, dx), max(n, dx) - 1, trials, 0)
    assert ks_2samp(wrong, explicit).pvalue < 1e-6


@pytest.mark.parametrize("step", [-1.0, 0.0, 1.0, 1e6])
def test_steps_for_which_descent_does_not_converge_are_refused(step):
    problem = Problem(n=5, dx=3, dy=2, spectrum=(1.0,), noise_std=1.0)
    with pytest.raises(InvalidInput, match=r"relative_step: expected a number in \(0, 1\)"):
        registry.experiment("gradient-descent").run(problem, 8, 0, steps=10, relative_step=step)
