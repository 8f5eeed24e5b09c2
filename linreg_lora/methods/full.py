"""Full fine-tuning: every entry of D is trained."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora.methods.forgetting import Forgotten, of_rank
from linreg_lora.methods.method import Method, Reduction, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.problem import Problem


@register_method("fft")
@dataclasses.dataclass(frozen=True)
class FullFineTuning(Method):
    """D = R X^+, or with ridge R X^T (X X^T + eta I)^{-1} (`estimators.fit_fft`); dx dy parameters.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method=ll.methods.FullFineTuning())
    >>> f"{found.parameters} parameters, risk {found.risk:.3f} by {found.formula}"
    '480 parameters, risk 13.714 by Tr(Sigma_eps) dx / (n - dx - 1), exact'
    """

    name = "fft"
    broadcasts = True

    def parameters(self, problem: Problem) -> int:
        return problem.dx * problem.dy

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        from linreg_lora.estimators.fft import fit_fft

        return Update.linear(fit_fft(inputs, outputs, pretrained, ridge))

    def hessian_gap(self, problem: Problem) -> float | None:
        return 0.0

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        return of_rank(problem, None, pretraining_covariance)

    def reduce(self, problem: Problem) -> Reduction:
        return Reduction(problem, 0.0)
