"""Claims about worst cases: label poison of a given size, and what truncation can cost at most."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.papers.linreg_lora.robustness import strengthened
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, Positive, Rank, Share
from linreg_lora.problem import Problem
from linreg_lora.theory.golden_ratio import attained, golden_ratio_constant
from linreg_lora.theory.poisoning_budget import blind_poison, swap_budget, worst_poison

_EPS = np.finfo(float).eps
#: By how much, relatively, constructed kept values exceed lost ones, so that rounding cannot turn their order.
_MARGIN = 1e-9


def _norms(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.norm(matrices, axis=(-2, -1))


# -- the golden ratio -----------------------------------------------------------------------------------------------


def _ratios(t: np.ndarray, n: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """||M_r - T||^2 / ||N||^2 of each draw, M = T + N, and its rounding: the squares lose eps (||T|| / ||N||)^2."""
    u, s, vt = np.linalg.svd(t + n, full_matrices=False)
    error = (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :] - t
    rounding = 10 * _EPS * sum(t.shape[1:]) * t.shape[1] * (1 + _norms(t) / _norms(n)) ** 2
    return (_norms(error) / _norms(n)) ** 2, rounding


def _turned(size: MatrixSize, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random bases of inputs and outputs, of min(rows, columns) vectors."""
    k = min(size)
    u = np.linalg.qr(rng.standard_normal((trials, size.rows, k)))[0]
    return u, np.linalg.qr(rng.standard_normal((trials, size.columns, k)))[0]


@register_experiment("truncation-ratio", pathwise=True)
def truncation_ratio(size: MatrixSize, trials: int, seed: int, *, planted: Count, rank: Rank) -> Sample:
    """||M_r - T||_F^2 / ||M - T||_F^2, rank(T) = r*, on adversarial draws.

    A third is random. Of the others M has nearly equal singular values, and T is the worst for it at some multiplier:
    the r* largest directions of (nu M - M_r) / (nu - 1), with nu that of the bound or a random one.
    """
    rng, r = np.random.default_rng(seed), int(rank)
    rho = int(planted)
    u, v = _turned(size, trials, rng)
    k = min(size)
    constant = golden_ratio_constant(rho, r, k)
    spread = 10.0 ** rng.uniform(-9, 0, (trials, 1))
    observed = -np.sort(-(1 + spread * rng.uniform(size=(trials, k))), axis=1)
    lost = min(rho, k - r)
    observed[:, r + lost :] *= rng.uniform(size=(trials, 1)) * (rng.uniform(size=(trials, 1)) < 0.5)
    guess = np.where(rng.uniform(size=(trials, 1)) < 0.5, constant, 1.2 + rng.exponential(size=(trials, 1)))
    aim = (guess * observed - np.where(np.arange(k) < r, observed, 0)) / (guess - 1)
    chosen = np.argsort(np.argsort(-aim, axis=1), axis=1) < rho
    values = np.where(chosen, aim, 0.0)
    t, n = (u * values[:, None]) @ v.mT, (u * (observed - values)[:, None]) @ v.mT
    some = trials // 3
    left, right = rng.standard_normal((some, size.rows, rho)), rng.standard_normal((some, rho, size.columns))
    t[:some], n[:some] = left @ right, rng.standard_normal((some, *size)) * (0.2 + rng.exponential(size=(some, 1, 1)))
    ratio, rounding = _ratios(t, n, r)
    context = {"planted": np.asarray(rho), "rank": np.asarray(r)}
    return Sample(ratio, context, tolerance=rounding, scale=np.ones(trials))


@register_experiment("truncation-ratio-attained", pathwise=True)
def truncation_ratio_attained(size: MatrixSize, trials: int, seed: int, *, planted: Count, rank: Rank) -> Sample:
    """The same ratio on the construction that attains the bound, in random bases and of random size."""
    rng, r = np.random.default_rng(seed), int(rank)
    u, v = _turned(size, trials, rng)
    u = 10.0 ** rng.uniform(-3, 3, (trials, 1, 1)) * u
    target, noise = attained(int(planted), r, min(size), margin=_MARGIN)
    ratio, _ = _ratios(u @ target @ v.mT, u @ noise @ v.mT, r)
    context = {"planted": np.asarray(int(planted)), "rank": np.asarray(r)}
    # Of first order in the margin; its constant is at most 2 nu.
    return Sample(ratio, context, tolerance=np.full(trials, 10 * _MARGIN), scale=np.ones(trials))


@register_prediction("truncation-ratio.golden")
def golden(size: MatrixSize, sample: Sample) -> float:
    """nu(r*, r, q)."""
    return golden_ratio_constant(int(sample.context["planted"]), int(sample.context["rank"]), min(size))


@register_prediction("truncation-ratio.triangle")
def triangle(size: MatrixSize, sample: Sample) -> float:
    """4: ||M_r - T|| <= ||M_r - M|| + ||M - T|| <= 2 ||M - T||."""
    return 4.0


@register_prediction("truncation-ratio.two")
def two(size: MatrixSize, sample: Sample) -> float:
    """2: what is lost and what is swapped for it count once each."""
    return 2.0


# -- poison ---------------------------------------------------------------------------------------------------------


def _poison_rounding(x: np.ndarray) -> np.ndarray:
    return experiments._rounding(x, squared=True)


@register_experiment("worst-poison-risk", pathwise=True)
def worst_poison_risk(problem: Problem, trials: int, seed: int, *, budget: Positive) -> Sample:
    """FFT's risk, fitted to labels with the worst poison of that norm; context: the data, and the budget."""
    x, y = experiments._data(problem, trials, seed)
    residual = experiments._residual(problem, x, y)
    root = problem.sigma_sqrt
    found = [
        worst_poison(a, b, problem.shift, budget=budget, sigma_sqrt=root) for a, b in zip(x, residual, strict=True)
    ]
    update = experiments._fft_updates(problem, x, y + np.stack([one.poison for one in found]))
    risk = np.sum(((update - problem.shift) @ root) ** 2, axis=(-2, -1))
    context = {"x": x, "residual": residual, "budget": np.asarray(budget)}
    return Sample(risk, context, tolerance=_poison_rounding(x), scale=risk)


@register_prediction("worst-poison-risk.secular")
def secular(problem: Problem, sample: Sample) -> np.ndarray:
    """sum_j |C_j|^2 (mu / (mu - g_j^2))^2, with mu by bisection from eigenvalues of G^T G: plain NumPy."""
    budget, root = float(sample.context["budget"]), problem.sigma_sqrt
    risks = []
    for x, residual in zip(sample.context["x"], sample.context["residual"], strict=True):
        gain = np.linalg.pinv(x) @ root
        gains, basis = np.linalg.eigh(gain.T @ gain)
        error = np.sum(((residual @ gain - problem.shift @ root) @ basis) ** 2, axis=0)
        low, high = gains[-1], gains[-1] + np.sqrt(np.sum(gains * error)) / budget
        for _ in range(200):
            middle = (low + high) / 2
            long = np.sum(gains * error / (middle - gains) ** 2) > budget**2 if middle > gains[-1] else True
            low, high = (middle, high) if long else (low, middle)
        risks.append(np.sum(error * (high / (high - gains)) ** 2))
    return np.array(risks)


@register_prediction("worst-poison-risk.noise-ignored")
def noise_ignored(problem: Problem, sample: Sample) -> np.ndarray:
    """The clean risk and c^2 g_1^2: the worst of an attacker who sees the inputs alone."""
    budget, root = float(sample.context["budget"]), problem.sigma_sqrt
    clean = [
        np.sum(((residual @ np.linalg.pinv(x) - problem.shift) @ root) ** 2)
        + budget**2 * np.linalg.norm(np.linalg.pinv(x) @ root, 2) ** 2
        for x, residual in zip(sample.context["x"], sample.context["residual"], strict=True)
    ]
    return np.array(clean)


@register_experiment("gap-after-poison", pathwise=True)
def gap_after_poison(problem: Problem, trials: int, seed: int, *, rank: Rank, share: Share) -> Sample:
    """sigma_r(F) - sigma_{r+1}(F) on poisoned labels, over the gap without; poisons have `share` of the swap budget.

    Half of them close the gap on the shortest way; the others do it partly, and something random.
    """
    x, y = experiments._data(problem, trials, seed)
    residual, r = experiments._residual(problem, x, y), int(rank)
    rng = np.random.default_rng(seed)
    seen = residual @ np.linalg.pinv(x) @ x
    u, s, vt = np.linalg.svd(seen, full_matrices=False)
    least = np.array([swap_budget(a, b, r) for a, b in zip(x, residual, strict=True)])
    poison = u[..., r : r + 1] @ vt[:, r : r + 1] - u[..., r - 1 : r] @ vt[:, r - 1 : r]
    some = trials // 2
    poison[:some] += rng.exponential(size=(some, 1, 1)) * rng.standard_normal((some, *seen.shape[1:])) / problem.n
    poison *= (share * least / _norms(poison))[:, None, None]
    moved = np.linalg.svd((residual + poison) @ np.linalg.pinv(x) @ x, compute_uv=False)
    gap = s[:, r - 1] - s[:, r]
    ratio = (moved[:, r - 1] - moved[:, r]) / gap
    tolerance = experiments._rounding(x) * s[:, 0] / gap
    return Sample(ratio, {"share": np.asarray(share)}, tolerance=tolerance, scale=np.ones(trials))


@register_prediction("gap-after-poison.what-is-left")
def what_is_left(problem: Problem, sample: Sample) -> float:
    """1 - c / c_swap."""
    return 1 - float(sample.context["share"])


@register_prediction("gap-after-poison.one-value-moves")
def one_value_moves(problem: Problem, sample: Sample) -> float:
    """As if c_swap were the whole gap: one singular value moves, not two."""
    return 1 - float(sample.context["share"]) / np.sqrt(2)


@register_experiment("poison-in-kept-output", pathwise=True)
def poison_in_kept_output(
    problem: Problem, trials: int, seed: int, *, rank: Rank, strength: Positive, budget: Positive
) -> Sample:
    """What a poison c u_1 v^T adds to LoRA's risk, mean of both signs, over the most that FFT suffers from c blindly.

    u_1 is LoRA's first output direction, v the samples' worst direction; kept directions are `strength` times as
    strong.
    """
    r = int(rank)
    strong = strengthened(problem, r, strength)
    x, y = experiments._data(strong, trials, seed)
    root = strong.sigma_sqrt
    inverse = np.linalg.pinv(x)
    seen = experiments._residual(strong, x, y) @ inverse @ x
    first, worst = np.linalg.svd(seen, full_matrices=False)[0][..., :1], np.linalg.svd(inverse @ root)[0][..., :1]
    poison = budget * first @ worst.mT
    risks = [
        np.sum(((experiments._lora_updates(strong, x, y + sign * poison, r) - strong.shift) @ root) ** 2, axis=(-2, -1))
        for sign in (0, 1, -1)
    ]
    blind = np.array([blind_poison(one, budget=budget, sigma_sqrt=root) for one in x])
    added = (risks[1] + risks[2]) / 2 - risks[0]
    context = {"rank": np.asarray(r), "dy": np.asarray(problem.dy), "dx": np.asarray(problem.dx)}
    tolerance = experiments._truncation_rounding(x, seen, r) * (1 + risks[0] / blind)
    return Sample(added / blind, context, tolerance=tolerance, scale=np.ones(trials))


@register_prediction("poison-in-kept-output.nearly-all")
def nearly_all(problem: Problem, sample: Sample) -> float:
    """All but a hundredth, for the strength is finite."""
    return 0.99


@register_prediction("poison-in-kept-output.more")
def more_than_fft(problem: Problem, sample: Sample) -> float:
    """As if fewer directions made LoRA the more vulnerable one: 1 + r / dx."""
    return 1 + float(sample.context["rank"] / sample.context["dx"])
