"""A serial adapter: a map of rank r of the pretrained outputs is trained."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.methods import restricted
from linreg_lora.methods.registry import register_method


@register_method("adapter")
@dataclasses.dataclass(frozen=True)
class SerialAdapter(restricted.NeedsPretrained, restricted.Restricted):
    """D = C A0, C of minimum norm and of rank at most `rank`; 2 rank dy parameters. None, adapter-full: any C, dy^2.

    Where dy < dx it never reaches what A0 does not pass on. Its threshold is n = rank(A0 Sigma A0^T).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=9, dx=3, dy=2, spectrum=(5.0, 2.0), noise_std=1.0, pretrained=[[1, 0, 0], [0, 0, 1]])
    >>> f"{ll.expected_risk(problem, method=ll.methods.SerialAdapter(2)).risk:.1f} = 2^2 + (2 + 2^2) 2 / 6"
    '6.0 = 2^2 + (2 + 2^2) 2 / 6'
    """

    rank: int | None
    uses = "maps the pretrained outputs"

    def __post_init__(self) -> None:
        if self.rank is not None:
            object.__setattr__(self, "rank", validation.positive_integer("rank", self.rank))

    @property
    def name(self) -> str:
        return "adapter-full" if self.rank is None else f"adapter:{self.rank}"

    @property
    def inner_rank(self) -> int | None:
        """r."""
        return self.rank

    def factors(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        return None, self.given(pretrained)


@register_method("adapter-full")
def full_adapter() -> SerialAdapter:
    """A serial adapter of any rank.

    >>> import linreg_lora as ll
    >>> ll.methods.named("adapter-full").name
    'adapter-full'
    """
    return SerialAdapter(None)
