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
uniform projection on the row space of X (n < dx), of sizes dx and r. The risks themselves are in `theory.strong_limit`.

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

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.problem import Problem
from linreg_lora.theory.mixing import mixed_pairs, mixing
from linreg_lora.theory.noise_blur import noise_blur, quietest
from linreg_lora.theory.strong_limit import (
    gain_of_dropping,
    inner_ranks,
    strengths_and_unit_covariance,
    strengths_and_unit_noise,
    sums_after,
    with_closed_forms,
)

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
        s, unit = strengths_and_unit_noise(self.problem.without_null_inputs())
        said = []
        dx = self.problem.without_null_inputs().dx
        for i, rank in enumerate(self.ranks.tolist()):
            moved, blurred = self.shift[i], self.blur_shift[i]
            dull = (np.isfinite(self.window[i]) | np.isinf(blurred)) & ~self.sharp[i]
            pairs = mixed_pairs(s, self.problem.noise_std**2 * unit, rank)
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
    reduced = with_closed_forms(problem)
    chosen = inner_ranks(reduced, ranks)
    n, dx = reduced.n, reduced.dx
    s, covariance = strengths_and_unit_covariance(reduced)
    unit, present = np.diagonal(covariance), reduced.noise_std**2 * covariance
    e = np.diagonal(present)
    distance = abs(n - dx) - 1
    tail, entries = sums_after(s**2, chosen), (dx - chosen) * sums_after(unit, chosen)
    noise = reduced.noise_std**2 * entries / distance
    gain = gain_of_dropping(n, dx, chosen)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.where(tail > 0, tail / noise, 0.0)
        reach = np.where(tail > 0, noise * distance / tail, np.inf)
    difference = np.where(s[chosen - 1] > 0, gain * (tail - noise), np.nan)
    mixed = np.array([mixing(s, e, int(rank)) for rank in chosen])
    below = np.where(dx - 1 - reach > chosen + 1, dx - 1 - reach, np.nan)
    window = np.stack([below, dx + 1 + reach], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = (
            mixed[:, None] / window * reach[:, None] / (gain_of_dropping(window, dx, chosen[:, None]) * tail[:, None])
        )
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


def _blur_shift(
    problem: Problem,
    s: Float[np.ndarray, "dy"],
    noise: Float[np.ndarray, "dy dy"],
    ranks: Int[np.ndarray, "m"],
    window: Float[np.ndarray, "m 2"],
    reach: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "m 2"]:
    """By how much of itself blur_r moves each end; inf where unequal noise may hide other ends on the way to it."""
    dx, tail = problem.dx, sums_after(s**2, ranks)
    energies = (dx - ranks) * sums_after(np.diagonal(noise), ranks)
    found, levels = np.where(np.isnan(window), np.nan, 0.0), np.linalg.eigvalsh(noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, j in zip(*np.nonzero(np.isfinite(window)), strict=True):
            rank, end = int(ranks[i]), float(window[i, j])
            slope = gain_of_dropping(end, dx, np.asarray(rank)) * tail[i] / reach[i]
            lost = noise_blur(problem, s, noise, ranks[i : i + 1], n=end, levels=levels)
            found[i, j] = float(lost[0]) / slope / end
    if problem.isotropic_noise_scale is None:
        for j, near in enumerate((dx - 2, dx + 2)):
            if near > 0:
                lost = noise_blur(problem, s, noise, ranks, n=near, levels=levels)
                with np.errstate(divide="ignore", invalid="ignore"):
                    hidden = ~(gain_of_dropping(near, dx, ranks) * (energies - tail) > lost) & ~np.isnan(window[:, j])
                found[hidden, j] = np.inf
    return found


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
    tail, noise = sums_after(s**2, before), (dx - before) * sums_after(np.diagonal(covariance), before) / distance
    planted = max(1, int(np.sum(s > 0)))
    share = np.ones(problem.dy) if problem.isotropic_noise_scale is not None else quietest(covariance)
    found = np.zeros(len(ranks), dtype=bool)
    for i, rank in enumerate(ranks.tolist()):
        at = min(rank, planted)
        gain, signal = float(gain_of_dropping(n, dx, np.asarray(at))), tail[at]
        if signal > noise[at]:
            found[i] = gain * (signal - noise[at]) > mixed[i]
            continue
        least = share[rank] * noise[: at + 1]
        outstanding = min(at, int(np.max(np.where(tail[: at + 1] < least, 0, before[: at + 1] + 1))))
        as_bulk = gain * (least[at] - signal) > mixed[i] + blur[outstanding]
        all_stand_out = rank == at and gain * (noise[at] - signal) > mixed[i] + blur[at]
        found[i] = as_bulk or all_stand_out
    return found
