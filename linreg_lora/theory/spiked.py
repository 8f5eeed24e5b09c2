"""The risk of LoRA for a shift of fixed rank in high dimensions, in closed form: which directions to keep.

Each direction of Delta is a spike of strength t = s sqrt(n) / sigma on dy x N noise, N = min(n, dx). It is
*detectable*, separated from the noise, iff t^4 > dy N. Then its singular value and the squared overlaps of its singular
vectors are

    lambda^2 = sigma^2 (t^2 + dy)(t^2 + N) / t^2,   rho_u^2 = (t^4 - dy N) / (t^4 + dy t^2),
                                                    rho_v^2 = (t^4 - dy N) / (t^4 + N t^2),

and keeping it changes the risk by

    gain = lambda^2 (rho_v^2 a + (1 - rho_v^2) b) - 2 lambda s rho_u rho_v g,

    n > dx:  a = 1/n,   b = 1/(n - dx - 1),   g = 1/sqrt(n)
    n < dx:  a = 1/dx,  b = 1/(dx - n - 1),   g = sqrt(n)/dx.

A direction of noise, or an undetectable one, costs lambda^2 b with lambda^2 / sigma^2 a Marchenko-Pastur quantile of
the remaining noise. For n >> dx, gain < 0 is the hard threshold of Gavish and Donoho 2014. Simpler and coarser than
`equivalent`; source of the overlaps: Benaych-Georges and Nadakuditi 2012.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.theory.marchenko_pastur import quantile


class Spikes(NamedTuple):
    """One entry a nonzero singular value of Delta, strongest first (in units where Sigma = I).

    `detectable`; `singular_value` lambda of the residual (the noise edge where undetectable); overlaps `left` rho_u^2
    and `right` rho_v^2 (0 where undetectable); `gain`, the change of risk by keeping the direction.
    """

    detectable: Bool[np.ndarray, "k"]
    singular_value: Float[np.ndarray, "k"]
    left: Float[np.ndarray, "k"]
    right: Float[np.ndarray, "k"]
    gain: Float[np.ndarray, "k"]

    @property
    def keep(self) -> Bool[np.ndarray, "k"]:
        """Directions that lower the risk."""
        return self.gain < 0


def detection_threshold(problem: Problem) -> float:
    """The singular value of Delta Sigma^{1/2} above which a direction is detectable: sigma (dy N)^{1/4} / sqrt(n).

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.detection_threshold(problem):.3f} = {(20 * 24) ** 0.25 / 60**0.5:.3f}"
    '0.604 = 0.604'
    """
    problem.require_gaussian("the spiked model")
    _require_spiked(problem)
    noise = problem.noise_std * np.sqrt(problem.isotropic_noise_scale or 1.0)
    return float(noise * (problem.dy * min(problem.n, problem.dx)) ** 0.25 / np.sqrt(problem.n))


def spikes(problem: Problem) -> Spikes:
    """Every nonzero direction of the shift. Ridgeless, isotropic noise sigma > 0, and isotropic inputs where n < dx.

    Raises `InvalidInput` elsewhere, and where the mean is infinite.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.spikes(problem)
    >>> found.detectable.tolist(), found.keep.tolist()
    ([True, True, True], [True, True, False])
    """
    _require_spiked(problem)
    s = _strengths(problem)
    sigma = problem.noise_std * np.sqrt(problem.isotropic_noise_scale or 1.0)
    n, m, small = problem.n, problem.dy, min(problem.n, problem.dx)
    t2 = n * (s / sigma) ** 2
    detectable = t2**2 > m * small
    excess = np.where(detectable, t2**2 - m * small, 0.0)
    left, right = excess / (t2**2 + m * t2), excess / (t2**2 + small * t2)
    spiked = sigma**2 * (t2 + m) * (t2 + small) / t2
    squared = np.where(detectable, spiked, sigma**2 * _noise_levels(problem, len(s)))
    seen, unseen, cross = _weights(problem)
    cost = squared * (right * seen + (1 - right) * unseen)
    return Spikes(detectable, np.sqrt(squared), left, right, cost - 2 * np.sqrt(squared * left * right) * s * cross)


def spiked_risk(problem: Problem) -> Float[np.ndarray, "ranks"]:
    """The expected excess risk at every rank 0..min(n, dx, dy).

    Accurate to a few per cent near the detection threshold and better elsewhere, for a shift of small rank.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> ll.theory.spiked_risk(problem)[:4].round(3).tolist()
    [14.0, 6.085, 3.254, 3.895]
    >>> ll.expected_risk(problem).risk[:4].round(3).tolist()
    [14.0, 6.265, 3.263, 3.742]
    """
    found = spikes(problem)
    sigma = problem.noise_std * np.sqrt(problem.isotropic_noise_scale or 1.0)
    planted = int(np.sum(found.detectable))
    rest = problem.max_rank - planted
    noise = sigma**2 * _noise_levels(problem, rest, planted) * _weights(problem)[1]
    return problem.pretrained_risk + np.concatenate([[0.0], np.cumsum(np.concatenate([found.gain[:planted], noise]))])


def _noise_levels(problem: Problem, count: int, planted: int = 0) -> np.ndarray:
    """The largest `count` squared singular values of the noise; 0 for directions beyond its rank, as where n < rank."""
    rows, columns = problem.dy - planted, min(problem.n, problem.dx) - planted
    known = [quantile(rows, columns, k + 0.5) for k in range(min(count, rows, columns))]
    return np.array(known + [0.0] * (count - len(known)))


def _weights(problem: Problem) -> tuple[float, float, float]:
    """a, b and g of the module's docstring."""
    n, dx = problem.n, problem.dx
    if problem.regime is Regime.OVERDETERMINED:
        return 1 / n, 1 / (n - dx - 1), 1 / np.sqrt(n)
    return 1 / dx, 1 / (dx - n - 1), np.sqrt(n) / dx


def _strengths(problem: Problem) -> np.ndarray:
    if problem.isotropic_scale is not None:
        values = np.sqrt(problem.isotropic_scale) * np.asarray(problem.spectrum)
    else:
        values = np.linalg.svd(problem.shift @ problem.sigma_sqrt, compute_uv=False)
    return values[values > 0]


def _require_spiked(problem: Problem) -> None:
    problem.require_gaussian("the spiked model")
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    isotropic = problem.isotropic_scale is not None
    if problem.ridge > 0 or problem.noise_trace == 0 or problem.isotropic_noise_scale is None:
        raise InvalidInput(
            "problem", "no ridge and isotropic noise", f"ridge = {problem.ridge}, {problem.noise_std = }"
        )
    if problem.input_rank < problem.dx or (problem.regime is Regime.UNDERDETERMINED and not isotropic):
        raise InvalidInput("input_covariance", "full rank, and a multiple of the identity where n < dx", "another")
