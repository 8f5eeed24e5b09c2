"""Methods whose class is D = U C B, U and B frozen: each names its factors, and the rest follows."""

import abc
import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import factors
from linreg_lora.methods.forgetting import Forgotten, of_pieces, of_rank
from linreg_lora.methods.method import Method, Reduction, Update
from linreg_lora.problem import Problem

#: Singular values of A0 that differ by less, in units of the largest, are equal.
_TIED = 1e-10


class NeedsPretrained:
    """Methods that are made of A0: they say so where there is none, or where its size is too small for them."""

    #: What the method does with A0.
    uses: ClassVar[str]
    name: Any

    def given(self, pretrained: Any) -> Any:
        """A0, dy x dx. Raises `InvalidInput` where there is none."""
        if pretrained is None:
            raise InvalidInput("pretrained", "A0, a dy x dx matrix", "nothing", f"{self.name} {self.uses}")
        return pretrained

    def at_most(self, field: str, value: int, largest: int, of: str) -> None:
        """Raise `InvalidInput` for more of something than A0 has."""
        if value > largest:
            raise InvalidInput(field, f"an integer in 1..{largest}, {of}, for {self.name}", value)

    def separate(self, pretrained: Any, cuts: Sequence[int], size: int) -> None:
        """Raise `InvalidInput` where s_c = s_{c+1} for one of `cuts`, s_i = 0 up to `size`: directions are not unique.

        Two singular value decompositions would then answer for two methods. Only where A0 has values.
        """
        if not isinstance(pretrained, np.ndarray):
            return
        values = np.zeros(size)
        found = np.linalg.svd(pretrained, compute_uv=False)
        values[: len(found)] = found
        for cut in cuts:
            if 0 < cut < size and values[cut - 1] - values[cut] <= _TIED * values[0]:
                expected = f"A0 with s_{cut} > s_{cut + 1}, so that {self.name} has its directions"
                raise InvalidInput("pretrained", expected, f"{values[cut - 1]:.6g} and {values[cut]:.6g}")


class Restricted(Method):
    """D = U C B, C of rank at most `inner_rank` (None: any), by least squares (`estimators.fit_restricted`).

    Derive from it in a frozen dataclass with a `name` and `factors`. Its risk is that of LoRA or FFT on another problem
    (`theory.restricted`).

    >>> import linreg_lora as ll
    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True)
    ... class FirstOutput(ll.methods.Restricted):
    ...     name = "first-output"
    ...
    ...     def factors(self, pretrained, dx, dy):
    ...         return np.eye(dy, 1), None
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method=FirstOutput())
    >>> f"{found.parameters} parameters, risk {found.risk:.3f} = 5 + 24 / 35"
    '24 parameters, risk 5.686 = 5 + 24 / 35'
    """

    broadcasts = True
    #: None or r, a field or a property.
    inner_rank: Any = None

    @abc.abstractmethod
    def factors(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        """U, dy x q with orthonormal columns, and B, k x dx; None: the identity. A0 may be of NumPy or of JAX."""

    def sizes(self, problem: Problem) -> tuple[int, int]:
        """q and k."""
        u, b = self.factors(problem.pretrained, problem.dx, problem.dy)
        return problem.dy if u is None else u.shape[1], problem.dx if b is None else b.shape[0]

    def parameters(self, problem: Problem) -> int:
        q, k = self.sizes(problem)
        return q * k if self.inner_rank is None else self.inner_rank * (q + k)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.restricted import fit_restricted

        x, y, _ = arrays.data(inputs, outputs, pretrained)
        u, b = self.factors(known(pretrained), x.shape[-2], y.shape[-2])
        return Update.linear(fit_restricted(inputs, outputs, u, b, self.inner_rank, pretrained, ridge))

    def reduce(self, problem: Problem) -> Reduction:
        reduced, missed = _reduced(self, problem)
        if (self.inner_rank or 0) > reduced.max_rank:
            expected = f"an integer in 0..{reduced.max_rank}, min(n, outputs, features that vary), for {self.name}"
            raise InvalidInput("rank", expected, self.inner_rank)
        return Reduction(reduced, missed, self.inner_rank)

    def hessian_gap(self, problem: Problem) -> float | None:
        from linreg_lora.theory.decoupled import Piece, decoupled_risk

        reduced = self.reduce(problem).problem
        if self.inner_rank is not None and self.inner_rank < min(reduced.input_rank, reduced.dy):
            return None
        u, b = self.factors(problem.pretrained, problem.dx, problem.dy)
        return decoupled_risk(problem, [Piece(u, b)]).gap

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        from linreg_lora.theory.decoupled import Piece
        from linreg_lora.theory.forgetting_of_classes import reduced_forgetting

        u, b = self.factors(problem.pretrained, problem.dx, problem.dy)
        if self.inner_rank is None:
            return of_pieces(problem, [Piece(u, b)], pretraining_covariance)
        reduced, before = reduced_forgetting(problem, u, b, pretraining_covariance)
        return of_rank(reduced, self.inner_rank, before)


@functools.lru_cache(maxsize=64)
def _reduced(method: Restricted, problem: Problem) -> tuple[Problem, float]:
    from linreg_lora.theory.restricted import restricted_reduction

    factors.require_matrices(problem)
    return restricted_reduction(problem, *method.factors(problem.pretrained, problem.dx, problem.dy))


def known(pretrained: Any) -> Any:
    """A0 as one real matrix, or nothing: its singular vectors are those of all draws."""
    from linreg_lora.estimators import arrays

    if pretrained is None:
        return None
    a0 = arrays.real_array("pretrained", pretrained, "A0, dy x dx")
    if a0.ndim != 2:
        raise InvalidInput("pretrained", "one A0 for all data, dy x dx", f"shape {a0.shape}")
    return a0


def left_singular(pretrained: Any, *, full: bool = False) -> Any:
    """Left singular vectors of A0 as columns, the strongest first; all dy of them where `full`."""
    return _singular(pretrained, full)[0]


def right_singular(pretrained: Any) -> Any:
    """Right singular vectors of A0 as rows, the strongest first."""
    return _singular(pretrained, False)[1]


def _singular(pretrained: Any, full: bool) -> tuple[Any, Any]:
    xp = np if isinstance(pretrained, np.ndarray) else pretrained.__array_namespace__()
    u, _, v = xp.linalg.svd(pretrained, full_matrices=full)
    return u, v
