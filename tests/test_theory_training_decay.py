"""Decay on the factors: descent on them, the certificate, its limits, and the risk in whitened designs."""

import math

import numpy as np
import pytest
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.training import best_decay, decay_risk, decayed_update, drawn_decay_risk, whitened_decay_risk
from linreg_lora.theory.training.decay import certificate_gap, objective
from linreg_lora.theory.training.whitened import directions


def moments(n, dx, dy, seed, spread=1.0):
    rng = np.random.default_rng(seed)
    x = np.linspace(1, spread, dx)[:, None] * rng.standard_normal((dx, n))
    delta = np.zeros((dy, dx))
    delta[[0, 1], [0, 1]] = 3.0, 2.0
    return x @ x.T / n, (delta @ x + 0.5 * rng.standard_normal((dy, n))) @ x.T / n


def descended(s, h, lam, g, rank, steps=6000):
    """Descent on (1/2n) ||R - g B A X||^2 + (lam/2)(||A||^2 + ||B||^2), from B = 0, in plain NumPy."""
    rng = np.random.default_rng(0)
    b, a = np.zeros((len(h), rank)), rng.standard_normal((rank, h.shape[1])) / math.sqrt(h.shape[1])
    rate = 0.3 / (g * np.linalg.norm(h, 2) / math.sqrt(np.linalg.eigvalsh(s)[-1]) * math.sqrt(np.linalg.norm(s, 2)))
    for _ in range(steps):
        slope = (g * b @ a @ s - h) * g
        b, a = b - rate * (slope @ a.T + lam * b), a - rate * (b.T @ slope + lam * a)
    return g * b @ a


@pytest.mark.parametrize(("n", "spread"), [(40, 1.0), (40, 0.3), (5, 0.3)])
def test_descent_on_factors_with_decay_ends_there(n, spread):
    """n > dx and n < dx, any S: mu = lam / g, certified; lam itself is rejected."""
    s, h = moments(n, 8, 6, seed=1, spread=spread)
    lam, g = 0.6, 2.0
    found = decayed_update(s, h, lam, g)
    assert found.certified
    assert found.gap <= 1e-11
    assert found.penalty == 0.3
    trained = descended(s, h, lam, g, found.rank + 1)
    scale = np.linalg.norm(found.update)
    assert np.linalg.norm(trained - found.update) < 1e-7 * scale
    assert np.linalg.norm(trained - decayed_update(s, h, lam).update) > 0.05 * scale
    # The soft-thresholded fit is another matrix unless S is a multiple of the identity.
    u, f, v = np.linalg.svd(h @ np.linalg.pinv(s), full_matrices=False)
    soft = (u * np.maximum(f - 0.3 / np.mean(np.diag(s)), 0)) @ v
    assert np.linalg.norm(trained - soft) > 0.05 * scale


def test_whitened_designs_are_soft_thresholded_at_every_rank():
    c, h = 0.5, moments(40, 8, 6, seed=2)[1]
    u, f, v = np.linalg.svd(h / c, full_matrices=False)
    for rank in (1, 2, None):
        found = decayed_update(c * np.eye(8), h, 0.4, 2.0, rank)
        kept = np.maximum(f - 0.2 / c, 0)[:rank]
        assert found.update == pytest.approx((u[:, : len(kept)] * kept) @ v[: len(kept)], abs=1e-13)
        assert found.certified
    trained = descended(c * np.eye(8), h, 0.4, 2.0, 1)
    assert trained == pytest.approx(decayed_update(c * np.eye(8), h, 0.4, 2.0, 1).update, abs=1e-8)
    # The path of matrices that are nearly c I ends at it.
    near = decayed_update(c * np.eye(8) + np.diag(np.linspace(0, 1e-9, 8)), h, 0.4, 2.0)
    assert near.update == pytest.approx(decayed_update(c * np.eye(8), h, 0.4, 2.0).update, abs=1e-7)


def test_below_the_nuclear_rank_nothing_certifies():
    s, h = moments(40, 8, 6, seed=3, spread=0.3)
    free = decayed_update(s, h, 0.2)
    limited = decayed_update(s, h, 0.2, rank=1)
    assert free.rank == limited.free_rank > 1
    assert limited.rank == 1
    assert not limited.certified
    assert limited.gap > 0.01
    assert objective(limited.update, s, h, 0.2) > objective(free.update, s, h, 0.2)
    # Stationary for descent, and not undercut from other starts.
    trained = descended(s, h, 0.2, 1.0, 1)
    assert trained == pytest.approx(limited.update, abs=1e-6)


def test_the_certificate_is_a_lower_bound():
    """Convexity: no matrix has a smaller objective than a certified one; others fail the certificate."""
    s, h = moments(5, 8, 6, seed=4)
    found, rng = decayed_update(s, h, 0.3), np.random.default_rng(5)
    least = objective(found.update, s, h, 0.3)
    for size in (1e-4, 1e-2, 1.0):
        other = found.update + size * rng.standard_normal((6, 8))
        assert objective(other, s, h, 0.3) > least
        assert certificate_gap(other, s, h, 0.3) > size / 100
    zero = decayed_update(s, h, 1.01 * np.linalg.norm(h, 2))
    assert zero.rank == 0
    assert zero.certified


WHITE = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)


@pytest.mark.parametrize(("sigma", "penalty", "rank"), [(1.0, 0.3, None), (1.0, 1.0, 5), (4.0, 2.0, None)])
def test_the_risk_in_orthogonal_designs(sigma, penalty, rank):
    """S = I / 2: soft-thresholded noisy matrices in NumPy; 3 % plus z standard errors."""
    problem = WHITE.replace(noise_std=sigma / math.sqrt(2), input_covariance=np.full(100, 0.5))
    found = whitened_decay_risk(problem, penalty / 2, rank, orthogonal=True)
    assert (found.error, found.flagged) == (0.0, sigma == 4.0)
    risk = found.risk
    rng, risks = np.random.default_rng(6), []
    for _ in range(24):
        u, f, v = np.linalg.svd(WHITE.shift + sigma / 20 * rng.standard_normal((80, 100)), full_matrices=False)
        kept = np.maximum(f - penalty, 0)[:rank]
        risks.append(np.sum(((u[:, : len(kept)] * kept) @ v[: len(kept)] - WHITE.shift) ** 2) / 2)
    assert abs(np.mean(risks) - risk) <= 0.03 * risk + critical_z(3) * np.std(risks) / math.sqrt(24)


def test_the_shift_is_shared_out_among_alldirections():
    """Sum f w = s, seen or not; the sum of squares is that of shift and noise, but for what the bulk hides of s^2."""
    for spectrum in ((3.0, 2.0, 1.5), (3.0, 0.4), (0.2,)):
        values, overlaps = directions(WHITE.replace(spectrum=spectrum))
        energy = float(np.sum(np.square(spectrum)))
        assert values @ overlaps == pytest.approx(energy, rel=2e-3)
        hidden = sum(s**2 for s in spectrum if s < 0.48)
        assert values @ values == pytest.approx(energy - hidden + 20, rel=4e-3)


def test_the_best_decay():
    found = best_decay(WHITE, orthogonal=True)
    assert found.risk == pytest.approx(2.14, abs=0.005)
    assert not found.flagged
    assert best_decay(WHITE) == (*found[:2], True)
    for factor in (0.97, 1.03):
        assert whitened_decay_risk(WHITE, factor * found.penalty).risk > found.risk
    assert whitened_decay_risk(WHITE, 1e3).risk == WHITE.pretrained_risk


GAUSSIAN = ll.Problem(n=80, dx=24, dy=16, spectrum=(3.0, 2.0), noise_std=1.0)


def decayed_risks(problem, penalty, draws, seed, steps=150):
    """Proximal gradients on Gaussian data, all drawn at once, in plain NumPy: far closer than their spread."""
    rng, root = np.random.default_rng(seed), problem.sigma_sqrt
    x = root @ rng.standard_normal((draws, problem.dx, problem.n))
    residual = problem.shift @ x + problem.noise_std * rng.standard_normal((draws, problem.dy, problem.n))
    s, h = x @ x.mT / problem.n, residual @ x.mT / problem.n
    step = 1 / np.linalg.eigvalsh(s)[:, -1:, None]
    d = ahead = np.zeros_like(h)
    for k in range(steps):
        u, f, v = np.linalg.svd(ahead - step * (ahead @ s - h), full_matrices=False)
        new = (u * np.maximum(f[:, None, :] - step * penalty, 0)) @ v
        ahead = new + k / (k + 3) * (new - d)
        d = new
    return np.sum(((d - problem.shift) @ root) ** 2, axis=(1, 2))


def test_gaussian_designs_are_flagged_with_an_error_that_covers():
    """The limit is 20 % below 40 draws, and z errors; mu = 0 is full fine-tuning, and draws agree at level 1e-6."""
    risks = decayed_risks(GAUSSIAN, 0.5, 40, seed=7)
    mean, stderr = risks.mean(), risks.std(ddof=1) / math.sqrt(40)
    found = whitened_decay_risk(GAUSSIAN.replace(spectrum=(3.0, 2.0)), 0.5)
    assert found.flagged
    assert found.risk < 0.85 * mean
    assert mean - found.risk <= found.error * found.risk
    drawn = drawn_decay_risk(GAUSSIAN, 0.5, draws=40, seed=1)
    assert abs(drawn.risk - mean) <= critical_z(1) * math.hypot(stderr, drawn.stderr)
    near = GAUSSIAN.replace(n=26)
    assert whitened_decay_risk(near, 0.0) == (fft_risk(near).risk, 0.0, False)
    assert whitened_decay_risk(near, 0.0, orthogonal=True).risk == pytest.approx(24 * 16 / 26)
    assert whitened_decay_risk(near, 0.1).error == math.inf
    assert drawn_decay_risk(near, 0.0) == (fft_risk(near).risk, 0.0)


def test_the_growth_of_noise_is_the_mean_of_squared_inverses():
    """A single input: the inverse of a chi-squared variable, squared; several: Wishart draws, at level 1e-6."""
    assert decay_risk._growth(20, 1) == pytest.approx(20**2 / (18 * 16), rel=1e-14)
    x = np.random.default_rng(3).standard_normal((4000, 6, 40))
    found = np.trace(np.linalg.inv(x @ x.mT / 40) @ np.linalg.inv(x @ x.mT / 40), axis1=1, axis2=2) / 6
    assert abs(found.mean() - decay_risk._growth(40, 6)) <= critical_z(1) * found.std(ddof=1) / math.sqrt(4000)
    assert decay_risk._growth(9, 6) == math.inf


@pytest.mark.heavy
@pytest.mark.parametrize(("n", "penalty"), [(400, 0.3), (60, 0.1), (16, 0.5)])
def test_drawn_risks_agree_with_another_solver(n, penalty):
    """Any Sigma, n < dx too, at level 1e-6 over three."""
    problem = GAUSSIAN.replace(n=n, input_covariance=np.linspace(2.0, 0.5, 24))
    risks = decayed_risks(problem, penalty, 40, seed=8, steps=800)
    found = drawn_decay_risk(problem, penalty, draws=40, seed=2)
    stderr = math.hypot(risks.std(ddof=1) / math.sqrt(40), found.stderr)
    assert abs(risks.mean() - found.risk) <= critical_z(3) * stderr


def test_directions_near_the_threshold_or_many_are_flagged():
    """At the threshold, decay small, one rank: 10 % above 400 orthogonal draws in NumPy and z errors."""
    problem, rng = ll.Problem(n=400, dx=40, dy=24, spectrum=(960**0.25 / 20,), noise_std=1.0), np.random.default_rng(9)
    found = whitened_decay_risk(problem, 0.08, 1, orthogonal=True)
    assert found.flagged
    u, f, v = np.linalg.svd(problem.shift + rng.standard_normal((400, 24, 40)) / 20, full_matrices=False)
    one = np.maximum(f[:, :1, None] - 0.08, 0) * u[:, :, :1] @ v[:, :1]
    risks = np.sum((one - problem.shift) ** 2, axis=(1, 2))
    assert found.risk - risks.mean() > 0.1 * risks.mean() + critical_z(1) * risks.std() / 20
    assert whitened_decay_risk(problem.replace(spectrum=(3.0, 2.0)), 0.08, orthogonal=True).flagged
    assert not whitened_decay_risk(problem.replace(spectrum=(3.0,)), 0.08, orthogonal=True).flagged


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: decayed_update(np.eye(3), np.eye(3), 0.0), "decay: expected a number > 0"),
        (lambda: decayed_update(np.eye(3), np.eye(3), 1.0, 0.0), "scale: expected a number > 0"),
        (lambda: decayed_update(np.eye(3), np.eye(2), 1.0), "cross_moment: expected a dy x 3 matrix"),
        (lambda: decayed_update(np.ones(3), np.eye(3), 1.0), "second_moment: expected a dx x dx matrix"),
        (lambda: decayed_update(-np.eye(3), np.eye(3), 1.0), "second_moment: expected"),
        (lambda: decayed_update(np.eye(3), np.eye(3), 1.0, rank=0), "rank: expected an integer >= 1"),
        (lambda: drawn_decay_risk(WHITE, 1.0, draws=1), "draws: expected 2 to 10000"),
        (lambda: drawn_decay_risk(WHITE.replace(ridge=1.0), 1.0), "ridge: expected 0 where factors decay"),
        (lambda: whitened_decay_risk(WHITE.replace(n=60), 1.0), "problem: expected Sigma = c I and n > dx"),
        (lambda: whitened_decay_risk(WHITE.replace(spectrum=(1.0,) * 20), 1.0), "at most min"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()
