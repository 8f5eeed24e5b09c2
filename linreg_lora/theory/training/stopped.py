"""Full fine-tuning stopped early: the expected excess risk after a time, and the best time to stop.

Training on (1/2n) ||R - D X||^2 from D = 0 multiplies what is left of eigenvalue x of S = X X^T / n by k(x),

    k(x) = e^{-x t}  (gradient flow),     (1 - rate x)^steps, t = rate steps  (gradient descent),

where ridge eta = n/t has k(x) = 1 / (1 + x t). For Sigma = c I, S = c W / n,

    E risk = (c ||Delta||^2 / dx) E Tr k(S)^2 + c (Tr(Sigma_eps) / n) E Tr (1 - k(S))^2 S^{-1},

means over the eigenvalues of a Wishart matrix: by their exact density where it can be had (`theory.laguerre`), else by
the law of Marchenko and Pastur with its first order in 1/n,

    E Tr f(W) = integral f dMP + (f(u-) + f(u+)) / 4 - (1 / 2 pi) integral_0^pi f(u(theta)) d theta + ...

For n < dx there are dx - n zeros, with k = 1 and no noise. Other Sigma: `stopped_contours`, a limit. Finite times have
no pole at n = dx.

*Error of the limit.* It lacks that an eigenvalue of S far from others, l_i of Sigma, is spread by sqrt(2/n) l_i and not
by half the variance; with g = (1 - k)^2 / x and e_i the shift's energy there that makes

    C = sum_i (l_i^2 / 2n) [ l_i e_i (k^2)''(l_i) + (Tr(Sigma_eps) / n) l_i g''(l_i) ],

and what acts together is off by the order of 1 / (n - df2), df2 = sum (l_i / (l_i + kappa))^2 at the ridge n/t
(`theory.effective`). The error given is 3 |C| / risk + 1.5 / (n - df2): measured on 480 problems of 5 to 200 dimensions
with variances like i^-1/2, i^-1 and i^-2 and times from 0.1 to 100, it covers all of them, the closest by a fifth, and
is in the median 7 times the error. Sources: Ali, Kolter and Tibshirani 2019, the filter; Bai and Silverstein 2004, the
first order.
"""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.theory import laguerre, marchenko_pastur
from linreg_lora.theory.effective import effective, input_variances, shift_energies
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.training import stopped_contours
from linreg_lora.theory.training.filters import Filter
from linreg_lora.theory.training.search import least

EXACT = "means of the filter over the exact density of eigenvalues, exact"
LIMIT = "means of the filter over the law of Marchenko and Pastur, a limit"
CORRECTED = "means of the filter over the law of Marchenko and Pastur, corrected to first order in the dimension"
CONTOURS = "contour integrals of the filter over the deterministic equivalent, a limit"
_POINTS = 2000
#: A relative error above which risks are flagged; by how much the two parts of the measured one are multiplied.
_ACCURATE, _ALONE, _TOGETHER = 0.01, 3.0, 1.5
#: Designs on which gradient descent diverges are left out where they have fewer eigenvalues than this in the mean.
_DIVERGENT = 1e-12
#: Times of the search for the best one, in units of 1 / (largest eigenvalue of S).
_TIMES = np.geomspace(1e-4, 1e6, 61)


class StoppedRisk(NamedTuple):
    """`bias` + `variance` = `risk`, in squared units of y; `formula` says which result was used, `exact` whether it is
    no limit; `error`: the relative error of a limit, as measured (see the module), 0 where exact."""

    bias: float
    variance: float
    formula: str
    exact: bool
    error: float

    @property
    def risk(self) -> float:
        return self.bias + self.variance

    @property
    def flagged(self) -> bool:
        """Whether the risk may be off by more than 1 %."""
        return self.error > _ACCURATE


class BestStop(NamedTuple):
    """The time of least expected risk (inf where noise is absent: train to the end), that `risk`, and whether it is
    `flagged`: off by more than 1 %, perhaps."""

    time: float
    risk: float
    flagged: bool


def stopped_risk(problem: Problem, time: float, rate: float = 0.0, *, correction: bool = True) -> StoppedRisk:
    """The expected excess risk of full fine-tuning stopped after `time` t, on the loss (1/2n) ||R - D X||^2.

    `rate`: gradient descent with this learning rate and t / rate steps, a whole number of them; 0: gradient flow. The
    rate must be stable, below 2 / (largest eigenvalue of S). Losses without the 1/n or the 1/2 count time otherwise: a
    mean over n and dy multiplies it by 2/dy. Sigma = c I is exact up to some 200 dimensions, and a limit with its first
    order beyond; `correction` = False is the limit, as is any other Sigma, which is flagged up to some hundreds of
    samples. Raises `InvalidInput` for a problem with ridge, or inputs that are not Gaussian.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=100, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.training.stopped_risk(problem, time=2.0)
    >>> f"{found.bias:.3f} + {found.variance:.3f}; without stopping {ll.theory.fft_risk(problem).risk:.3f}"
    '1.476 + 8.013; without stopping 20.339'
    """
    problem = _require(problem)
    found = Filter.of(time, rate)
    if problem.isotropic_scale is None:
        edge = stopped_contours.upper_edge(input_variances(problem), problem.n)
        _require_stable(found, edge)
        bias, variance = stopped_contours.bias_and_variance(problem, found)
        return StoppedRisk(bias, variance, CONTOURS, False, _error(problem, time, bias + variance))
    return _isotropic(problem, problem.isotropic_scale, found, correction)


def best_stop(problem: Problem) -> BestStop:
    """The time at which gradient flow of full fine-tuning has its least expected excess risk.

    An oracle: it knows Delta and the noise. Found on a grid of times and refined between its neighbours.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=100, dx=40, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.training.best_stop(problem)
    >>> f"t = {found.time:.2f}: {found.risk:.3f}; best ridge {ll.theory.fft_best_ridge(problem).risk:.3f}"
    't = 0.79: 7.313; best ridge 7.231'
    """
    problem = _require(problem)
    if problem.pretrained_risk == 0:
        return BestStop(0.0, 0.0, flagged=False)
    if problem.noise_trace == 0:
        end = fft_risk(problem)
        return BestStop(math.inf, end.risk, end.flagged)
    unit = stopped_contours.upper_edge(input_variances(problem), problem.n)

    def risk(log_time: float) -> float:
        return stopped_risk(problem, math.exp(log_time)).risk

    logs = np.log(_TIMES / unit)
    at = int(np.argmin([risk(log) for log in logs]))
    if at in (0, len(logs) - 1):
        raise NumericalFailure(
            f"best_stop: expected a best time inside {_TIMES[0] / unit:.3g}..{_TIMES[-1] / unit:.3g}, received "
            f"{math.exp(logs[at]):.3g}; scale noise or shift"
        )
    refined = least(risk, logs[at - 1], logs[at + 1], within=1e-7)
    best = stopped_risk(problem, math.exp(refined.at))
    return BestStop(math.exp(refined.at), best.risk, best.flagged)


def _require(problem: Problem) -> Problem:
    problem.require_gaussian("the risk of stopped training")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0 where training is stopped", problem.ridge, "stopping takes the ridge's part")
    return problem.without_null_inputs() if problem.input_rank < problem.dx else problem


def _require_stable(found: Filter, edge: float) -> None:
    if found.rate * edge >= 2:
        raise InvalidInput("rate", f"below 2 / (largest eigenvalue of S) = {2 / edge:.4g}", found.rate, "or flow: 0")


def _isotropic(problem: Problem, scale: float, found: Filter, correction: bool) -> StoppedRisk:
    n, dx = problem.n, problem.dx
    small, large = min(n, dx), max(n, dx)
    _require_stable(found, scale * marchenko_pastur.edges(n, dx)[1] / n)
    exact = correction and laguerre.has_density(small, large)
    u, weights = laguerre.density(small, large) if exact else _limit(small, large, correction)
    x = scale * u / n
    diverges = found.rate * x >= 2
    if (lost := float(np.sum(np.abs(weights[diverges])))) > _DIVERGENT * small:
        raise InvalidInput(
            "rate", f"one at which fewer than {_DIVERGENT:g} of the eigenvalues diverge", f"{lost / small:.2g} of them",
            "lower it; the mean over all designs is not what any run sees",
        )  # fmt: skip
    x, weights = x[~diverges], weights[~diverges]
    bias = scale * _energy(problem) / dx * (float(weights @ found.left(x) ** 2) + (dx - small))
    variance = scale * problem.noise_trace / n * float(weights @ found.learnt_noise(x))
    error = 0.0 if exact else _error(problem, found.time, bias + variance) ** (2 if correction else 1)
    return StoppedRisk(bias, variance, EXACT if exact else CORRECTED if correction else LIMIT, exact, error)


def _error(problem: Problem, time: float, risk: float) -> float:
    """The measured relative error of the limit; of descent as of the flow."""
    values = input_variances(problem)
    if time == 0 or risk == 0:
        return 0.0
    k = np.exp(-values * time)
    learnt, slope, turn = -np.expm1(-values * time), time * k, -(time**2) * k
    noise = 2 * (slope**2 + learnt * turn) / values - 4 * learnt * slope / values**2 + 2 * learnt**2 / values**3
    parts = shift_energies(problem) * 4 * (time * k) ** 2 + problem.noise_trace / problem.n * noise
    alone = abs(float(np.sum(values**3 * parts))) / (2 * problem.n)
    return _ALONE * alone / risk + _TOGETHER / effective(values, problem.n, problem.n / time).free


def _energy(problem: Problem) -> float:
    return float(np.sum(np.square(problem.spectrum if problem.spectrum is not None else problem.shift)))


def _limit(m: int, nu: int, correction: bool) -> tuple[np.ndarray, np.ndarray]:
    """Nodes u and weights of the law of Marchenko and Pastur, mass m; with its first order, of mass 0, where asked."""
    low, high = marchenko_pastur.edges(m, nu)
    theta = (np.arange(_POINTS) + 0.5) * math.pi / _POINTS
    centre, half = (low + high) / 2, (high - low) / 2
    u = centre + half * np.cos(theta)
    weights = (half * np.sin(theta)) ** 2 / (2 * math.pi * u) * math.pi / _POINTS
    if not correction:
        return u, weights
    return np.concatenate([u, [low, high]]), np.concatenate([weights - 0.5 / _POINTS, [0.25, 0.25]])
