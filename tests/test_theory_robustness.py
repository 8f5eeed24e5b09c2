"""Robustness in closed form: rows worked out elsewhere, plain simulation of strong directions, rivals and limits."""

import numpy as np
import pytest
from committed import committed
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.figures import robustness_gap
from linreg_lora.theory import (
    fft_norm,
    less_robust_above,
    lora_norm,
    strong_limit_risk,
    strong_limit_robustness,
    task_complexity,
    update_strengths,
    worst_rise,
)
from linreg_lora.theory.marchenko_pastur import quantile

#: n, dx, dy, rank, noise_std, spectrum; then in closed form the risk less what FFT misses of strong directions,
#: FFT - LoRA, E ||P D_FFT||^2, and the part of it off the row space of D_r.
ROWS = [
    (40, 20, 15, 3, 1.0, (3e4, 2e4, 1e4, 0.8, 0.6, 0.5, 0.4), (5.68539, 10.10408, 13.15908, 12.14684)),
    (30, 20, 12, 2, 1.0, (2e4, 1e4, *[0.9] * 10), (13.88519, 12.78148, 30.18148, 28.10000)),
    (20, 40, 15, 3, 1.0, (3e4, 2e4, 1e4, 1.5, 1.0, 0.5), (7.65001, 9.88946, 13.37370, 12.34495)),
    (12, 30, 20, 2, 1.0, (2e4, 1e4, *[0.8] * 8), (7.78112, 9.40853, 13.33657, 12.41681)),
    (25, 40, 10, 1, 0.5, (1e4, 2.0), (4.53195, 1.43233, 6.48496, 6.31868)),
]
#: n, dx, noise_std, tail of a shift whose A0 is -2 T there; (rise of FFT - rise of LoRA) / tau^2.
UNDONE = [(40, 20, 1.0, (1.5, 1.2, 1.0), -2.04759), (20, 40, 0.3, (3.0, 3.0, 3.0), -35.13559)]


def undone(n, dx, noise_std, tail):
    shift = np.zeros((15, dx))
    shift[np.arange(6), np.arange(6)] = 3e4, 2e4, 1e4, *tail
    pretrained = np.zeros((15, dx))
    pretrained[np.arange(3, 6), np.arange(3, 6)] = -2 * np.asarray(tail)
    return Problem(n=n, dx=dx, dy=15, task_shift=shift, noise_std=noise_std, pretrained=pretrained)


@pytest.mark.parametrize(("n", "dx", "dy", "rank", "noise_std", "spectrum", "expected"), ROWS)
def test_rows(n, dx, dy, rank, noise_std, spectrum, expected):
    found = strong_limit_robustness(Problem(n=n, dx=dx, dy=dy, spectrum=spectrum, noise_std=noise_std), rank)
    assert (found.discarded, found.outside_rows) == pytest.approx(expected[2:], abs=6e-6)
    assert np.isnan(found.alignment)


@pytest.mark.parametrize(("n", "dx", "noise_std", "tail", "expected"), UNDONE)
def test_rows_of_a_shift_that_undoes(n, dx, noise_std, tail, expected):
    found = strong_limit_robustness(undone(n, dx, noise_std, tail), 3)
    assert found.rise_difference() == pytest.approx(expected, abs=6e-6)
    assert found.rise_difference(perturbation_std=3, loss="half-squared") == pytest.approx(4.5 * expected, abs=3e-5)


def plain(problem, rank, draws, seed):
    """Of each draw: risk of D_r less FFT's bias on the kept directions, FFT - LoRA, ||P D||^2, off the rows, <A0, P D>.

    P by an SVD of the fitted values, nothing shared with the package.
    """
    rng = np.random.default_rng(seed)
    root = problem.sigma_sqrt
    u, s, vt = np.linalg.svd(problem.shift @ root, full_matrices=False)
    head = (u[:, :rank] * s[:rank]) @ vt[:rank]
    a0 = np.zeros(problem.shift.shape) if problem.pretrained is None else problem.pretrained
    found = np.empty((draws, 5))
    for row in found:
        x = root @ rng.standard_normal((problem.dx, problem.n))
        inverse = np.linalg.pinv(x)
        full = (problem.shift @ x + problem.sigma_eps_sqrt @ rng.standard_normal((problem.dy, problem.n))) @ inverse
        basis = np.linalg.svd(full @ x, full_matrices=False)[0][:, :rank]
        kept = basis @ (basis.T @ full)
        rows = np.linalg.svd(kept, full_matrices=False)[2][:rank]
        lost, bias = full - kept, np.sum((head - (head @ x) @ inverse) ** 2) if problem.n < problem.dx else 0.0
        risks = [np.sum(((update - problem.shift) @ root) ** 2) - bias for update in (kept, full)]
        off = np.sum((lost - (lost @ rows.T) @ rows) ** 2)
        row[:] = risks[0], risks[1] - risks[0], np.sum(lost**2), off, np.sum(a0 * lost)
    return np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(draws)


@pytest.mark.heavy
@pytest.mark.parametrize(("n", "dx", "dy", "rank", "noise_std", "spectrum", "expected"), ROWS)
def test_simulated_rows(n, dx, dy, rank, noise_std, spectrum, expected):
    """4000 draws, four numbers within 4 standard errors: a false alarm of 1e-3 over all rows, at fixed seeds."""
    problem = Problem(n=n, dx=dx, dy=dy, spectrum=spectrum, noise_std=noise_std)
    mean, stderr = plain(problem, rank, 4000, 17)
    z = (mean[:4] - expected) / stderr[:4]
    assert np.all(np.abs(z) <= 4), z
    missed = sum(s**2 for s in spectrum[:rank]) * max(0.0, 1 - n / dx)
    assert strong_limit_risk(problem, rank) - missed == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize(("n", "dx", "noise_std", "tail", "expected"), UNDONE)
def test_simulated_rows_of_a_shift_that_undoes(n, dx, noise_std, tail, expected):
    """2000 draws within 4 standard errors; the sign, that LoRA is less robust, beyond 20."""
    problem = undone(n, dx, noise_std, tail)
    rng = np.random.default_rng(21)
    rises = np.empty(2000)
    for place in range(len(rises)):
        x = rng.standard_normal((dx, n))
        full = (problem.shift @ x + noise_std * rng.standard_normal((15, n))) @ np.linalg.pinv(x)
        basis = np.linalg.svd(full @ x, full_matrices=False)[0][:, :3]
        kept = problem.pretrained + basis @ (basis.T @ full)
        rises[place] = np.sum((problem.pretrained + full) ** 2) - np.sum(kept**2)
    stderr = np.std(rises) / np.sqrt(len(rises))
    assert abs(np.mean(rises) - expected) <= 4 * stderr
    assert np.mean(rises) < -20 * stderr


@pytest.mark.parametrize("below", [False, True])
def test_simulation_agrees_and_rejects_every_rival(below):
    """Dense Sigma (n > dx) or Sigma = c I, dense Sigma_eps, rotated Delta and A0: level 1e-6 over both, 800 draws.

    Rivals lie 4 standard errors beyond the critical value: a power of 1 - 3e-5 for each.
    """
    g = np.random.default_rng(12 + below)
    n, dx, dy, rank = (12, 24, 9, 2) if below else (40, 14, 9, 2)
    left, right = (np.linalg.qr(g.standard_normal((d, 6))).Q for d in (dy, dx))
    tail = (left[:, 2:] * np.array([2.4, 2.0, 1.2, 1.0])) @ right[:, 2:].T
    spread = g.standard_normal((dy, dy))
    root = 1.5 * np.eye(dx)
    if not below:
        a = g.standard_normal((dx, dx))
        root = 1.5 * np.linalg.cholesky(a @ a.T / dx + 0.3 * np.eye(dx))
    problem = Problem(
        n=n, dx=dx, dy=dy, task_shift=(left[:, :2] * np.array([3e4, 2e4])) @ right[:, :2].T + tail, noise_std=0.8,
        input_covariance=root @ root.T, noise_covariance=spread @ spread.T / dy + 0.2 * np.eye(dy),
        pretrained=g.standard_normal((dy, dx)) - tail,
    )  # fmt: skip
    mean, stderr = plain(problem, rank, 800, 5)
    found, closed = strong_limit_robustness(problem, rank), task_complexity(problem, [rank])
    critical = critical_z(6, 1e-6)
    expected = np.array([found.discarded, found.outside_rows, found.alignment])
    assert np.all(np.abs(mean[2:] - expected) <= critical * stderr[2:]), (mean[2:] - expected) / stderr[2:]
    assert -closed.difference[0] == pytest.approx(mean[1], abs=critical * stderr[1])
    rivals = {
        "tail - B": (2, abs(closed.difference[0])),
        "tail alone": (2, closed.gain[0] * closed.tail[0]),
        "all of it off the rows": (3, found.discarded),
        "nothing off the rows": (3, 0.0),
        "alignment with the shift": (4, np.sum(problem.pretrained * problem.shift)),
    }
    if not below:
        rivals["whitened inputs"] = 2, closed.gain[0] * (closed.noise + closed.tail)[0]
    for name, (place, rival) in rivals.items():
        assert abs(mean[place] - rival) > (critical + 4) * stderr[place], name


def test_units_and_null_inputs():
    """Inputs c times as large make updates 1 / c as large, of the same task; null inputs change nothing."""
    problem = undone(40, 20, 1.0, (1.5, 1.2, 1.0))
    here = strong_limit_robustness(problem, 3)
    scaled = problem.replace(
        input_covariance=np.full(20, 4.0), task_shift=problem.shift / 2, pretrained=problem.pretrained / 2
    )
    there = strong_limit_robustness(scaled, 3)
    assert 4 * np.array([there.discarded, there.outside_rows, there.alignment]) == pytest.approx(
        [here.discarded, here.outside_rows, here.alignment]
    )
    wide = [np.pad(matrix, ((0, 0), (0, 2))) for matrix in (problem.shift, problem.pretrained)]
    covariance = np.concatenate([np.ones(20), np.zeros(2)])
    null = Problem(n=40, dx=22, dy=15, task_shift=wide[0], pretrained=wide[1], noise_std=1.0, input_covariance=covariance)  # fmt: skip  # noqa: E501
    assert strong_limit_robustness(null, 3).rise_difference() == pytest.approx(here.rise_difference())


@pytest.mark.parametrize(("n", "dx"), [(60, 20), (20, 60)])
@pytest.mark.parametrize("theta", [0.5, 1.0, 1.5])
def test_the_threshold_is_where_the_difference_of_rises_changes_sign(n, dx, theta):
    """sigma is set so that C_r is a little below, and a little above, the threshold."""
    tail, rank = (1.5, 1.2, 1.0), 3
    base = undone(n, dx, 1.0, tail)
    base = base.replace(pretrained=base.pretrained / (2 * theta))
    above = less_robust_above(base, rank, theta)
    complexity = strong_limit_robustness(base, rank).complexity
    large = max(n, dx)
    share = theta * (large - 1) / (large - rank - 1)
    assert above == pytest.approx(share / (2 - share))
    for factor, sign in ((0.99, 1), (1.01, -1)):
        there = base.replace(noise_std=float(np.sqrt(complexity / (factor * above))))
        found = strong_limit_robustness(there, rank)
        assert found.complexity == pytest.approx(factor * above)
        assert np.sign(found.rise_difference()) == sign
    assert less_robust_above(base, rank, 2.0) == np.inf


def test_the_figure_shows_the_closed_forms_and_the_band():
    """Simulated means of all 16 problems and 3 measures at level 1e-6; signs within the band and beyond its ends."""
    stored = committed("robustness-gap")
    z = (stored["mean"] - stored["expected"]) / stored["stderr"]
    assert np.all(np.abs(z) <= critical_z(z.size))
    for measure, end in (("risk", 1.0), ("rise, A0 undone", float(stored["threshold"][0]))):
        line = stored["theory"].sel(measure=measure)
        assert np.all(line.sel(complexity=slice(0, 0.999 * end)) > 0)
        assert np.all(line.sel(complexity=slice(1.001 * end, None)) < 0)
    for sizes in robustness_gap.REGIMES:
        problem = robustness_gap.setting(*sizes, 0.5)
        assert task_complexity(problem, [3]).complexity[0] == pytest.approx(0.5)


# -- norms --------------------------------------------------------------------------------------------------------

NORMS = Problem(n=200, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)


ONE_OUTPUT = Problem(n=300, dx=60, dy=1, spectrum=(3.0,), noise_std=1.0)


def test_row_of_norms():
    assert lora_norm(NORMS, 1, pretrained_std=0.4) == pytest.approx(4.8859, abs=6e-5)
    assert fft_norm(NORMS, pretrained_std=0.4) == pytest.approx(4.9322, abs=6e-5)
    assert np.sum(update_strengths(NORMS) ** 2) == pytest.approx(15.2679, abs=6e-5)


@pytest.mark.parametrize("problem", [NORMS, Problem(n=40, dx=100, dy=60, spectrum=(6.0, 4.0, 2.0), noise_std=1.0)])
def test_limits_of_norms(problem):
    """Without A0 LoRA's norm is its update's; without shift and noise FFT's is that of a Gaussian matrix, at the edge;
    a sum over quantiles of the eigenvalues gives FFT's outlier to 1e-4; inputs in other units change D's units."""
    assert lora_norm(problem, 2, pretrained_std=0.0) == pytest.approx(update_strengths(problem)[0])
    bulk = np.sqrt(problem.dx) + np.sqrt(problem.dy)
    assert lora_norm(problem, 0, pretrained_std=0.7) == pytest.approx(0.7 * bulk)
    assert lora_norm(problem, 1, pretrained_std=50.0) == pytest.approx(50 * bulk)
    weak = problem.replace(spectrum=(1e-9,), noise_std=1e-6)
    assert fft_norm(weak, pretrained_std=0.7) == pytest.approx(0.7 * bulk, rel=1e-6)
    count = min(problem.n, problem.dx)
    levels = np.array([quantile(problem.n, problem.dx, j + 0.5) for j in range(count)])
    variances = np.concatenate([0.16 + 1 / levels, np.full(problem.dx - count, 0.16)])
    norm = fft_norm(problem, pretrained_std=0.4)
    trace = -np.geomspace(1e-3, 0.999, 4000)[:, None] / variances.max()
    z = (-problem.dy / trace[:, 0]) + np.sum(variances / (1 + variances * trace), axis=1)
    spike = -trace[:, 0] / problem.dy * np.sum(1 / (1 + variances[:count] * trace), axis=1) / problem.dx
    assert norm == pytest.approx(np.sqrt(np.interp(1 / max(problem.spectrum) ** 2, spike, z)), rel=1e-4)
    strong = problem.replace(spectrum=(1e6,))
    assert fft_norm(strong, pretrained_std=1e-3) == pytest.approx(update_strengths(strong)[0], rel=1e-6)
    scaled = problem.replace(input_covariance=np.full(problem.dx, 4.0), spectrum=tuple(np.array(problem.spectrum) / 2))
    assert fft_norm(scaled, pretrained_std=0.2) == pytest.approx(norm / 2)
    assert lora_norm(scaled, 1, pretrained_std=0.2) == pytest.approx(lora_norm(problem, 1, pretrained_std=0.4) / 2)


@pytest.mark.heavy
def test_simulated_norms():
    """400 draws of the row and of one with n < dx: within 1.5 % of the limit, which is O(1/d) off at d = 30 to 100.

    Mean of 400 draws, relative to the limit, for n = 200, dx = 40, dy = 30:
    ||A0 + D_1||_2 4.852 (12), -0.7 %;  ||A0 + D_FFT||_2 4.953 (11), +0.4 %;  ||D_3||_F^2 15.26 (3), -0.04 %.
    LoRA's norm without A0 is further off than that.
    """
    for problem, alpha in ((NORMS, 0.4), (Problem(n=40, dx=100, dy=60, spectrum=(6.0, 4.0, 2.0), noise_std=1.0), 0.3)):
        rng = np.random.default_rng(23)
        drawn = np.empty((400, 3))
        for row in drawn:
            x = rng.standard_normal((problem.dx, problem.n))
            full = (problem.shift @ x + rng.standard_normal((problem.dy, problem.n))) @ np.linalg.pinv(x)
            parts = np.linalg.svd(full @ x, full_matrices=False)[0][:, :3].T @ full
            first = np.outer(np.linalg.svd(full @ x, full_matrices=False)[0][:, 0], parts[0])
            a0 = alpha * rng.standard_normal(problem.shift.shape)
            row[:] = np.linalg.norm(a0 + first, 2), np.linalg.norm(a0 + full, 2), np.sum(parts**2)
        lora, full, energy = np.mean(drawn, axis=0)
        assert energy == pytest.approx(np.sum(update_strengths(problem) ** 2), rel=0.03)
        assert lora == pytest.approx(lora_norm(problem, 1, pretrained_std=alpha), rel=0.015)
        assert full == pytest.approx(fft_norm(problem, pretrained_std=alpha), rel=0.015)
        assert lora != pytest.approx(lora_norm(problem, 1, pretrained_std=0), rel=0.03)


@pytest.mark.parametrize(("n", "dx"), [(30, 8), (8, 30)])
def test_where_a0_lies_in_the_kept_outputs_lora_is_the_more_robust_in_every_norm(n, dx):
    """200 draws: every singular value of A0 + D_r is at most that of A0 + D_FFT."""
    rng = np.random.default_rng(2)
    shift = np.zeros((6, dx))
    shift[0, 0] = 2.0
    x = rng.standard_normal((200, dx, n))
    full = (shift @ x + rng.standard_normal((200, 6, n))) @ np.linalg.pinv(x)
    kept = np.linalg.svd(full @ x)[0][..., :2]
    a0 = kept @ rng.standard_normal((200, 2, dx)) * rng.exponential(size=(200, 1, 1))
    lora, fft = (np.linalg.svd(a0 + update, compute_uv=False) for update in (kept @ (kept.mT @ full), full))
    assert np.all(lora <= fft * (1 + 1e-12) + 1e-12)


@pytest.mark.parametrize(("noise", "sign"), [(0.3, 1), (6.0, -1)])
def test_elsewhere_neither_has_the_smaller_norm(noise, sign):
    """Delta = -A0 / 2 of rank 4: at rank 1 LoRA keeps most of A0's norm, and with much noise FFT exceeds it.

    30 draws of each; the mean paired difference lies 5 standard errors or more on its side.
    """
    rng = np.random.default_rng(9)
    a0 = np.zeros((20, 20))
    a0[np.arange(4), np.arange(4)] = 4.0, 3.8, 3.6, 3.4
    x = rng.standard_normal((30, 20, 60))
    full = (-a0 / 2 @ x + noise * rng.standard_normal((30, 20, 60))) @ np.linalg.pinv(x)
    u = np.linalg.svd(full @ x)[0][..., :1]
    norms = [np.linalg.norm(a0 + update, 2, axis=(1, 2)) for update in (u @ (u.mT @ full), full)]
    difference = sign * (norms[0] - norms[1])
    assert np.mean(difference) > 5 * np.std(difference) / np.sqrt(30)


# -- worst perturbations, simulated ---------------------------------------------------------------------------------


@pytest.mark.heavy
def test_simulated_worst_rises_are_those_of_plain_numpy():
    """1200 and 600 data sets; three ranks and FFT at level 1e-6. Small and large tau have known limits."""
    problem = Problem(n=20, dx=6, dy=4, spectrum=(2.0, 1.0), noise_std=0.5, pretrained=np.eye(4, 6))
    drawn = ll.simulation.simulate_worst_rise(problem, radius=0.3, trials=600, seed=3, ranks=[0, 1, 2], samples=4)
    rng = np.random.default_rng(8)
    rows = np.empty((1200, 4))
    for row in rows:
        x = rng.standard_normal((6, 20))
        full = (problem.shift @ x + 0.5 * rng.standard_normal((4, 20))) @ np.linalg.pinv(x)
        u = np.linalg.svd(full @ x)[0]
        fresh, noise = rng.standard_normal((4, 6)), 0.5 * rng.standard_normal((4, 4))
        for place, rank in enumerate((0, 1, 2, 4)):
            fitted = problem.pretrained + u[:, :rank] @ (u[:, :rank].T @ full)
            target = problem.pretrained + problem.shift
            row[place] = np.mean(worst_rise(fitted, fresh @ (fitted - target).T - noise, 0.3))
    stderr = np.std(rows, axis=0) / np.sqrt(len(rows))
    theirs, own = np.append(drawn.rise, drawn.fft_rise), np.append(drawn.stderr, drawn.fft_stderr)
    assert np.all(np.abs(np.mean(rows, axis=0) - theirs) <= critical_z(4) * np.hypot(stderr, own))
    assert drawn.difference == pytest.approx(drawn.rise - drawn.fft_rise)
    again = ll.simulation.simulate_worst_rise(problem, radius=0.3, trials=600, seed=3, ranks=[2], samples=4)
    assert again.fft_rise == drawn.fft_rise


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: strong_limit_robustness(NORMS, 30), "ranks: expected ranks in 1..29"),
        (lambda: strong_limit_robustness(NORMS, 4), "rank: expected at most 3, the rank of the shift"),
        (lambda: strong_limit_robustness(NORMS.replace(ridge=1.0), 2), "ridge: expected 0"),
        (lambda: strong_limit_robustness(NORMS, 2).rise_difference(), "pretrained: expected A0"),
        (
            lambda: strong_limit_robustness(NORMS.replace(n=20, input_covariance=np.linspace(1, 2, 40)), 2),
            "input_covariance: expected a multiple of the identity",
        ),
        (lambda: less_robust_above(NORMS, 2, 0), "undone: expected a share above 0"),
        (
            lambda: less_robust_above(NORMS.replace(input_covariance=np.linspace(1, 2, 40)), 2, 0.5),
            "input_covariance: expected a multiple of the identity",
        ),
        (lambda: lora_norm(NORMS, 4, pretrained_std=1), "rank: expected at most 3, the directions that the data show"),
        (lambda: fft_norm(NORMS.replace(ridge=1.0), pretrained_std=1), "problem: expected no ridge"),
        (lambda: fft_norm(NORMS.replace(n=44), pretrained_std=0.4), "n: expected a number further from dx"),
        (lambda: lora_norm(NORMS.replace(n=43, spectrum=(9.0,)), 1, pretrained_std=0.1), r"n: expected \|n - dx\| > 3"),
        (lambda: lora_norm(ONE_OUTPUT, 0, pretrained_std=0.4), "problem: expected dx and dy large enough"),
        (lambda: fft_norm(ONE_OUTPUT, pretrained_std=9), "problem: expected dx and dy large enough"),
        (
            lambda: fft_norm(NORMS.replace(input_covariance=np.linspace(1, 2, 40)), pretrained_std=1),
            "input_covariance: expected a multiple of the identity",
        ),
        (lambda: ll.simulation.simulate_worst_rise(NORMS, radius=1, trials=9, seed=0), "pretrained: expected A0"),
        (
            lambda: ll.simulation.simulate_worst_rise(
                NORMS.replace(n=41, pretrained=np.zeros((30, 40))), radius=1, trials=9, seed=0
            ),
            "problem: expected a mean that exists",
        ),
    ],
)
def test_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
