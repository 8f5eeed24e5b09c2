"""Task complexity: one number that says whether LoRA of rank r beats full fine-tuning, in closed form.

    C_r = tail_r^2 / B_r,     B_r = Tr(U_p^T Sigma_eps U_p) (dx - r) / g,     g = |n - dx| - 1 > 0,
    A_r = (k - r)(K - 1) / ((dx - r)(K - r - 1)),     k = min(n, dx),  K = max(n, dx),

    E [risk(FFT) - risk(D_r)] = A_r (B_r - tail_r^2)     as s_1..s_r -> infinity, the rest fixed; exact, both regimes

for 1 <= r < R = min(n, dx, dy), ridgeless; s_i are the singular values of Delta Sigma^{1/2}, tail_r^2 = sum_{i>r} s_i^2
is what rank r cannot reach, and U_p (dy x (dy - r)) the left singular vectors after the first r; n < dx needs Sigma =
c I. With Sigma_eps = sigma^2 I, B_r = sigma^2 (dx - r)(dy - r) / g. So LoRA of rank r wins if and only if C_r < 1: that
is |n - dx| < 1 + Q_r, Q_r = B_r g / tail_r^2, a window of sample sizes around dx,

    dx - 1 - Q_r  <  n  <  dx + 1 + Q_r          (the lower end only where it is above r + 1)

Derivation. FFT and LoRA differ by what they do in the directions P = I - U U^T that LoRA dropped, U the leading left
singular vectors of the residual's projection R X^+ X:

    risk(FFT) - risk(D_r) = ||P (D_FFT - Delta) Sigma^{1/2}||_F^2 - ||P Delta Sigma^{1/2}||_F^2       on every draw.

As the kept directions grow, U tends to that of Delta. Then U^T D_r = U^T D_FFT, and P D_r is the fit of P R on the r
inputs V^T x alone (A frozen), so that the mean needs nothing but means of inverse Wishart matrices (n > dx) or of the
uniform projection on the row space of X (n < dx), of sizes dx and r. The risks themselves are in `strong_limit_risk`.

*Domain.* Kept directions of finite strength mix with the dropped ones, and noise blurs them. To first order LoRA's risk
rises by

    T_r / n,    T_r = sum_{i<=r<j} s_j^2 (s_j^2 + e_i + e_j) / (s_i^2 - s_j^2),   e_i = (U^T Sigma_eps U)_ii,

which is `large_sample_limit` less what the limit above has already, and by blur_r = 3 dy k sigma^4 / (g n) sum_{i<=r}
1 / s_i^2, the next order of the spiked model (`theory.noise_blur`, for any Sigma_eps; infinite where loud noise may
take the place of a kept direction). The opposite limit is a bulk: directions that do not stand out after the first q
are dropped in equal shares of signal and noise, those of C_q (`theory.discarded`). With C_q, ..., C_r below 1 it does
not matter which of the directions q + 1, ..., r stand out. So the sign is `sure` where the difference is larger than
T_r / n if FFT wins, and than T_r / n + blur_q if LoRA does, for the first such q. Ranks above that of the shift cut the
bulk that its last direction leaves, and have its answer. Outputs of unequal noise are dropped from the quietest: then a
bulk counts the least share rho_r of its noise that dy - r directions can have, or all of the first r have to stand out.
An end n* of the window moves towards dx by

    (T_r / n* + blur_r) Q_r / (A_r tail_r^2),

for d B_r / d n = - B_r / g at n > dx, and is `sharp` where that is at most 2.5 % of n*, so that as much again by higher
orders leaves it within 5 %, and FFT's risk has a mean on either side of it: Q_r >= 1. Unequal noise may also hide
crossings within the window: an end is sharp only if blur_r leaves LoRA the winner next to dx. Elsewhere
`theory.discarded` answers. Source: derived here.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.capacity import strengths_and_noise
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.noise_blur import noise_blur, quietest

#: Relative differences of singular values below which they count as equal.
_TIE = 1e-12
#: The largest first-order shift of an end of the window, relatively: as much again leaves it known within 5 %.
_SHARP = 0.025
#: Of an end from dx, so that FFT's risk has a mean just inside of it.
_LEAST_DISTANCE = 2.0


@dataclass(frozen=True)
class TaskComplexity:
    """C_r and what it predicts at each of `ranks`; energies and risks in squared units of y.

    | field        | symbol              | meaning                                                                 |
    |--------------|---------------------|-------------------------------------------------------------------------|
    | `complexity` | C_r                 | LoRA of rank r beats FFT iff it is below 1; inf without noise           |
    | `tail`       | tail_r^2            | the energy that rank r cannot reach                                     |
    | `noise`      | B_r                 | the noise energy that FFT fits there, and LoRA does not                 |
    | `gain`       | A_r                 | factor of the difference; it decides nothing                            |
    | `difference` | A_r (tail_r^2 - B_r)| E [risk(D_r) - risk(FFT)] in the strong limit; negative: LoRA wins; nan |
    |              |                     | above the rank of the shift, where surplus directions keep noise        |
    | `correction` | T_r / n             | the first-order rise of LoRA's risk for finite strengths; inf at a tie  |
    | `blur`       | blur_r              | what noise in kept directions adds to LoRA's risk, to its first order;  |
    |              |                     | inf where it may take their place                                       |
    | `sure`       |                     | whether corrections leave the sign: the domain in which C_r decides     |
    | `window`     | dx -+ (1 + Q_r)     | LoRA wins for n strictly between them; (ranks, 2), inf: at every n, nan:|
    |              |                     | FFT does not win below                                                  |
    | `shift`      |                     | by how much of itself T_r / n moves each end of it; `blur_shift`: blur_r|
    |              |                     | `sharp`: by 2.5 % in sum at most; `blunt`: why not                      |
    | `noise_std`  | sigma*              | the noise_std at which C_r = 1, all else as it is; LoRA wins above      |
    | `noise_std_shift` |                | by how much of itself T_r / n raises it; `noise_std_blur_shift`: blur_r |
    """

    problem: Problem
    ranks: Int[np.ndarray, "m"]
    complexity: Float[np.ndarray, "m"]
    tail: Float[np.ndarray, "m"]
    noise: Float[np.ndarray, "m"]
    gain: Float[np.ndarray, "m"]
    difference: Float[np.ndarray, "m"]
    correction: Float[np.ndarray, "m"]
    blur: Float[np.ndarray, "m"]
    sure: Bool[np.ndarray, "m"]
    window: Float[np.ndarray, "m 2"]
    shift: Float[np.ndarray, "m 2"]
    blur_shift: Float[np.ndarray, "m 2"]
    noise_std: Float[np.ndarray, "m"]
    noise_std_shift: Float[np.ndarray, "m"]
    noise_std_blur_shift: Float[np.ndarray, "m"]

    @property
    def sharp(self) -> Bool[np.ndarray, "m 2"]:
        """Which ends of the window are known within 5 %."""
        far = np.abs(self.window - self.problem.without_null_inputs().dx) >= _LEAST_DISTANCE
        with np.errstate(invalid="ignore"):
            return (self.shift + self.blur_shift <= _SHARP) & far

    @property
    def blunt(self) -> tuple[str, ...]:
        """Why an end of the window at each rank is not sharp, in a sentence; empty where both are, or are not there."""
        s, unit = _strengths_and_unit_noise(self.problem.without_null_inputs())
        said = []
        dx = self.problem.without_null_inputs().dx
        for i, rank in enumerate(self.ranks.tolist()):
            moved, blurred = self.shift[i], self.blur_shift[i]
            dull = (np.isfinite(self.window[i]) | np.isinf(blurred)) & ~self.sharp[i]
            pairs = _mixed_pairs(s, self.problem.noise_std**2 * unit, rank)
            if not np.any(dull):
                said.append("")
            elif np.any(np.isinf(blurred[dull])):
                said.append(
                    "noise is louder in some outputs than in others, and may take the place of a kept direction"
                )
            elif np.max(np.abs(self.window[i][dull] - dx)) < _LEAST_DISTANCE:
                said.append("LoRA wins only where full fine-tuning has no mean, next to dx")
            elif not np.all(np.isfinite(pairs)):
                said.append(f"singular values {rank} and {rank + 1} are equal: their directions mix at any n")
            else:
                kept, dropped = np.unravel_index(int(np.argmax(pairs)), pairs.shape)
                said.append(
                    f"to first order n* moves by {100 * np.max(moved[dull]):.3g} %, as directions {kept + 1} and "
                    f"{rank + dropped + 1} mix most, of singular values {s[kept]:.3g} and {s[rank + dropped]:.3g}, "
                    f"and by {100 * np.max(blurred[dull]):.3g} %, as noise blurs what is kept"
                )
        return tuple(said)

    @property
    def sharp_noise_std(self) -> Bool[np.ndarray, "m"]:
        """Whether `noise_std` is: C_r goes with 1 / sigma^2, so that half of a relative change moves it."""
        with np.errstate(invalid="ignore"):
            return self.noise_std_shift + self.noise_std_blur_shift <= _SHARP


class ClosedBestRank(NamedTuple):
    """The rank of least risk in the strong limit, 0 <= r <= R, where R is FFT; and whether corrections leave it so."""

    rank: int
    sure: bool


def task_complexity(problem: Problem, ranks: object = None) -> TaskComplexity:
    """C_r of the module at each rank, default 1..R - 1, R = min(n, dx, dy); inputs that are always zero are left out.

    Raises `InvalidInput` with a ridge, for inputs that are not Gaussian with mean zero, for Sigma other than c I where
    n < dx, where |n - dx| <= 1, and for ranks outside of 1..R - 1.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.task_complexity(problem, ranks=[1, 2])
    >>> f"{found.complexity[0]:.3f} = {5 * 35 / (23 * 19):.3f}: LoRA wins up to n = {found.window[0, 1]:.0f}"
    '0.400 = 0.400: LoRA wins up to n = 112'
    """
    reduced = _with_closed_forms(problem)
    chosen = _interior(reduced, ranks)
    n, dx = reduced.n, reduced.dx
    s, covariance = _strengths_and_unit_covariance(reduced)
    unit, present = np.diagonal(covariance), reduced.noise_std**2 * covariance
    e = np.diagonal(present)
    distance = abs(n - dx) - 1
    tail, entries = _after(s**2, chosen), (dx - chosen) * _after(unit, chosen)
    noise = reduced.noise_std**2 * entries / distance
    gain = _gain(n, dx, chosen)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.where(tail > 0, tail / noise, 0.0)
        reach = np.where(tail > 0, noise * distance / tail, np.inf)
    difference = np.where(s[chosen - 1] > 0, gain * (tail - noise), np.nan)
    mixed = np.array([mixing(s, e, int(rank)) for rank in chosen])
    below = np.where(dx - 1 - reach > chosen + 1, dx - 1 - reach, np.nan)
    window = np.stack([below, dx + 1 + reach], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = mixed[:, None] / window * reach[:, None] / (_gain(window, dx, chosen[:, None]) * tail[:, None])
        equal = np.sqrt(tail * distance / entries)
        mixed_there = np.array(
            [mixing(s, sigma**2 * unit, int(rank)) for rank, sigma in zip(chosen, equal, strict=True)]
        )
        raised = mixed_there / n / (2 * gain * tail)
        levels = np.linalg.eigvalsh(covariance)
        blurred = [
            float(noise_blur(reduced, s, sigma**2 * covariance, chosen[i : i + 1], levels=sigma**2 * levels)[0])
            for i, sigma in enumerate(equal)
        ]
        blur_raised = np.array(blurred) / (2 * gain * tail)
    blur = noise_blur(reduced, s, present, np.arange(reduced.max_rank))
    blur_shift = _blur_shift(reduced, s, present, chosen, window, reach)
    shift = np.where(np.isfinite(window), moved / window, np.where(np.isnan(window), np.nan, 0.0))
    return TaskComplexity(
        problem,
        chosen,
        complexity=odds,
        tail=tail,
        noise=noise,
        gain=gain,
        difference=difference,
        correction=mixed / n,
        blur=blur[chosen],
        sure=_sure(reduced, s, present, chosen, mixed / n, blur),
        window=window,
        shift=shift,
        blur_shift=blur_shift,
        noise_std=equal,
        noise_std_shift=raised,
        noise_std_blur_shift=blur_raised,
    )


def strong_limit_risk(problem: Problem, rank: int) -> float:
    """The expected risk of LoRA of rank r in 1..R - 1, at most rank(Delta), as s_1..s_r -> infinity, the rest fixed.

    With head_r^2 = sum_{i<=r} s_i^2, e_U = Tr(U^T Sigma_eps U) and e_P = Tr(Sigma_eps) - e_U,

        n > dx:  tail^2 (n - 1)/(n - r - 1) + e_U dx/(n - dx - 1) + e_P r/(n - r - 1)
        n < dx:  head^2 (1 - n/dx) + e_U n/(dx - n - 1) + e_P r/(dx - r - 1)
                 + tail^2 [ 1 - r (1 - n/dx)/(dx - r) + r (n - r)/((dx - r)(dx - r - 1)) ]

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(300.0, 200.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.strong_limit_risk(problem, 2):.3f}, {ll.expected_risk(problem, [2]).risk[0]:.3f}"
    '3.038, 3.038'
    """
    reduced = _with_closed_forms(problem)
    rank = int(_interior(reduced, [rank])[0])
    s, unit = _strengths_and_unit_noise(reduced)
    if s[rank - 1] == 0:
        known = "use small_noise_risk" if reduced.n > reduced.dx else "use expected_risk"
        raise InvalidInput("rank", f"at most {int(np.sum(s > 0))}, the rank of the shift", rank, known)
    e, n, dx = reduced.noise_std**2 * unit, reduced.n, reduced.dx
    head, tail = float(np.sum(s[:rank] ** 2)), float(np.sum(s[rank:] ** 2))
    inside, outside = float(np.sum(e[:rank])), float(np.sum(e[rank:]))
    if reduced.regime is Regime.OVERDETERMINED:
        kept, few = dx / (n - dx - 1), rank / (n - rank - 1)
        return tail * (n - 1) / (n - rank - 1) + inside * kept + outside * few
    missed = 1 - n / dx
    seen = 1 - rank * missed / (dx - rank) + rank * (n - rank) / ((dx - rank) * (dx - rank - 1))
    return head * missed + inside * n / (dx - n - 1) + outside * rank / (dx - rank - 1) + tail * seen


def closed_best_rank(problem: Problem) -> ClosedBestRank:
    """The rank of least risk by the closed forms: those of rank 0 and FFT are exact, the others the strong limit's.

    Above the rank of the shift every direction more is noise, and costs. `sure` where the best rank b is better than
    every other q by more than what b and q do not have in common: the mixing of pairs of directions i < j of which one
    of the two ranks separates i from j and the other does not, with

        m_ij^2 = s_j^2 (s_j^2 + e_i + e_j) / n,        (sqrt((s_i^2 - s_j^2)^2 + 4 m_ij^2) - (s_i^2 - s_j^2)) / 2

    for a pair: the repulsion of two levels, of which T_r / n has the first order m_ij^2 / (s_i^2 - s_j^2), and which is
    finite at ties; and the blur of the directions that b keeps and q does not, of all that b keeps if noise is unequal.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(5.0, 4.0, 0.1), noise_std=1.0)
    >>> ll.theory.closed_best_rank(problem), ll.best_rank(problem).rank
    (ClosedBestRank(rank=2, sure=True), 2)
    """
    found = task_complexity(problem)
    ends = problem.pretrained_risk - fft_risk(problem).risk
    differences = np.concatenate([[ends], np.where(np.isnan(found.difference), np.inf, found.difference), [0.0]])
    best = int(np.argmin(differences))
    reduced = problem.without_null_inputs()
    s, covariance = _strengths_and_unit_covariance(reduced)
    noise, full = reduced.noise_std**2 * covariance, reduced.max_rank
    repelled = _repulsion(s, np.diagonal(noise), reduced.n)
    blur, equal = noise_blur(reduced, s, noise, np.arange(full + 1)), reduced.isotropic_noise_scale is not None
    blurred = np.diff(blur) if equal else blur
    for other in np.flatnonzero(np.isfinite(differences)):
        low, high = min(best, other), max(best, other)
        if high == full:  # FFT separates nothing, and blurs nothing that LoRA does not
            apart, kept = np.sum(repelled[:low, low:]), blurred[:low] if equal else blur[low : low + 1]
        else:
            apart = np.sum(repelled[:low, low:high]) + np.sum(repelled[low:high, high:])
            kept = blurred[other:best] if equal else blur[best : best + 1]
        if other != best and not differences[other] - differences[best] > apart + np.sum(kept):
            return ClosedBestRank(best, False)
    return ClosedBestRank(best, True)


def _blur_shift(
    problem: Problem,
    s: Float[np.ndarray, "dy"],
    noise: Float[np.ndarray, "dy dy"],
    ranks: Int[np.ndarray, "m"],
    window: Float[np.ndarray, "m 2"],
    reach: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "m 2"]:
    """By how much of itself blur_r moves each end; inf where unequal noise may hide other ends on the way to it."""
    dx, tail = problem.dx, _after(s**2, ranks)
    energies = (dx - ranks) * _after(np.diagonal(noise), ranks)
    found, levels = np.where(np.isnan(window), np.nan, 0.0), np.linalg.eigvalsh(noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, j in zip(*np.nonzero(np.isfinite(window)), strict=True):
            rank, end = int(ranks[i]), float(window[i, j])
            slope = _gain(end, dx, np.asarray(rank)) * tail[i] / reach[i]
            lost = noise_blur(problem, s, noise, ranks[i : i + 1], n=end, levels=levels)
            found[i, j] = float(lost[0]) / slope / end
    if problem.isotropic_noise_scale is None:
        for j, near in enumerate((dx - 2, dx + 2)):
            if near > 0:
                lost = noise_blur(problem, s, noise, ranks, n=near, levels=levels)
                with np.errstate(divide="ignore", invalid="ignore"):
                    hidden = ~(_gain(near, dx, ranks) * (energies - tail) > lost) & ~np.isnan(window[:, j])
                found[hidden, j] = np.inf
    return found


def _repulsion(s: Float[np.ndarray, "dy"], e: Float[np.ndarray, "dy"], n: int) -> Float[np.ndarray, "dy dy"]:
    """What the levels i and j > i move apart by, at [i, j]; 0 elsewhere."""
    level = s**2
    gap, mixed = level[:, None] - level, level * (level + e[:, None] + e) / n
    with np.errstate(invalid="ignore"):
        apart = 2 * mixed / (gap + np.sqrt(gap**2 + 4 * mixed))
    return np.triu(np.where(mixed > 0, apart, 0.0), 1)


def mixing(s: Float[np.ndarray, "dy"], e: Float[np.ndarray, "dy"], rank: int) -> float:
    """T_r of the module, from singular values and noise variances of all outputs; inf where s_r = s_{r+1} > 0."""
    return float(np.sum(_mixed_pairs(s, e, rank)))


def _sure(
    problem: Problem,
    s: Float[np.ndarray, "dy"],
    covariance: Float[np.ndarray, "dy dy"],
    ranks: Int[np.ndarray, "m"],
    mixed: Float[np.ndarray, "m"],
    blur: Float[np.ndarray, "ranks"],
) -> Bool[np.ndarray, "m"]:
    """`sure` of the module; ranks above that of the shift cut the bulk that its last direction leaves."""
    n, dx, distance = problem.n, problem.dx, abs(problem.n - problem.dx) - 1
    before = np.arange(problem.max_rank)
    tail, noise = _after(s**2, before), (dx - before) * _after(np.diagonal(covariance), before) / distance
    planted = max(1, int(np.sum(s > 0)))
    share = np.ones(problem.dy) if problem.isotropic_noise_scale is not None else quietest(covariance)
    found = np.zeros(len(ranks), dtype=bool)
    for i, rank in enumerate(ranks.tolist()):
        at = min(rank, planted)
        gain, signal = float(_gain(n, dx, np.asarray(at))), tail[at]
        if signal > noise[at]:
            found[i] = gain * (signal - noise[at]) > mixed[i]
            continue
        least = share[rank] * noise[: at + 1]
        outstanding = min(at, int(np.max(np.where(tail[: at + 1] < least, 0, before[: at + 1] + 1))))
        as_bulk = gain * (least[at] - signal) > mixed[i] + blur[outstanding]
        all_stand_out = rank == at and gain * (noise[at] - signal) > mixed[i] + blur[at]
        found[i] = as_bulk or all_stand_out
    return found


def _mixed_pairs(s: Float[np.ndarray, "dy"], e: Float[np.ndarray, "dy"], rank: int) -> Float[np.ndarray, "r weak"]:
    """The terms of T_r: kept directions in rows, dropped ones that are not 0 in columns."""
    weak = s[rank:]
    weak, noise = weak[weak > 0], e[rank:][weak > 0]
    if rank and weak.size and not s[rank - 1] - weak[0] > _TIE * s[0]:
        return np.full((1, 1), math.inf)
    strong = s[:rank, None] ** 2
    return weak**2 * (weak**2 + e[:rank, None] + noise) / (strong - weak**2)


def _strengths_and_unit_covariance(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """All dy singular values of Delta Sigma^{1/2}, and Sigma_eps in their left vectors where noise_std is 1."""
    s, noise = strengths_and_noise(problem.replace(noise_std=1.0))
    return np.concatenate([s, np.zeros(problem.dy - len(s))]), noise


def _strengths_and_unit_noise(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """All dy singular values, and the noise variances of their outputs where noise_std is 1."""
    s, covariance = _strengths_and_unit_covariance(problem)
    return s, np.diagonal(covariance)


def _gain(n: float | int | np.ndarray, dx: int, ranks: np.ndarray) -> np.ndarray:
    """A_r."""
    small, large = np.minimum(n, dx), np.maximum(n, dx)
    return np.asarray((small - ranks) * (large - 1) / ((dx - ranks) * (large - ranks - 1)))


def _interior(problem: Problem, ranks: object) -> np.ndarray:
    """The ranks, default all at which LoRA neither is FFT nor learns nothing."""
    inner = np.arange(1, problem.max_rank)
    chosen = inner if ranks is None else valid_ranks(ranks, problem)
    if not np.all(np.isin(chosen, inner)):
        raise InvalidInput("ranks", f"ranks in 1..{problem.max_rank - 1}, where LoRA is not FFT", chosen.tolist())
    return chosen


def _after(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """sum_{i>r} of each rank r, from the smallest up."""
    return np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])[ranks]


def _with_closed_forms(problem: Problem) -> Problem:
    """The problem without null inputs; raises `InvalidInput` where no closed form is known."""
    problem.require_gaussian("task complexity in closed form")
    problem.require_centred("task complexity in closed form")
    reduced = problem.without_null_inputs()
    remedy = "use linreg_lora.theory.discarded_signal, which needs no closed form"
    if reduced.ridge:
        raise InvalidInput("ridge", "0", problem.ridge, remedy)
    if abs(reduced.n - reduced.dx) <= 1:
        raise InvalidInput("n", "|n - dx| > 1, so that FFT's risk has a mean", problem.n, remedy)
    if reduced.regime is Regime.UNDERDETERMINED and reduced.isotropic_scale is None:
        raise InvalidInput("input_covariance", "a multiple of the identity where n < dx", "another", remedy)
    return reduced
