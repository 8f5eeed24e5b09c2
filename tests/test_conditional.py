"""Conditional means: LoRA's directions drawn, the rest of the data averaged in closed form."""

import functools

import jax
import numpy as np
import pytest
import scipy.stats
from comparisons import LEVEL, assert_means_agree, critical_z
from test_sampling import GENERAL_SHIFT, PROBLEMS

from linreg_lora import monte_carlo
from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import lora
from linreg_lora.problem import Moments, Problem
from linreg_lora.sampling import directions
from linreg_lora.simulation import leading, programs
from linreg_lora.simulation.conditional import conditional_risks
from linreg_lora.theory.fft import fft_risk

RIDGELESS = [name for name, problem in PROBLEMS.items() if problem.ridge == 0]
TRIALS = 4096
MANY_RANKS = Problem(n=100, dx=70, dy=64, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)


@pytest.mark.parametrize("name", RIDGELESS)
def test_means_are_those_of_explicit_data(name):
    """Every rank, FFT and paired differences; false-alarm level LEVEL a problem.

    Power 0.99 against an error of (z + 2.33) joint standard errors, 1 to 6 % of the risk here.
    """
    problem = PROBLEMS[name]
    explicit = monte_carlo(problem, trials=TRIALS, seed=1, sampler="explicit")
    conditional = monte_carlo(problem, trials=TRIALS, seed=2, sampler="conditional")
    tests = 2 * len(explicit.ranks)
    for mean in ("risk", "difference"):
        first, second = (getattr(curve, mean)[1:-1] for curve in (explicit, conditional))
        spreads = [
            getattr(curve, "stderr" if mean == "risk" else "difference_stderr")[1:-1]
            for curve in (explicit, conditional)
        ]
        assert_means_agree(first, spreads[0], second, spreads[1], tests)
    assert_means_agree(conditional.fft_risk, conditional.fft_stderr, fft_risk(problem).risk, 0.0, tests)
    if abs(problem.distance_from_threshold) > 10:  # where standard errors are known to some sqrt((9 - 1) / 4 TRIALS)
        assert np.all(conditional.stderr[1:] < (1 + critical_z(tests) * np.sqrt(4 / TRIALS)) * explicit.stderr[1:])


@functools.partial(jax.jit, static_argnums=(0, 3))
def drawn(shapes, numbers, key, count):
    return jax.vmap(lambda k: directions.draw(shapes, numbers, k))(jax.random.split(key, count))


@pytest.mark.parametrize(
    ("n", "dx", "dy"), [(40, 9, 12), (40, 30, 7), (8, 50, 7), (7, 50, 8)], ids=["k > dy", "k >> dy", "n < dx", "n < dy"]
)
def test_the_band_has_the_singular_values_of_a_dense_matrix(n, dx, dy):
    """Largest, median and smallest singular values of B against dense normals in NumPy, by Kolmogorov and Smirnov.

    False-alarm level LEVEL; power against a Kolmogorov distance above 0.11.
    """
    problem = Problem(n=n, dx=dx, dy=dy, spectrum=(2.0,), noise_std=1.5)
    draws = drawn(*directions.plan(problem), jax.random.key(1), TRIALS)
    rng, k, w = np.random.default_rng(2), min(n, dx), draws.signal.shape[2]
    dense = 1.5 * rng.standard_normal((TRIALS, dy, k))
    dense[:, :w, :w] += np.asarray(draws.signal)[:, :w, :w][rng.permutation(TRIALS)]
    banded = np.linalg.svd(np.asarray(draws.whitened), compute_uv=False)
    values = np.linalg.svd(dense, compute_uv=False)
    for place in (0, min(dy, k) // 2, min(dy, k) - 1):
        assert scipy.stats.ks_2samp(banded[:, place], values[:, place]).pvalue > LEVEL / 3


@pytest.mark.heavy
@pytest.mark.parametrize(("n", "dx"), [(19, 10), (10, 21)], ids=["n > dx", "n < dx"])
def test_the_closed_form_is_the_mean_over_the_rest_of_the_data(n, dx):
    """Given one draw of LoRA's directions the other inputs are drawn in NumPy and D_r comes from a pseudoinverse.

    False-alarm level LEVEL a case; power 0.99 against an error of 7.5 standard errors, some 4 % of the risk.
    """
    problem = Problem(n=n, dx=dx, dy=5, spectrum=(2.0, 1.0), noise_std=1.5)
    shapes, numbers = directions.plan(problem)
    numbers = jax.tree.map(jax.numpy.asarray, numbers)
    one = directions.draw(shapes, numbers, jax.random.key(5))
    k, w = min(n, dx), shapes.width
    whitened = np.asarray(one.whitened)
    whitened = np.pad(whitened, ((0, 0), (0, k - whitened.shape[1])))  # columns the band does not reach
    basis = np.linalg.svd(whitened)[0]
    predicted = conditional_risks(jax.numpy.asarray(basis), one, numbers)

    rng, samples = np.random.default_rng(3), 20_000
    design = np.zeros((samples, dx, k))
    design[:, :w, :w] = one.triangle
    if n >= dx:  # the rows of X in coordinates of its row space; beyond L any root whose law no rotation changes
        design[:, w:, :w] = rng.standard_normal((samples, dx - w, w))
        left, values, _ = np.linalg.svd(rng.standard_normal((samples, dx - w, n - w)), full_matrices=False)
        design[:, w:, w:] = (left * values[:, None]) @ left.mT
    else:  # C C^T is what the first w columns of the rest keep outside the span of the others
        others = rng.standard_normal((samples, dx - w, k - w))
        q = np.linalg.qr(others, mode="complete")[0]
        design[:, w:, w:] = others
        design[:, w:, :w] = q[:, :, : k - w] @ rng.standard_normal((samples, k - w, w))
        design[:, w:, :w] += q[:, :, k - w : k] @ np.asarray(one.unseen).T
    update = whitened @ np.linalg.pinv(design)
    shift = np.zeros((5, dx))
    shift[:, :w] = numbers.seen
    for rank in range(6):
        leading_part = basis[:, :rank] @ basis[:, :rank].T
        risks = np.sum((leading_part @ update - shift) ** 2, axis=(1, 2))
        if rank == 0:
            np.testing.assert_allclose(predicted.lora[0], risks[0], rtol=1e-12)
        else:
            stderr = risks.std() / np.sqrt(samples)
            assert_means_agree(predicted.lora[rank], 0.0, risks.mean(), stderr, 5)
    np.testing.assert_allclose(predicted.fft, predicted.lora[-1], rtol=1e-12)


@pytest.mark.parametrize("n", [9, 10, 14, 15])
def test_standard_errors_exist_closer_to_the_threshold_than_those_of_draws(n):
    """Within three samples of dx a draw has no variance, its conditional mean has: z of FFT is that of a known mean.

    The mean over 64 seeds of z^2 has mean 1 if the standard errors are right; level LEVEL by its chi-squared law.
    """
    problem = Problem(n=n, dx=12, dy=9, spectrum=(4.0,), noise_std=1.0)
    exact = fft_risk(problem).risk
    curves = [monte_carlo(problem, trials=512, seed=seed) for seed in range(64)]
    z = np.array([(curve.fft_risk - exact) / curve.fft_stderr for curve in curves])
    assert LEVEL < scipy.stats.chi2.sf(np.sum(z**2), 64) < 1 - LEVEL
    assert curves[0].moments is Moments.NO_VARIANCE
    assert np.all(np.isfinite(curves[0].stderr))
    assert not curves[0].notes


@pytest.mark.heavy
@pytest.mark.parametrize("problem", [MANY_RANKS, MANY_RANKS.replace(n=50, dx=100, dy=80)])
def test_a_few_leading_ranks_are_those_of_the_full_decomposition(problem, monkeypatch):
    """To the accuracy of eigenvectors: rounding over their relative gap, here above 1e-6."""
    few = monte_carlo(problem, trials=64, seed=1, ranks=[1, 2, 4, 8])
    everything = monte_carlo(problem, trials=64, seed=1)
    chosen = everything.at([1, 2, 4, 8])
    for name in ("risk", "stderr", "difference", "difference_stderr"):
        np.testing.assert_allclose(getattr(few, name), getattr(chosen, name), rtol=1e-9)
    monkeypatch.setattr(programs, "_DEFECT", -1.0)
    again = monte_carlo(problem, trials=64, seed=1, ranks=[1, 2, 4, 8])
    assert np.array_equal(again.risk, chosen.risk), "the sure way is the full decomposition"


def test_leading_eigenvectors_report_their_defect():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    solve = jax.jit(leading.leading_eigenvectors, static_argnums=1)
    for values, good in ((np.geomspace(1, 1e-6, 60), True), (np.r_[1.0, 1.0, np.zeros(58)], False)):
        matrix = (basis * values) @ basis.T
        found = solve(jax.numpy.asarray((matrix + matrix.T) / 2), 8)
        assert (found.defect < 1e-9) == good
        if good:
            np.testing.assert_allclose(np.abs(np.asarray(found.vectors).T @ basis[:, :8]), np.eye(8), atol=1e-8)


def test_problems_share_compiled_programs():
    """One program for all n and dx on a side of the threshold, noise levels and spectra of similar rank."""
    changes = [
        {"n": 400},
        {"dx": 75},
        {"noise_std": 0.3},
        {"spectrum": (5.0, 1.0)},
        {"input_covariance": np.arange(1.0, 71)},
    ]
    shapes = directions.plan(MANY_RANKS)[0]
    assert {directions.plan(MANY_RANKS.replace(**change))[0] for change in changes} == {shapes}
    under = MANY_RANKS.replace(n=70, dx=200)
    assert directions.plan(under)[0] == directions.plan(under.replace(n=90, dx=10**6))[0]
    below = [directions.plan(MANY_RANKS.replace(n=n, dx=100))[0].columns for n in (9, 12, 16, 17, 30, 33, 50)]
    assert below == [16, 16, 16, 32, 32, 68, 68]


@pytest.mark.parametrize(
    "change",
    [{"ridge": 1.0}, {"noise_std": 1e-9}, {"n": 20, "input_covariance": np.arange(1.0, 71)}, {"n": 2}],
    ids=["ridge", "tiny noise", "n < dx, anisotropic", "rank(Delta) > n"],
)
def test_where_they_do_not_exist_auto_draws_and_conditional_refuses(change):
    problem = MANY_RANKS.replace(dy=8).replace(**change)
    assert programs.ConditionalMeans.of(problem, 2) is None
    with pytest.raises(InvalidInput, match="sampler: expected auto, sufficient or explicit for this problem"):
        monte_carlo(problem, trials=10, seed=0, sampler="conditional")


def test_a_general_shift_in_general_noise_keeps_its_directions():
    """Conditional means at rank 1 against whole draws; |z| at level LEVEL."""
    problem = Problem(
        n=30, dx=9, dy=6, task_shift=GENERAL_SHIFT, noise_std=2.0, noise_covariance=np.geomspace(9, 1, 6),
        input_covariance=np.full(9, 2.5),
    )  # fmt: skip
    curves = [monte_carlo(problem, trials=TRIALS, seed=3, sampler=name) for name in ("conditional", "sufficient")]
    z = (curves[0].risk - curves[1].risk)[1:-1] / np.hypot(curves[0].stderr, curves[1].stderr)[1:-1]
    assert np.max(np.abs(z)) < critical_z(len(z))


def test_left_singular_vectors_agree_from_either_gram_matrix():
    matrix = np.random.default_rng(4).standard_normal((60, 50))
    for m in (matrix, matrix.T):
        few = leading.left_singular_basis(jax.numpy.asarray(m), 4).vectors
        full = lora.left_singular_basis(jax.numpy.asarray(m), 50, squared=True)[:, :4]
        np.testing.assert_allclose(np.abs(few.T @ full), np.eye(4), atol=1e-10)


def test_chi_variables_have_their_law():
    """Kolmogorov and Smirnov at level LEVEL over all degrees of freedom; power against a distance above 0.02."""
    dof = np.array([1.0, 2, 3, 4, 10, 97, 1e7])
    keys = jax.random.split(jax.random.key(8), 32_768)
    sample = np.asarray(jax.jit(jax.vmap(lambda key: directions._chi(key, jax.numpy.asarray(dof))))(keys))
    for column, k in zip(sample.T, dof, strict=True):
        assert scipy.stats.kstest(column, scipy.stats.chi(k).cdf).pvalue > LEVEL / len(dof)
    assert not np.any(directions._chi(keys[0], jax.numpy.asarray([0.0, -1.0, -7.0])))
