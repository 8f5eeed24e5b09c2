"""Worst label poison and worst perturbed inputs against ascent in plain NumPy; the golden ratio against adversaries."""

import numpy as np
import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.theory import golden_ratio, poison_ascent, poisoning_budget, worst_perturbation
from linreg_lora.theory.ball_maximum import ball_maximum
from linreg_lora.theory.golden_ratio import golden_ratio_constant, golden_ratio_error

# -- a convex quadratic over a ball -------------------------------------------------------------------------------


def ascent(error, gain, budget, starts, rng):
    """The largest ||C + P G||^2 that conditional gradients reach on ||P|| = budget: monotone for a convex objective."""
    best = 0.0
    first = rng.standard_normal((starts, len(error), len(gain)))
    for poison in np.concatenate([first, -first]):
        before = -1.0
        for _ in range(20_000):
            slope = (error + poison @ gain) @ gain.T
            poison = budget * slope / np.linalg.norm(slope)
            now = float(np.sum((error + poison @ gain) ** 2))
            if now - before <= 1e-14 * now:
                break
            before = now
        best = max(best, before)
    return best


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
@pytest.mark.parametrize("case", ["generic", "no error on top", "tie on top", "no error", "below the hard case"])
def test_the_ball_maximum_has_its_certificate(case, scale):
    """p on the sphere, (mu - g_j^2) p_j = g_j C_j and mu >= max g_j^2: sufficient for the global maximum (Sorensen)."""
    rng = np.random.default_rng(1)
    gains, strengths = np.array([2.0, 1.0, 0.5, 0.0]), rng.uniform(0.5, 1.5, (6, 4))
    budget = {"below the hard case": 0.1}.get(case, 3.0)
    if case == "tie on top":
        gains[1] = 2.0
    if case in ("no error on top", "below the hard case"):
        strengths[:, 0] = 0.0
    if case == "no error":
        strengths[:] = 0.0
    found = ball_maximum(scale * strengths, gains, scale * budget)
    length = np.sqrt(np.sum(found.lengths**2, axis=1) + found.spare**2)
    assert length == pytest.approx(scale * budget, rel=1e-13)
    multiplier = found.excess[:, None] + 4.0
    assert (multiplier - gains**2) * found.lengths == pytest.approx(scale * gains * strengths, rel=1e-9)
    assert np.all(found.excess >= 0)
    assert np.all((found.spare > 0) == (case in ("no error on top", "no error")))
    if case in ("no error on top", "no error"):
        assert np.all(found.excess == 0)
    with_spare = np.sum((scale * strengths + gains * found.lengths) ** 2, axis=1) + (2 * found.spare) ** 2
    assert found.energy == pytest.approx(with_spare, rel=1e-13)


def test_next_to_the_hard_case_nothing_is_lost():
    """Nearly no error along g_1: the maximum tends to that without any, from above."""
    gains, budget = np.array([2.0, 1.0]), 3.0
    without = ball_maximum(np.array([0.0, 1.0]), gains, budget).energy
    for tiny in (1e-4, 1e-9, 1e-15):
        here = ball_maximum(np.array([tiny, 1.0]), gains, budget).energy
        assert 0 <= here - without <= 30 * tiny + 1e-13 * without


# -- label poison -------------------------------------------------------------------------------------------------

#: n, dx, anisotropic inputs, ridge.
DATA = [(20, 6, False, 0.0), (20, 6, True, 0.0), (5, 12, False, 0.0), (5, 12, True, 0.0), (20, 6, True, 3.0)]


def data(n, dx, anisotropic, seed=3, dy=4):
    rng = np.random.default_rng(seed)
    root = None
    if anisotropic:
        basis = np.linalg.qr(rng.standard_normal((dx, dx))).Q
        root = (basis * np.geomspace(0.5, 2, dx)) @ basis.T
    shift = np.zeros((dy, dx))
    shift[0, 0], shift[1, 1] = 3.0, 2.0
    x = rng.standard_normal((dx, n))
    x = x if root is None else root @ x
    return x, shift @ x + 0.5 * rng.standard_normal((dy, n)), shift, root


def refitted_risk(x, residual, shift, root, rank=None, ridge=0.0):
    """Risk of FFT, or LoRA of `rank`, from normal equations and an SVD of the fitted values."""
    root = np.eye(len(x)) if root is None else root
    update = residual @ (np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), x).T if ridge else np.linalg.pinv(x))
    if rank is not None:
        u = np.linalg.svd(update @ x)[0][:, :rank]
        update = u @ (u.T @ update)
    return float(np.sum(((update - shift) @ root) ** 2))


@pytest.mark.parametrize(("n", "dx", "anisotropic", "ridge"), DATA)
def test_the_worst_poison_is_what_ascent_reaches(n, dx, anisotropic, ridge):
    """Ascent stops where it gains 1e-14 a step: within 1e-9 of the maximum for gaps of the largest gains as here."""
    x, residual, shift, root = data(n, dx, anisotropic)
    found = poisoning_budget.worst_poison(x, residual, shift, budget=1.3, sigma_sqrt=root, ridge=ridge)
    assert np.linalg.norm(found.poison) == pytest.approx(1.3, rel=1e-12)
    assert found.risk == pytest.approx(refitted_risk(x, residual + found.poison, shift, root, ridge=ridge), rel=1e-9)
    assert found.added == pytest.approx(found.risk - refitted_risk(x, residual, shift, root, ridge=ridge), rel=1e-9)
    full = np.eye(dx) if root is None else root
    gain = x.T @ np.linalg.pinv(x @ x.T + ridge * np.eye(dx), rcond=1e-10) @ full
    reached = ascent(residual @ gain - shift @ full, gain, 1.3, 2, np.random.default_rng(0))
    assert reached <= found.risk * (1 + 1e-11)
    assert reached >= found.risk * (1 - 1e-9)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((n, n))).Q
    same = poisoning_budget.worst_poison(x @ turn, residual @ turn, shift, budget=1.3, sigma_sqrt=root, ridge=ridge)
    assert same.risk == pytest.approx(found.risk, rel=1e-10)


@pytest.mark.parametrize(("n", "dx", "anisotropic", "ridge"), DATA)
def test_who_sees_the_inputs_alone_adds_the_largest_gain(n, dx, anisotropic, ridge):
    """Of both signs of a poison the mean of what is added is ||P G||^2: the worst is found by power iteration."""
    x, residual, shift, root = data(n, dx, anisotropic)
    found = poisoning_budget.blind_poison(x, budget=1.3, sigma_sqrt=root, ridge=ridge)
    clean = refitted_risk(x, residual, shift, root, ridge=ridge)
    full = np.eye(dx) if root is None else root
    gain = x.T @ np.linalg.pinv(x @ x.T + ridge * np.eye(dx), rcond=1e-10) @ full
    direction = np.ones(n)
    for _ in range(3000):
        direction = gain @ (gain.T @ direction)
        direction /= np.linalg.norm(direction)
    poison = 1.3 * np.outer(np.full(4, 0.5), direction)
    both = [refitted_risk(x, residual + sign * poison, shift, root, ridge=ridge) - clean for sign in (1, -1)]
    assert np.mean(both) == pytest.approx(found, rel=1e-8)
    assert max(both) <= poisoning_budget.worst_poison(x, residual, shift, budget=1.3, sigma_sqrt=root, ridge=ridge).added * (1 + 1e-9)  # fmt: skip  # noqa: E501


def test_the_limit_of_who_sees_the_inputs_alone():
    """Largest sizes 800 x 200 and 200 x 800: the edge fluctuates by n^{-2/3}, relatively; 5 % is ten times that."""
    for n, dx in ((800, 200), (200, 800)):
        drawn = poisoning_budget.blind_poison(np.random.default_rng(0).standard_normal((dx, n)), budget=2.0)
        assert drawn == pytest.approx(poisoning_budget.blind_poison_limit(n, dx, budget=2.0), rel=0.05)
    assert poisoning_budget.blind_poison_limit(10, 10, budget=1.0) == np.inf


@pytest.mark.parametrize(("n", "dx"), [(20, 6), (5, 12)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_swap_budget_is_the_least_that_ties(n, dx, rank):
    """The poison of the proof ties sigma_r and sigma_{r+1} with c_swap exactly; shorter ones, of 400, never do."""
    x, residual, _, _ = data(n, dx, False)
    least = poisoning_budget.swap_budget(x, residual, rank)
    seen = residual @ np.linalg.pinv(x) @ x
    u, s, vt = np.linalg.svd(seen)
    half = (s[rank - 1] - s[rank]) / 2
    swap = half * (np.outer(u[:, rank], vt[rank]) - np.outer(u[:, rank - 1], vt[rank - 1]))
    assert np.linalg.norm(swap) == pytest.approx(least)
    tied = np.linalg.svd(seen + swap, compute_uv=False)
    assert tied[rank - 1] == pytest.approx(tied[rank], rel=1e-12)
    rng = np.random.default_rng(2)
    poison = swap + half * rng.standard_normal((400, 1, 1)) * rng.standard_normal((400, *swap.shape))
    poison *= 0.999 * least / np.linalg.norm(poison, axis=(1, 2), keepdims=True)
    moved = np.linalg.svd(seen + poison, compute_uv=False)
    assert np.all(moved[:, rank - 1] - moved[:, rank] >= 0.001 * (s[rank - 1] - s[rank]) * (1 - 1e-9))


def test_at_the_largest_rank_nothing_can_be_swapped():
    x, residual, _, _ = data(20, 6, False)
    assert poisoning_budget.swap_budget(x, residual, 4) == np.inf


@pytest.mark.parametrize(("n", "dx"), [(20, 6), (5, 12)])
@pytest.mark.parametrize("share", [0.5, 1.5])
def test_lora_does_not_escape(n, dx, share):
    """Random ascent by accepted steps stays below the bound from above, and the poison found is refitted.

    At the rank of the task the poison found adds at least half of what FFT's worst adds to FFT.
    """
    x, residual, shift, _ = data(n, dx, False)
    budget = share * poisoning_budget.swap_budget(x, residual, 2)
    found = poisoning_budget.lora_poison(x, residual, shift, 2, budget=budget)
    assert np.linalg.norm(found.poison) <= budget * (1 + 1e-12)
    assert found.clean == pytest.approx(refitted_risk(x, residual, shift, None, 2), rel=1e-9)
    assert found.least == pytest.approx(refitted_risk(x, residual + found.poison, shift, None, 2), rel=1e-9)
    full = poisoning_budget.worst_poison(x, residual, shift, budget=budget)
    assert 0.5 * full.added <= found.least - found.clean
    rng = np.random.default_rng(4)
    poison, now = found.poison, found.least
    for _ in range(300):
        step = poison + 0.1 * budget * rng.standard_normal(poison.shape) / np.sqrt(poison.size)
        step *= budget / np.linalg.norm(step)
        risk = refitted_risk(x, residual + step, shift, None, 2)
        poison, now = (step, risk) if risk > now else (poison, now)
    assert found.least <= now <= found.most
    assert poisoning_budget.lora_poison(x, residual, shift, 1, budget=budget).most == np.inf


@pytest.mark.parametrize("rank", [1, 2])
def test_the_worst_poison_of_lora_is_at_least_none_and_random_ones(rank):
    """A small poison, which FFT's worst turns into help for LoRA of too low a rank on some draws."""
    for seed in range(6):
        x, residual, shift, _ = data(14, 4, False, seed)
        found = poisoning_budget.lora_poison(x, residual, shift, rank, budget=0.1)
        assert found.clean <= found.least <= found.most
        poisons = np.random.default_rng(seed).standard_normal((30, *residual.shape))
        poisons *= 0.1 / np.linalg.norm(poisons, axis=(1, 2), keepdims=True)
        assert found.least > max(refitted_risk(x, residual + one, shift, None, rank) for one in poisons)


@pytest.mark.parametrize(("dy", "k", "rank"), [(4, 6, 2), (6, 4, 3), (3, 3, 3)])
def test_the_gradient_of_a_truncated_risk(dy, k, rank):
    g = np.random.default_rng(dy)
    labels, step, solve, missed = (g.standard_normal(size) for size in ((dy, k), (dy, k), (k, 5), (dy, 5)))
    _, gradient = poison_ascent.risk_and_gradient(labels, solve, missed, rank)
    above, below = (poison_ascent.risk_and_gradient(labels + h * step, solve, missed, rank)[0] for h in (1e-6, -1e-6))
    assert np.sum(gradient * step) == pytest.approx((above - below) / 2e-6, rel=1e-6)


@pytest.mark.parametrize(("n", "dx", "anisotropic"), [(20, 6, False), (20, 6, True), (5, 12, False), (4, 6, True)])
def test_sufficient_statistics_null_inputs_and_repeated_samples_change_nothing(n, dx, anisotropic):
    """X = L Q with a triangular L, and R Q^T, for the data; an input that is 0; samples repeated, scaled down."""
    x, residual, shift, root = data(n, dx, anisotropic)
    full = np.eye(dx) if root is None else root
    small, turn = np.linalg.qr(x.T)[::-1]
    wide = np.zeros((dx + 1, dx + 1))
    wide[:dx, :dx] = full
    others = [
        (small.T, residual @ turn, shift, root),
        (np.vstack([x, np.zeros(n)]), residual, np.pad(shift, ((0, 0), (0, 1))), wide),
        (np.tile(x, 2) / np.sqrt(2), np.tile(residual, 2) / np.sqrt(2), shift, root),
    ]
    worst = poisoning_budget.worst_poison(x, residual, shift, budget=1.3, sigma_sqrt=root)
    here = poisoning_budget.lora_poison(x, residual, shift, 2, budget=1.3, sigma_sqrt=full)
    swap = poisoning_budget.swap_budget(x, residual, 2)
    for design, labels, task, metric in others:
        there = poisoning_budget.worst_poison(design, labels, task, budget=1.3, sigma_sqrt=metric)
        assert (there.risk, there.added) == pytest.approx((worst.risk, worst.added), rel=1e-9)
        assert poisoning_budget.swap_budget(design, labels, 2) == pytest.approx(swap)
        metric = np.eye(dx) if metric is None else metric
        there = poisoning_budget.lora_poison(design, labels, task, 2, budget=1.3, sigma_sqrt=metric)
        assert there[:3] == pytest.approx(here[:3], rel=1e-6)


def test_without_budget_nothing_is_added():
    x, residual, shift, root = data(20, 6, True)
    assert poisoning_budget.worst_poison(x, residual, shift, budget=0, sigma_sqrt=root).added == 0
    found = poisoning_budget.lora_poison(x, residual, shift, 2, budget=0, sigma_sqrt=root)
    assert found.clean == found.least <= found.most


# -- truncation ---------------------------------------------------------------------------------------------------

SIZES = [(1, 1, 2), (1, 1, 5), (2, 3, 6), (3, 3, 4), (2, 5, 6), (4, 4, 9), (1, 4, 5)]


def worst_ratio(observed, planted, rank):
    """max over T of rank r* of ||M_r - T||^2 / ||M - T||^2, M = diag(observed), by Dinkelbach's iteration."""
    kept = np.where(np.arange(len(observed)) < rank, observed, 0.0)
    ratio = 1.0 + 1e-9
    for _ in range(100):
        aim = (ratio * observed - kept) / (ratio - 1)
        target = np.where(np.argsort(np.argsort(-np.abs(aim))) < planted, aim, 0.0)
        now = float(np.sum((kept - target) ** 2) / np.sum((observed - target) ** 2))
        if now <= ratio * (1 + 1e-15):
            break
        ratio = now
    return ratio


@pytest.mark.parametrize(("planted", "rank", "size"), SIZES)
def test_the_golden_ratio_is_attained_and_never_passed(planted, rank, size):
    """Constructed to 1e-8; of 120 spectra, random or nearly tied, the worst T by iteration stays below."""
    constant = golden_ratio_constant(planted, rank, size)
    target, noise = golden_ratio.attained(planted, rank, size, margin=1e-10)
    assert np.linalg.matrix_rank(target) == planted
    u, s, vt = np.linalg.svd(target + noise)
    error = float(np.sum(((u[:, :rank] * s[:rank]) @ vt[:rank] - target) ** 2))
    assert error == pytest.approx(constant * np.sum(noise**2), rel=1e-8, abs=1e-12)
    assert error <= golden_ratio_error(target, noise, rank) ** 2 * (1 + 1e-9)
    rng = np.random.default_rng(0)
    found = []
    for draw in range(120):
        observed = -np.sort(-(1 + rng.uniform(0, 1e-3 if draw % 2 else 3, size)))
        observed[rank + min(planted, size - rank) :] *= rng.uniform(0, 1)
        found.append(worst_ratio(observed, planted, rank))
    assert max(found) <= constant * (1 + 1e-12)
    assert max(found) >= constant * (1 - 0.01)


def test_constants_of_the_golden_ratio():
    assert golden_ratio_constant(3, 3, 20) == pytest.approx(((1 + 5**0.5) / 2) ** 2)
    assert golden_ratio_constant(3, 6, 20) == pytest.approx(2.0)
    assert golden_ratio_constant(3, 12, 40) == pytest.approx(1.640388, abs=1e-6)
    assert golden_ratio_constant(3, 20, 20) == golden_ratio_constant(3, 25, 20) == golden_ratio_constant(0, 2, 9) == 1


# -- inputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5)])
@pytest.mark.parametrize("radius", [0.01, 0.5, 20.0])
def test_the_worst_perturbation_is_what_ascent_reaches_within_its_bracket(shape, radius):
    rng = np.random.default_rng(6)
    fitted, errors = rng.standard_normal(shape), rng.standard_normal((40, shape[0]))
    errors[0] = 0.0
    found = worst_perturbation.worst_rise(fitted, errors, radius)
    bracket = worst_perturbation.worst_rise_bracket(fitted, errors, radius)
    assert np.all(bracket.low <= found * (1 + 1e-12))
    assert np.all(found <= bracket.high * (1 + 1e-12))
    for error, rise in zip(errors[:6], found, strict=False):
        reached = ascent(error[None], fitted.T, radius, 1, rng) - np.sum(error**2)
        assert reached <= rise + 1e-11 * (rise + np.sum(error**2))
        assert reached >= rise - 1e-9 * (rise + np.sum(error**2))
    if shape[0] == 1:
        assert bracket.low == pytest.approx(found, rel=1e-12)
        assert bracket.high == pytest.approx(found, rel=1e-12)


def test_the_mean_worst_rise_of_one_output():
    """400,000 errors of variance 1.7; |z| <= 5: a false alarm of 6e-7."""
    fitted = np.array([[0.6, -0.8, 1.2]])
    errors = np.sqrt(1.7) * np.random.default_rng(0).standard_normal((400_000, 1))
    rises = worst_perturbation.worst_rise(fitted, errors, 0.4)
    stderr = np.std(rises) / np.sqrt(len(rises))
    assert abs(np.mean(rises) - worst_perturbation.mean_worst_rise_of_one_output(fitted, 1.7, 0.4)) <= 5 * stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: golden_ratio_constant(3, 2, 9), "rank: expected at least the rank of the target, 3, received 2"),
        (lambda: golden_ratio_constant(9, 9, 5), "planted: expected at most size = 5"),
        (lambda: golden_ratio_error(np.eye(3), np.eye(2), 1), "noise: expected the shape of target"),
        (lambda: poisoning_budget.worst_poison(np.eye(3), np.eye(2), np.eye(2), budget=1), r"residual: expected shape"),
        (
            lambda: poisoning_budget.worst_poison([1.0, 2.0], [[1.0, 2.0]], [[1.0]], budget=1),  # pyright: ignore[reportArgumentType]
            "design: expected a matrix of finite numbers",
        ),
        (lambda: poisoning_budget.swap_budget(np.eye(3), np.full((3, 3), np.nan), 1), "residual: expected a matrix"),
        (lambda: poisoning_budget.blind_poison("no", budget=1), "design: expected a matrix"),  # pyright: ignore[reportArgumentType]
        (
            lambda: poisoning_budget.worst_poison(np.eye(3), np.eye(3), np.eye(3), budget=-1),
            "budget: expected a finite",
        ),
        (
            lambda: poisoning_budget.blind_poison(np.eye(3), budget=1, sigma_sqrt=np.eye(2)),
            "sigma_sqrt: expected shape",
        ),
        (lambda: poisoning_budget.swap_budget(np.eye(3), np.eye(3), 4), r"rank: expected an integer in 1\.\.3"),
        (lambda: worst_perturbation.worst_rise(np.eye(3), np.ones(2), 1), "errors: expected finite vectors of dy = 3"),
        (lambda: worst_perturbation.worst_rise(np.eye(3), np.ones(3), -1), "radius: expected a finite number"),
        (lambda: worst_perturbation.mean_worst_rise_of_one_output(np.eye(2), 1, 1), "fitted: expected a map with one"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
