"""IA3 on the inputs: one scale for every input is trained."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import input_scales, restricted
from linreg_lora.methods.registry import register_method


@register_method("ia3-in")
@dataclasses.dataclass(frozen=True)
class IA3Inputs(restricted.NeedsPretrained, input_scales.InputScaling):
    """D = A0 diag(l), ridgeless (`estimators.fit_input_scales`); dx parameters.

    Its risk is exact where the columns of A0 are orthogonal, or the output is one; elsewhere it is an expansion in 1/n,
    and flagged as such (`theory.input_scales_risk`).

    >>> import linreg_lora as ll
    >>> pretrained = [[1.0, 0.0], [1.0, 1.0]]
    >>> problem = ll.Problem(n=12, dx=2, dy=2, spectrum=(1.0, 1.0), noise_std=1.0, pretrained=pretrained)
    >>> found = ll.expected_risk(problem, method=ll.methods.IA3Inputs())
    >>> f"{found.parameters} parameters, about {found.risk:.2f}: {found.formula}"
    '2 parameters, about 0.69: ||P Sigma^{1/2}||^2 + Tr(H^{-1} J) / n, to first order in 1/n'
    """

    name = "ia3-in"
    uses = "rescales the inputs of A0"

    def scaled(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        return self.given(pretrained), None

    def decoupled(self, left: np.ndarray, right: np.ndarray | None) -> list[Any] | None:
        """Orthogonal columns a_j: the output along a_j sees input j alone."""
        from linreg_lora.theory.decoupled import Piece

        gram = left.T @ left
        lengths = np.sqrt(np.diagonal(gram))
        if not np.all(lengths > 0):
            raise InvalidInput(
                "pretrained", "columns that are not zero", "a column that is zero", "its scale moves nothing"
            )
        cosines = gram / np.outer(lengths, lengths)
        if np.max(np.abs(cosines - np.eye(len(gram)))) > 1e-10:
            return None
        return [Piece(left / lengths, np.eye(len(gram))[:, None, :])]
