"""Task complexity against rows worked out elsewhere, plain simulation with rivals, limits and the exact criterion."""

import functools
from pathlib import Path

import numpy as np
import pytest
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora import Problem
from linreg_lora.claims.file import load_claims
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import (
    discarded_signal,
    samples_to_saturate,
    strong_limit_risk,
    task_complexity,
    winner_at,
    winning_rank,
)
from linreg_lora.theory.capacity import large_sample_limit
from linreg_lora.theory.mixing import mixing, repulsion
from linreg_lora.theory.noise_blur import noise_blur

PAPER = Path(ll.__file__).parent / "claims" / "papers" / "linreg_lora" / "claims.yaml"
#: n, dx, dy, rank, noise_std, spectrum; then in closed form the risk (without what FFT misses of strong directions
#: where n < dx), FFT - LoRA, and E ||P D_FFT||^2.
ROWS = [
    (40, 20, 15, 3, 1.0, (3e4, 2e4, 1e4, 0.8, 0.6, 0.5, 0.4), (5.68539, 10.10408, 13.15908)),
    (30, 20, 12, 2, 1.0, (2e4, 1e4, *[0.9] * 10), (13.88519, 12.78148, 30.18148)),
    (20, 40, 15, 3, 1.0, (3e4, 2e4, 1e4, 1.5, 1.0, 0.5), (7.65001, 9.88946, 13.37370)),
    (12, 30, 20, 2, 1.0, (2e4, 1e4, *[0.8] * 8), (7.78112, 9.40853, 13.33657)),
    (25, 40, 10, 1, 0.5, (1e4, 2.0), (4.53195, 1.43233, 6.48496)),
]
#: dx, dy, rank, noise_std, spectrum, and: the upper end of the window, the same with the first-order shift, the
#: equivalent's crossing, and the sample size of 5 % above the plateau.
WINDOWS = [
    (40, 40, 4, 0.5, tuple(5 * np.exp(-np.arange(40) / 2)), 488.3, 487.1, 486, 2229),
    (30, 20, 3, 0.5, tuple(1 / np.arange(1, 21)), 519.2, 509.5, 495, 3287),
    (20, 30, 3, 1.0, (3.0, 2.0, 1.0, 0.3), 5121.0, 5118.0, 5113, 31466),
    (40, 20, 2, 0.7, (4.0, 3.0, *[0.25] * 18), 338.9, 338.8, 338, 1082),
    (25, 25, 2, 1.0, (2.0, 1.8, 1.5), 261.1, 255.1, 252, 1040),
]


def problem_of(n, dx, dy, noise_std, spectrum):
    return Problem(n=n, dx=dx, dy=dy, spectrum=spectrum, noise_std=noise_std)


@pytest.mark.parametrize(("n", "dx", "dy", "rank", "noise_std", "spectrum", "expected"), ROWS)
def test_rows(n, dx, dy, rank, noise_std, spectrum, expected):
    problem = problem_of(n, dx, dy, noise_std, spectrum)
    found = task_complexity(problem, [rank])
    missed = sum(s**2 for s in spectrum[:rank]) * max(0.0, 1 - n / dx)
    assert strong_limit_risk(problem, rank) - missed == pytest.approx(expected[0], abs=1e-5)
    assert -found.difference[0] == pytest.approx(expected[1], abs=1e-5)
    assert found.gain[0] * (found.noise + found.tail)[0] == pytest.approx(expected[2], abs=1e-5)
    assert found.sure[0]


@pytest.mark.parametrize(("dx", "dy", "rank", "noise_std", "spectrum", "end", "shifted", "solved", "full"), WINDOWS)
def test_windows_and_saturation(dx, dy, rank, noise_std, spectrum, end, shifted, solved, full):
    problem = problem_of(2 * dx, dx, dy, noise_std, spectrum)
    found = task_complexity(problem, [rank])
    assert found.window[0, 1] == pytest.approx(end, abs=0.051)
    assert end * (1 - found.shift[0, 1]) == pytest.approx(shifted, abs=0.1)
    total = found.shift[0, 1] + found.blur_shift[0, 1]
    assert found.sharp[0, 1] == (total <= 0.025)
    assert abs(end * (1 - total) / solved - 1) < 0.01
    differences = [ll.expected_risk(problem.replace(n=n), [rank]).difference[0] for n in (solved, solved + 1)]
    assert differences[0] < 0 < differences[1]
    assert abs(solved / end - 1) < 0.05
    saturated = samples_to_saturate(problem, rank)
    assert round(saturated.n) == full
    risk = ll.expected_risk(problem.replace(n=full), [rank]).risk[0]
    assert risk / saturated.plateau == pytest.approx(1.05, abs=0.001)


def test_below_the_threshold_fft_wins_again_with_few_samples():
    problem = problem_of(50, 100, 30, 1.0, (12.0, 10.0, 4.0, 4.0, 3.0))
    found = task_complexity(problem, [2])
    assert found.window[0] == pytest.approx([32.07, 167.93], abs=0.01)
    solved = [ll.expected_risk(problem.replace(n=n), [2]).difference[0] < 0 for n in (32, 33, 167, 168)]
    assert solved == [False, True, True, False]
    assert [winner_at(problem.replace(n=n), [2])[0].lora_wins for n in (20, 45, 155, 200)] == [False, True, True, False]


# -- plain simulation ---------------------------------------------------------------------------------------------


@functools.cache
def simulated(below: bool):
    """Paired risk(FFT) - risk(D_r) of 3000 draws by plain NumPy, dense Sigma and Sigma_eps, rotated Delta."""
    g = np.random.default_rng(11 + below)
    n, dx, dy, rank = (12, 24, 9, 2) if below else (40, 14, 9, 2)
    left, right = (np.linalg.qr(g.standard_normal((d, 6))).Q for d in (dy, dx))
    shift = (left * np.array([3e3, 2e3, 1.2, 1.0, 0.6, 0.5])) @ right.T
    spread = g.standard_normal((dy, dy))
    root = np.eye(dx) * 1.5
    if not below:
        a = g.standard_normal((dx, dx))
        root = np.linalg.cholesky(a @ a.T / dx + 0.3 * np.eye(dx))
    noise = np.linalg.cholesky(spread @ spread.T / dy + 0.2 * np.eye(dy) + 3 * left[:, :2] @ left[:, :2].T)
    problem = Problem(
        n=n, dx=dx, dy=dy, task_shift=shift, noise_std=0.8, input_covariance=root @ root.T,
        noise_covariance=noise @ noise.T,
    )  # fmt: skip
    differences = []
    for _ in range(3000):
        x = root @ g.standard_normal((dx, n))
        r = shift @ x + 0.8 * noise @ g.standard_normal((dy, n))
        fft = np.linalg.lstsq(x.T, r.T, rcond=None)[0].T
        u = np.linalg.svd(fft @ x)[0][:, rank:]
        dropped = u.T @ (fft - shift) @ root, u.T @ shift @ root
        differences.append(np.sum(dropped[0] ** 2) - np.sum(dropped[1] ** 2))
    return problem, rank, np.array(differences)


@pytest.mark.parametrize("below", [False, True])
def test_simulation_agrees_and_rejects_every_rival(below):
    """Level 1e-6 over both; rivals lie 5 standard errors beyond the critical value: a power of 1 - 3e-7 for each."""
    problem, rank, draws = simulated(below)
    stderr = draws.std(ddof=1) / np.sqrt(len(draws))
    found = task_complexity(problem, [rank])
    n, dx, dy = problem.n, problem.dx, problem.dy
    critical = critical_z(2, 1e-6)
    assert abs(draws.mean() + found.difference[0]) < critical * stderr
    gain, tail, noise = float(found.gain[0]), float(found.tail[0]), float(found.noise[0])
    g = abs(n - dx) - 1
    whole = problem.noise_trace * dx / g
    mean_noise = problem.noise_trace / dy * (dy - rank) * (dx - rank) / g
    rivals = {
        "sigma^2 dx dy / g": gain * (whole - tail),
        "1/n for 1/g": gain * (noise * g / n - tail),
        "the next singular value for the tail": gain * (noise - problem.whitened_spectrum[rank] ** 2),
        "isotropic noise": gain * (mean_noise - tail),
    }
    if below:  # above, A_r is 1.05
        rivals["no gain"] = noise - tail
    for name, rival in rivals.items():
        assert abs(draws.mean() - rival) > (critical + 5) * stderr, name


@pytest.mark.parametrize(("n", "ridge"), [(30, 0.0), (9, 0.0), (14, 2.0)])
def test_the_identity_of_what_is_dropped_holds_on_every_draw(n, ridge):
    g = np.random.default_rng(n)
    dx, dy, rank = 14, 9, 3
    a, shift, x, eps = (g.standard_normal(shape) for shape in ((dx, dx), (dy, dx), (dx, n), (dy, n)))
    sigma = a @ a.T / dx
    r = shift @ (a @ x) + eps
    x = np.hstack([a @ x, np.sqrt(ridge) * np.eye(dx)])
    r = np.hstack([r, np.zeros((dy, dx))])
    fft = r @ np.linalg.pinv(x)
    u = np.linalg.svd(fft @ x)[0]
    p = u[:, rank:] @ u[:, rank:].T
    lora = fft - p @ fft

    def risk(d):
        return np.trace((d - shift) @ sigma @ (d - shift).T)

    dropped = 2 * np.trace(p @ shift @ sigma @ fft.T) - np.trace(p @ fft @ sigma @ fft.T)
    assert risk(lora) - risk(fft) == pytest.approx(dropped, rel=1e-9)
    assert np.linalg.matrix_rank(lora) == rank


# -- limits and the exact criterion -------------------------------------------------------------------------------


def test_finite_strengths_cost_what_many_samples_say():
    """The strong limit and T_r / n add up to the large-sample limit V_r."""
    problem = problem_of(10**7, 12, 10, 1.3, (3.0, 2.0, 1.0, 0.4))
    for rank in (1, 2, 3):
        found = task_complexity(problem, [rank])
        variance = problem.n * (strong_limit_risk(problem, rank) - found.tail[0] + found.correction[0])
        assert variance == pytest.approx(large_sample_limit(problem, rank).limit, rel=1e-5)


@pytest.mark.parametrize(("n", "dx"), [(60, 24), (16, 30)])
def test_odds_of_signal_tend_to_the_closed_form(n, dx):
    problem = problem_of(n, dx, 20, 1.0, (3e3, 2e3, 1.0, 0.7))
    closed, exact = task_complexity(problem, [2]), discarded_signal(problem, [2])
    assert exact.odds[0] == pytest.approx(closed.complexity[0], rel=2e-3)
    assert exact.energy[0] == pytest.approx(closed.gain[0] * (closed.tail + closed.noise)[0], rel=2e-3)
    assert (exact.share[0] < 0.5) == (exact.difference[0] < 0)


def test_of_a_bulk_every_rank_drops_the_same_share_of_signal():
    """phi = v/(v + w) for many samples, where C_r is wrong at high ranks. One shift of its law: its energy scales v."""
    n, dx, dy, v = 40_000, 24, 22, 1.5
    shift = np.random.default_rng(3).standard_normal((dy, dx))
    w = 1 / (n - dx - 1)
    shift *= np.sqrt(v * w * dx * dy) / np.linalg.norm(shift)
    problem = Problem(n=n, dx=dx, dy=dy, task_shift=shift, noise_std=1.0)
    ranks = [1, 8, 14]
    exact, closed = discarded_signal(problem, ranks), task_complexity(problem, ranks)
    assert exact.odds == pytest.approx(np.full(3, v), rel=0.15)
    assert closed.complexity[2] < 1 < exact.odds[2]
    assert [(found.lora_wins, found.by) for found in winner_at(problem, ranks)][1:] == [(False, "difference")] * 2


def test_noise_in_kept_directions_is_known():
    """A bulk with more signal than noise: first-order mixing leaves C_r < 1 at high ranks, and yet FFT wins there."""
    n, dx, dy = 100, 24, 20
    s = np.linalg.svd(np.random.default_rng(0).standard_normal((dy, dx)), compute_uv=False)
    problem = problem_of(n, dx, dy, float(np.sqrt((n - dx - 1) / 1.3)), tuple(s))
    closed, exact = task_complexity(problem), discarded_signal(problem, range(1, dy))
    fooled = (closed.complexity < 1) & (exact.odds > 1) & (np.abs(closed.difference) > closed.correction)
    assert fooled.sum() >= 3
    assert not closed.sure[fooled].any()
    # With more noise than signal all bulks agree, whatever noise blurs.
    noisy = task_complexity(problem.replace(noise_std=2 * problem.noise_std))
    agreed = (noisy.blur > -noisy.difference) & (-noisy.difference > noisy.correction)
    assert agreed.sum() >= 3
    assert noisy.sure[agreed].all()


def test_levels_repel_as_eigenvalues_of_two_by_two_matrices():
    s, e, n = np.array([3.0, 2.0, 2.0, 0.0]), np.array([1.0, 0.5, 2.0, 1.0]), 30
    apart = repulsion(s, e, n)
    for i in range(4):
        for j in range(i + 1, 4):
            m = s[j] * np.sqrt((s[j] ** 2 + e[i] + e[j]) / n)
            largest = np.linalg.eigvalsh([[s[i] ** 2, m], [m, s[j] ** 2]])[1]
            assert apart[i, j] == pytest.approx(largest - s[i] ** 2)
    assert np.array_equal(apart, np.triu(apart, 1))
    few = np.array([3.0, 2.0, 0.0, 0.0])
    many = 10**7
    assert many * np.sum(repulsion(few, e, many)[:1, 1:]) == pytest.approx(mixing(few, e, 1), rel=1e-6)


@pytest.mark.parametrize(("n", "end"), [(60, 1), (16, 0)])
def test_blur_moves_an_end_as_it_moves_the_difference(n, end):
    """At an end n* the slope of A (tail - B) is A tail / (n* - dx -+ 1); n* is taken for a whole number near."""
    problem = problem_of(n, 40, 20, 1.0, (60.0, 50.0, 4.0, 3.0, 2.5, 2.0))
    found = task_complexity(problem, [2])
    at = found.window[0, end]
    there = task_complexity(problem.replace(n=round(at)), [2])
    slope = there.gain[0] * there.tail[0] / (abs(round(at) - 40) - 1)
    assert found.blur_shift[0, end] == pytest.approx(there.blur[0] / slope / at, rel=0.05)


def test_why_an_end_is_not_sharp():
    problem = problem_of(60, 24, 20, 2.0, (3.0, 2.2, 2.0, 2.0, 0.5))
    found = task_complexity(problem, [1, 2, 3, 5])
    assert found.sharp[:, 1].tolist() == [True, False, False, True]
    said = found.blunt
    assert said[0] == said[3] == ""
    assert said[1] == (
        f"to first order n* moves by {100 * found.shift[1, 1]:.3g} %, as directions 2 and 3 mix most, of singular "
        f"values 2.2 and 2, and by {100 * found.blur_shift[1, 1]:.3g} %, as noise blurs what is kept"
    )
    near = task_complexity(problem_of(40, 13, 8, 0.1, (2.0, 1.0)), [1])
    assert near.window[0, 1] - 13 < 2
    assert near.blunt == ("LoRA wins only where full fine-tuning has no mean, next to dx",)
    assert said[2] == "singular values 3 and 4 are equal: their directions mix at any n"


def test_the_claim_about_task_complexity_is_judged_where_it_is_sure():
    """And its counterexample is not: C_r is below 1/2 there."""
    claims = {claim.id: claim for claim in load_claims(PAPER).claims}
    for name, known in (("task-complexity-decides", True), ("task-complexity-of-a-bulk", False)):
        claim = claims[name]
        rank, odds = int(claim.experiment.settings["rank"]), []
        for problem in claim.domain.cases():
            found = task_complexity(problem, [rank])
            assert found.sure[0] == known
            assert abs(np.log(found.complexity[0])) > np.log(2)
            odds.append(found.complexity[0])
        assert (max(odds) > 2) == known
        assert min(odds) < 0.5


LOUD = Problem(
    n=200, dx=10, dy=8, noise_std=1.0, spectrum=(3.0, 2.5, 1.0), noise_covariance=np.diag([0.01] * 7 + [120.0])
)


def test_loud_noise_in_the_place_of_a_task_direction_is_not_sure():
    """Plain simulation: LoRA - FFT is 1.26 +- 0.05 at C_r = 0, and 0.78 +- 0.06 and 0.070 +- 0.012 at 0.2 and 0.93."""
    alone = Problem(n=100, dx=10, dy=2, noise_std=1.0, spectrum=(2.0,), noise_covariance=np.diag([0.01, 60.0]))
    for problem, rank in ((alone, 1), (LOUD, 2), (LOUD.replace(n=900), 2)):
        found = task_complexity(problem, [rank])
        assert found.complexity[0] < 1
        assert not found.sure[0]
        assert not found.sharp[0, 1]
        assert "louder in some outputs" in found.blunt[0]
        verdict = winner_at(problem, [rank])[0]
        assert (verdict.lora_wins, verdict.by) == (False, "difference")
    assert not ll.theory.closed_best_rank(alone).sure
    assert winning_rank(alone)[0].rank == 0
    with_room = task_complexity(LOUD.replace(spectrum=(300.0, 250.0, 1.0)), [2])
    assert with_room.sure[0]
    assert with_room.sharp[0, 1]


def test_blur_of_equal_noise_is_that_of_any_covariance():
    s, ranks = np.array([6.0, 5.0, 2.0, 0, 0, 0, 0, 0]), np.arange(1, 8)
    found = noise_blur(LOUD, s, 0.3 * np.eye(8), ranks)
    assert found == pytest.approx(noise_blur(LOUD.replace(noise_covariance=None), s, 0.3 * np.eye(8), ranks))
    assert noise_blur(LOUD, s, np.diag([0.3] * 7 + [1e3]), ranks)[0] == np.inf


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_sure_of_any_noise_covariance(spread):
    """Rotated dense Sigma_eps, log-normal: of sure ranks, none is wrong by 5 standard errors. Level 1e-4."""
    g = np.random.default_rng(int(spread))
    n, dx, dy = 50, 9, 7
    decided = 0
    for _ in range(30):
        left, turned = (np.linalg.qr(g.standard_normal((dy, dy))).Q for _ in range(2))
        s = np.sort(np.exp(g.standard_normal(dy)))[::-1] * np.exp(g.uniform(-1, 2))
        shift = (left * s) @ np.linalg.qr(g.standard_normal((dx, dy))).Q.T
        levels = np.exp(spread * g.standard_normal(dy))
        levels *= np.sum(s**2) * (n - dx - 1) / (dx * np.sum(levels)) * np.exp(g.uniform(-3, 2))
        found = task_complexity(
            Problem(n=n, dx=dx, dy=dy, task_shift=shift, noise_std=1.0, noise_covariance=(turned * levels) @ turned.T)
        )
        x = g.standard_normal((150, dx, n))
        noise = turned * np.sqrt(levels) @ g.standard_normal((150, dy, n))
        fft = np.linalg.solve(x @ x.mT, x @ (shift @ x + noise).mT).mT
        u = np.linalg.svd(fft @ x, full_matrices=False)[0]
        for rank in found.ranks[found.sure].tolist():
            p = u[..., rank:].mT
            lost = np.sum((p @ shift) ** 2 - (p @ (fft - shift)) ** 2, axis=(-2, -1))
            z = lost.mean() / lost.std(ddof=1) * np.sqrt(len(lost))
            decided += abs(z) > 5
            assert abs(z) < 5 or (z < 0) == (found.complexity[rank - 1] < 1), (s, levels, rank)
    assert decided > 30


def test_pure_noise_and_no_noise():
    noisy = problem_of(40, 12, 8, 1.0, (2.0, 1.0))
    found = task_complexity(noisy)
    assert found.complexity[1:].tolist() == [0.0] * 6
    assert np.isnan(found.difference[2:]).all()
    assert found.sure[1:].all()
    assert found.window[1:, 1].tolist() == [np.inf] * 6
    with pytest.raises(InvalidInput, match="rank: expected at most 2, the rank of the shift, received 3"):
        strong_limit_risk(noisy, 3)
    silent = task_complexity(noisy.replace(noise_std=0.0))
    assert silent.complexity[0] == np.inf
    assert not silent.sure[2]
    assert silent.noise_std == pytest.approx(found.noise_std)
    assert samples_to_saturate(noisy, 2).n == np.inf
    tied = samples_to_saturate(problem_of(40, 12, 8, 1.0, (2.0, 2.0)), 1)
    assert (tied.n, tied.note) == (np.inf, "singular values 1 and 2 are equal: not known")


def test_units_and_null_inputs_change_nothing():
    problem = problem_of(40, 12, 8, 1.0, (2.0, 1.0, 0.5))
    scaled = problem.replace(spectrum=(2e8, 1e8, 0.5e8), noise_std=1e8)
    wider = Problem(
        n=40, dx=14, dy=8, spectrum=(2.0, 1.0, 0.5), noise_std=1.0, input_covariance=np.r_[np.ones(12), np.zeros(2)]
    )
    here = task_complexity(problem)
    for other, factor in ((scaled, 1e16), (wider, 1.0)):
        there = task_complexity(other)
        assert there.complexity == pytest.approx(here.complexity)
        assert there.window == pytest.approx(here.window, nan_ok=True)
        assert there.difference == pytest.approx(factor * here.difference, nan_ok=True)
        assert there.correction == pytest.approx(factor * here.correction)


def test_noise_at_which_they_are_equal():
    problem = problem_of(60, 24, 20, 1.0, (30.0, 20.0, 2.0))
    equal = problem.replace(noise_std=float(task_complexity(problem, [2]).noise_std[0]))
    assert task_complexity(equal, [2]).complexity[0] == pytest.approx(1.0)
    curves = [ll.expected_risk(equal.replace(noise_std=factor * equal.noise_std), [2]) for factor in (0.99, 1.01)]
    assert curves[0].difference[0] > 0 > curves[1].difference[0]


def test_finite_strengths_raise_the_noise_at_which_they_are_equal():
    """Where the difference and its correction cancel, to first order in a shift below 2.5 %."""
    problem = problem_of(60, 24, 20, 1.0, (3.0, 1.5, 0.9))
    found = task_complexity(problem, [2])

    def corrected(factor):
        at = task_complexity(problem.replace(noise_std=factor * float(found.noise_std[0])), [2])
        return float(at.difference[0] + at.correction[0])

    shift = float(found.noise_std_shift[0])
    assert 0.005 < shift < 0.025
    assert corrected(1 + 0.9 * shift) > 0 > corrected(1 + 1.1 * shift)
    at = task_complexity(problem.replace(noise_std=float(found.noise_std[0])), [2])
    blurred = float(at.blur[0] / (2 * at.gain[0] * at.tail[0]))
    assert found.noise_std_blur_shift[0] == pytest.approx(blurred)
    assert found.sharp_noise_std[0] == (shift + blurred <= 0.025)


def test_what_is_dropped_is_measured_in_the_metric_of_the_inputs():
    """The strong limit with a dense Sigma; in the metric of the identity energies are off by its variances."""
    a = np.random.default_rng(2).standard_normal((24, 24))
    problem = Problem(
        n=60, dx=24, dy=20, noise_std=1.0, input_covariance=a @ a.T / 24 + 0.2 * np.eye(24),
        task_shift=np.diag([3e3, 2e3, 1.0, 0.7] + [0.0] * 16) @ np.eye(20, 24),
    )  # fmt: skip
    closed, exact = task_complexity(problem, [2]), discarded_signal(problem, [2])
    assert exact.odds[0] == pytest.approx(closed.complexity[0], rel=2e-3)
    assert exact.energy[0] == pytest.approx(closed.gain[0] * (closed.tail + closed.noise)[0], rel=2e-3)


def test_the_best_rank():
    easy = problem_of(60, 24, 20, 1.0, (5.0, 4.0, 0.1))
    assert winning_rank(easy)[0].rank == ll.best_rank(easy).rank == 2
    assert winning_rank(easy)[1] == "complexity"
    bulk = problem_of(60, 24, 20, 1.0, (3.0, 1.2, 1.15, 1.1))
    assert winning_rank(bulk) == (ll.best_rank(bulk), "difference")
    ridge = easy.replace(ridge=3.0)
    assert winning_rank(ridge) == (ll.best_rank(ridge), "difference")
    assert winner_at(ridge, [2])[0].by == "difference"
    assert "ridge: expected 0" in winner_at(ridge, [2])[0].note


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ridge": 1.0}, "ridge: expected 0, received 1"),
        ({"n": 12}, r"n: expected \|n - dx\| > 1"),
        ({"n": 13}, r"n: expected \|n - dx\| > 1"),
        ({"n": 8, "input_covariance": np.linspace(1, 2, 12)}, "input_covariance: expected a multiple of the identity"),
        ({"input_law": "t:6"}, "input_law: expected gaussian"),
        ({"input_mean": np.ones(12)}, "input_mean: expected 0"),
    ],
)
def test_refused(changes, message):
    problem = problem_of(40, 12, 8, 1.0, (2.0, 1.0)).replace(**changes)
    with pytest.raises(InvalidInput, match=message):
        task_complexity(problem)


def test_ranks_and_levels_outside_are_refused():
    problem = problem_of(40, 12, 8, 1.0, (2.0, 1.0))
    for ranks in ([0], [8]):
        with pytest.raises(InvalidInput, match=r"ranks in 1\.\.7"):
            winner_at(problem, ranks)
    with pytest.raises(InvalidInput, match=r"ranks in 0\.\.7"):
        discarded_signal(problem, [8])
    with pytest.raises(InvalidInput, match="excess: expected a number > 0"):
        samples_to_saturate(problem, 1, excess=0)
    assert task_complexity(problem.replace(dy=1, spectrum=(1.0,))).ranks.size == 0


def test_bias_and_variance_of_strong_directions():
    """Plain least squares and its truncation, 12,000 draws in 60 blocks: the squared bias by products of the means of
    different blocks, which has no variance in it, the variance by the spread within blocks. Both are means over blocks,
    the products' with twice the standard error, as each block is in both factors; tested at 5 standard errors (false
    alarm below 1e-5 each, by Student's law of 59 degrees of freedom). A bias that has the noise of the tail's fit, or a
    variance without it, is more than 10 away."""
    n, dx, dy, r, blocks, each = 60, 12, 9, 2, 60, 200
    rng = np.random.default_rng(20261130)
    shift = np.zeros((dy, dx))
    strengths = [3e5, 2e5, 2.0, 1.5, 1.0]
    shift[range(5), range(5)] = strengths
    levels = np.linspace(0.5, 1.5, dy)
    tail = float(np.sum(np.square(strengths[r:])))
    inside = float(np.sum(levels[:r]))
    x = rng.standard_normal((blocks * each, dx, n))
    noise = np.sqrt(levels)[:, None] * rng.standard_normal((blocks * each, dy, n))
    fft = shift + noise @ x.swapaxes(1, 2) @ np.linalg.inv(x @ x.swapaxes(1, 2))
    u = np.linalg.svd(fft @ x, full_matrices=False)[0][:, :, :r]
    error = (u @ (u.swapaxes(1, 2) @ fft) - shift).reshape(blocks, each, dy * dx)
    means = error.mean(1)
    others = (means.sum(0) - means) / (blocks - 1)
    bias = np.sum(means * others, axis=1)
    variance = np.sum(error.var(1, ddof=1), axis=1)
    predicted = inside * dx / (n - dx - 1) + r / (n - r - 1) * (levels.sum() - inside + tail)
    problem = ll.Problem(n=n, dx=dx, dy=dy, task_shift=shift, noise_std=1.0, noise_covariance=np.diag(levels))
    assert ll.theory.strong_limit_risk(problem, r) == pytest.approx(tail + predicted)
    for found, factors, expected, wrong in (
        (bias, 2, tail, tail * (n - 1) / (n - r - 1)),
        (variance, 1, predicted, predicted - r / (n - r - 1) * tail),
    ):
        stderr = factors * found.std(ddof=1) / np.sqrt(blocks)
        assert abs(found.mean() - expected) < 5 * stderr
        assert abs(expected - wrong) > 10 * stderr
