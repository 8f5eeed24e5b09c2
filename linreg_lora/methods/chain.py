"""Chains: LoRA of rank r, merged, and again on what is left, on the same data (COLA, ReLoRA)."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora import validation
from linreg_lora.methods.forgetting import Forgotten, of_rank
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method, Reduction, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Problem


@register_method("chain")
@dataclasses.dataclass(frozen=True)
class Chain(Method):
    """`links` fits of rank r on the same data, each merged before the next: LoRA of rank `links` r, exactly.

    Without ridge: the residual of a fit is orthogonal to the directions it took, so the next takes the next strongest.
    With a ridge each link is shrunk less than the last, and the sum is no LoRA: it is simulated. Past min(n, dx, dy) a
    chain is FFT. Each link trains rank (dx + dy) numbers; as many are merged in the end, which are counted.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> each = [ll.expected_risk(problem, method=name).risk for name in ("chain:1:3", "lora:3")]
    >>> each[0] == each[1]
    True
    """

    rank: int
    links: int
    broadcasts = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.nonnegative_integer("rank", self.rank))
        object.__setattr__(self, "links", validation.positive_integer("links", self.links))

    @property
    def name(self) -> str:
        return f"chain:{self.rank}:{self.links}"

    def parameters(self, problem: Problem) -> int:
        return self.links * self.rank * (problem.dx + problem.dy)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.lora import fit_lora

        x, y, a0 = arrays.data(inputs, outputs, pretrained)
        merged = fit_lora(x, y, self.rank, a0, ridge)
        for _ in range(self.links - 1):
            left = y - merged @ x
            merged = merged + fit_lora(x, left, self.rank, a0, ridge)
        return Update.linear(merged)

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten | None:
        reduced = self.reduce(problem)
        return None if reduced is None else of_rank(problem, reduced.rank, pretraining_covariance)

    def reduce(self, problem: Problem) -> Reduction | None:
        LoRA(self.rank).reduce(problem)
        if problem.ridge > 0 and self.links > 1:
            return None
        return Reduction(problem, 0.0, min(self.rank * self.links, problem.max_rank))
