"""LoRA with A frozen: D = B A, and B alone is trained."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora.methods import factors
from linreg_lora.methods.forgetting import Forgotten, of_pieces
from linreg_lora.methods.method import Method, Reduction, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Problem


@register_method("frozen-a")
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenA(factors.Frozen, Method):
    """D = R (A X)^+ A (`estimators.fit_frozen_a`); rank dy parameters.

    Give `rank`, for A the first rows of one Haar-distributed rotation of the inputs, the same for all ranks and drawn
    from a fixed seed (`methods.factors`); or `factor`, A itself, r x dx with orthonormal rows. Its risk is exact where
    that of FFT on the features A x is (`theory.frozen_a_risk`).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method=ll.methods.FrozenA(factor=np.eye(2, 24)))
    >>> f"{found.parameters} parameters, risk {found.risk:.3f}"
    '40 parameters, risk 1.737'
    >>> ll.methods.FrozenA(4).name
    'frozen-a:4'
    """

    rank: int | None = None
    factor: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    broadcasts = True
    _side = "frozen-a"

    def parameters(self, problem: Problem) -> int:
        return self.size * problem.dy

    def input_factor(self, dx: int) -> np.ndarray:
        """A, r x dx."""
        return self.rows(dx)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.frozen import fit_frozen_a

        x, _, _ = arrays.data(inputs, outputs, pretrained)
        return Update.linear(fit_frozen_a(inputs, outputs, self.input_factor(x.shape[-2]), pretrained, ridge))

    def hessian_gap(self, problem: Problem) -> float | None:
        from linreg_lora.theory.decoupled import Piece, decoupled_risk

        return decoupled_risk(problem, [Piece(None, self.input_factor(problem.dx))]).gap

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        from linreg_lora.theory.decoupled import Piece

        return of_pieces(problem, [Piece(None, self.input_factor(problem.dx))], pretraining_covariance)

    def reduce(self, problem: Problem) -> Reduction:
        from linreg_lora.theory.frozen import frozen_a_reduction

        factors.require_matrices(problem)
        reduced, missed = frozen_a_reduction(problem, self.input_factor(problem.dx))
        return Reduction(reduced, missed)
