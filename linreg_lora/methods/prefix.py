"""Prefix tuning with frozen prompts: weights of random prompts, which reach the outputs through A0."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import factors
from linreg_lora.methods.registry import register_method
from linreg_lora.methods.restricted_offset import RestrictedOffset
from linreg_lora.problem import Problem


@register_method("prefix")
@dataclasses.dataclass(frozen=True)
class PrefixTuning(RestrictedOffset):
    """The offset b = A0 P w: `prompts` frozen prompts P, dx x k, and their trained weights w; k parameters.

    P are the first directions of one Haar-distributed rotation of the inputs, the same for all k and drawn from a fixed
    seed. The mass that attention gives to the prompts is frozen, so that x is not rescaled. Its risk is exact
    (`theory.offset_risk`, W = span(A0 P)), of dimension min(k, rank A0).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=3, dy=2, spectrum=(3.0,), noise_std=1.0, pretrained=np.eye(2, 3), input_mean=1.0)
    >>> found = [ll.expected_risk(problem, method=name) for name in ("prefix:1", "prefix:2", "bitfit")]
    >>> [f"{one.parameters} parameters: {one.risk:.4f}" for one in found]
    ['1 parameters: 13.9133', '2 parameters: 9.1833', '2 parameters: 9.1833']
    """

    prompts: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompts", validation.positive_integer("prompts", self.prompts))

    @property
    def name(self) -> str:
        return f"prefix:{self.prompts}"

    def parameters(self, problem: Problem) -> int:
        return self.prompts

    def directions(self, pretrained: Any) -> Any:
        dx = pretrained.shape[-1]
        if self.prompts > dx:
            raise InvalidInput("prompts", f"an integer in 1..{dx}, the input dimension", self.prompts)
        return pretrained @ factors.directions(self.prompts, dx, "prefix").T
