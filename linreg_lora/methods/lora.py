"""LoRA: both factors of D = B A are trained."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods.forgetting import Forgotten, of_rank
from linreg_lora.methods.method import Method, Reduction, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Problem


@register_method("lora")
@dataclasses.dataclass(frozen=True)
class LoRA(Method):
    """The least-squares update of rank at most `rank` (`estimators.fit_lora`); rank (dx + dy) parameters.

    `rank` 0 is the pretrained map, min(n, dx, dy) is FFT; more is refused by the problem, not here.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method=ll.methods.LoRA(2))
    >>> f"{found.method}: {found.parameters} parameters, risk {found.risk:.3f}"
    'lora:2: 88 parameters, risk 3.263'
    """

    rank: int
    broadcasts = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", validation.nonnegative_integer("rank", self.rank))

    @property
    def name(self) -> str:
        return f"lora:{self.rank}"

    def parameters(self, problem: Problem) -> int:
        return self.rank * (problem.dx + problem.dy)

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators.lora import fit_lora

        return Update.linear(fit_lora(inputs, outputs, self.rank, pretrained, ridge))

    def hessian_gap(self, problem: Problem) -> float | None:
        from linreg_lora.theory.hessian import expected_gap_at_optimum

        return expected_gap_at_optimum(problem, self.rank, perturbation_std=1.0, loss="squared")

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        return of_rank(problem, self.rank, pretraining_covariance)

    def reduce(self, problem: Problem) -> Reduction:
        if self.rank > problem.max_rank:
            expected = f"an integer in 0..{problem.max_rank} (the largest is min(n, dx, dy), where LoRA is FFT)"
            raise InvalidInput("rank", expected, self.rank)
        return Reduction(problem, 0.0, self.rank)
