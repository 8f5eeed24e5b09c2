"""Beyond LoRA: the best weights on the directions of a fit, of which LoRA's are ones and then zeros.

With a_k = mean_i (w_k.d_i)^2 and b_k = mean_i (w_k.d_i)(w_k.R'_i) over left-out samples (`losses`), the update
sum_k phi_k u_k u_k^T D has the leave-one-out error

    mean_i |R'_i|^2 + sum_k a_k phi_k^2 - 2 b_k phi_k.

Weights 1 >= phi_1 >= phi_2 >= ... >= 0 that make it least are the isotonic regression of b_k / a_k with weights a_k.
They are as many as there are directions, and chosen by the samples that judge them: the error says too little by some
of what they fit of these.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import isotonic_regression

from linreg_lora.own_data.curve import LeaveOneOut


class Shrinkage(NamedTuple):
    """Weights phi of directions, strongest first, and their leave-one-out error."""

    weights: Float[np.ndarray, "q"]
    error: float


def shrinkage(curve: LeaveOneOut) -> Shrinkage:
    """The best falling weights, at the ridge of a curve.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> y = x[:, :1] @ np.ones((1, 6)) + rng.standard_normal((60, 6))
    >>> found = ll.own_data.shrinkage(ll.own_data.leave_one_out(x, y))
    >>> found.weights.round(2).tolist()
    [0.94, 0.24, 0.16, 0.16, 0.16, 0.0]
    """
    a, gain = curve.losses.energies, np.diff(curve.error)
    assert a is not None
    if not a.size:
        return Shrinkage(np.empty(0), float(curve.error[0]))
    b = (a - gain) / 2
    seen = a > 0
    ratio = np.divide(b, a, out=np.zeros_like(a), where=seen)
    weights = np.zeros_like(a)
    if np.any(seen):
        weights[seen] = np.clip(isotonic_regression(ratio[seen], weights=a[seen], increasing=False).x, 0.0, 1.0)
    return Shrinkage(weights, float(curve.error[0] + np.sum(a * weights**2 - 2 * b * weights)))
