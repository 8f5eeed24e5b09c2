"""Intruder dimensions and the exchange of learning for forgetting: thresholds, simulated spectra, identities."""

import math

import numpy as np
import pytest
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.spiked import spikes
from linreg_lora.theory.training import (
    count_intruders,
    fft_cosine,
    fft_intruders,
    intruders,
    lora_cosine,
    lora_intruders,
    risk_at_forgetting,
    update_cosine,
)
from linreg_lora.theory.training.intruder_counts import bulk_edge

DX, DY = 200, 150
TAU = DX**-0.5


def spiked(strength, rng):
    """A0 of iid entries, and an update of one direction of its own."""
    a0 = TAU * rng.standard_normal((DY, DX))
    u, v = (x / np.linalg.norm(x) for x in (rng.standard_normal(DY), rng.standard_normal(DX)))
    return a0, strength * np.outer(u, v), u


def test_the_threshold_is_that_of_a_spike():
    found = intruders([0.94, 0.93], DX, DY, TAU)
    assert found.threshold == pytest.approx(0.931, abs=5e-4)
    assert found.outlier.tolist() == [True, False]
    assert found.singular_value[1] == pytest.approx(TAU * (math.sqrt(DX) + math.sqrt(DY)))
    assert found.singular_value[0] == pytest.approx(found.singular_value[1], rel=1e-3)
    flags = [bool(intruders([s], DX, DY, TAU).flagged[0]) for s in (0.7, 0.75, 1.3, 1.4)]
    assert flags == [False, True, True, False]


@pytest.mark.parametrize(("share", "there"), [(0.7, 0), (1.6, 1), (2.2, 1)])
def test_simulated_maps_have_the_outliers(share, there):
    """6 draws, all or none; cosines near 0.5 at 1.6. Top values within 2 %, overlaps within 0.06, some 2/d^{2/3}."""
    rng = np.random.default_rng(1)
    strength = share * TAU * (DX * DY) ** 0.25
    law = intruders([strength], DX, DY, TAU)
    assert bool(law.outlier[0]) == bool(there)
    tops, overlaps = [], []
    for _ in range(6):
        a0, update, u = spiked(strength, rng)
        found = count_intruders(a0, update, top=1)
        assert found.by_outlier == there
        assert found.by_cosine == there or share == 1.6
        tops.append(found.singular_values[0])
        overlaps.append(np.dot(np.linalg.svd(a0 + update)[0][:, 0], u) ** 2)
    assert np.mean(tops) == pytest.approx(law.singular_value[0], rel=0.02)
    assert np.mean(overlaps) == pytest.approx(law.overlap[0], abs=0.06)


def test_the_edge_is_passed_by_one_matrix_in_a_hundred():
    """400 matrices of iid entries: at most 18 at level 1e-6, and half of them within 8 % of it, the law's median."""
    rng = np.random.default_rng(2)
    values = np.linalg.svd(rng.standard_normal((400, 40, 60)), compute_uv=False)
    passed = sum(v[0] > bulk_edge(v, 40, 60) for v in values)
    assert passed <= 18
    assert sum(v[0] > 0.92 * bulk_edge(v, 40, 60) for v in values) > 200


def test_noise_on_all_entries_fires_the_cosine_and_no_outlier():
    rng = np.random.default_rng(3)
    a0 = rng.standard_normal((DY, DX))
    found = count_intruders(a0, 1.4 * rng.standard_normal((DY, DX)), top=10)
    assert found.by_cosine >= 8
    assert found.by_outlier == 0
    none = count_intruders(a0, np.zeros((DY, DX)))
    assert (none.by_cosine, none.by_outlier) == (0, 0)
    assert none.cosines == pytest.approx(1.0)


def test_lora_has_an_outlier_whenever_full_fine_tuning_has():
    """And alone in a window: strengths on a grid, several noises; both counted on explicit fits in NumPy."""
    for sigma in (0.5, 2.0, 6.0):
        for s in np.linspace(0.1, 3.0, 30):
            problem = ll.Problem(n=1500, dx=100, dy=80, spectrum=(s,), noise_std=sigma)
            lora, full = lora_intruders(problem, 1, 0.1), fft_intruders(problem, 0.1)
            assert lora.strength[0] >= full.strength[0]
    rng = np.random.default_rng(4)
    problem = ll.Problem(n=1500, dx=100, dy=80, spectrum=(1.2,), noise_std=4.0)
    lora, full = lora_intruders(problem, 1, 0.07), fft_intruders(problem, 0.07)
    assert lora.strength[0] > 1.5
    assert full.strength[0] < 1
    counts = []
    for _ in range(5):
        a0, x = 0.07 * rng.standard_normal((80, 100)), rng.standard_normal((100, 1500))
        d = np.linalg.solve(x @ x.T, x @ (problem.shift @ x + 4 * rng.standard_normal((80, 1500))).T).T
        u, f, _ = np.linalg.svd(d @ x, full_matrices=False)
        one = u[:, :1] @ u[:, :1].T @ d
        counts.append((count_intruders(a0, one).by_outlier, count_intruders(a0, d).by_outlier))
        assert f[0] / math.sqrt(1500) == pytest.approx(lora.strength[0] * lora.threshold, rel=0.1)
    assert np.mean(counts, axis=0)[0] == 1
    assert np.mean(counts, axis=0)[1] <= 0.2


def test_an_undetected_shift_leaves_the_noise_as_lora_s_intruder():
    problem = ll.Problem(n=2000, dx=100, dy=80, spectrum=(0.1,), noise_std=1.0)
    edge = (math.sqrt(100) + math.sqrt(80)) / math.sqrt(1899)
    found = lora_intruders(problem, 2, 0.01)
    seen = found.strength * found.threshold
    assert np.all(np.diff(seen) < 0)
    assert np.all((seen < edge) & (seen > 0.93 * edge))
    assert found.flagged.all(), "values of noise are close to each other"
    # What a seen direction leaves has a row and a column less.
    beside = lora_intruders(problem.replace(n=2001, dx=101, dy=81, spectrum=(3.0,)), 3, 0.01)
    assert beside.strength[1:] * beside.threshold == pytest.approx(seen, rel=1e-12)


def test_a_seen_shift_has_noise_of_the_mean_inverse():
    """E (X X^T)^{-1} = I / (n - dx - 1), and n - dx is off by 0.4 %."""
    problem = ll.Problem(n=330, dx=100, dy=80, spectrum=(3.0,), noise_std=1.0)
    found, at = lora_intruders(problem, 1, 0.01), spikes(problem)
    mixed = at.right[0] / 330 + (1 - at.right[0]) / 229
    assert (found.strength[0] * found.threshold) ** 2 == pytest.approx(at.singular_value[0] ** 2 * mixed, rel=1e-12)


def fitted(problem, rank, tau, draws, seed):
    """Mean singular values of A0 + D_r and A0 + D_FFT, in plain NumPy, and their standard errors."""
    rng, (dy, dx) = np.random.default_rng(seed), problem.shift.shape
    found = np.zeros((draws, 2, dy))
    for lora, full in found:
        a0, x = tau * rng.standard_normal((dy, dx)), rng.standard_normal((dx, problem.n))
        residual = problem.shift @ x + problem.noise_std * rng.standard_normal((dy, problem.n))
        d = np.linalg.solve(x @ x.T, x @ residual.T).T
        u = np.linalg.svd(d @ x, full_matrices=False)[0][:, :rank]
        lora[:] = np.linalg.svd(a0 + u @ (u.T @ d), compute_uv=False)
        full[:] = np.linalg.svd(a0 + d, compute_uv=False)
    return found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(draws)


@pytest.mark.parametrize(
    ("spectrum", "sigma", "flagged"), [((0.3,), 4.0, False), ((6.0,), 4.0, False), ((3.0,) * 10, 1.0, True)]
)
def test_values_at_n_of_three_dx_or_a_flag(spectrum, sigma, flagged):
    """Unflagged outliers within 3 % of 12 draws and z standard errors: noise of variance sigma^2 / n in LoRA and
    sigma^2 / (n - dx) in FFT, iid, are off by 11 to 15 %. Equal directions are off by more than 5 %, and say so."""
    problem, rank = ll.Problem(n=300, dx=100, dy=80, spectrum=spectrum, noise_std=sigma), len(spectrum)
    (lora, full), (lora_stderr, full_stderr) = fitted(problem, rank, 0.1, 12, seed=8)
    by_lora, by_full = lora_intruders(problem, rank, 0.1), fft_intruders(problem, 0.1)
    assert by_lora.flagged.all() == by_lora.flagged.any() == flagged
    off = np.abs(by_lora.singular_value[0] - lora[0])
    assert (off <= 0.03 * lora[0] + critical_z(4) * lora_stderr[0]) == (not flagged)
    if by_full.outlier[0] and not flagged:
        assert abs(by_full.singular_value[0] - full[0]) <= 0.03 * full[0] + critical_z(4) * full_stderr[0]
    # The edge of the bulk, which the largest value of noise is 1.2 d^(-2/3) below in the mean.
    assert by_full.outlier[0] or 0 < by_full.singular_value[0] / full[0] - 1 < 1.2 * 2 * 80 ** (-2 / 3)


def test_noise_of_a_fit_is_the_spike_of_iid_entries_with_many_samples():
    problem = ll.Problem(n=10**6, dx=60, dy=40, spectrum=(0.09, 0.05), noise_std=2.0)
    found = fft_intruders(problem, 0.01)
    same = intruders([0.09, 0.05], 60, 40, math.sqrt(0.01**2 + 4 / (10**6 - 61)))
    for name in ("threshold", "singular_value", "overlap"):
        assert getattr(found, name) == pytest.approx(getattr(same, name), rel=1e-5)


def test_the_risk_at_equal_forgetting_is_an_identity():
    rng = np.random.default_rng(5)
    for _ in range(20):
        half = rng.standard_normal((7, 7))
        problem = ll.Problem(
            n=30, dx=7, dy=5, task_shift=rng.standard_normal((5, 7)), noise_std=1.0, input_covariance=half @ half.T
        )
        d = rng.standard_normal((5, 7))
        forgotten = np.sum((d @ problem.sigma_sqrt) ** 2)
        risk = np.sum(((d - problem.shift) @ problem.sigma_sqrt) ** 2)
        found = risk_at_forgetting(problem.pretrained_risk, forgotten, update_cosine(problem, d))
        assert found == pytest.approx(risk, rel=1e-12)
    assert update_cosine(problem, np.zeros((5, 7))) == 0.0


def cosines(problem, ranks, draws, seed):
    """Mean cosines of truncations of noisy matrices, S = c I, in plain NumPy."""
    rng, root = np.random.default_rng(seed), math.sqrt(problem.n * problem.isotropic_scale)
    found = np.zeros((draws, len(ranks)))
    for row in found:
        noisy = problem.shift + problem.noise_std / root * rng.standard_normal((problem.dy, problem.dx))
        u, f, v = np.linalg.svd(noisy, full_matrices=False)
        overlap = np.einsum("iq,ij,qj->q", u, problem.shift, v)
        row[:] = [
            (f[:r] @ overlap[:r]) / np.linalg.norm(f[:r]) / np.linalg.norm(np.asarray(problem.spectrum)) for r in ranks
        ]
    return found.mean(axis=0), found.std(axis=0) / math.sqrt(draws)


def test_cosines_in_orthogonal_designs():
    """Few directions, at two scales of S: 1 % plus z standard errors, FFT too. 60 of 80 directions: FFT is ahead."""
    for c in (1.0, 0.5):
        few = ll.Problem(
            n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0, input_covariance=np.full(100, c)
        )
        mean, stderr = cosines(few, (1, 3, 20, 80), 16, seed=6)
        theory = [*(lora_cosine(few, r) for r in (1, 3, 20)), fft_cosine(few)]
        assert np.all(np.abs(mean - theory) <= 0.01 * mean + critical_z(8) * stderr)
        assert mean[0] > mean[3]
    many = ll.Problem(n=400, dx=100, dy=80, spectrum=(0.6,) * 60, noise_std=1.0)
    (one, planted, full), stderr = cosines(many, (1, 60, 80), 16, seed=7)
    assert (one, planted) == pytest.approx((0.108, 0.713), abs=0.003)
    assert abs(full - fft_cosine(many)) <= 0.003 + critical_z(1) * stderr[2]
    assert one < planted < full
    with pytest.raises(InvalidInput, match="spectrum: expected at most"):
        lora_cosine(many, 1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: intruders([1.0], 10, 10, 0.0), "pretrained_std: expected A0's entries iid"),
        (lambda: intruders([-1.0], 10, 10, 1.0), "singular_values: expected"),
        (
            lambda: fft_intruders(ll.Problem(n=100, dx=80, dy=9, spectrum=(1.0,), noise_std=1.0), 0.1),
            "n: expected at l",
        ),
        (
            lambda: lora_intruders(ll.Problem(n=99, dx=9, dy=9, spectrum=(1.0,), noise_std=1.0), 10, 0.1),
            "rank: expected",
        ),
        (lambda: count_intruders(np.eye(3), np.eye(2)), "update: expected"),
        (lambda: count_intruders(np.eye(3), np.eye(3)), "top: expected at most min"),
        (lambda: count_intruders(np.eye(3), np.eye(3), 2, 1.5), r"cosine: expected a number in \(0, 1\]"),
        (lambda: risk_at_forgetting(1.0, 1.0, 2.0), "cosine: expected a number in -1..1"),
        (
            lambda: lora_cosine(ll.Problem(n=99, dx=9, dy=9, spectrum=(1.0,), noise_std=1.0), 10),
            "rank: expected at most",
        ),
    ],
)
def test_refusals(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()
