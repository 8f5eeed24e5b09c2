"""BitFit: only the offset is trained."""

import dataclasses
from typing import Any

import numpy as np

from linreg_lora.methods.forgetting import OF_OFFSET, Forgotten
from linreg_lora.methods.method import Method, Update
from linreg_lora.methods.registry import register_method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem


@register_method("bitfit")
@dataclasses.dataclass(frozen=True)
class BitFit(Method):
    """b = R 1 / n (`estimators.fit_bitfit`); dy parameters. A ridge penalises no bias.

    Its risk is exact for every mean of the inputs (`theory.bitfit_risk`) and all its moments exist: b is Gaussian.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method=ll.methods.BitFit())
    >>> f"{found.parameters} parameters, risk {found.risk:.3f}"
    '20 parameters, risk 14.567'
    """

    name = "bitfit"
    broadcasts = True
    has_offset = True

    def parameters(self, problem: Problem) -> int:
        return problem.dy

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        import jax.numpy as jnp

        from linreg_lora.estimators import arrays
        from linreg_lora.estimators.bitfit import fit_bitfit

        x, _, _ = arrays.data(inputs, outputs, pretrained)
        offset = fit_bitfit(inputs, outputs, pretrained)
        return Update(jnp.zeros((*offset.shape, x.shape[-2])), offset)

    def dimension(self, problem: Problem) -> int | None:
        return problem.dy

    def variance_limit(self, problem: Problem) -> float | None:
        return problem.centred().pretrained_risk + problem.noise_trace

    def hessian_gap(self, problem: Problem) -> float | None:
        """That of doing nothing: the offset undoes no perturbation of A0."""
        return problem.dy * float(problem.sigma.trace())

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten:
        from linreg_lora.theory.offsets import offset_risk

        moved = offset_risk(problem, np.eye(problem.dy)).variance
        return Forgotten(float(np.sum(problem.shifted_mean**2)) + moved, OF_OFFSET)

    def expected_risk(self, problem: Problem) -> MethodRisk:
        from linreg_lora.theory.bitfit import bitfit_risk

        return MethodRisk(
            problem=problem,
            method=self.name,
            parameters=self.parameters(problem),
            computed_by="theory",
            risk=bitfit_risk(problem).risk,
            moments=Moments.FINITE,
            formula="(1 + 1/n) ||Delta Sigma^{1/2}||_F^2 + Tr(Sigma_eps) / n, exact",
        )
