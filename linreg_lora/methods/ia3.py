"""IA3 on the outputs: one scale for every output is trained."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods.forgetting import Forgotten, of_pieces
from linreg_lora.methods.method import Method, Update, in_size, moments_note
from linreg_lora.methods.registry import register_method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem

if TYPE_CHECKING:
    from linreg_lora.theory.decoupled import DecoupledRisk, Piece


@register_method("ia3")
@dataclasses.dataclass(frozen=True)
class IA3(Method):
    """D = diag(l) A0 (`estimators.fit_ia3`), ridgeless; dy parameters. It needs the problem's `pretrained` A0.

    Its risk is exact (`theory.ia3_risk`). Every output is a regression on one feature, so its tail index is n/2: with
    noise or misspecification the mean exists for n > 2, the variance for n > 4.

    >>> import linreg_lora as ll
    >>> pretrained = [[1.0, 0.0], [1.0, 1.0]]
    >>> problem = ll.Problem(n=12, dx=2, dy=2, spectrum=(1.0, 1.0), noise_std=1.0, pretrained=pretrained)
    >>> found = ll.expected_risk(problem, method=ll.methods.IA3())
    >>> f"{found.parameters} parameters, risk {found.risk:.3f}"
    '2 parameters, risk 0.750'
    """

    name = "ia3"
    broadcasts = True

    def parameters(self, problem: Problem) -> int:
        return problem.dy

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.ia3 import fit_ia3

        if arrays.ridge_or_none(ridge) is not None:
            raise InvalidInput("ridge", "0 for ia3", ridge)
        if pretrained is None:
            raise InvalidInput("pretrained", "A0, dy x dx", "nothing", "IA3 rescales the pretrained outputs")
        return Update.linear(fit_ia3(inputs, outputs, pretrained))

    def moments(self, problem: Problem) -> Moments:
        from linreg_lora.theory.ia3 import ia3_risk

        if ia3_risk(in_size(problem)).misspecification + problem.noise_trace == 0 or problem.n > 4:
            return Moments.FINITE
        return Moments.NO_VARIANCE if problem.n > 2 else Moments.NO_MEAN

    def dimension(self, problem: Problem) -> int | None:
        return self._class(problem).dimension

    def variance_limit(self, problem: Problem) -> float | None:
        return self._class(problem).limit

    def hessian_gap(self, problem: Problem) -> float | None:
        return self._class(problem).gap

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        return of_pieces(problem, self._pieces(problem), pretraining_covariance)

    def _class(self, problem: Problem) -> "DecoupledRisk":
        from linreg_lora.theory.decoupled import decoupled_risk

        return decoupled_risk(problem, self._pieces(problem))

    def _pieces(self, problem: Problem) -> "list[Piece]":
        """Output j sees row j of A0, and no other feature. Raises `InvalidInput` as `ia3_risk` does."""
        from linreg_lora.theory.decoupled import Piece
        from linreg_lora.theory.ia3 import ia3_risk

        ia3_risk(problem)
        assert problem.pretrained is not None
        return [Piece(None, problem.pretrained[:, None, :])]

    def expected_risk(self, problem: Problem) -> MethodRisk:
        from linreg_lora.theory.ia3 import ia3_risk

        risk = ia3_risk(problem).risk
        return MethodRisk(
            problem=problem,
            method=self.name,
            parameters=self.parameters(problem),
            computed_by="theory",
            risk=risk,
            moments=self.moments(problem),
            formula="sum_j [b_j + (sigma_j^2 + b_j) / (n - 2)], exact",
            notes=() if math.isfinite(risk) else (moments_note(self, problem),),
        )
