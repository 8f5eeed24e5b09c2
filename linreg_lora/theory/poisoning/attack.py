"""What an attacker adds to training data, and the problem in coordinates in which Sigma = I.

m of the n samples are poisoned; b in {0, 1}^n marks them. Their inputs get a trigger t, their labels that of the input
with its trigger, plus a target p:

    X' = X + t b^T,    R = Delta X' + E + p b^T

Without trigger (t = 0) this is label poison, with one a backdoor. The m samples are random, chosen without a look at
the data, or the m whose <v, x> is largest. An attacker who keeps the labels of x has p - A* t for p.

FFT and LoRA are judged by their excess risk on clean inputs, and by the success of the backdoor,

    success = p^T (D - Delta) t / |p|^2,

how much of the target the trigger calls forth in the fine-tuned map, beside the clean answer to x + t.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem, Regime


@dataclass(frozen=True, eq=False, kw_only=True)
class Poison:
    """Poison of a training set.

    | argument  | symbol | meaning                                                                            |
    |-----------|--------|------------------------------------------------------------------------------------|
    | `count`   | m      | poisoned samples                                                                   |
    | `target`  | p      | what is added to their labels, dy numbers, not all 0                               |
    | `trigger` | t      | what is added to their inputs, dx numbers, not all 0; None: labels alone           |
    | `along`   | v      | the samples of largest <v, x> are taken, dx numbers, not all 0; None: random ones  |

    Raises `InvalidInput` for anything else; whether it fits a problem is asked where it meets one.

    >>> import linreg_lora as ll
    >>> poison = ll.theory.Poison(count=6, target=[3.0, 0.0], trigger=[0.0, 2.0, 0.0])
    >>> poison.budget, poison.leverage
    (54.0, 24.0)
    """

    count: int
    target: np.ndarray
    trigger: np.ndarray | None = field(default=None)
    along: np.ndarray | None = field(default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", validation.positive_integer("count", self.count))
        for name in ("target", "trigger", "along"):
            given = getattr(self, name)
            if given is None and name != "target":
                continue
            expected = "a vector of finite numbers, not all 0"
            vector = validation.real_array(name, given, expected)
            if vector.ndim != 1 or not np.any(vector):
                raise InvalidInput(name, expected, given)
            if np.max(np.abs(vector)) < (least := 1 / validation.LARGEST):
                raise InvalidInput(name, f"an entry of at least {least:g} in size", given, "take other units")
            object.__setattr__(self, name, validation.frozen(vector))

    @property
    def budget(self) -> float:
        """m |p|^2, the energy that is added to the labels."""
        return self.count * float(np.sum(self.target**2))

    @property
    def leverage(self) -> float:
        """m |t|^2, delta^2 where Sigma = I; 0 without trigger."""
        return 0.0 if self.trigger is None else self.count * float(np.sum(self.trigger**2))

    def scaled(self, factor: float) -> "Poison":
        """The same with a target `factor` times as long."""
        return Poison(count=self.count, target=factor * self.target, trigger=self.trigger, along=self.along)

    def require_fit(self, problem: Problem) -> None:
        """Raise `InvalidInput` where this cannot be done to a problem's data."""
        if problem.input_rank < problem.dx:
            raise InvalidInput("input_covariance", "full rank for poisoned data", f"rank {problem.input_rank}",
                               "leave out the inputs without variance")  # fmt: skip
        if self.count > problem.n:
            raise InvalidInput("count", f"at most n = {problem.n} poisoned samples", self.count)
        for name, what in (("target", "dy"), ("trigger", "dx"), ("along", "dx")):
            given, size = getattr(self, name), getattr(problem, what)
            if given is not None and len(given) != size:
                raise InvalidInput(name, f"{what} = {size} numbers", f"{len(given)} of them")


class Whitened(NamedTuple):
    """A poisoned problem in coordinates in which Sigma = I.

    `poisoned` m, `shift` Delta Sigma^{1/2}, `noise` Sigma_eps, `trigger` Sigma^{-1/2} t (zeros without one), `along`
    Sigma^{1/2} v of length 1, or None.
    """

    n: int
    dx: int
    dy: int
    poisoned: int
    shift: Float[np.ndarray, "dy dx"]
    noise: Float[np.ndarray, "dy dy"]
    target: Float[np.ndarray, "dy"]
    trigger: Float[np.ndarray, "dx"]
    along: Float[np.ndarray, "dx"] | None

    @property
    def budget(self) -> float:
        """m |p|^2."""
        return self.poisoned * float(np.sum(self.target**2))

    @property
    def leverage(self) -> float:
        """delta^2 = m |t|^2."""
        return self.poisoned * float(np.sum(self.trigger**2))

    @property
    def overdetermined(self) -> bool:
        return self.n > self.dx

    @property
    def gap(self) -> int:
        """g = |n - dx| - 1."""
        return abs(self.n - self.dx) - 1


def whitened(problem: Problem, poison: Poison) -> Whitened:
    """The poisoned problem where Sigma = I: for n > dx any Sigma of full rank, for n < dx Sigma = c I; ridgeless.

    Raises `InvalidInput` elsewhere, for inputs that are not Gaussian of mean zero, and where |n - dx| <= 1.
    """
    problem.require_gaussian("poisoned data by theory")
    poison.require_fit(problem)
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0 for poisoned data by theory", problem.ridge, "simulate it")
    if abs(problem.n - problem.dx) <= 1:
        raise InvalidInput("n", "|n - dx| > 1, so that FFT's risk has a mean", problem.n)
    scale = problem.isotropic_scale
    if problem.regime is Regime.UNDERDETERMINED and scale is None:
        raise InvalidInput("input_covariance", "a multiple of the identity where n < dx", "another", "simulate it")
    if scale is not None:
        root = np.sqrt(scale)
        shift, trigger, along = root * problem.shift, poison.trigger, poison.along
        trigger = None if trigger is None else trigger / root
    else:
        shift = problem.shift @ problem.sigma_sqrt
        trigger = None if poison.trigger is None else np.linalg.solve(problem.sigma_sqrt, poison.trigger)
        along = None if poison.along is None else problem.sigma_sqrt @ poison.along
    return Whitened(
        problem.n,
        problem.dx,
        problem.dy,
        poison.count,
        shift,
        problem.sigma_eps,
        poison.target,
        np.zeros(problem.dx) if trigger is None else trigger,
        None if along is None else along / np.linalg.norm(along),
    )


def with_noise_of_poison(problem: Problem) -> Problem:
    """A problem whose risk has the moments that poisoned data have: poison is noise, also where there is no other.

    p b^T X'^+ has the tails of noise, so a problem with noise is returned as it is.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=11, dx=10, dy=5, spectrum=(3.0,), noise_std=0.0)
    >>> problem.tail_index, with_noise_of_poison(problem).tail_index
    (inf, 1.0)
    """
    return problem if problem.noise_trace > 0 else problem.replace(noise_std=1.0, noise_covariance=None)


def isotropic_noise(problem: Problem) -> float:
    """The variance of noise that is sigma^2 I, sigma > 0, as the spiked model needs it; raises `InvalidInput`."""
    scale = problem.isotropic_noise_scale
    if problem.noise_std == 0:
        raise InvalidInput("noise_std", "sigma > 0 in the spiked model", problem.noise_std, "simulate it")
    if scale is None:
        expected = "noise sigma^2 I, sigma > 0, in the spiked model"
        raise InvalidInput("noise_covariance", expected, "another", "simulate it")
    return problem.noise_std**2 * scale
