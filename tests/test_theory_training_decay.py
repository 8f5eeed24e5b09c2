"""Decay on the factors: descent on them, the certificate, its limits, and the risk in whitened designs."""

import math

import numpy as np
import pytest
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.training import best_decay, decayed_update, whitened_decay_risk
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
    risk = whitened_decay_risk(problem, penalty / 2, rank)
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
    found = best_decay(WHITE)
    assert found.risk == pytest.approx(2.14, abs=0.005)
    for factor in (0.97, 1.03):
        assert whitened_decay_risk(WHITE, factor * found.penalty) > found.risk
    assert whitened_decay_risk(WHITE, 1e3) == WHITE.pretrained_risk


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: decayed_update(np.eye(3), np.eye(3), 0.0), "decay: expected a number > 0"),
        (lambda: decayed_update(np.eye(3), np.eye(3), 1.0, 0.0), "scale: expected a number > 0"),
        (lambda: decayed_update(np.eye(3), np.eye(2), 1.0), "cross_moment: expected a dy x 3 matrix"),
        (lambda: decayed_update(np.ones(3), np.eye(3), 1.0), "second_moment: expected a dx x dx matrix"),
        (lambda: decayed_update(-np.eye(3), np.eye(3), 1.0), "second_moment: expected"),
        (lambda: decayed_update(np.eye(3), np.eye(3), 1.0, rank=0), "rank: expected an integer >= 1"),
        (lambda: whitened_decay_risk(WHITE.replace(n=60), 1.0), "problem: expected Sigma = c I and n > dx"),
        (lambda: whitened_decay_risk(WHITE.replace(spectrum=(1.0,) * 20), 1.0), "at most min"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()
