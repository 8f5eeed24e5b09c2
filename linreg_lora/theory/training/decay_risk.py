"""The risk of LoRA with coupled decay: in closed form in a whitened design, by draws in any other.

With S = X X^T / n = c I, f_i and the shares of the shift of `whitened`, and d_i = (f_i - mu/c)_+,

    E risk = c [ sum_j s_j^2 + sum_{i <= r} ( d_i^2 - 2 d_i sum_j s_j w_ij ) ].

Gaussian inputs have S = c I only as n/dx grows. Until then decay biases a strong direction by mu S^{-1} v and not by
mu v / c, of the mean square

    mu^2 E v^T S^{-2} v = (mu / c)^2 n^2 (n - 1) / ((n - dx) (n - dx - 1) (n - dx - 3)),

noise has n / (n - dx - 1) times the variance, as full fine-tuning at mu = 0, whose exact risk is taken, and what mixes
the two lies between: the excess of that factor over one is the error. It overstates: by 2 to 8 times at n / dx of 2 to
25. `drawn_decay_risk` has no error but its standard error, and no limit on n, Sigma or the number of directions.
Source of the mean of S^{-2}: von Rosen 1988.
"""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.spiked import detection_threshold
from linreg_lora.theory.training import checks
from linreg_lora.theory.training.decay import decayed_update
from linreg_lora.theory.training.search import least
from linreg_lora.theory.training.whitened import directions

_PENALTIES = 64
#: Relative errors from which a risk is flagged; the share of all directions above which they are many, as one in so
#: many, and strengths in units of the threshold of detection near which finite sizes count.
_ACCURATE, _MANY, _BLURRED = 0.05, 24, (0.7, 1.7)
_MOST_DRAWS = 10_000


class DecayRisk(NamedTuple):
    """The expected excess `risk`; `error`: its relative error for Gaussian inputs, 0 in orthogonal designs; `flagged`:
    whether it may be off by more than 5 %, by that, or by directions that are many or near the threshold."""

    risk: float
    error: float
    flagged: bool


class DrawnDecayRisk(NamedTuple):
    """The mean excess `risk` over draws, and its standard error, 0 where it is exact."""

    risk: float
    stderr: float


class BestDecay(NamedTuple):
    """The penalty mu = lam / g of least expected risk, and that `risk`; `flagged` as in `DecayRisk`."""

    penalty: float
    risk: float
    flagged: bool


def whitened_decay_risk(
    problem: Problem, penalty: float, rank: int | None = None, *, orthogonal: bool = False
) -> DecayRisk:
    """The expected excess risk of LoRA with decay where S = c I: `penalty` mu = lam / g, `rank` allowed (None: any).

    `problem`: Sigma = c I, isotropic noise, n > dx, and a shift of rank at most min(dx, dy) / 8. `orthogonal`: the
    design has X X^T = n c I; otherwise this is the limit n >> dx for Gaussian inputs, and exact at mu = 0 with all
    ranks allowed. Raises `InvalidInput` elsewhere; `drawn_decay_risk` has no such limits.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)
    >>> risks = [ll.theory.training.whitened_decay_risk(problem, mu, orthogonal=True) for mu in (0.0, 0.5, 100.0)]
    >>> [round(found.risk, 3) for found in risks], risks[1].flagged
    ([20.0, 2.863, 15.25], False)
    >>> found = ll.theory.training.whitened_decay_risk(problem, 0.5)
    >>> f"{found.risk:.3f}, off by up to {found.error:.2f} of it: flagged {found.flagged}"
    '2.863, off by up to 1.40 of it: flagged True'
    """
    mu = validation.nonnegative_number("penalty", penalty)
    validation.zero_or_one("orthogonal", orthogonal)
    kept = directions(problem)
    if mu == 0 and (rank is None or rank >= len(kept[0])):
        exact = problem.noise_trace * problem.dx / problem.n if orthogonal else fft_risk(problem).risk
        return DecayRisk(exact, 0.0, flagged=False)
    error = 0.0 if orthogonal else _growth(problem.n, problem.dx) - 1
    return DecayRisk(_risk(problem, kept, mu, rank), error, error > _ACCURATE or _doubtful(problem))


def best_decay(problem: Problem, rank: int | None = None, *, orthogonal: bool = False) -> BestDecay:
    """The decay of least expected risk where S = c I; an oracle, which knows Delta and sigma.

    Arguments as `whitened_decay_risk`. For Gaussian inputs both the penalty and the risk are the limit n >> dx.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 2.0, 1.5), noise_std=1.0)
    >>> found = ll.theory.training.best_decay(problem, orthogonal=True)
    >>> f"mu = {found.penalty:.3f}: {found.risk:.3f}, flagged {found.flagged}"
    'mu = 0.682: 2.139, flagged False'
    """
    kept = directions(problem)
    grid = np.linspace(0.0, float(kept[0][0]) * (problem.isotropic_scale or 1.0), _PENALTIES + 1)

    def risk(mu: float) -> float:
        return _risk(problem, kept, mu, rank)

    at = int(np.argmin([risk(mu) for mu in grid]))
    found = least(risk, grid[max(at - 1, 0)], grid[min(at + 1, _PENALTIES)], within=1e-9)
    return BestDecay(found.at, found.value, whitened_decay_risk(problem, found.at, rank, orthogonal=orthogonal).flagged)


def drawn_decay_risk(problem: Problem, penalty: float, *, draws: int = 32, seed: int = 0) -> DrawnDecayRisk:
    """The mean excess risk of LoRA with decay over draws of Gaussian data: `penalty` mu = lam / g, every rank allowed.

    Any n, Sigma, Sigma_eps and shift; every draw's update is certified (`decayed_update`). At mu = 0 it is full
    fine-tuning's risk, exact where that is. `draws`: 2 or more. Raises `NumericalFailure` where no certificate is had.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=12, dy=8, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> found = ll.theory.training.drawn_decay_risk(problem, 0.4)
    >>> f"{found.risk:.2f} +- {found.stderr:.2f}"
    '0.99 +- 0.04'
    """
    mu = validation.nonnegative_number("penalty", penalty)
    if not 2 <= validation.positive_integer("draws", draws) <= _MOST_DRAWS:
        raise InvalidInput("draws", f"2 to {_MOST_DRAWS}", draws)
    validation.nonnegative_integer("seed", seed)
    problem.require_gaussian("the risk with decay")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0 where factors decay", problem.ridge)
    if mu == 0:
        return DrawnDecayRisk(fft_risk(problem).risk, 0.0)
    risks = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        factor = problem.sigma_sqrt @ _root(rng, problem.n, problem.dx)
        noise = problem.sigma_eps_sqrt @ rng.standard_normal((problem.dy, factor.shape[1]))
        s, h = factor @ factor.T / problem.n, (problem.shift @ factor + noise) @ factor.T / problem.n
        off = decayed_update(s, h, mu).update - problem.shift
        risks.append(float(np.sum((off @ problem.sigma_sqrt) ** 2)))
    return DrawnDecayRisk(float(np.mean(risks)), float(np.std(risks, ddof=1) / math.sqrt(draws)))


def _root(rng: np.random.Generator, n: int, dx: int) -> np.ndarray:
    """L with L L^T of the law of X X^T, X standard normal: X for n < dx, else triangular (Bartlett 1933)."""
    if n < dx:
        return rng.standard_normal((dx, n))
    return np.tril(rng.standard_normal((dx, dx)), -1) + np.diag(np.sqrt(rng.chisquare(n - np.arange(dx))))


def _growth(n: int, dx: int) -> float:
    """E v^T S^{-2} v over c^{-2}; infinite for n <= dx + 3."""
    return n**2 * (n - 1) / ((n - dx) * (n - dx - 1) * (n - dx - 3)) if n > dx + 3 else math.inf


def _doubtful(problem: Problem) -> bool:
    """Whether directions are many, or near the threshold of detection."""
    s = checks.strengths(problem)
    low, high = (share * detection_threshold(problem) / math.sqrt(problem.isotropic_scale or 1.0) for share in _BLURRED)
    return len(s) * _MANY > min(problem.dx, problem.dy) or bool(np.any((s > low) & (s < high)))


def _risk(problem: Problem, kept: tuple[np.ndarray, np.ndarray], mu: float, rank: int | None) -> float:
    (values, overlap), c = kept, problem.isotropic_scale or 1.0
    r = len(values) if rank is None else min(validation.nonnegative_integer("rank", rank), len(values))
    d = np.maximum(values[:r] - mu / c, 0.0)
    return problem.pretrained_risk + c * float(np.sum(d**2 - 2 * d * overlap[:r]))
