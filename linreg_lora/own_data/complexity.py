"""Task complexity of a user's data: the odds that what a rank drops is signal, from samples that were left out.

LoRA of rank r is FFT without the directions k > r. With a_ik = (w_k.d_i)^2, what FFT without sample i predicts of it
along direction k, squared, and delta_i = loss_i(r) - loss_i(FFT) (`losses`), signal and noise of what is dropped are

    S_i = (sum_{k>r} a_ik + delta_i) / 2,      N_i = (sum_{k>r} a_ik - delta_i) / 2,      C_r = mean S / mean N,

for loss_i(r) - loss_i(FFT) = sum_{k>r} 2 (w_k.d_i)(w_k.R'_i) - (w_k.d_i)^2 on every sample. Means over samples are the
means of n - 1 samples, for any noise and law, so that C_r estimates the odds phi / (1 - phi) of
`theory.discarded_signal`, at any ridge; below 1 LoRA has the lower leave-one-out error. The interval is Fieller's, of a
ratio of two means, by their covariance over samples and by that over draws of the Gaussian model that looks like the
data: it reaches as far as either, and is unbounded where no noise is seen for sure. That model has the covariance that
the residuals of the outputs show (`gaussian_model.unequal_noise`); where every sample is fitted they show none, and
outputs of equal noise are assumed: `note` says so. It also says where noise is so loud in some outputs that draws keep
it in the place of a direction of the shift (`theory.noise_blur` is infinite): then what is dropped has two values, no
normal law, and fewer intervals than the level says hold the odds: `least_level` is what Chebyshev's inequality
leaves of it for any law with these covariances. Source: ours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.own_data.curve import ALL_ROWS, SOME_ROWS, LeaveOneOut, curve
from linreg_lora.own_data.deletion import Design, deletions, design
from linreg_lora.own_data.gaussian_model import GaussianModel, gaussian_model, unequal_noise
from linreg_lora.own_data.groups import group_losses
from linreg_lora.own_data.losses import LeftOut, directions, losses
from linreg_lora.own_data.samples import Samples, samples
from linreg_lora.theory.noise_blur import room_left

#: Shares of the energy below which there is no noise.
_NO_NOISE = 1e-12
#: Draws of the model, samples of a draw that are left out in turn, and the size of data that are not drawn anew.
_DRAWS, _ROWS, _LARGEST = 24, 64, 2e7
_EQUAL = "the interval takes the outputs to have equal noise, for every sample is fitted and shows none"
_LOUD = "noise of some outputs is as large as the weakest direction kept: the interval may be too short"


@dataclass(frozen=True)
class EstimatedComplexity:
    """C_r at `rank`: `estimate`; inf where no noise is seen, below 0 where what is dropped points away from the signal,
    nan where nothing is dropped.

    `signal`, `noise`: the two means, in squared units of y; `spread`: their covariance over samples, and over draws of
    a Gaussian model, None where these are too many or in groups. `note`: why the
    interval may be too short; empty: not known to be.
    """

    rank: int
    signal: float
    noise: float
    spread: tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2 2"] | None]
    samples_left_out: int
    note: str = ""

    @property
    def estimate(self) -> float:
        if self.noise > _NO_NOISE * abs(self.signal):
            return self.signal / self.noise
        return float("inf") if self.signal > 0 else float("nan")

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Nominal: Fieller's, the wider of two at either end; -inf or inf where it is not bounded.

        It may be too short: benchmarks/results/complexity_coverage.md has how often it holds C_r of Gaussian problems.
        """
        from scipy.special import stdtrit

        ends = [
            _fieller(self.signal, self.noise, covariance, float(stdtrit(freedom, (1 + level) / 2)))
            for covariance, freedom in zip(self.spread, (max(self.samples_left_out - 1, 1), _DRAWS - 1), strict=True)
            if covariance is not None
        ]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def least_level(self, level: float = 0.9) -> float:
        """The share of intervals that hold the odds where `interval(level)` is used, as far as that is known.

        `level` itself but where noise is loud: there 1 - 1/t^2, t the quantile that the interval has, by Chebyshev.
        """
        from scipy.special import stdtrit

        if self.note != _LOUD:
            return level
        return max(0.0, 1 - 1 / float(stdtrit(_DRAWS - 1, (1 + level) / 2)) ** 2)


def estimated_complexity(
    inputs: Any,
    outputs: Any,
    base: Any = None,
    *,
    rank: int,
    ridge: float = 0.0,
    intercept: bool = True,
    groups: Any = None,
) -> EstimatedComplexity:
    """C_r of LoRA of one rank against FFT, both with this ridge; arguments are those of `leave_one_out`, and the rank.

    Raises `InvalidInput` for data that are none, and for ranks that are not below that of FFT.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> y = x[:, :1] @ np.ones((1, 6)) + rng.standard_normal((60, 6))
    >>> found = ll.own_data.estimated_complexity(x, y, rank=1)
    >>> low, high = found.interval()
    >>> low < found.estimate < high < 1
    True
    """
    given = samples(inputs, outputs, base, groups)
    at = design(given.inputs, intercept=intercept)
    ridge = validation.nonnegative_number("ridge", ridge)
    full = min(len(at.values), given.residual.shape[1])
    if validation.nonnegative_integer("rank", rank) >= full:
        raise InvalidInput("rank", f"an integer below that of full fine-tuning, {full}", rank)
    found = curve(given, at, ridge)
    signal, noise = _means(found, rank)
    left_out, labels = _left_out(given, at, ridge)
    each = _signal_and_noise(left_out, rank)
    count = len(each)
    if labels is not None:
        count = int(np.max(labels)) + 1
        sums = np.zeros((count, 2))
        np.add.at(sums, labels, each - np.mean(each, axis=0))
        over_samples = sums.T @ sums * count / (count - 1) / len(each) ** 2
    else:
        over_samples = np.cov(each, rowvar=False) / count
    over_draws, note = None, ""
    if at.values.size and groups is None and at.samples * (given.residual.shape[1] + len(at.values)) ** 2 <= _LARGEST:
        known = unequal_noise(at, given.residual)
        if known is None:
            model = gaussian_model(at, given.residual)
            known, note = (model, model.noise_std * np.eye(len(model.shift))), _EQUAL
        elif rank and _displaced(*known, at.samples - intercept, rank):
            note = _LOUD
        rng = np.random.default_rng(0)
        drawn = [_means(_draw(*known, at.samples, ridge, intercept, rng), rank) for _ in range(_DRAWS)]
        over_draws = np.cov(np.array(drawn), rowvar=False)
    return EstimatedComplexity(rank, signal, noise, (over_samples, over_draws), count, note)


def _means(found: LeaveOneOut, rank: int) -> tuple[float, float]:
    assert found.losses.energies is not None
    energy, difference = float(np.sum(found.losses.energies[rank:])), float(found.error[rank] - found.error[-1])
    return (energy + difference) / 2, (energy - difference) / 2


def _left_out(given: Samples, at: Design, ridge: float) -> tuple[LeftOut, np.ndarray | None]:
    """Losses and energies sample by sample, and the groups of these."""
    deleted = deletions(at, given.residual, ridge)
    fit = directions(deleted)
    if given.groups is not None:
        return group_losses(at, deleted, fit, given.groups, ridge), given.groups
    rows = None
    if at.samples > ALL_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(at.samples, SOME_ROWS, replace=False))
    return losses(deleted, fit, rows), None


def _signal_and_noise(left_out: LeftOut, rank: int) -> Float[np.ndarray, "m 2"]:
    energy = np.sum(left_out.energies[:, rank:], axis=1)
    difference = left_out.losses[:, rank] - left_out.losses[:, -1]
    return np.column_stack([energy + difference, energy - difference]) / 2


def _displaced(model: GaussianModel, root: Float[np.ndarray, "dy dy"], n: int, rank: int) -> bool:
    """Whether noise of the model may take the place of one of the first directions of its shift."""
    (dy, p), (left, s, _) = model.shift.shape, np.linalg.svd(model.shift * np.sqrt(model.variances))
    noise, levels = left.T @ root @ root @ left, np.linalg.eigvalsh(root) ** 2
    s = np.concatenate([s, np.zeros(dy - len(s))])
    return bool(np.any(room_left(s, noise, levels, n, p)[:rank] <= 0))


def _draw(
    model: GaussianModel, root: np.ndarray, n: int, ridge: float, intercept: bool, rng: np.random.Generator
) -> LeaveOneOut:
    dy, p = model.shift.shape
    inputs = rng.standard_normal((n, p)) * np.sqrt(model.variances)
    residual = inputs @ model.shift.T + rng.standard_normal((n, dy)) @ root
    return curve(Samples(inputs, residual, None), design(inputs, intercept=intercept), ridge, most=_ROWS, rng=rng)


def _fieller(one: float, other: float, covariance: Float[np.ndarray, "2 2"], z: float) -> tuple[float, float]:
    """Where |one - c other| is at most z of its standard errors: from one c to another, or to infinity, or all c."""
    (a, b), (_, c) = covariance * z**2
    square, mixed, rest = other**2 - c, one * other - b, one**2 - a
    inside = mixed**2 - square * rest
    if inside < 0:
        return -np.inf, np.inf
    roots = (
        sorted(((mixed - np.sqrt(inside)) / square, (mixed + np.sqrt(inside)) / square)) if square else [-np.inf] * 2
    )
    if square > 0 and other > 0:
        return float(roots[0]), float(roots[1])
    return (float(roots[1]), np.inf) if one > 0 and rest > 0 else (-np.inf, np.inf)
