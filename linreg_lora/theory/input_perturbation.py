"""Perturbed inputs: how much the loss of LoRA and of FFT rises when test inputs are noisy.

A fine-tuned map A = A0 + D meets x + tau e, e ~ N(0, I) independent of all else. Its loss rises by

    rise(D) = E||y - A (x + tau e)||^2 - E||y - A x||^2 = tau^2 ||A0 + D||_F^2,

whatever Sigma, noise and A*: half of it for the loss with a factor 1/2. On every draw LoRA keeps a projection of FFT's
update, D_r = U_r U_r^T D_FFT (also with ridge), so that with P = I - U_r U_r^T

    ||D_r||_F <= ||D_FFT||_F,
    rise(D_FFT) - rise(D_r) = tau^2 ( ||P D_FFT||_F^2 + 2 <P A0, D_FFT> ).

Proof: U_r U_r^T is an orthogonal projector, which lengthens no column; and D_FFT = D_r + P D_FFT with
<A0 + D_r, P D_FFT> = <A0, P D_FFT>, as P U_r = 0. So FFT is the less robust method unless what LoRA discards is aligned
with -A0 by more than half its own length: the shift undoes part of A0, and the noise is low enough for FFT to learn it.

`expected_fft_rise` is exact; LoRA's mean has no closed form and is simulated (`linreg_lora.simulate_rise`).
Source: a reading of a claim of arXiv 2505.22355, of which we know a summary only; all formulas exact and derived here.
"""

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.theory.hessian import Loss, curvature_of

_ORTHONORMAL = 1e-8


# -- one draw ---------------------------------------------------------------------------------------------------


def rise(
    pretrained: Float[np.ndarray, "dy dx"],
    update: Float[np.ndarray, "dy dx"],
    *,
    perturbation_std: float | int = 1.0,
    loss: Loss | str = Loss.SQUARED,
) -> float:
    """Rise of the loss of one map under perturbed inputs: (h / 2) tau^2 ||A0 + D||_F^2.

    `pretrained` A0, `update` D, `perturbation_std` tau in units of x; h / 2 is 1, or 1/2 for the halved loss.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> ll.theory.rise(np.eye(2), np.eye(2), perturbation_std=0.5)
    2.0
    """
    validation.matrix("update", update, pretrained.shape)
    return rise_scale(perturbation_std, loss) * float(np.sum((pretrained + update) ** 2))


def excess_rise_of_fft(
    pretrained: Float[np.ndarray, "dy dx"],
    update: Float[np.ndarray, "dy dx"],
    basis: Float[np.ndarray, "dy r"],
    *,
    perturbation_std: float | int = 1.0,
    loss: Loss | str = Loss.SQUARED,
) -> float:
    """rise(D_FFT) - rise(D_r) = (h / 2) tau^2 ( ||P D_FFT||_F^2 + 2 <P A0, D_FFT> ) on one draw, P = I - U_r U_r^T.

    `pretrained` A0, `update` D_FFT, `basis` U_r with orthonormal columns, `perturbation_std` tau. Negative where LoRA
    is the less robust method.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> pretrained, update, basis = np.eye(2), np.diag([3.0, 1.0]), np.eye(2, 1)
    >>> ll.theory.excess_rise_of_fft(pretrained, update, basis)
    3.0
    >>> ll.theory.rise(pretrained, update) - ll.theory.rise(pretrained, np.diag([3.0, 0.0]))
    3.0
    """
    validation.matrix("update", update, pretrained.shape)
    off = float(np.max(np.abs(basis.T @ basis - np.eye(basis.shape[1])), initial=0.0))
    if len(basis) != len(update) or off > _ORTHONORMAL:
        expected = f"orthonormal columns of length dy = {len(update)}"
        raise InvalidInput("basis", expected, f"shape {basis.shape}, off by {off:.1g}", "take left singular vectors")
    discarded = update - basis @ (basis.T @ update)
    return rise_scale(perturbation_std, loss) * float(np.sum(discarded * (discarded + 2 * pretrained)))


# -- FFT in closed form -----------------------------------------------------------------------------------------


def expected_fft_rise(
    problem: Problem, *, perturbation_std: float | int = 1.0, loss: Loss | str = Loss.SQUARED
) -> float:
    """Expected rise of ridgeless FFT, exact: n > dx + 1 with any covariances, n < dx - 1 with Sigma = c I.

        n > dx + 1:   (h / 2) tau^2 ( ||A0 + Delta||^2 + Tr(Sigma_eps) Tr(Sigma^{-1}) / (n - dx - 1) )
        n < dx - 1:   (h / 2) tau^2 ( (1 - n/dx) ||A0||^2 + (n/dx) ||A0 + Delta||^2
                                      + Tr(Sigma_eps) n / (c (dx - n - 1)) )

    D_FFT = Delta P_X + E X^+, P_X the projector on the range of X. For n >= dx it is I; below, that range is uniformly
    distributed, so E P_X = (n/dx) I and, P_X being a projector, E||Delta P_X||^2 = (n/dx) ||Delta||^2. The noise part
    has mean 0 given X, and energy Tr(Sigma_eps) Tr((X X^T)^+), an inverse-Wishart mean. With a singular Sigma, Delta
    counts in the range of Sigma only, dx is rank(Sigma) and Sigma^{-1} is Sigma^+.

    `problem.pretrained` A0 is needed; `perturbation_std` tau. Returns inf within one sample of the threshold, where the
    mean does not exist. Raises `InvalidInput` with ridge, and for n < dx with anisotropic inputs: `simulate_rise`
    covers both.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, pretrained=np.zeros((20, 24)))
    >>> f"{ll.theory.expected_fft_rise(problem):.3f} = {14 + 20 * 24 / 35:.3f}"
    '27.714 = 27.714'
    """
    problem.require_gaussian("this rise")
    pretrained = required_pretrained(problem)
    scale = rise_scale(perturbation_std, loss)
    if problem.ridge > 0:
        raise InvalidInput("problem", "ridge = 0", f"ridge = {problem.ridge}", "use simulate_rise")
    reduced = problem.without_null_inputs()
    under = reduced.regime is Regime.UNDERDETERMINED
    if under and reduced.isotropic_scale is None:
        raise InvalidInput("problem", "n > dx, or Sigma = c I", f"n = {problem.n}, another Sigma", "use simulate_rise")
    if problem.moments is Moments.NO_MEAN:
        return scale * np.inf if scale > 0 else 0.0
    seen = min(1.0, problem.n / reduced.dx)
    before = reduced.pretrained
    assert before is not None
    signal = np.sum(pretrained**2) + seen * np.sum(reduced.shift * (reduced.shift + 2 * before))
    if problem.noise_trace == 0:
        return scale * float(signal)
    gap = abs(reduced.distance_from_threshold) - 1
    spread = reduced.n / (reduced.isotropic_scale or 1.0) if under else np.trace(np.linalg.inv(reduced.sigma))
    return scale * float(signal + problem.noise_trace * spread / gap)


# -- inside ------------------------------------------------------------------------------------------------------


def required_pretrained(problem: Problem) -> np.ndarray:
    """A0 of the problem, which the rise depends on."""
    if problem.pretrained is None:
        raise InvalidInput("pretrained", "A0, a dy x dx matrix", "nothing", "the rise depends on it; zeros are allowed")
    return problem.pretrained


def rise_scale(perturbation_std: float | int, loss: Loss | str) -> float:
    """(h / 2) tau^2."""
    return curvature_of(loss) / 2 * validation.nonnegative_number("perturbation_std", perturbation_std) ** 2
