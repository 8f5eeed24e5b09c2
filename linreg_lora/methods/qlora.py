"""QLoRA: LoRA on a base in four bits. What quantisation took away is one more thing to learn."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.methods.displaced import Displaced, namespace, truncated
from linreg_lora.methods.registry import register_method
from linreg_lora.theory import quantisation


@dataclasses.dataclass(frozen=True)
class Quantised(Displaced):
    """A method on a base in NF4: `rank`, `block` entries of the flattened rows to a scale, scales stored `double`."""

    rank: int
    block: int = quantisation.BLOCK
    double: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.nonnegative_integer("rank", self.rank))
        object.__setattr__(self, "block", validation.positive_integer("block", self.block))
        if not isinstance(self.double, bool):
            object.__setattr__(self, "double", validation.zero_or_one("double", self.double))

    def settings(self) -> str:
        """What its name says after the rank."""
        if self.double:
            return f":{self.block}:1"
        return "" if self.block == quantisation.BLOCK else f":{self.block}"

    def stored(self, matrix: Any) -> Any:
        """Q(matrix)."""
        block = quantisation.block_that_fits(self.block, matrix.size)
        return quantisation.stored(matrix, block, self.double, namespace(matrix))


@register_method("qlora")
@dataclasses.dataclass(frozen=True)
class QLoRA(Quantised):
    """LoRA on the base Q(A0), NF4 in blocks (`theory.quantised`): the problem whose shift is Delta + A0 - Q(A0).

    qlora:4 has blocks of 64; qlora:4:32 of 32; qlora:4:64:1 quantises the scales too. Without an A0 the mean over
    Gaussian ones is `theory.qlora_risk`. Its factors start at zero, so the reduction holds for every n.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> A0 = np.random.default_rng(0).standard_normal((20, 24))
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=0.1, pretrained=A0)
    >>> each = [ll.expected_risk(problem, method=name).risk for name in ("lora:3", "qlora:3")]
    >>> "{:.3f} {:.3f}".format(*each)
    '0.030 3.273'
    """

    @property
    def name(self) -> str:
        return f"qlora:{self.rank}{self.settings()}"

    def displacement(self, pretrained: Any) -> Any:
        return pretrained - self.stored(pretrained)


@register_method("loftq")
@dataclasses.dataclass(frozen=True)
class LoftQ(Quantised):
    """LoRA on a base that was quantised beside the factors: `iterations` times Q = Q(A0 - L), L = trunc_r(A0 - Q).

    Training starts from the last L. With one iteration the base, and for n >= dx the risk, is QLoRA's. More lower
    ||A0 - Q - L||, but the directions of L are no longer free for the task.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> A0 = np.random.default_rng(0).standard_normal((20, 24))
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=0.1, pretrained=A0)
    >>> each = [ll.expected_risk(problem, method=ll.methods.LoftQ(3, iterations=t)).risk for t in (1, 5)]
    >>> "{:.3f} {:.3f}".format(*each)
    '3.273 3.685'
    """

    iterations: int = dataclasses.field(default=5, kw_only=True)
    starts_at_zero = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "iterations", validation.positive_integer("iterations", self.iterations))

    @property
    def name(self) -> str:
        return f"loftq:{self.rank}{self.settings()}{'' if self.iterations == 5 else f'@{self.iterations}'}"

    def displacement(self, pretrained: Any) -> Any:
        low, stored = 0.0 * pretrained, pretrained
        for _ in range(self.iterations):
            stored = self.stored(pretrained - low)
            low = truncated(pretrained - stored, self.rank)
        return pretrained - stored
