"""SVF: the singular values of A0 are trained, between frozen singular vectors."""

import dataclasses
from typing import Any

from linreg_lora.methods import decoupled, restricted
from linreg_lora.methods.registry import register_method


@register_method("svf")
@dataclasses.dataclass(frozen=True)
class SVF(restricted.NeedsPretrained, decoupled.Decoupled):
    """D = U diag(l) V^T, A0 = U S V^T; min(dx, dy) parameters. Exact (`theory.decoupled_risk`).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=9, dx=3, dy=2, spectrum=(5.0, 2.0), noise_std=1.0, pretrained=np.diag([2.0, 1, 0])[:2])
    >>> f"{ll.expected_risk(problem, method=ll.methods.SVF()).risk:.4f} = 2 / (9 - 2)"
    '0.2857 = 2 / (9 - 2)'
    """

    name = "svf"
    uses = "trains the singular values of A0"

    def pieces(self, pretrained: Any, dx: int, dy: int) -> list[Any]:
        from linreg_lora.theory.decoupled import Piece

        a0 = self.given(pretrained)
        self.separate(a0, range(1, min(dx, dy) + 1), max(dx, dy))
        return [Piece(restricted.left_singular(a0), restricted.right_singular(a0)[:, None, :])]
