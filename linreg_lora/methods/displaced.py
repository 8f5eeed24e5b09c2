"""LoRA on a base that is not A0: a displaced base A0 - N is the problem whose task shift is Delta + N.

    y - (A0 - N) x = (Delta + N) x + eps:    update D - N of A0,    risk(D - N; Delta) = risk(D; Delta + N)

path by path, for every N that the data do not decide. A ridge penalises D, the trained product. Below the threshold,
without ridge, the reduction's D is the smallest that fits; training ends there only from factors whose product is zero.
"""

import abc
import hashlib
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods.factors import require_matrices
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method, Reduction, Update
from linreg_lora.problem import Problem


class Displaced(Method):
    """LoRA of `rank` on a base A0 - N; rank (dx + dy) parameters. Derive from it, and say what N is.

    `starts_at_zero`: whether the product of the factors is zero where training starts, as it is for LoRA.
    """

    rank: int
    starts_at_zero: ClassVar[bool] = True
    broadcasts = True

    @abc.abstractmethod
    def displacement(self, pretrained: Any) -> Any:
        """N, from A0 (dy x dx); A0 may be traced (`namespace`)."""

    def parameters(self, problem: Problem) -> int:
        return self.rank * (problem.dx + problem.dy)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators.lora import fit_lora

        if pretrained is None:
            raise _without_pretrained(self.name)
        if not self.starts_at_zero and ridge is None and sees_too_little(inputs):
            raise not_what_training_reaches(self.name, "n < dx")
        base = pretrained if isinstance(pretrained, Tracer) else np.asarray(pretrained, dtype=float)
        shift = self.displacement(base)
        trained = fit_lora(inputs, outputs, self.rank, base - shift, ridge)
        return Update.linear(trained - jnp.broadcast_to(shift, trained.shape))

    def reduce(self, problem: Problem) -> Reduction:
        if problem.pretrained is None:
            raise _without_pretrained(self.name)
        require_matrices(problem)
        LoRA(self.rank).reduce(problem)
        if not self.starts_at_zero and problem.ridge == 0 and problem.n < problem.input_rank:
            received = f"n = {problem.n} and rank(Sigma) = {problem.input_rank}"
            raise not_what_training_reaches(self.name, received)
        shift = self.displacement(problem.pretrained)
        moved = problem.replace(task_shift=problem.shift + shift, pretrained=problem.pretrained - shift)
        return Reduction(moved, 0.0, self.rank)


def not_what_training_reaches(name: str, received: str) -> InvalidInput:
    """Why a method whose factors start away from zero has no risk below the threshold."""
    expected = f"n >= dx or a ridge > 0 for {name}, whose factors start away from zero: with fewer samples "
    expected += "training keeps what of their start the data do not see, and that risk is not known"
    return InvalidInput("n", expected, received, "raise n, set a ridge, or take a method that starts at zero")


def namespace(array: Any) -> Any:
    """`jax.numpy` for what is traced, NumPy for the rest."""
    return jnp if isinstance(array, Tracer) else np


def truncated(matrix: Any, rank: int) -> Any:
    """trunc_r: the nearest matrix of rank r."""
    u, s, vt = namespace(matrix).linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[None, :rank]) @ vt[:rank]


def _without_pretrained(name: str) -> InvalidInput:
    return InvalidInput("pretrained", f"A0, a dy x dx matrix, for {name}, which changes it", "nothing",
                        "give the problem pretrained=A0")  # fmt: skip


def sees_too_little(inputs: Any) -> bool:
    """Whether fewer samples than inputs are all that X lacks: known inputs without variance need no samples."""
    if isinstance(inputs, Tracer):
        return False
    x = np.asarray(inputs, dtype=float)
    samples, size = x.shape[-1], x.shape[-2]
    return samples < size and bool(np.any(np.linalg.matrix_rank(x) == samples))


class DisplacedBase(Displaced):
    """LoRA of `rank` on a base A0 - N with N given: any start that is taken off the base, such as MiLoRA's.

    `displacement_of_base` is N, dy x dx; `starts_at_zero`: whether the factors' product does, as on a base that was
    only stored in another way. Where N comes from the same data as the fit, as LoRA-GA's gradient may, the risk is not
    that of this reduction: give N of other data, or of the population (-Delta Sigma is its gradient).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=4, dy=3, spectrum=(3.0,), noise_std=1.0, pretrained=np.eye(3, 4))
    >>> method = ll.methods.DisplacedBase(1, np.diag([-3.0, 0, 0, 0])[:3])
    >>> round(method.reduce(problem).problem.pretrained_risk, 12)
    0.0
    """

    starts_at_zero = False

    def __init__(self, rank: int, displacement_of_base: object, *, starts_at_zero: bool = False) -> None:
        self.rank = validation.nonnegative_integer("rank", rank)
        object.__setattr__(self, "starts_at_zero", validation.zero_or_one("starts_at_zero", starts_at_zero))
        array = validation.real_array("displacement_of_base", displacement_of_base, "a matrix of finite numbers")
        if array.ndim != 2:
            raise InvalidInput("displacement_of_base", "a dy x dx matrix", f"shape {array.shape}")
        self._given = validation.frozen(array)

    @property
    def name(self) -> str:
        """The rank, the start of the SHA-256 of N, and 0 where the factors start there."""
        start = ":0" if self.starts_at_zero else ""
        return f"displaced:{self.rank}@{hashlib.sha256(self._given.tobytes()).hexdigest()[:8]}{start}"

    def displacement(self, pretrained: Any) -> Any:
        if self._given.shape != pretrained.shape:
            raise InvalidInput("displacement_of_base", f"shape {pretrained.shape}", f"shape {self._given.shape}")
        return self._given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DisplacedBase) and self._key() == other._key()

    def _key(self) -> tuple[Any, ...]:
        return self.rank, self.starts_at_zero, self._given.shape, self._given.tobytes()

    def __hash__(self) -> int:
        return hash(self._key())
