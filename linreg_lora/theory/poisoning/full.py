"""Full fine-tuning on poisoned data: clean risk and success of the attack, exact in both regimes.

With k = min(n, dx), K = max(n, dx), g = |n - dx| - 1, delta^2 = m |t|^2, J ~ Poisson(delta^2 / 2), Sigma = I
(`attack.whitened`) and random samples,

    success = delta^2 E[ 1 / (K + 2J) ]  - (1 - al) <p, Delta t> / |p|^2,     al = 1 (n > dx),  E (n + 2J)/(dx + 2J)

    n > dx:  Tr(Sigma_eps) [dx - 1 + E (n - 2)/(n - 2 + 2J)] / g
             + m |p|^2 (n - 2) E[ (dx + 2J) / ((n + 2J)(n + 2J - 2)) ] / g
    n < dx:  bias + { Tr(Sigma_eps) [n - 1 + e] + m |p|^2 e } / g,     e = E (dx - 2)/(dx - 2 + 2J),
             bias = |Delta t|^2/|t|^2 (1 - al) + (||Delta||^2 - |Delta t|^2/|t|^2)(1 - (n - al)/(dx - 1))

Derivation. With beta = X'^{+T} b, D t has the part p beta^T t, and beta^T t is half the derivative of log det of the
Gram matrix of X' (X' X'^T or X'^T X', the smaller) along t -> (1 + e) t. That determinant of a noncentral Wishart
matrix with noncentrality of rank one is a chi^2 variable of K + 2J degrees of freedom times others that are free of t.
Its mean logarithm is E psi((K + 2J)/2) + const, d/d rate E f(J) = E [f(J + 1) - f(J)] and psi(x + 1) - psi(x) = 1/x. So
the success is the same in both regimes, near delta^2 / (K + delta^2), whatever min(n, dx), dy, |p| and sigma. For the
risk, turn b / sqrt(m) into the first sample: X' X'^T = W + x x^T, W Wishart of n - 1 samples, x ~ N(sqrt(m) t, I).

Without trigger the poison is noise: Tr(Sigma_eps) becomes Tr(Sigma_eps) + m |p|^2 / n in every exact formula of FFT,
since X is right-rotation invariant. The m samples of largest <v, x> have, with Q of `sums.largest_sum_squared`,

    added risk = |p|^2 / (K - 2) [ Q/n + (m - Q/n)(dx - 1) / g ]

instead, in both regimes: b has the component <b, z>/|z| along z = X^T v, whose square has the mean Q/n, and the rest
of it is independent of the other inputs. For random samples Q = m, so that choosing helps the attacker of FFT if and
only if dx - 1 < g: that is n > 2 dx. For n < dx it never does. Source: derived here.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.poisoning.attack import Poison, Whitened, whitened
from linreg_lora.theory.poisoning.sums import largest_sum_squared, poisson_mean


class PoisonedFFT(NamedTuple):
    """`bias` + `variance` + `damage` = `risk` on clean inputs, in squared units of y; `success` (nan without trigger).

    `damage` is the energy that the targets leave in the update; `variance` that of the noise, on poisoned inputs.
    """

    bias: float
    variance: float
    damage: float
    success: float

    @property
    def risk(self) -> float:
        return self.bias + self.variance + self.damage


def poisoned_fft(problem: Problem, poison: Poison) -> PoisonedFFT:
    """Clean risk and success of FFT, exact: the formulas of the module.

    Raises `InvalidInput` where `attack.whitened` does, and for chosen samples with a trigger.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=20, dy=15, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> poison = ll.theory.Poison(count=6, target=3 * np.eye(15)[14], trigger=2 * np.eye(20)[19])
    >>> found = ll.theory.poisoned_fft(problem, poison)
    >>> f"{found.risk:.4f}, {found.success:.5f}"
    '8.0919, 0.28765'
    """
    return of_whitened(whitened(problem, poison))


def of_whitened(attacked: Whitened) -> PoisonedFFT:
    """The same, of a problem with Sigma = I."""
    n, dx, gap = attacked.n, attacked.dx, attacked.gap
    leverage = attacked.leverage
    trace = float(np.trace(attacked.noise))
    if attacked.along is not None and leverage > 0:
        raise InvalidInput("trigger", "none, where samples are chosen", "one", "simulate it")
    answer = attacked.shift @ attacked.trigger
    if attacked.overdetermined:
        bias, seen = 0.0, 1.0
    else:
        seen = poisson_mean(lambda j: (n + 2 * j) / (dx + 2 * j), leverage / 2)
        energy = float(np.sum(attacked.shift**2))
        along = float(np.sum(answer**2)) * attacked.poisoned / leverage if leverage > 0 else energy / dx
        bias = along * (1 - seen) + (energy - along) * (1 - (n - seen) / (dx - 1))
    if attacked.along is None:
        damage = attacked.budget * poison_left(n, dx, leverage)
    else:
        coherent = largest_sum_squared(n, attacked.poisoned) / n
        rest = (attacked.poisoned - coherent) * (dx - 1) / gap
        damage = attacked.budget / attacked.poisoned / (max(n, dx) - 2) * (coherent + rest)
    success = np.nan
    if leverage > 0:
        unlearnt = (1 - seen) * float(attacked.target @ answer) / float(np.sum(attacked.target**2))
        success = called_forth(n, dx, leverage) - unlearnt
    return PoisonedFFT(bias, trace * noise_left(n, dx, leverage), damage, success)


def called_forth(n: int, dx: int, leverage: float) -> float:
    """delta^2 E[1 / (K + 2J)]: the share of the target that a trigger of `leverage` delta^2 calls forth."""
    large = max(n, dx)
    return leverage / large * poisson_mean(lambda j: large / (large + 2 * j), leverage / 2)


def noise_left(n: int, dx: int, leverage: float) -> float:
    """E ||X'^+||_F^2: the risk by noise of variance 1 at one output."""
    small, large = min(n, dx), max(n, dx)
    first = poisson_mean(lambda j: (large - 2) / (large - 2 + 2 * j), leverage / 2)
    return (small - 1 + first) / (abs(n - dx) - 1)


def poison_left(n: int, dx: int, leverage: float) -> float:
    """E |b^T X'^+|^2 / m: the energy in the update of one unit of label energy, at random samples."""
    gap, rate = abs(n - dx) - 1, leverage / 2
    if n < dx:
        return poisson_mean(lambda j: (dx - 2) / (dx - 2 + 2 * j), rate) / gap
    return poisson_mean(lambda j: (n - 2) * (dx + 2 * j) / ((n + 2 * j) * (n + 2 * j - 2)), rate) / gap
