"""Methods whose class decouples by output, into pieces U C B: each names its pieces, and the rest follows."""

import abc
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import factors, restricted
from linreg_lora.methods.forgetting import Forgotten, of_pieces
from linreg_lora.methods.method import Method, Update, in_size, moments_note
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem

if TYPE_CHECKING:
    from linreg_lora.theory.decoupled import DecoupledRisk, Piece

#: Samples at which everything has a formula.
MANY = 10**12
_DOUBT = "it may be off by more than 1 %: some output is near the threshold of its features"


class Decoupled(Method):
    """A sum of U C B whose outputs U are orthogonal, every C by least squares on its own (`theory.decoupled`).

    Derive from it in a frozen dataclass with a `name` and `pieces`. A ridge penalises the coefficients of the features.

    >>> import linreg_lora as ll
    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True)
    ... class TwoBlocks(ll.methods.Decoupled):
    ...     name = "two-blocks"
    ...
    ...     def pieces(self, pretrained, dx, dy):
    ...         (u, v), (a, b) = (np.split(np.eye(size), 2) for size in (dy, dx))
    ...         return [ll.theory.Piece(u.T, a), ll.theory.Piece(v.T, b)]
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method=TwoBlocks())
    >>> f"{found.parameters} parameters, risk {found.risk:.3f} = 20 * 12 / 47"
    '240 parameters, risk 5.106 = 20 * 12 / 47'
    """

    broadcasts = True

    @abc.abstractmethod
    def pieces(self, pretrained: Any, dx: int, dy: int) -> "Sequence[Piece]":
        """The pieces (`theory.Piece`); A0 and what is returned may be of NumPy or of JAX."""

    def parameters(self, problem: Problem) -> int:
        return sum(_entries(piece, problem) for piece in self.pieces(problem.pretrained, problem.dx, problem.dy))

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.restricted import fit_restricted

        x, y, _ = arrays.data(inputs, outputs, pretrained)
        pieces = self.pieces(restricted.known(pretrained), x.shape[-2], y.shape[-2])
        fits = [fit_restricted(inputs, outputs, u, b, None, pretrained, ridge) for u, b in pieces]
        return Update.linear(sum(fits[1:], fits[0]))

    def risk_of(self, problem: Problem) -> "DecoupledRisk":
        """`theory.decoupled_risk` of the pieces."""
        return _risk_of(self, problem)

    def moments(self, problem: Problem) -> Moments:
        return moments_of(self._class(in_size(problem)), problem.n, problem.ridge)

    def expected_risk(self, problem: Problem) -> MethodRisk:
        if not problem.input_law.is_gaussian:
            remedy = "simulate it (monte_carlo)"
            raise InvalidInput("input_law", f"gaussian for {self.name} by theory", problem.input_law.text, remedy)
        found = self.risk_of(problem)
        doubts = (_DOUBT,) if found.flagged else ()
        return MethodRisk(
            problem=problem,
            method=self.name,
            parameters=self.parameters(problem),
            computed_by="theory",
            risk=found.risk,
            flagged=found.flagged,
            moments=self.moments(problem),
            formula=found.formula,
            notes=doubts if math.isfinite(found.risk) else (moments_note(self, problem),),
        )

    def dimension(self, problem: Problem) -> int | None:
        return self._class(problem).dimension

    def variance_limit(self, problem: Problem) -> float | None:
        return self._class(problem).limit

    def hessian_gap(self, problem: Problem) -> float | None:
        return self._class(problem).gap

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        pieces = self.pieces(problem.pretrained, problem.dx, problem.dy)
        return of_pieces(problem, pieces, pretraining_covariance)

    def _class(self, problem: Problem) -> "DecoupledRisk":
        """What does not depend on n or the ridge, also where the risk at these has no formula."""
        return self.risk_of(problem.replace(n=MANY, ridge=0.0))


def moments_of(found: "DecoupledRisk", n: int, ridge: float) -> Moments:
    """E risk^m is finite for m < min_j (|n - k_j| + 1) / 2 over outputs with noise or misfit; with a ridge, always."""
    seen = [one.size for one in found.outputs if one.missed + one.noise > 0 and ridge == 0]
    index = min(((abs(n - size) + 1) / 2 for size in seen), default=math.inf)
    return Moments.NO_MEAN if index <= 1 else Moments.NO_VARIANCE if index <= 2 else Moments.FINITE


@functools.lru_cache(maxsize=64)
def _risk_of(method: Decoupled, problem: Problem) -> "DecoupledRisk":
    from linreg_lora.theory.decoupled import decoupled_risk

    factors.require_matrices(problem)
    return decoupled_risk(problem, method.pieces(problem.pretrained, problem.dx, problem.dy))


def _entries(piece: "Piece", problem: Problem) -> int:
    """How many numbers a piece trains; rows of zeros among the features of one output are none."""
    u, b = piece
    outputs = problem.dy if u is None else u.shape[1]
    if b is None:
        return outputs * problem.dx
    return outputs * b.shape[0] if b.ndim == 2 else int((b != 0).any(axis=2).sum())
