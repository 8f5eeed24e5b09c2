"""The spectral norm of a fine-tuned map, which large worst-case perturbations of inputs cost, in many dimensions.

A perturbation of length tau raises the loss by tau^2 ||A0 + D||_2^2 once tau is large (`theory.worst_perturbation`).

*On every draw*, where P A0 = 0, P = I - U_r U_r^T the outputs that LoRA drops: A0 + D_r = U_r U_r^T (A0 + D_FFT), and a
projector raises no singular value. So LoRA is at least as robust, in every unitarily invariant norm. Otherwise neither
is on every draw.

*A0 iid N(0, alpha^2), independent of the shift*, a shift of few directions in many dimensions (`theory.spiked`),
Sigma = I: a kept detectable direction has in D_r a singular value l, l^2 = lambda^2 (rho_v^2 a + (1 - rho_v^2) b), and

    ||A0 + D_r||_2 = sqrt((l^2 + alpha^2 dy)(l^2 + alpha^2 dx)) / l   if l^4 > alpha^4 dx dy,  l the largest of them,
                     alpha (sqrt dx + sqrt dy)                        otherwise.

With full fine-tuning the fitted noise enlarges the bulk. Given X, A0 + E X^+ = G diag(t)^{1/2}, G iid N(0, 1), with
t_j = alpha^2 + sigma^2 / lambda_j, lambda_j the eigenvalues of X X^T (Marchenko-Pastur; t_j = alpha^2 for the dx - n
inputs that n < dx samples do not see). With m the trace of the resolvent of the Gram matrix at z, -1 / max t < m < 0,

    z(m) = -dy / m + sum_j t_j / (1 + t_j m),     edge: z'(m) = 0,
    outlier of s_1:  -(m / dy) sum_{j seen} (1 / dx) / (1 + t_j m) = 1 / s_1^2,  if m lies above that of the edge,

and the norm is sqrt(z) at the outlier, or at the edge where there is none.

*Domain.* Outliers are off by the order 1/d, an edge by the order d^(-2/3), and more next to a threshold. Refused is

    an edge of few outputs or inputs:  1.21 (1/sqrt dx + 1/sqrt dy)^(1/3) / (2 (sqrt dx + sqrt dy)) > 5 %,
    a noisy edge next to n = dx:       c / (c + alpha^2) 1.27 |1/sqrt n - 1/sqrt dx|^(1/3) / |sqrt n - sqrt dx| > 1/3,
    LoRA's outlier next to n = dx:     |n - dx| <= 3,

the first what the mean of the Tracy-Widom law takes off the edge of A0, the second the relative standard deviation of
the least eigenvalue (sqrt n - sqrt dx)^2 of X X^T, times the share that c = sigma^2 / (sqrt n - sqrt dx)^2 has in the
largest t, and the third where the energy of LoRA's noise has no variance. Source: derived here; additive
outliers as in Benaych-Georges and Nadakuditi 2012.
"""

import math

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.marchenko_pastur import edges
from linreg_lora.theory.spiked import spikes

_NODES = 256
#: Mean (with its sign changed) and standard deviation of the Tracy-Widom law of real matrices; what is refused.
_EDGE_MEAN, _EDGE_STD, _EDGE_OFF, _LEAST_SPREAD = 1.2065, 1.2680, 0.05, 1 / 3
_SIMULATE = "simulate the norm"


def update_strengths(problem: Problem) -> Float[np.ndarray, "k"]:
    """The singular values l_i of LoRA's update, one a detectable direction of the shift, strongest first.

    Those of D_r are the first r; ||D_r||_F^2 is the sum of their squares. Domain of `theory.spikes`, and Sigma = c I.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=200, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{(ll.theory.update_strengths(problem) ** 2).sum():.4f}"
    '15.2679'
    """
    scale = _isotropic(problem)
    found = spikes(problem)
    small, seen = problem.n < problem.dx, found.detectable
    a, b = 1 / (problem.dx if small else problem.n), 1 / (abs(problem.n - problem.dx) - 1)
    right = found.right[seen]
    return found.singular_value[seen] * np.sqrt((right * a + (1 - right) * b) / scale)


def lora_norm(problem: Problem, rank: int, *, pretrained_std: float | int) -> float:
    """||A0 + D_r||_2 in the limit, A0 iid N(0, alpha^2) independent of the shift; `pretrained_std` alpha >= 0.

    `rank` r is from 0 up to the number of detectable directions: beyond it the update's noise is no spike
    (`InvalidInput`; `fft_norm` is the other end). Raises `InvalidInput` outside of the module's domain too.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=200, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.lora_norm(problem, 1, pretrained_std=0.4):.4f}"
    '4.8859'
    """
    alpha = validation.nonnegative_number("pretrained_std", pretrained_std)
    strengths = update_strengths(problem)
    if validation.nonnegative_integer("rank", rank) > len(strengths):
        expected = f"at most {len(strengths)}, the directions that the data show"
        raise InvalidInput("rank", expected, rank, "use fft_norm for full fine-tuning")
    dx, dy = problem.dx, problem.dy
    bulk = alpha * (math.sqrt(dx) + math.sqrt(dy))
    if rank == 0 or strengths[0] ** 4 <= alpha**4 * dx * dy:
        if alpha > 0:
            _require_large(dx, dy)
        return bulk
    if abs(problem.n - dx) <= 3:
        raise InvalidInput("n", "|n - dx| > 3, where the energy of noise has a variance", problem.n, _SIMULATE)
    squared = float(strengths[0] ** 2)
    return math.sqrt((squared + alpha**2 * dy) * (squared + alpha**2 * dx) / squared)


def fft_norm(problem: Problem, *, pretrained_std: float | int) -> float:
    """||A0 + D_FFT||_2 in the limit, A0 iid N(0, alpha^2) independent of the shift: edge or outlier of the module.

    Domain of `theory.spikes` and of the module, and Sigma = c I: `InvalidInput` elsewhere. The sum over eigenvalues is
    a Gauss quadrature of their density.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=200, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.fft_norm(problem, pretrained_std=0.4):.4f}"
    '4.9322'
    """
    from scipy.optimize import brentq

    alpha = validation.nonnegative_number("pretrained_std", pretrained_std)
    scale = _isotropic(problem)
    spikes(problem)
    n, dx, dy = problem.n, problem.dx, problem.dy
    seen = min(n, dx)
    sigma2 = problem.noise_std**2 * (problem.isotropic_noise_scale or 1.0) / scale
    levels, weights = _eigenvalues(n, dx)
    _require_known_edge(n, dx, sigma2, alpha)
    variances = alpha**2 + sigma2 / levels
    strongest = float(np.max(problem.spectrum or (), initial=0.0))
    lowest = -1 / float(np.max(variances))

    def slope(m: float) -> float:
        unseen = (dx - seen) * (alpha**2 / (1 + alpha**2 * m)) ** 2
        return dy / m**2 - seen * float(np.sum(weights * (variances / (1 + variances * m)) ** 2)) - unseen

    def spike(m: float) -> float:
        return -(m / dy) * (seen / dx) * float(np.sum(weights / (1 + variances * m))) * strongest**2 - 1

    edge = float(brentq(slope, lowest * (1 - 1e-12), lowest * 1e-12, xtol=1e-300))  # pyright: ignore[reportArgumentType]
    m = edge
    if spike(edge) > 0:
        # spike <= -m (seen / (dy dx)) s_1^2 / (1 - edge / lowest) - 1 from the edge up to 0.
        below = -dy * dx / (seen * strongest**2) * (1 - edge / lowest) / 2
        m = float(brentq(spike, edge, max(below, edge), xtol=1e-300))  # pyright: ignore[reportArgumentType]
    else:
        _require_large(dx, dy)
    bulk = seen * float(np.sum(weights * variances / (1 + variances * m)))
    return math.sqrt(-dy / m + bulk + (dx - seen) * alpha**2 / (1 + alpha**2 * m))


def _eigenvalues(n: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights, which add up to 1, for the nonzero eigenvalues of X X^T, X iid N(0, 1).

    The density is sqrt((high - u)(u - low)) / u up to a constant: Gauss-Chebyshev of the second kind.
    """
    low, high = edges(n, dx)
    theta = np.pi * np.arange(1, _NODES + 1) / (_NODES + 1)
    levels = (low + high) / 2 + (high - low) / 2 * np.cos(theta)
    weights = np.sin(theta) ** 2 / levels
    return levels, weights / np.sum(weights)


def _require_large(dx: int, dy: int) -> None:
    """Raises `InvalidInput` where the edge of a Gaussian matrix is no good guess of its norm."""
    inverse = 1 / math.sqrt(dx) + 1 / math.sqrt(dy)
    if _EDGE_MEAN * inverse ** (1 / 3) / (2 * (math.sqrt(dx) + math.sqrt(dy))) > _EDGE_OFF:
        raise InvalidInput(
            "problem", "dx and dy large enough for a norm without outlier", f"{dx = }, {dy = }", _SIMULATE
        )


def _require_known_edge(n: int, dx: int, noise: float, alpha: float) -> None:
    """Raises `InvalidInput` where the least eigenvalue of X X^T fluctuates, and matters."""
    apart = abs(math.sqrt(n) - math.sqrt(dx))
    spread = _EDGE_STD * abs(1 / math.sqrt(n) - 1 / math.sqrt(dx)) ** (1 / 3) / apart
    largest = noise / apart**2
    if largest / (largest + alpha**2) * spread > _LEAST_SPREAD:
        raise InvalidInput("n", "a number further from dx, so that noise has a known edge", f"{n}, {dx = }", _SIMULATE)


def _isotropic(problem: Problem) -> float:
    """c, Sigma = c I."""
    if problem.isotropic_scale is None:
        raise InvalidInput("input_covariance", "a multiple of the identity", "another", _SIMULATE)
    return problem.isotropic_scale
