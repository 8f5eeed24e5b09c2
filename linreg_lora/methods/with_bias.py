"""Any method of centred data with a bias beside it: lora:3+bias."""

import dataclasses
import functools
from typing import Any

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import registry
from linreg_lora.methods.forgetting import Forgotten
from linreg_lora.methods.method import Method, Update, moments_note
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem

#: What is added to the name of a method.
BIAS = "bias"
#: Samples at which a risk is the least of its class.
_MANY = 2**40


@dataclasses.dataclass(frozen=True)
class WithBias(Method):
    """`method` fitted to centred samples (`estimators.centring`), and the offset b = R 1 / n - D xbar; dy numbers more.

    Written lora:3+bias. Its risk is exact if that of the method is, for every mean of the inputs:

        risk(method + bias; n, mu) = (1 + 1/n) risk(method; n - 1, mu = 0) + Tr(Sigma_eps) / n

    and its moments are those of the method at n - 1 samples (`theory.offsets`). A ridge penalises no bias. Raises
    `InvalidInput` for a method that trains an offset of its own.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, input_mean=2.0)
    >>> found = ll.expected_risk(problem, method=ll.methods.WithBias(ll.methods.FullFineTuning()))
    >>> f"{found.method}: {found.parameters} parameters, risk {found.risk:.3f}"
    'fft+bias: 500 parameters, risk 14.686'
    >>> ll.methods.named("frozen-a:4+bias").name
    'frozen-a:4+bias'
    """

    method: Method

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", registry.of(self.method))
        if self.method.has_offset:
            raise InvalidInput("method", "one without an offset of its own beside +bias", self.method.name)

    @property
    def name(self) -> str:
        return f"{self.method.name}+{BIAS}"

    @property
    def broadcasts(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.method.broadcasts

    @property
    def has_offset(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return True

    def parameters(self, problem: Problem) -> int:
        return registry.parameters(self.method, problem) + problem.dy

    def fit(self, inputs: Any, outputs: Any, pretrained: Any = None, ridge: Any = None) -> Update:
        import jax.numpy as jnp

        from linreg_lora.estimators import arrays, fft
        from linreg_lora.estimators.centring import centred

        x, y, a0 = arrays.data(inputs, outputs, pretrained)
        if x.shape[-1] < 2:
            raise InvalidInput("n", f"at least 2 for {self.name}, whose bias takes one", x.shape[-1])
        update = self.method.fit(centred(x), centred(y), pretrained, ridge)
        residual = jnp.mean(fft.residual(x, y, a0), axis=-1)
        moved = (update.map @ jnp.mean(x, axis=-1)[..., None])[..., 0]
        return Update(update.map, residual - moved)

    def dimension(self, problem: Problem) -> int | None:
        inner = self.method.dimension(problem.centred())
        return None if inner is None else inner + problem.dy

    def variance_limit(self, problem: Problem) -> float | None:
        """V of the method, its least risk (the bias costs 1/n of it) and the noise."""
        limit = self.method.variance_limit(problem.centred())
        if limit is None:
            return None
        least = self.method.expected_risk(problem.replace(n=_MANY, ridge=0.0, input_mean=None)).risk
        return limit + least + problem.noise_trace

    def hessian_gap(self, problem: Problem) -> float | None:
        """That of the method on centred inputs: what of a perturbation moves the mean, the bias takes."""
        return self.method.hessian_gap(problem.centred())

    def moments(self, problem: Problem) -> Moments:
        from linreg_lora.theory.offsets import without_mean

        return self.method.moments(without_mean(problem))

    def expected_risk(self, problem: Problem) -> MethodRisk:
        from linreg_lora.theory.offsets import risk_with_bias, without_mean

        inner = without_mean(problem)
        try:
            found = _risk_of(self.method, inner)
        except InvalidInput as error:
            field = error.field
            raise InvalidInput(field, f"{error.expected} (of n - 1 = {inner.n} samples)", error.received, error.remedy) from None  # fmt: skip  # noqa: E501
        return dataclasses.replace(
            found,
            problem=problem,
            method=self.name,
            parameters=self.parameters(problem),
            risk=risk_with_bias(problem, found.risk),
            moments=self.moments(problem),
            formula=f"(1 + 1/n) risk + Tr(Sigma_eps) / n; risk of {self.method.name} at n - 1: {found.formula}",
            notes=tuple(f"at n - 1 = {inner.n} samples: {note}" for note in found.notes),
        )

    def forgetting(self, problem: Problem, pretraining_covariance: np.ndarray | None = None) -> Forgotten | None:
        """What D forgets at n - 1, and E ||b||^2, b = -(D - Delta) xbar + ebar; for inputs of mean zero."""
        from linreg_lora.theory.offsets import without_mean

        if problem.input_mean is not None:
            return None
        inner = without_mean(problem)
        found = self.method.forgetting(inner, pretraining_covariance)
        if found is None:
            return None
        risk = _risk_of(self.method, inner)
        formula = f"at n - 1: {found.formula}; + (risk + Tr(Sigma_eps)) / n, risk at n - 1: {risk.formula}"
        offset = (risk.risk + problem.noise_trace) / problem.n
        return Forgotten(found.value + offset, formula, flagged=found.flagged or risk.flagged)

    def note_on_moments(self, problem: Problem) -> str:
        from linreg_lora.theory.offsets import without_mean

        inner = without_mean(problem)
        note = moments_note(self.method, inner)
        return f"at n - 1 = {inner.n} samples: {note}" if note else ""


@functools.lru_cache(maxsize=64)
def _risk_of(method: Method, problem: Problem) -> MethodRisk:
    """The method's own risk, which the risk with a bias and what is forgotten share."""
    return method.expected_risk(problem)
