"""DoRA: LoRA beside a trained magnitude of every output."""

import dataclasses
from typing import Any

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import restricted
from linreg_lora.methods.method import Method, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Problem


@register_method("dora")
@dataclasses.dataclass(frozen=True)
class DoRA(restricted.NeedsPretrained, Method):
    """D = diag(g) A0 + L, rank(L) <= `rank`, |g_j| <= `bound`, ridgeless; rank (dx + dy) + dy parameters.

    Magnitudes m_j (A0 + B A)_j / ||(A0 + B A)_j|| reach just these maps: DoRA is LoRA with IA3 on the outputs, and
    rank 0 is IA3. Without a bound the class is not closed, and a fit can run away. Fitted by turns from two starts
    (`estimators.fit_dora`); theory knows no risk.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=10, dy=8, spectrum=(2.0,), noise_std=1.0, pretrained=np.eye(8, 10))
    >>> method = ll.methods.DoRA(1)
    >>> method.parameters(problem), method.dimension(problem)
    (26, 25)
    """

    rank: int
    bound: float = dataclasses.field(default=10.0, kw_only=True)
    broadcasts = True
    uses = "rescales the pretrained outputs"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.nonnegative_integer("rank", self.rank))
        bound = validation.nonnegative_number("bound", self.bound)
        if bound == 0:
            raise InvalidInput("bound", "a number > 0", self.bound, "without magnitudes it is lora")
        object.__setattr__(self, "bound", bound)

    @property
    def name(self) -> str:
        """The rank, and a bound that is not 10."""
        return f"dora:{self.rank}" + ("" if self.bound == 10.0 else f"@{self.bound:g}")

    def parameters(self, problem: Problem) -> int:
        self._require(problem.pretrained, min(problem.n, problem.dx, problem.dy))
        return self.rank * (problem.dx + problem.dy) + problem.dy

    def dimension(self, problem: Problem) -> int | None:
        dx, dy, r = problem.dx, problem.dy, self.rank
        return min(r * (dx + dy - r) + dy, dx * dy)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.alternating import fit_dora

        if arrays.ridge_or_none(ridge) is not None:
            raise InvalidInput("ridge", f"0 for {self.name}", ridge)
        return Update.linear(fit_dora(inputs, outputs, self.rank, self.given(pretrained), bound=self.bound))

    def _require(self, pretrained: Any, largest: int) -> None:
        self.given(pretrained)
        if self.rank > largest:
            raise InvalidInput("rank", f"an integer in 0..{largest}, min(n, dx, dy), for {self.name}", self.rank)
