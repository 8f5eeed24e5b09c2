"""LoRA on a quantised base without an A0: the mean over A0 of iid normal weights, from the sizes alone.

The error A0 - Q(A0) is nearly a matrix of iid entries of standard deviation delta = weight_std `quantisation_error`, so
Delta + A0 - Q(A0) has the singular values, to leading order,

    spikes  sqrt((t^2 + delta^2 dy)(t^2 + delta^2 dx)) / t      of each t = s_j with t^4 > delta^4 dx dy, k of them
    bulk    Marchenko-Pastur, of a (dy - k) x (dx - k) matrix: the mean square of each of its equal slices,
            times what makes the sum of squares ||Delta||^2 + dx dy delta^2

and its risk is LoRA's on that spectrum. The weak mean of NF4's errors is left out.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.quantisation import BLOCK, QuantisationError, block_that_fits, quantisation_error

_GRID = 20001
NOTE = "the mean over Gaussian A0; between the visible directions and full rank it may be off by more than 1 %"


def spectrum_with_errors(
    spectrum: Float[np.ndarray, "k"], dx: int, dy: int, delta: float
) -> tuple[Float[np.ndarray, "q"], int]:
    """Singular values of Delta + N, N of iid entries of standard deviation `delta`, and how many are spikes.

    >>> from linreg_lora.theory.quantised_base import spectrum_with_errors
    >>> values, spikes = spectrum_with_errors([6.0, 0.1], 64, 40, 0.3)
    >>> spikes, f"{values[0]:.3f} then {values[1]:.3f}"
    (1, '6.778 then 4.082')
    >>> f"{np.sum(values**2):.3f} = {6**2 + 0.1**2 + 64 * 40 * 0.3**2:.3f}"
    '266.410 = 266.410'
    """
    given = np.asarray(spectrum, dtype=float)
    size = min(dx, dy)
    if delta == 0:
        return np.pad(given, (0, size - len(given))), int(np.count_nonzero(given))
    seen = given[given**4 > delta**4 * dx * dy]
    top = np.hypot(seen, delta * math.sqrt(dy)) * np.hypot(seen, delta * math.sqrt(dx)) / seen
    k = len(seen)
    if k == size:
        return top, k
    bulk = (size - k) * _slice_means(size - k, max(dx, dy) - k)
    whole = float(np.sum(given**2)) + dx * dy * delta**2
    left = whole - float(np.sum(top**2))
    if left <= 0:
        received = f"spikes that hold {np.sum(top**2):.6g} of {whole:.6g}"
        raise InvalidInput("spectrum", "errors of quantisation that leave a bulk", received, "give A0")
    return np.concatenate([top, np.sqrt(left * bulk / np.sum(bulk))]), k


def _slice_means(size: int, other: int) -> Float[np.ndarray, "m"]:
    """The mean eigenvalue of each of `size` equal slices of a Marchenko-Pastur law, largest first; ratio size/other."""
    ratio = size / other
    theta = np.linspace(0, np.pi, _GRID)
    x = 1 + ratio + 2 * math.sqrt(ratio) * np.cos(theta)
    density = np.divide(np.sin(theta) ** 2, x, out=np.full(_GRID, 0.0), where=x > 0)
    if ratio == 1:
        density[-1] = 0.5  # sin^2 / (2 + 2 cos) at its limit
    mass, energy = (np.concatenate([[0], np.cumsum((f[1:] + f[:-1]) / 2)]) for f in (density, density * x))
    cuts = np.interp(np.linspace(0, mass[-1], size + 1), mass, energy)
    return np.diff(cuts) * mass[-1] / energy[-1]


def qlora_risk(
    problem: Problem, weight_std: float, ranks: object = None, block: int = BLOCK, ridge: float | str | None = None
) -> RiskCurve:
    """Expected risk of QLoRA at every rank, averaged over A0 with iid N(0, `weight_std`^2) entries too.

    `problem` gives n, Delta, Sigma = c I and Sigma_eps = s I (rotations must not matter); its `pretrained` is not used.
    `weight_std` is the standard deviation of the entries of A0, `block` the entries that share a scale. The curve is
    that of the problem whose spectrum is `spectrum_with_errors`, at `ranks` (default all), with `ridge` as in
    `expected_risk`. For one A0 that is given: `methods.QLoRA`; the risk of a small one differs by several per cent.

    Raises `InvalidInput` where covariances are not isotropic, and for dx dy so large that the mean of the errors shows.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=160, dx=64, dy=40, spectrum=(6.0, 4.0, 2.5), noise_std=1.0)
    >>> ll.theory.qlora_risk(problem, weight_std=3.0, ranks=[3, 40]).risk.round(1).tolist()
    [175.7, 26.9]
    """
    delta, error = validation.nonnegative_number("weight_std", weight_std), quantisation_error(block)
    problem.require_gaussian("a quantised base by formula")
    block_that_fits(block, problem.dx * problem.dy)
    for field, scale in (
        ("input_covariance", problem.isotropic_scale),
        ("noise_covariance", problem.isotropic_noise_scale),
    ):
        if scale is None:
            raise InvalidInput(field, "a multiple of the identity, where there is no A0", "another", "give A0: qlora:r")
    _require_hidden_mean(problem, error)
    values, spikes = spectrum_with_errors(np.asarray(problem.spectrum), problem.dx, problem.dy, delta * error.std)
    curve = expected_risk(problem.replace(spectrum=tuple(values.tolist()), pretrained=None), ranks, ridge=ridge)
    inner = (curve.ranks > spikes) & (curve.ranks < problem.max_rank) & (delta > 0)
    assert curve.flagged is not None
    said = (NOTE,) if bool(np.any(inner)) else ()
    return dataclasses.replace(curve, flagged=curve.flagged | inner, notes=(*curve.notes, *said))


def _require_hidden_mean(problem: Problem, error: QuantisationError) -> None:
    """The mean of the errors is a spike |m| sqrt(dx dy), hidden below (dx dy)^{1/4} std."""
    hidden = math.inf if error.mean == 0 else (error.std / abs(error.mean)) ** 4
    if problem.dx * problem.dy > hidden:
        expected = f"dx dy <= {hidden:.3g}, up to where the mean error of NF4 is no direction of its own"
        raise InvalidInput("dx, dy", expected, f"{problem.dx} x {problem.dy}")
