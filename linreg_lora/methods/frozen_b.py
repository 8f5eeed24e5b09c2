"""LoRA with B frozen: D = B A, and A alone is trained."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora.methods import factors
from linreg_lora.methods.forgetting import Forgotten, of_pieces
from linreg_lora.methods.method import Method, Reduction, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Problem


@register_method("frozen-b")
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenB(factors.Frozen, Method):
    """D = B B^T D_FFT (`estimators.fit_frozen_b`); rank dx parameters.

    Give `rank`, for B the first columns of one Haar-distributed rotation of the outputs, the same for all ranks and
    drawn from a fixed seed (`methods.factors`); or `factor`, B itself, dy x r with orthonormal columns. Its risk is
    exact where that of FFT on the outputs B^T y is (`theory.frozen_b_risk`).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method=ll.methods.FrozenB(factor=np.eye(20, 2)))
    >>> f"{found.parameters} parameters, risk {found.risk:.3f}"
    '48 parameters, risk 2.371'
    """

    rank: int | None = None
    factor: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    broadcasts = True
    _side = "frozen-b"

    def parameters(self, problem: Problem) -> int:
        return self.size * problem.dx

    def output_factor(self, dy: int) -> np.ndarray:
        """B, dy x r."""
        return self.rows(dy).T

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.frozen import fit_frozen_b

        _, y, _ = arrays.data(inputs, outputs, pretrained)
        return Update.linear(fit_frozen_b(inputs, outputs, self.output_factor(y.shape[-2]), pretrained, ridge))

    def hessian_gap(self, problem: Problem) -> float | None:
        from linreg_lora.theory.decoupled import Piece, decoupled_risk

        return decoupled_risk(problem, [Piece(self.output_factor(problem.dy))]).gap

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        from linreg_lora.theory.decoupled import Piece

        return of_pieces(problem, [Piece(self.output_factor(problem.dy))], pretraining_covariance)

    def reduce(self, problem: Problem) -> Reduction:
        from linreg_lora.theory.frozen import frozen_b_reduction

        factors.require_matrices(problem)
        reduced, missed = frozen_b_reduction(problem, self.output_factor(problem.dy))
        return Reduction(reduced, missed)
