"""Predictions of one truncated step against LoRA that is trained, and their rivals."""

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("one-step-minus-lora.whitened")
def whitened(problem: Problem, sample: Sample) -> float:
    """LoRA's risk at its best scale less that at one: H = D_FFT, as if S were I."""
    from linreg_lora.theory.training import scaled_lora_risk

    rank = int(sample.context["rank"])
    return scaled_lora_risk(problem, rank).risk - _lora(problem, rank)


@register_prediction("one-step-minus-lora.scale-one")
def scale_one(problem: Problem, sample: Sample) -> float:
    """The step's risk less LoRA's at scale one."""
    from linreg_lora.theory.training import one_step_risk

    rank = int(sample.context["rank"])
    return one_step_risk(problem, rank).risk - _lora(problem, rank)


def _lora(problem: Problem, rank: int) -> float:
    from linreg_lora.theory.curve import expected_risk

    return expected_risk(problem, [rank]).at_rank(rank).risk
