"""Inputs that are not Gaussian, or have a mean: such designs, and LoRA's risk on their explicit data."""

import functools

import numpy as np
from pydantic import field_validator

from linreg_lora.claims.designs import GaussianDesign
from linreg_lora.claims.domains import register_domain
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.files.models import Number
from linreg_lora.input_law import parse
from linreg_lora.problem import Problem


@register_domain("design-of-inputs")
class DesignOfInputs(GaussianDesign):
    """A Gaussian design but for its inputs, whose law `input_law` says, as in t:6 (`linreg_lora.input_law`)."""

    input_law: str

    @field_validator("input_law")
    @classmethod
    def _is_a_law(cls, text: str) -> str:
        return parse(text).text if parse(text).is_gaussian else text

    def cases(self) -> list[Problem]:
        return [case.replace(input_law=self.input_law) for case in super().cases()]

    def describe(self) -> str:
        return f"{super().describe()}; inputs {self.input_law}"


@register_domain("design-of-mean")
class DesignOfMean(GaussianDesign):
    """A Gaussian design whose inputs have a mean: every one of them `input_mean`."""

    input_mean: Number

    def cases(self) -> list[Problem]:
        return [case.replace(input_mean=self.input_mean) for case in super().cases()]

    def describe(self) -> str:
        return f"{super().describe()}; mean of every input {self.input_mean:g}"


@register_experiment("lora-risk-of-inputs", any_inputs=True)
def lora_risk_of_inputs(problem: Problem, trials: int, seed: int, *, share: float) -> Sample:
    """risk(D_r), r = `share` of min(n, dx, dy), of data that have the problem's input law."""
    rank = round(share * problem.max_rank)
    return Sample(_risks(problem, trials, seed)[:, [rank]], {"rank": np.asarray(rank)})


@functools.lru_cache(maxsize=8)
def _risks(problem: Problem, trials: int, seed: int) -> np.ndarray:
    from linreg_lora.simulation.curve import draw_risks

    return draw_risks(problem, trials=trials, seed=seed).lora
