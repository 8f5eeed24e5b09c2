"""The default learning rate: stable at the start and at the end of training, for each draw.

    eta = 1 / max( lambda(start), lambda(end) )

Descent is stable where eta < 2 / (largest eigenvalue of the Hessian); with eta_B = rho eta, of the Hessian in
coordinates B / sqrt(rho). At B = 0 that Hessian has the blocks

    [[ rho g^2 A S A^T (x) I,  -sqrt(rho) g H ],  [ .., 0 ]],     lambda(start) = m/2 + sqrt(m^2/4 + rho g^2 h^2),

m = rho g^2 lmax(A S A^T), h = ||H||_2: the two kinds of factors commute, so it is exact. The part of H is all there is
when A(0) is small, and leaving it out diverges at the defaults of Hugging Face peft. At D_r, with singular values d_i,
right singular vectors V, and a_i b_i = d_i / g, a_i^2 - b_i^2 / rho = kappa (what the flow conserves, kappa between the
eigenvalues of A(0) P A(0)^T, P on range(X)), about

    lambda(end) <= g^2 ( (max b_i)^2 lmax(S) + rho lmax(diag(a) V^T S V diag(a)) )

with the largest kappa in a_i and the least in b_i.

In full fine-tuning eta = 1/lmax(S). Heavy ball takes half of it, adam and adamw `recipe.ADAM_LEARNING_RATE`.
"""

import numpy as np
from jaxtyping import Float

from linreg_lora.training.recipe import ADAM_LEARNING_RATE, Optimiser, Recipe
from linreg_lora.training.statistics import Statistics

Factor = Float[np.ndarray, "draws r dx"]


def learning_rates(recipe: Recipe, scale: float, drawn: Statistics, start: Factor | None) -> Float[np.ndarray, "draws"]:
    """eta of each draw: the recipe's, or the rule's. `scale` g, `start` A(0); None: full fine-tuning."""
    draws = len(drawn.gram)
    if recipe.learning_rate is not None:
        return np.full(draws, recipe.learning_rate)
    if recipe.is_adaptive:
        return np.full(draws, ADAM_LEARNING_RATE)
    if start is None:
        largest = np.linalg.eigvalsh(drawn.gram)[:, -1]
    else:
        largest = np.maximum(at_start(recipe.ratio, scale, drawn, start), at_end(recipe.ratio, scale, drawn, start))
    return (0.5 if recipe.optimiser is Optimiser.MOMENTUM else 1.0) / largest


def at_start(ratio: float, scale: float, drawn: Statistics, start: Factor) -> Float[np.ndarray, "draws"]:
    """lambda(start), for B(0) = 0; of other starts without what B adds, which is at most what it adds at the end."""
    m = ratio * scale**2 * np.linalg.eigvalsh(start @ drawn.gram @ start.swapaxes(-1, -2))[:, -1]
    h = np.linalg.norm(drawn.moment, 2, axis=(-2, -1))
    return m / 2 + np.sqrt(m**2 / 4 + ratio * (scale * h) ** 2)


def at_end(ratio: float, scale: float, drawn: Statistics, start: Factor) -> Float[np.ndarray, "draws"]:
    """The bound on lambda(end)."""
    rank = start.shape[1]
    seen = start if drawn.projector is None else start @ drawn.projector
    kappa = np.linalg.eigvalsh(seen @ seen.swapaxes(-1, -2))[:, [0, -1]]
    _, d, vt = np.linalg.svd(drawn.target, full_matrices=False)
    d, vt = d[:, :rank] / scale, vt[:, :rank]
    least, most = (k / 2 + np.sqrt(k**2 / 4 + d**2 / ratio) for k in (kappa[:, :1], kappa[:, 1:]))
    b2 = np.divide(d**2, least, out=np.zeros_like(d), where=least > 0)
    root = np.sqrt(most)[..., None] * vt
    top = np.linalg.eigvalsh(root @ drawn.gram @ root.swapaxes(-1, -2))[:, -1]
    return scale**2 * (np.max(b2, axis=1) * np.linalg.eigvalsh(drawn.gram)[:, -1] + ratio * top)
