"""MiCA: the outputs along the minor left singular vectors of A0 are trained."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.methods import restricted
from linreg_lora.methods.registry import register_method


@register_method("mica")
@dataclasses.dataclass(frozen=True)
class MiCA(restricted.NeedsPretrained, restricted.Restricted):
    """D = U C, U the last `directions` left singular vectors of A0, of all dy; directions dx parameters.

    With `inner_rank` r, C has rank at most r. It beats random outputs where the shift moves these most.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> pretrained = np.diag([1.0, 2.0, 3.0])
    >>> problem = ll.Problem(n=9, dx=3, dy=3, spectrum=(5.0, 2.0), noise_std=1.0, pretrained=pretrained)
    >>> f"{ll.expected_risk(problem, method=ll.methods.MiCA(1)).risk:.1f} = 2^2 + 3 / 5"
    '4.6 = 2^2 + 3 / 5'
    """

    directions: int
    inner_rank: int | None = None
    uses = "takes its outputs from the singular vectors of A0"

    def __post_init__(self) -> None:
        object.__setattr__(self, "directions", validation.positive_integer("directions", self.directions))
        if self.inner_rank is not None:
            object.__setattr__(self, "inner_rank", validation.positive_integer("inner_rank", self.inner_rank))

    @property
    def name(self) -> str:
        return f"mica:{self.directions}" + ("" if self.inner_rank is None else f":{self.inner_rank}")

    def factors(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        self.at_most("directions", self.directions, dy, "the outputs")
        a0 = self.given(pretrained)
        self.separate(a0, [dy - self.directions], dy)
        return restricted.left_singular(a0, full=True)[:, dy - self.directions :], None
