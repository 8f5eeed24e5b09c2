"""LoRA's first step: exact moments, the best learning rate and its risk, and what alpha and the rank do to it.

At B = 0 only B moves, by eta g H A^T with H = R X^T / n the negative gradient of the full matrix at A0: D_1 = eta g^2 H
W with W = A^T A. For iid entries of A (mean 0, variance a^2, excess kurtosis k4, independent of the data)

    E W = r a^2 I,      E W M W = a^4 [ r (r + 1) M + r Tr(M) I + r k4 diag(M) ]        (M symmetric)

with k4 = 0 for Gaussian A and -6/5 for PEFT's uniform one, a^2 = 1 / (3 dx); and for Gaussian inputs

    E H = Delta Sigma,    E H M H^T = Delta [ (1 + 1/n) Sigma M Sigma + Tr(Sigma M) Sigma / n ] Delta^T
                                      + Tr(Sigma M) Sigma_eps / n

so that the expected risk after the step is exact for any Sigma and Sigma_eps and any n. For Sigma = I,

    E ||H||^2 = ||Delta||^2 (1 + (dx + 1)/n) + Tr(Sigma_eps) dx / n
    E ||D_1||^2 = eta^2 g^4 a^4 r (r + dx + 1 + k4) E ||H||^2
    least risk  ||Delta||^2 [ 1 - r / (r + dx + 1 + k4) x ||Delta||^2 / E ||H||^2 ]

and full fine-tuning's best first step has 1 for the first quotient. The scale g cancels from the best step.

*At a fixed learning rate* the first fall of the loss is, to first order in eta,

    GD     eta g^2 E ||H A^T||_F^2 = eta g^2 r a^2 ||H||_F^2
    sign   eta g E ||H A^T||_1     = eta g r a sqrt(2 / pi) sum_j ||H_j||       (Gaussian A; H_j: rows of H)

With g ~ r^-p (1: alpha / r, 1/2: rsLoRA, 0: constant) and a^2 ~ r^-q their powers of r are 1 - 2 p - q and 1 - p - q /
2; the first step of Adam is that of sign. So with a start whose variance does not depend on r (PEFT's), rsLoRA is what
makes GD's first step independent of r, and alpha / r is what makes Adam's. Source: derived here.
"""

import math
from typing import Literal, NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.training import checks

Entries = Literal["gaussian", "uniform"]
Optimiser = Literal["gd", "sign"]
Scaling = Literal["lora", "rslora", "constant"]
#: Excess kurtosis of the entries of A(0).
_KURTOSIS = {"gaussian": 0.0, "uniform": -6 / 5}
#: p of g ~ r^-p.
_POWERS = {"lora": 1.0, "rslora": 0.5, "constant": 0.0}


class FirstStep(NamedTuple):
    """Means over the data and A(0) after one step of gradient descent on LoRA's factors from B = 0.

    | field              | symbol        | meaning                                                                     |
    |--------------------|---------------|-----------------------------------------------------------------------------|
    | `learning_rate`    | eta           | that of least expected risk                                                 |
    | `risk`             |               | E risk(D_1) with it, in squared units of y                                  |
    | `fft_learning_rate`|               | the same for D_1 = eta H, full fine-tuning's first step                     |
    | `fft_risk`         |               | its risk                                                                    |
    | `share`            |               | LoRA's gain over FFT's: r / (r + dx + 1 + k4) for Sigma = c I               |
    | `gradient_energy`  | E ||H||_F^2   | of the first gradient                                                       |
    | `update_energy`    | E ||D_1||_F^2 | at `learning_rate`                                                          |
    """

    learning_rate: float
    risk: float
    fft_learning_rate: float
    fft_risk: float
    share: float
    gradient_energy: float
    update_energy: float


def best_first_step(
    problem: Problem,
    rank: int,
    *,
    scaling: float = 2.0,
    entry_variance: float | None = None,
    entries: Entries = "uniform",
) -> FirstStep:
    """The learning rate of least expected risk after one step, and what it reaches; any n, Sigma and Sigma_eps.

    | argument         | symbol | meaning                                                             |
    |------------------|--------|---------------------------------------------------------------------|
    | `rank`           | r      | >= 1                                                                |
    | `scaling`        | g      | moves the learning rate and nothing else                            |
    | `entry_variance` | a^2    | of A(0), default 1 / (3 dx), PEFT's; moves the learning rate only   |
    | `entries`        | k4     | law of A(0): uniform, as PEFT has it, or gaussian                   |

    Raises `InvalidInput` with a ridge, for inputs that are not Gaussian with mean zero, and without a shift.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=50, dx=20, dy=15, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> step = ll.theory.training.best_first_step(problem, 4, entries="gaussian")
    >>> f"{step.gradient_energy:.2f}; {step.risk:.4f}, FFT {step.fft_risk:.4f}; share {step.share:.2f} = 4/25"
    '24.46; 11.8945, FFT 6.0908; share 0.16 = 4/25'
    """
    problem.require_gaussian("the first step")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge, "the step is that of the loss without a penalty")
    kurtosis = _KURTOSIS[checks.one_of("entries", entries, tuple(_KURTOSIS))]
    r, g = validation.positive_integer("rank", rank), checks.positive("scaling", scaling)
    variance = 1 / (3 * problem.dx) if entry_variance is None else checks.positive("entry_variance", entry_variance)
    sigma, identity = problem.sigma, np.eye(problem.dx)
    base = problem.pretrained_risk
    if base == 0:
        raise InvalidInput("spectrum", "a shift that the inputs reach", "none", "every step from A0 costs risk")
    energy = _energy(problem, identity)
    along = float(np.sum((problem.shift @ sigma) ** 2))
    squared = {
        "sigma": _energy(problem, sigma),
        "diagonal": _energy(problem, np.diag(np.diagonal(sigma))),
    }
    lora = r * ((r + 1) * squared["sigma"] + np.trace(sigma) * energy + kurtosis * squared["diagonal"])
    gain, fft_gain = (r * along) ** 2 / lora, along**2 / squared["sigma"]
    rate = r * along / lora / (g**2 * variance)
    moved = (rate * g**2 * variance) ** 2 * r * (r + problem.dx + 1 + kurtosis) * energy
    return FirstStep(
        rate, base - gain, along / squared["sigma"], base - fft_gain, gain / fft_gain, energy, float(moved)
    )  # fmt: skip


def first_fall(
    gradient: object,
    rank: int,
    *,
    scaling: float,
    entry_variance: float,
    learning_rate: float,
    optimiser: Optimiser = "gd",
) -> float:
    """The fall of the loss by a first step, to first order in the learning rate, in the mean over A(0).

    `gradient`: H = R X^T / n, dy x dx; of `optimiser` gd any iid entries, of sign (as Adam's first step) Gaussian A(0).

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> fall = lambda r, g, how: ll.theory.training.first_fall(
    ...     np.diag([3.0, 1.0]), r, scaling=g, entry_variance=0.1, learning_rate=0.01, optimiser=how)
    >>> [round(fall(r, 8 / r, "sign"), 4) for r in (2, 8)], [round(fall(r, 8 / r**0.5, "gd"), 4) for r in (2, 8)]
    ([0.0807, 0.0807], [0.64, 0.64])
    """
    h = checks.a_matrix("gradient", gradient)
    r, g = validation.positive_integer("rank", rank), checks.positive("scaling", scaling)
    a2, eta = checks.positive("entry_variance", entry_variance), checks.positive("learning_rate", learning_rate)
    if checks.one_of("optimiser", optimiser, ("gd", "sign")) == "gd":
        return float(eta * g**2 * r * a2 * np.sum(h**2))
    return float(eta * g * r * math.sqrt(2 * a2 / math.pi) * np.sum(np.linalg.norm(h, axis=1)))


def fall_exponent(scaling: Scaling, optimiser: Optimiser = "gd", *, variance_power: float = 0.0) -> float:
    """The power of r in `first_fall` at a fixed learning rate; `variance_power`: q where a^2 ~ r^-q (PEFT's start: 0).

    >>> import linreg_lora as ll
    >>> for how in ("gd", "sign"):
    ...     print(how, [ll.theory.training.fall_exponent(g, how) for g in ("lora", "rslora", "constant")])
    gd [-1.0, 0.0, 1.0]
    sign [0.0, 0.5, 1.0]
    """
    p = _POWERS[checks.one_of("scaling", scaling, tuple(_POWERS))]
    q = np.asarray(validation.real_array("variance_power", variance_power, "a number"))
    if q.ndim > 0:
        raise InvalidInput("variance_power", "a number", variance_power)
    gradient = checks.one_of("optimiser", optimiser, ("gd", "sign")) == "gd"
    return float(1 - 2 * p - q if gradient else 1 - p - q / 2)


def _energy(problem: Problem, metric: np.ndarray) -> float:
    """E Tr(H M H^T)."""
    sigma, delta, n = problem.sigma, problem.shift, problem.n
    seen = float(np.sum(sigma * metric))
    moment = (1 + 1 / n) * sigma @ metric @ sigma + seen / n * sigma
    return float(np.sum((delta @ moment) * delta)) + problem.noise_trace * seen / n
