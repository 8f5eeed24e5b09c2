"""What LoRA keeps of its start where n < dx: the part of A(0) outside of the range of X, which no data moves.

With P the projector on the range of X and P_perp = I - P, gradient descent (also with momentum, and L-BFGS) leaves
A P_perp = A(0) P_perp, so that from B(0) = 0 it ends not at the solution of minimum norm D_r but at

    D_inf = D_r + g B A(0) P_perp

For entries of A(0) that are Gaussian with variance a^2, A(0) P_perp is independent of A(0) P and so of B, and

    E [ risk(D_inf) - risk(D_r) | X, E, A(0) P ] = a^2 g^2 ||B||_F^2 Tr(Sigma P_perp)                        exact

which is a^2 g^2 ||B||_F^2 c (dx - n) for Sigma = c I; after any number of steps too, with D P for D_r. On the range of
X, A A^T - B^T B = A(0) A(0)^T is kept. If there A(0) P A(0)^T = k_P I, with sigma_i the singular values of D_r,

    g^2 ||B||_F^2 = (g / 2) sum_{i<=r} ( sqrt(g^2 k_P^2 + 4 sigma_i^2) - g k_P ),     k_P = a^2 n in the mean

for gradient flow with eta_A = eta_B and any S; it tends to g ||D_r||_* as a -> 0. For A(0) of iid entries that holds to
first order in sqrt(r / n), and up to the learning rate for gradient descent. Uniform entries (PEFT's Kaiming start, a^2
= 1 / (3 dx)) have A(0) P_perp uncorrelated with B, not independent: the same to leading order. On one draw the added
risk has either sign. Adam moves A P_perp: no formula is known. Source: derived here.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.training import checks


class Residue(NamedTuple):
    """What is left of the start, in the mean over it.

    | field         | symbol                           | meaning                                                     |
    |---------------|----------------------------------|-------------------------------------------------------------|
    | `added_risk`  | a^2 g^2 ||B||_F^2 Tr(Sigma P_perp) | E [risk(D_inf) - risk(D_r)], in squared units of y        |
    | `b_energy`    | g^2 ||B||_F^2                    | of the trained factor                                       |
    | `unseen`      | Tr(Sigma P_perp)                 | variance of the inputs outside of the range of X            |
    """

    added_risk: float
    b_energy: float
    unseen: float


def trained_b_energy(values: object, *, scaling: float, seen: float) -> float:
    """g^2 ||B||_F^2 at the end of training from B = 0, where A(0) P A(0)^T = k_P I.

    `values`: singular values of D_r, at most r of them; `scaling`: g; `seen`: k_P >= 0.

    >>> import linreg_lora as ll
    >>> energy = ll.theory.training.trained_b_energy
    >>> [round(energy((3.0, 1.0), scaling=2.0, seen=k), 4) for k in (0.0, 0.5)]
    [8.0, 6.3188]
    """
    sigma = checks.singular_values(values)
    g, k = checks.positive("scaling", scaling), validation.nonnegative_number("seen", seen)
    # A difference that cancels for a large start, written as a quotient.
    return float(np.sum(2 * g * sigma**2 / (np.hypot(g * k, 2 * sigma) + g * k + (sigma == 0))))


def start_residue(
    update: object,
    inputs: object,
    *,
    scaling: float,
    entry_variance: float,
    covariance: object = None,
) -> Residue:
    """The mean added risk over starts A(0) of iid entries, for these data.

    | argument         | symbol  | meaning                                                            |
    |------------------|---------|--------------------------------------------------------------------|
    | `update`         | D_r     | dy x dx: LoRA's solution of minimum norm (`estimators.fit_lora`)   |
    | `inputs`         | X       | dx x n                                                             |
    | `scaling`        | g       | alpha / r, or alpha / sqrt(r)                                      |
    | `entry_variance` | a^2     | of A(0): 1 / (3 dx) by PEFT                                        |
    | `covariance`     | Sigma   | dx variances or a dx x dx matrix; default the identity             |

    0 where X has rank dx. Raises `InvalidInput` where D_r reaches outside of the range of X: it is not the solution of
    minimum norm then.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> update, inputs = np.diag([2.0, 0.0, 0.0])[:2], np.eye(3)[:, :2]
    >>> found = ll.theory.training.start_residue(update, inputs, scaling=2.0, entry_variance=0.01)
    >>> f"{found.added_risk:.4f} of {found.unseen:.0f} unseen direction"
    '0.0396 of 1 unseen direction'
    """
    x = checks.a_matrix("inputs", inputs)
    dx = len(x)
    d = checks.a_matrix("update", update, (None, dx))
    sigma = validation.covariance("covariance", covariance, dx)
    sigma = np.eye(dx) if sigma is None else np.diag(sigma) if sigma.ndim == 1 else sigma
    left, size, _ = np.linalg.svd(x, full_matrices=False)
    basis = left[:, size > size[0] * max(x.shape) * np.finfo(float).eps]
    outside = np.linalg.norm(d - (d @ basis) @ basis.T)
    if outside > 1e-8 * np.linalg.norm(d):
        raise InvalidInput(
            "update", "a solution in the range of X", f"{outside:.3g} outside of it",
            "give that of minimum norm: update @ X @ pinv(X)",
        )  # fmt: skip
    seen = checks.positive("entry_variance", entry_variance) * basis.shape[1]
    unseen = max(float(np.trace(sigma) - np.sum((sigma @ basis) * basis)), 0.0) if basis.shape[1] < dx else 0.0
    energy = trained_b_energy(np.linalg.svd(d, compute_uv=False), scaling=scaling, seen=seen)
    return Residue(entry_variance * energy * unseen, energy, unseen)
