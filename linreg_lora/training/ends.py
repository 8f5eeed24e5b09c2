"""Where training should end: the minimum of the loss that a recipe descends on, and how near is near enough.

Without decay that is D_r (D_FFT in full fine-tuning). With decay lam in the loss (`Recipe.decay_in_loss`) it is

    LoRA               minimise loss(D) + (lam/g) ||D||_*, rank(D) <= r     (`theory.training.decayed_update`)
    full fine-tuning   D = H (S + lam I)^{-1}

A gradient near 0 does not show that it is near: it is small in directions that hardly move, at saddles, and between two
jumps of Adam. So the end itself is compared with, in the metric of the risk, beside the error of the end:

    error = ||(D - D*) P C||_F / ||(D* - Delta) C||_F,    risk(D) = ||(D - Delta) C||_F^2,    P on range(X)

By the triangle inequality an error of e, with P = I, leaves the risk within 2 e + e^2 of that of D*, relatively.
"""

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.errors import NumericalFailure
from linreg_lora.training.recipe import Recipe
from linreg_lora.training.result import CLOSE
from linreg_lora.training.statistics import Statistics

_EPS = float(np.finfo(float).eps)


def goals(recipe: Recipe, rank: int | None, drawn: Statistics) -> Float[np.ndarray, "draws dy dx"]:
    """D* of each draw; nan where it was not found. `rank` None: full fine-tuning.

    With decay at a rank below that of the minimum over all ranks nothing certifies it: then it is a stationary point.
    """
    lam = recipe.decay_in_loss
    if lam == 0:
        return drawn.target
    if rank is None:
        return np.linalg.solve(drawn.gram + lam * np.eye(drawn.gram.shape[-1]), drawn.moment.mT).mT
    draws = zip(drawn.gram, drawn.moment, strict=True)
    return np.stack([_decayed(s, h, lam, recipe.scale(rank), rank) for s, h in draws])


def _decayed(s: np.ndarray, h: np.ndarray, lam: float, scale: float, rank: int) -> np.ndarray:
    from linreg_lora.theory.training import decayed_update

    try:
        return decayed_update(s, h, lam, scale, rank).update
    except NumericalFailure:
        return np.full_like(h, np.nan)


def units(
    drawn: Statistics, closed_risk: Float[np.ndarray, "draws"], size: Float[np.ndarray, "draws"]
) -> Float[np.ndarray, "draws"]:
    """What errors are divided by: ||(D* - Delta) C||, but at least what rounding leaves of D*, over `CLOSE`.

    That is eps cond(X) times ||D_FFT C||, `size`, and the larger of the matrices' sizes.
    """
    values = np.linalg.eigvalsh(drawn.gram)
    most = values[:, -1:]
    seen = np.where(values > len(values[0]) * _EPS * most, values, most)
    condition = np.sqrt(most[:, 0] / np.min(seen, axis=1))
    rounding = 10 * max(drawn.moment.shape[1:]) * _EPS * condition * size
    least = np.finfo(float).tiny
    return np.maximum(np.maximum(np.sqrt(closed_risk), rounding / CLOSE), least)


def leaves(
    recipe: Recipe, scale: float, rate: Float[np.ndarray, "draws"], drawn: Statistics, end: dict[str, np.ndarray]
) -> Bool[np.ndarray, "draws"]:
    """Draws that come to rest where Adam at a constant rate does not stay.

    At rest its v is 0, and a mode of curvature l follows theta <- theta - (eta / eps) m with m an average of l theta of
    memory beta_1, which is stable where eta l / eps < 2 (1 + beta_1) / (1 - beta_1). The curvature is at least that of
    either factor alone, g^2 rho lmax(A S A^T) and g^2 ||B||^2 lmax(S). Source of the bound: Cohen et al. 2022.
    """
    largest = np.linalg.eigvalsh(drawn.gram)[:, -1]
    if "b" in end:
        b, a = end["b"], end["a"]
        of_b = recipe.ratio * np.linalg.eigvalsh(a @ drawn.gram @ a.mT)[:, -1]
        largest = scale**2 * np.maximum(of_b, np.linalg.norm(b, 2, axis=(-2, -1)) ** 2 * largest)
    beta = recipe.betas[0]
    return rate * (largest + recipe.decay_in_loss) / recipe.eps >= 2 * (1 + beta) / (1 - beta)
