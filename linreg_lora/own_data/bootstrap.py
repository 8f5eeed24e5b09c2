"""How sure: intervals of the test error and the probability that LoRA beats FFT, by a parametric bootstrap.

Draws b of a Gaussian model that looks like the data (`gaussian_model`) are treated as the data were: the leave-one-out
curve S_b, its best rank k_b, and, since the model is known, the test error T_b of the fit to these draws. With S, k of
the data themselves and q the rank of FFT,

    e_b = S_b[k_b] - T_b[k_b]                                   test error in [S[k] - q95(e), S[k] - q05(e)]
    d_b = (S_b - T_b)[k_b] - (S_b - T_b)[q],  k_b < q           P(LoRA beats FFT) = P(S[k] - S[q] - d_b < 0)

Choosing the rank anew in each draw is what pays for having chosen it. The model is Gaussian, and these are its answers:
on data with heavy tails they are too sure. The losses themselves know of tails, so an interval reaches as far on either
side as the bootstrap's or as their standard error's. On data with dependence it is still too short.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.own_data.choice import Choice, difference
from linreg_lora.own_data.curve import TIE, LeaveOneOut, curve
from linreg_lora.own_data.deletion import Design, deletions, design, update
from linreg_lora.own_data.gaussian_model import GaussianModel
from linreg_lora.own_data.losses import directions
from linreg_lora.own_data.samples import Samples

DRAWS = 80
#: Samples of a draw that are left out in turn.
_ROWS = 64
#: Numbers of rows times the square of columns beyond which draws take minutes: there the data are so many that means of
#: losses are normal.
_LARGEST = 2e7


class Uncertainty(NamedTuple):
    """What is not known of the test error.

    `errors`: e_b; `differences`: d_b; both empty where `how` is normal: then standard errors are used.
    """

    how: str
    errors: Float[np.ndarray, "b"]
    differences: Float[np.ndarray, "b"]
    choice: Choice

    def interval(self, level: float) -> tuple[float, float]:
        """Of the test error at the chosen rank and ridge."""
        return self._around(float(self.choice.curve.error[self.choice.rank]), self.errors, level)

    def probability_beats_fft(self) -> float:
        """That LoRA of the chosen rank, or of the best below FFT's where FFT is chosen, has the lower test error.

        0 where both have the same error to rounding, as where the outputs have fewer dimensions than columns.
        """
        found = self.choice.curve
        q = int(found.ranks[-1])
        if q == 0:
            return float("nan")
        k = _below(found) if self.choice.rank == q else self.choice.rank
        gap = float(found.error[k] - found.error[q])
        if abs(gap) <= TIE * found.error[q]:
            return 0.0
        if self.how == "bootstrap":
            return float(np.mean(gap - self.differences < 0))
        gain, stderr = difference(found, k, found, q)
        return _normal_below(gain, stderr)

    def _around(self, at: float, errors: np.ndarray, level: float) -> tuple[float, float]:
        from scipy.special import ndtri

        half = float(ndtri((1 + level) / 2) * self.choice.curve.stderr[self.choice.rank])
        low, high = at - half, at + half
        if self.how == "bootstrap":
            least, most = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
            low, high = min(low, at - float(most)), max(high, at - float(least))
        return max(0.0, low), high


def uncertainty(
    choice: Choice,
    model: GaussianModel | None,
    n: int,
    *,
    clustered: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Uncertainty:
    """The bootstrap of a choice made from n samples that look like the model.

    The normal approximation where samples are many, or `clustered` in groups.
    """
    nothing = np.empty(0)
    if model is None or clustered or n * sum(model.shift.shape) ** 2 > _LARGEST:
        return Uncertainty("normal", nothing, nothing, choice)
    rng, found = np.random.default_rng(seed), choice.curve
    pairs = np.array([_draw(model, n, found.ridge, found.intercept, rng) for _ in range(draws)])
    return Uncertainty("bootstrap", pairs[:, 0], pairs[:, 1], choice)


def _draw(model: GaussianModel, n: int, ridge: float, intercept: bool, rng: np.random.Generator) -> tuple[float, float]:
    """e_b and d_b of one draw."""
    dy, p = model.shift.shape
    inputs = rng.standard_normal((n, p)) * np.sqrt(model.variances)
    residual = inputs @ model.shift.T + model.noise_std * rng.standard_normal((n, dy))
    at = design(inputs, intercept=intercept)
    found = curve(Samples(inputs, residual, None), at, ridge, most=_ROWS, rng=rng)
    off = found.error - test_errors(model, at, residual, ridge)[: len(found.error)]
    best, last = found.best_rank, len(off) - 1
    lower = _below(found) if last else 0
    return float(off[best]), float(off[lower] - off[last])


def test_errors(
    model: GaussianModel, at: Design, residual: Float[np.ndarray, "n dy"], ridge: float
) -> Float[np.ndarray, "ranks"]:
    """Expected squared error at a new sample of the model, of LoRA at every rank fitted to these samples."""
    basis = directions(deletions(at, residual, ridge)).basis
    root = np.sqrt(model.variances)
    fitted, true = basis.T @ update(at, residual, ridge), basis.T @ model.shift
    offset, centre = np.mean(residual, axis=0) if at.intercept else np.zeros(len(model.shift)), at.mean
    whole = np.sum((model.shift * root) ** 2) + len(model.shift) * model.noise_std**2
    gain = np.sum((fitted * root) ** 2 - 2 * fitted * true * root**2, axis=1)
    errors = whole + np.append(0.0, np.cumsum(gain))
    # The offset of rank r is mean(R) - D_r mean(x); the true one is 0.
    shifts = np.vstack([offset, offset - np.cumsum((fitted @ centre)[:, None] * basis.T, axis=0)])
    return errors + np.sum(shifts**2, axis=1)


def _below(found: LeaveOneOut) -> int:
    """The best rank below FFT's."""
    return int(np.argmin(found.error[:-1]))


def _normal_below(gain: float, stderr: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(gain / stderr)) if stderr > 0 else float(gain > 0)
