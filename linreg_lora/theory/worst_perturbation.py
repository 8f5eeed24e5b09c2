"""Worst perturbed inputs: how much the loss on one sample can rise when its input moves by at most tau.

A fine-tuned map M = A0 + D errs by e = M x - y on a sample, and by e + M d once its input is x + d. Over |d| <= tau
the rise of |e + M d|^2 is largest, in the singular vectors M = U diag(mu) W^T and with c = U^T e,

    max_d |e + M d|^2 - |e|^2 = sum_j c_j^2 [ (nu / (nu - mu_j^2))^2 - 1 ],
    sum_j mu_j^2 c_j^2 / (nu - mu_j^2)^2 = tau^2,     nu > mu_1^2,

one scalar root a sample (`theory.ball_maximum`), and lies on every sample between

    max( 2 tau |M^T e| + tau^2 |M M^T e|^2 / |M^T e|^2,  2 tau mu_1 |u_1^T e| + tau^2 mu_1^2 )
                                                          <= rise <= 2 tau |M^T e| + tau^2 mu_1^2 .

The two lower ends are the values at d = tau M^T e / |M^T e| and d = +-tau w_1; the upper one bounds both terms of
2 e^T M d + |M d|^2 on their own. So small perturbations cost 2 tau |M^T e|, large ones tau^2 ||M||_2^2. With one output
both ends are the rise itself, (|e| + tau |m|)^2 - e^2. Source: derived here; loss |y - M x|^2 without a factor 1/2.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.ball_maximum import ball_maximum


class RiseBracket(NamedTuple):
    """`low` <= worst rise <= `high`, one entry a sample."""

    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]


def worst_rise(
    fitted: Float[np.ndarray, "dy dx"], errors: Float[np.ndarray, "... dy"], radius: float | int
) -> Float[np.ndarray, "..."]:
    """The largest rise of |e + M d|^2 over |d| <= tau for each error e; `fitted` M, `errors` e, `radius` tau.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> rise = ll.theory.worst_rise(np.array([[3.0, 4.0]]), np.array([2.0]), 0.1)
    >>> f"{rise:.2f} = {(2 + 0.1 * 5) ** 2 - 4:.2f}"
    '2.25 = 2.25'
    """
    left, mu, _ = _decomposed(fitted, errors, radius)
    parts = np.abs(errors @ left)
    found = ball_maximum(parts, mu, radius)
    added = np.sum(mu * found.lengths * (2 * parts + mu * found.lengths), axis=-1)
    return added + (float(np.max(mu, initial=0.0)) * found.spare) ** 2


def worst_rise_bracket(
    fitted: Float[np.ndarray, "dy dx"], errors: Float[np.ndarray, "... dy"], radius: float | int
) -> RiseBracket:
    """The two ends of the module's docstring, which need no root; arguments as in `worst_rise`.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> found = ll.theory.worst_rise_bracket(np.diag([2.0, 1.0]), np.array([0.0, 1.0]), 1.0)
    >>> found.low.item(), found.high.item()
    (4.0, 6.0)
    """
    left, mu, tau = _decomposed(fitted, errors, radius)
    pulled = np.linalg.norm(errors @ fitted, axis=-1)
    image = np.linalg.norm((errors @ fitted) @ fitted.T, axis=-1)
    slope = np.divide(image, pulled, out=np.zeros(np.shape(pulled)), where=pulled > 0)
    along = 2 * tau * pulled + (tau * slope) ** 2
    first = 2 * tau * mu[0] * np.abs(errors @ left[:, 0]) + (tau * mu[0]) ** 2
    return RiseBracket(np.maximum(along, first), 2 * tau * pulled + (tau * mu[0]) ** 2)


def mean_worst_rise_of_one_output(
    fitted: Float[np.ndarray, "one dx"], error_variance: float | int, radius: float | int
) -> float:
    """The mean worst rise with one output: 2 tau |m| sqrt(2 v / pi) + tau^2 |m|^2, e ~ N(0, v).

    v, `error_variance`, is sigma^2 plus the excess risk of the map. With one output LoRA of rank 1 is FFT.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> f"{ll.theory.mean_worst_rise_of_one_output(np.array([[3.0, 4.0]]), np.pi / 2, 1.0):.0f}"
    '35'
    """
    if len(fitted) != 1:
        raise InvalidInput("fitted", "a map with one output", f"shape {fitted.shape}", "use worst_rise on samples")
    tau = validation.nonnegative_number("radius", radius)
    variance, length = validation.nonnegative_number("error_variance", error_variance), float(np.linalg.norm(fitted))
    return 2 * tau * length * math.sqrt(2 * variance / math.pi) + (tau * length) ** 2


def _decomposed(fitted: np.ndarray, errors: np.ndarray, radius: float | int) -> tuple[np.ndarray, np.ndarray, float]:
    """U, mu and tau, checked."""
    validation.matrix("fitted", fitted, fitted.shape)
    if errors.shape[-1:] != (len(fitted),) or not np.all(np.isfinite(errors)):
        raise InvalidInput("errors", f"finite vectors of dy = {len(fitted)} outputs", f"shape {errors.shape}")
    left, mu, _ = np.linalg.svd(fitted, full_matrices=False)
    return left, mu, validation.nonnegative_number("radius", radius)
