"""PiSSA: LoRA whose factors start at the strongest directions of A0, which are taken off the base."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.methods.displaced import Displaced, truncated
from linreg_lora.methods.qlora import Quantised
from linreg_lora.methods.registry import register_method


@register_method("pissa")
@dataclasses.dataclass(frozen=True)
class PiSSA(Displaced):
    """LoRA on the base A0 - A0_[r], trained to convergence: the problem whose shift is Delta + A0_[r].

    Better than LoRA in the limit of many samples iff trunc_r(Delta + A0_[r]) leaves less than trunc_r(Delta).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> A0 = np.pad(np.diag(np.arange(20.0)), ((0, 0), (0, 4)))
    >>> problem = ll.Problem(n=200, dx=24, dy=20, spectrum=(3.0, 2.0), noise_std=0.1, pretrained=A0)
    >>> each = [ll.expected_risk(problem, method=name).risk for name in ("lora:2", "pissa:2")]
    >>> "{:.3f} {:.3f}".format(*each)
    '0.005 13.140'
    """

    rank: int
    starts_at_zero = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.nonnegative_integer("rank", self.rank))

    @property
    def name(self) -> str:
        return f"pissa:{self.rank}"

    def displacement(self, pretrained: Any) -> Any:
        return truncated(pretrained, self.rank)


@register_method("qpissa")
@dataclasses.dataclass(frozen=True)
class QPiSSA(Quantised):
    """PiSSA on a base in four bits, Q(A0 - A0_[r]); the factors start at A0_[r]. Settings as in `QLoRA`.

    >>> import linreg_lora as ll
    >>> ll.methods.named("qpissa:4:32").block
    32
    """

    starts_at_zero = False

    @property
    def name(self) -> str:
        return f"qpissa:{self.rank}{self.settings()}"

    def displacement(self, pretrained: Any) -> Any:
        return pretrained - self.stored(pretrained - truncated(pretrained, self.rank))
