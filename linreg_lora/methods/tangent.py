"""LoRA linearised at A0: the tangent space of the matrices of rank r at the leading part of A0 is trained."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.methods import decoupled, restricted
from linreg_lora.methods.registry import register_method


@register_method("tangent")
@dataclasses.dataclass(frozen=True)
class TangentLoRA(restricted.NeedsPretrained, decoupled.Decoupled):
    """D = U_r C_1 + C_2 V_r^T, A0 = U S V^T; r (dx + dy - r) parameters. Exact (`theory.decoupled_risk`).

    Outputs in U_r see all inputs, the others V_r^T x. PiSSA tends to it where its directions are far stronger than the
    shift and the noise of the data.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=9, dx=3, dy=2, spectrum=(5.0, 2.0), noise_std=1.0, pretrained=np.diag([2.0, 1, 0])[:2])
    >>> f"{ll.expected_risk(problem, method=ll.methods.TangentLoRA(1)).risk:.3f} = 3 / 5 + 4 + (1 + 4) / 7"
    '5.314 = 3 / 5 + 4 + (1 + 4) / 7'
    """

    rank: int
    uses = "is linearised at the singular vectors of A0"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.positive_integer("rank", self.rank))

    @property
    def name(self) -> str:
        return f"tangent:{self.rank}"

    def pieces(self, pretrained: Any, dx: int, dy: int) -> list[Any]:
        from linreg_lora.theory.decoupled import Piece

        self.at_most("rank", self.rank, min(dx, dy), "min(dx, dy)")
        a0 = self.given(pretrained)
        self.separate(a0, [self.rank], max(dx, dy))
        u, v = restricted.left_singular(a0, full=True), restricted.right_singular(a0)
        rest = [Piece(u[:, self.rank :], v[: self.rank])] if self.rank < dy else []
        return [Piece(u[:, : self.rank]), *rest]
