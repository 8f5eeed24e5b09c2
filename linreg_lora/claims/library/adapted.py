"""Claims about any method by its name, as in `settings: {method: "frozen-a:4"}`: fitted to data, and by theory."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.methods import registry
from linreg_lora.problem import Problem


@register_experiment("method-risk", any_mean=True)
def method_risk(problem: Problem, trials: int, seed: int, *, method: str) -> Sample:
    """Excess risk of `method`, fitted to explicit data; context: its name."""
    from linreg_lora.simulation.methods import fitted_risks

    risks = fitted_risks(problem, registry.named(method), trials=trials, seed=seed)
    return Sample(risks[:, None], {"method": np.asarray(method)})


@register_experiment("method-minus-method", any_mean=True)
def method_minus_method(problem: Problem, trials: int, seed: int, *, method: str, other: str) -> Sample:
    """Excess risk of `method` less that of `other`, fitted to the same explicit data; context: their names."""
    from linreg_lora.simulation.methods import fitted_risks

    risks = [fitted_risks(problem, registry.named(name), trials=trials, seed=seed) for name in (method, other)]
    return Sample((risks[0] - risks[1])[:, None], {"method": np.asarray(method), "other": np.asarray(other)})


@register_prediction("method.expected")
def method_expected(problem: Problem, sample: Sample) -> float:
    """By theory: exact, or the deterministic equivalent where nothing exact is known."""
    return registry.named(str(sample.context["method"])).expected_risk(problem).risk
