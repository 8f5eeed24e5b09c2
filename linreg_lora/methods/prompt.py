"""Prompt tuning: soft tokens beside the input, which reach the outputs through A0."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.methods.registry import register_method
from linreg_lora.methods.restricted_offset import RestrictedOffset
from linreg_lora.problem import Problem


@register_method("prompt")
@dataclasses.dataclass(frozen=True)
class PromptTuning(RestrictedOffset):
    """The offset b = A0 p of `tokens` trained soft tokens, p their mean; tokens dx parameters.

    Outputs are means over tokens with a fixed denominator, so that x is not rescaled (`PrefixTuning` and this are
    offsets only). One token reaches all of the range of A0, and more tokens reach no more. Where A0 has full row rank,
    dy <= dx, it is BitFit. Its risk is exact (`theory.offset_risk`, W = range(A0)).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=3, dy=2, spectrum=(3.0,), noise_std=1.0, pretrained=np.eye(2, 3), input_mean=1.0)
    >>> [f"{ll.expected_risk(problem, method=name).risk:.4f}" for name in ("prompt:1", "prompt:8", "bitfit")]
    ['9.1833', '9.1833', '9.1833']
    """

    tokens: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", validation.positive_integer("tokens", self.tokens))

    @property
    def name(self) -> str:
        return f"prompt:{self.tokens}"

    def parameters(self, problem: Problem) -> int:
        return self.tokens * problem.dx

    def directions(self, pretrained: Any) -> Any:
        return pretrained
