"""Orderings of methods as one reads them: adapters against LoRA, hybrids against their parts, and what is measured."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from linreg_lora.claims.library import experiments, predictions
from linreg_lora.claims.papers.linreg_lora import family
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import registry
from linreg_lora.methods.adapter import SerialAdapter
from linreg_lora.problem import Problem

# -- a serial adapter ---------------------------------------------------------------------------------------------


def _pretrained(problem: Problem) -> np.ndarray:
    assert problem.pretrained is not None, "the claim is about a pretrained map"
    return problem.pretrained


@functools.cache
def _compiled(rank: int | None) -> Callable[..., Any]:
    """The adapter's fit, compiled once for all seeds."""
    import jax

    return jax.jit(lambda x, y, pretrained: SerialAdapter(rank).fit(x, y, pretrained).map)


def _adapter_updates(problem: Problem, x: np.ndarray, y: np.ndarray, rank: int | None) -> np.ndarray:
    with experiments.runtime.exclusive_device():
        return np.asarray(_compiled(rank)(x, y, _pretrained(problem)))


def _risk(problem: Problem, updates: np.ndarray) -> np.ndarray:
    return np.sum(((updates - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(-2, -1))


@register_experiment("adapter-update", pathwise=True)
def adapter_update(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The update C A0 of a serial adapter of `rank`; context: the data and A0.

    Solving with A0 X is conditioned as A0 and X are, together.
    """
    x, y = experiments._data(problem, trials, seed)
    updates, residual = _adapter_updates(problem, x, y, int(rank)), experiments._residual(problem, x, y)
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(int(rank))}
    tolerance = experiments._truncation_rounding(x, residual, int(rank)) * np.linalg.cond(_pretrained(problem)) ** 2
    return Sample(updates, context, tolerance=tolerance, scale=experiments._norms(updates))


@register_prediction("adapter-update.metric-of-outputs")
def metric_of_outputs(problem: Problem, sample: Sample) -> np.ndarray:
    """trunc_r(D A0^+) A0: the unrestricted adapter is truncated as it is, and not in the metric of A0 X."""
    full = predictions._full_update(problem, sample)[0]
    a0 = _pretrained(problem)
    return predictions._truncate(full @ np.linalg.pinv(a0), int(sample.context["rank"])) @ a0


@register_experiment("adapter-risk", pathwise=True)
def adapter_risk(problem: Problem, trials: int, seed: int) -> Sample:
    """The excess risk of a serial adapter of any rank on every draw, measured by that without fine-tuning."""
    x, y = experiments._data(problem, trials, seed)
    risk = _risk(problem, _adapter_updates(problem, x, y, None))
    rounding = experiments._rounding(_pretrained(problem) @ x, squared=True)
    return Sample(risk, tolerance=rounding, scale=np.full(trials, problem.pretrained_risk))


@register_prediction("adapter-risk.what-outputs-do-not-tell")
def what_outputs_do_not_tell(problem: Problem, sample: Sample) -> float:
    """Tr M = ||Delta Sigma^{1/2} (I - P)||_F^2, P on the row space of A0 Sigma^{1/2}."""
    rows = np.linalg.svd(_pretrained(problem) @ problem.sigma_sqrt, full_matrices=False)[2]
    target = problem.shift @ problem.sigma_sqrt
    return float(np.sum((target - (target @ rows.T) @ rows) ** 2))


@register_prediction("adapter-risk.metric-forgotten")
def metric_forgotten(problem: Problem, sample: Sample) -> float:
    """||Delta (I - P) Sigma^{1/2}||_F^2, P on the row space of A0: as if inputs were independent."""
    rows = np.linalg.svd(_pretrained(problem), full_matrices=False)[2]
    return float(np.sum(((problem.shift - (problem.shift @ rows.T) @ rows) @ problem.sigma_sqrt) ** 2))


@register_prediction("adapter-risk.expected")
def expected_adapter_risk(problem: Problem, sample: Sample) -> float:
    """The mean of the risk, which half of the draws fall short of."""
    return SerialAdapter(None).expected_risk(problem).risk


# -- a hybrid against both of its parts ---------------------------------------------------------------------------


@register_experiment("hybrid-minus-parts")
def hybrid_minus_parts(problem: Problem, trials: int, seed: int, *, method: str) -> Sample:
    """Excess risk of a hybrid, as in frozen-b:3+frozen-a:4, minus that of each part, fitted to the same data.

    Context: its names, and its own risk, to measure by.
    """
    from linreg_lora.simulation.methods import fitted_risks

    if "+" not in method:
        raise InvalidInput("method", "parts joined by +, as in frozen-b:3+frozen-a:4", method)
    names = [method, *method.split("+")]
    own, *parts = (fitted_risks(problem, registry.named(name), trials=trials, seed=seed) for name in names)
    context = {"names": np.asarray(names), "fft": own}
    return Sample(np.stack([own - part for part in parts], axis=1), context, columns=tuple(names[1:]))


@register_prediction("hybrid-minus-parts.misfit-alone")
def misfit_alone(problem: Problem, sample: Sample) -> np.ndarray:
    """What the hybrid misses less than each part: degrees of freedom are taken to be free."""
    hybrid, *parts = (_missed(problem, str(name)) for name in sample.context["names"])
    return np.broadcast_to([hybrid - part for part in parts], sample.statistic.shape)


def _missed(problem: Problem, name: str) -> float:
    both = Sample(np.empty(0), {"method": np.asarray(name), "beside": np.asarray(name)})
    return family._pair(problem, both)[0].misspecification
