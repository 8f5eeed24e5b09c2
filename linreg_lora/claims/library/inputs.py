"""Inputs that are not Gaussian, or have a mean: such designs, and LoRA's risk on their explicit data."""

import functools
from typing import Any, NamedTuple

import numpy as np
from pydantic import field_validator

from linreg_lora.claims.designs import GaussianDesign
from linreg_lora.claims.domains import register_domain
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count, Share
from linreg_lora.files.models import Number
from linreg_lora.input_law import parse
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

#: Draws on which the coefficients of controls are fitted.
_PILOT = 256


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
def lora_risk_of_inputs(
    problem: Problem, trials: int, seed: int, *, share: Share, most_samples: Count | None = None
) -> Sample:
    """risk(D_r), r = `share` of min(n, dx, dy), of explicit data that have the problem's input law, less two controls.

    Both have mean zero under every law with E x x^T = Sigma, and take most of the spread:

        risk(D_FFT) - E[risk(D_FFT) | X],    ||X||_F^2 / n - Tr Sigma.

    Their coefficients are least squares on `_PILOT` draws of their own, so that the rows are independent of these.
    Problems of fewer than `most_samples` samples (None: n) have `most_samples` / n times as many draws: the standard
    deviation of the risk hardly depends on the size, the risk grows with it, and draws cost more than its square.
    """
    trials = max(2, round(trials * (most_samples or problem.n) / problem.n))
    rank = round(share * problem.max_rank)
    pilot, drawn = (_draws(problem, rank, *run) for run in ((_PILOT, derived_seed(seed, "pilot")), (trials, seed)))
    slopes = np.linalg.lstsq(np.column_stack([np.ones(_PILOT), pilot.controls]), pilot.risk)[0][1:]
    return Sample((drawn.risk - drawn.controls @ slopes)[:, None], {"rank": np.asarray(rank)})


class _Draws(NamedTuple):
    """risk(D_r) of each draw, and the `controls`, two columns of mean zero."""

    risk: np.ndarray
    controls: np.ndarray


@functools.lru_cache(maxsize=64)  # those of a claim and of its neighbours, for the claim that it corrects
def _draws(problem: Problem, rank: int, trials: int, seed: int) -> _Draws:
    from linreg_lora.sampling import plan
    from linreg_lora.simulation import programs
    from linreg_lora.simulation.draws import Draws, collected

    planned = plan.plan(problem, "explicit")
    program: Any = Draws(_one, (planned[0], rank), planned[1], programs.chunk_size(*planned), (0, 0, 0, 0))
    risk, fft, given_design, energy = collected(program, seed, trials)
    return _Draws(risk, np.column_stack([fft - given_design, energy / problem.n - np.trace(problem.sigma)]))


def _one(layout: Any, rank: int, parameters: Any, key: Any) -> Any:
    from linreg_lora.sampling import plan
    from linreg_lora.simulation import programs

    path, given_design = programs._risks_of_draw(layout, parameters, key)
    inputs = plan.sample(layout, parameters, key).design  # the same draw, which compilers make once
    return path[rank], path[-1], given_design, (inputs**2).sum()
