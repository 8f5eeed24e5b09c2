"""LoRA on poisoned data by the spiked model: clean risk and success at every rank, in closed form up to a small SVD.

The planted signal M of `planted` plus dy x k noise, k = min(n, dx): its singular values theta_i with vectors u_i, v_i
are spikes of strength t_i = theta_i / sigma. With lambda, rho_u, rho_v of `theory.spiked`, keeping a detectable one
changes the clean risk by

    lambda^2 ( rho_v^2 v^T G v + (1 - rho_v^2)/g ) - 2 lambda rho_u rho_v u^T (Delta X'^{+T}) v

and the response to the trigger, along p, by lambda rho_u rho_v <p, u> <v, X'^+ t>; others are noise. Where p and t
are orthogonal to Delta the poison is a spike of its own: it is kept at rank r if and only if it is among the r
strongest detectable ones, with success delta^2/(K + delta^2) (1 - dy k / t_p^4).

A limit. Measured: .1 to 1 % off away from ties, 2 to 9 % near them, and up to 71 % at one, where the draws decide and
the mean is a mixture. Source: derived here.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.problem import Problem
from linreg_lora.theory.poisoning import full
from linreg_lora.theory.poisoning.attack import Poison, Whitened, isotropic_noise, whitened
from linreg_lora.theory.poisoning.planted import planted
from linreg_lora.theory.spiked import spiked_risk, spikes


class SpikedPoison(NamedTuple):
    """`risk` on clean inputs and `success` (nan without trigger) of LoRA at every rank 0..min(n, dx, dy).

    The last is FFT, exact where `full` is. `strength`: theta_i of the planted directions; `detectable`: which of them.
    """

    risk: Float[np.ndarray, "ranks"]
    success: Float[np.ndarray, "ranks"]
    strength: Float[np.ndarray, "k"]
    detectable: Bool[np.ndarray, "k"]


def spiked_poisoned_risk(problem: Problem, poison: Poison) -> SpikedPoison:
    """Clean risk and success at every rank: the formulas of the module.

    Raises `InvalidInput` where `attack.whitened` does, for noise that is not sigma^2 I, sigma > 0, and for chosen
    samples with a trigger.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=400, dx=60, dy=50, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> poison = ll.theory.Poison(count=40, target=6 * np.eye(50)[49], trigger=2 * np.eye(60)[59])
    >>> found = ll.theory.spiked_poisoned_risk(problem, poison)
    >>> found.risk[2:5].round(4).tolist(), found.success[2:5].round(4).tolist()
    ([1.6268, 3.1216, 2.487], [0.0, 0.283, 0.283])
    """
    attacked = whitened(problem, poison)
    noise_std = float(np.sqrt(isotropic_noise(problem)))
    last = full.of_whitened(attacked)
    found = planted(attacked)
    u, theta, vt = np.linalg.svd(found.signal, full_matrices=False)
    surrogate = surrogate_of(attacked, theta[: problem.max_rank], noise_std)
    spike = spikes(surrogate)
    size = int(np.sum(spike.detectable))
    u, theta, v = u[:, :size], theta[: len(spike.detectable)], vt[:size].T
    scale, left, right = spike.singular_value[:size], spike.left[:size], spike.right[:size]
    overlap = scale * np.sqrt(left * right)
    own = np.einsum("bi,bc,ci->i", v, found.energy, v)
    gains = scale**2 * (right * own + (1 - right) / attacked.gap)
    gains -= 2 * overlap * np.einsum("yi,yb,bi->i", u, found.answer, v)
    bulk = np.diff(spiked_risk(surrogate))[size:]
    clean = float(np.sum(attacked.shift**2))
    risk = clean + np.concatenate([[0.0], np.cumsum(np.concatenate([gains, bulk]))])
    success = np.full(len(risk), np.nan)
    if attacked.leverage > 0:
        p = attacked.target
        called = np.cumsum(np.concatenate([[0.0], overlap * (p @ u) * (found.response @ v)]))
        at = np.minimum(np.arange(len(risk)), size)
        success = (called[at] - float(p @ attacked.shift @ attacked.trigger)) / float(p @ p)
    risk[-1], success[-1] = last.risk, last.success
    return SpikedPoison(risk, success, theta, spike.detectable)


def surrogate_of(attacked: Whitened, strengths: Float[np.ndarray, "k"], noise_std: float) -> Problem:
    """The clean problem whose planted directions have these strengths in F."""
    spectrum = tuple((strengths / np.sqrt(attacked.n)).tolist())
    return Problem(n=attacked.n, dx=attacked.dx, dy=attacked.dy, spectrum=spectrum, noise_std=noise_std)
