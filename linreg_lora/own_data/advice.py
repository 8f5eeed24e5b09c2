"""Full fine-tuning or LoRA on a user's data: the choice, its fit, what it is worth, and how sure that is."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from linreg_lora.own_data import notes
from linreg_lora.own_data.bootstrap import Uncertainty, uncertainty
from linreg_lora.own_data.choice import AUTO, Choice, FFTWithRidge, choose, difference, fft_with_ridge
from linreg_lora.own_data.curve import LeaveOneOut
from linreg_lora.own_data.deletion import Design, deletions, design, update
from linreg_lora.own_data.gaussian_model import GaussianModel, expected_errors, gaussian_model
from linreg_lora.own_data.losses import directions
from linreg_lora.own_data.samples import Samples, samples
from linreg_lora.own_data.spectral import Shrinkage, shrinkage

#: In intervals: by how much theory may be off.
_APART = 1.5
#: Standard errors of a paired difference within which two ranks are not told apart.
_TOLD = 2.0


@dataclass(frozen=True)
class Advice:
    """Which rank and which ridge, the update that they give, and what is known of its error.

    `update` D_r (dy dx) and `offset` (dy; zeros without an intercept): predictions are base(x) + D_r x + offset.
    `factors`: B (dy r) and A (r dx) with D_r = B A, B orthonormal. `error`, `stderr`: leave-one-out test error of the
    choice, in squared units of y summed over outputs, with its standard error. `noise_std`: where samples outnumber
    what is fitted, else nan: there the noise is not told from what the samples do not show. `excess_risk`: the error
    without the noise, likewise, 0 at least. `leverage`: the largest of a sample. `notes`: what to know before believing
    the numbers.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> found = ll.own_data.advise(x, x[:, :2] + 0.1 * rng.standard_normal((60, 2)), ridge=0.0)
    >>> found.rank, found.update.shape
    (2, (2, 8))
    >>> low, high = found.interval()
    >>> 0 < low < high
    True
    """

    choice: Choice
    fft_ridge: FFTWithRidge
    update: Float[np.ndarray, "dy dx"]
    offset: Float[np.ndarray, "dy"]
    basis: Float[np.ndarray, "dy r"]
    singular_values: Float[np.ndarray, "q"]
    noise_std: float
    excess_risk: float
    leverage: float
    notes: tuple[str, ...]
    shape: tuple[int, int, int]
    _model: GaussianModel | None = field(repr=False)
    _clustered: bool = field(repr=False)

    @property
    def rank(self) -> int:
        return self.choice.rank

    @property
    def ridge(self) -> float:
        return self.choice.curve.ridge

    @property
    def curve(self) -> LeaveOneOut:
        """Errors at every rank, at the chosen ridge."""
        return self.choice.curve

    @property
    def error(self) -> float:
        return float(self.curve.error[self.rank])

    @property
    def stderr(self) -> float:
        return float(self.curve.stderr[self.rank])

    @property
    def factors(self) -> tuple[Float[np.ndarray, "dy r"], Float[np.ndarray, "r dx"]]:
        return self.basis, self.basis.T @ self.update

    @property
    def verdict(self) -> str:
        """The recommendation in a sentence."""
        ridge = f" with ridge {self.ridge:.3g}" if self.ridge else ""
        if self.rank == 0:
            return "Do not adapt: no update has a lower leave-one-out error than the pretrained map."
        if self.rank == self.curve.ranks[-1]:
            return f"Full fine-tuning{ridge}: no lower rank has a lower leave-one-out error."
        return (
            f"LoRA of rank {self.rank}{ridge}: leave-one-out error {self.error:.4g} against "
            f"{self.curve.fft_error:.4g} of full fine-tuning{ridge}."
        )

    @functools.cached_property
    def near_best(self) -> list[int]:
        """The other ranks whose leave-one-out error is within two standard errors, paired, of that of the choice.

        What the choice has of having been chosen is not counted: the data may not tell more ranks from it.
        """
        gains = {rank: difference(self.curve, rank, self.curve, self.rank) for rank in self.curve.ranks.tolist()}
        return [rank for rank, (gain, stderr) in gains.items() if rank != self.rank and abs(gain) <= _TOLD * stderr]

    @functools.cached_property
    def uncertainty(self) -> Uncertainty:
        """Interval and probability; a second or so when first asked for."""
        return uncertainty(self.choice, self._model, self.shape[0], clustered=self._clustered)

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Of the test error of the choice (`own_data.bootstrap`): at least nominal for Gaussian data, too short for
        others."""
        return self.uncertainty.interval(level)

    @functools.cached_property
    def shrinkage(self) -> Shrinkage:
        """The best weights on directions in place of ones and zeros (`own_data.spectral`), at the chosen ridge."""
        return shrinkage(self.curve)

    def is_described(self, level: float = 0.9) -> bool | None:
        """Whether theory's expected errors are, at every rank, near those of left-out samples.

        Within one and a half intervals of the choice, in standard errors of each rank; None where theory says nothing.
        """
        expected, curve = self.expected_errors(), self.curve
        if expected is None:
            return None
        below, above = _APART * np.abs(np.array(self.interval(level)) - self.error)
        size = curve.stderr / self.stderr if self.stderr > 0 else np.ones(len(curve.ranks))
        off = expected - curve.error
        known = np.isfinite(expected)
        return bool(np.all(((off >= -below * size) & (off <= above * size))[known])) if np.any(known) else None

    def expected_errors(self) -> Float[np.ndarray, "k"] | None:
        """Test error at every rank that theory expects of Gaussian data that look like these; None without ridge only.

        Where it departs from the leave-one-out error by more than the interval, these data are not Gaussian.
        """
        return self._expected

    @functools.cached_property
    def _expected(self) -> Float[np.ndarray, "k"] | None:
        if self._model is None or self.ridge:
            return None
        return expected_errors(self._model, self.shape[0] - self.curve.intercept, self.curve.ranks)

    @property
    def probability_lora_beats_fft(self) -> float:
        """That LoRA of the chosen rank, or of the best rank below FFT's where FFT is chosen, has the lower error."""
        return self.uncertainty.probability_beats_fft()


def advise(
    inputs: Any,
    outputs: Any,
    base: Any = None,
    *,
    rank: Any = AUTO,
    ridge: Any = AUTO,
    intercept: bool = True,
    groups: Any = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Advice:
    """Choose rank and ridge by leave-one-out error, and fit.

    Arguments are those of `leave_one_out`, and `rank`: "auto" or an integer; `ridge`: "auto" or a number. Raises
    `InvalidInput` for data that are none. `progress` is called with the number of ridges just tried, of `RIDGES` where
    the ridge is "auto".

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> y = x[:, :1] @ np.ones((1, 6)) + rng.standard_normal((60, 6))
    >>> found = ll.own_data.advise(x, y, ridge=0.0)
    >>> found.verdict
    'LoRA of rank 1: leave-one-out error 5.778 against 6.286 of full fine-tuning.'
    """
    given = samples(inputs, outputs, base, groups)
    at = design(given.inputs, intercept=intercept)
    return advised(given, at, choose(given, at, rank, ridge, progress))


def advised(given: Samples, at: Design, choice: Choice) -> Advice:
    """The advice of a choice."""
    ridge, residual = choice.curve.ridge, given.residual
    deleted = deletions(at, residual, ridge)
    basis = directions(deleted).basis[:, : choice.rank]
    whole = update(at, residual, ridge)
    chosen = basis @ (basis.T @ whole) if choice.rank < choice.curve.ranks[-1] else whole
    offset = np.mean(residual, axis=0) - chosen @ at.mean if at.intercept else np.zeros(len(chosen))
    plain = deletions(at, residual, 0.0)
    spare = at.samples - at.intercept - len(at.values)
    noise_trace, noise_std = np.nan, np.nan
    if spare > 0:
        noise_trace = float(np.sum((plain.target - at.left @ plain.coordinates) ** 2)) / spare
        noise_std = float(np.sqrt(noise_trace / residual.shape[1]))
    error = float(choice.curve.error[choice.rank])
    return Advice(
        choice=choice,
        fft_ridge=fft_with_ridge(given, at),
        update=chosen,
        offset=offset,
        basis=basis,
        singular_values=np.linalg.svd(deleted.coordinates, compute_uv=False),
        noise_std=noise_std,
        excess_risk=float(np.maximum(error - noise_trace, 0.0)) if spare > 0 else float("nan"),
        leverage=float(np.max(at.leverage)),
        notes=tuple(notes.of(given, at, plain, choice)),
        shape=(at.samples, *chosen.shape[::-1]),
        _model=gaussian_model(at, residual) if at.values.size else None,
        _clustered=given.groups is not None,
    )
