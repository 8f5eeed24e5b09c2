"""LoRA-XS: an r x r matrix between the leading singular vectors of A0 is trained."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.methods import restricted
from linreg_lora.methods.registry import register_method


@register_method("lora-xs")
@dataclasses.dataclass(frozen=True)
class LoRAXS(restricted.NeedsPretrained, restricted.Restricted):
    """D = U_r C V_r^T, A0 = U S V^T; r^2 parameters.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> a0 = np.eye(20, 24) * np.arange(24, 0, -1)
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0), noise_std=1.0, pretrained=a0)
    >>> found = ll.expected_risk(problem, method=ll.methods.LoRAXS(2))
    >>> f"{found.parameters} parameters, risk {found.risk:.4f} = {2 * 2 / 57:.4f}"
    '4 parameters, risk 0.0702 = 0.0702'
    """

    rank: int
    uses = "takes its factors from the singular vectors of A0"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.positive_integer("rank", self.rank))

    @property
    def name(self) -> str:
        return f"lora-xs:{self.rank}"

    def factors(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        self.at_most("rank", self.rank, min(dx, dy), "min(dx, dy)")
        a0 = self.given(pretrained)
        self.separate(a0, [self.rank], max(dx, dy))
        return restricted.left_singular(a0)[:, : self.rank], restricted.right_singular(a0)[: self.rank]
