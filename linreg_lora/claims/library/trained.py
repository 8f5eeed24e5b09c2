"""What training by gradients reaches: factors trained on explicit data, from the start of Hugging Face peft.

Descent needs optax (extra `train`).
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, Positive, Rank
from linreg_lora.problem import Problem

if TYPE_CHECKING:
    from linreg_lora.training.result import TrainingRun
    from linreg_lora.training.trained import Prepared

_Optimiser = Literal["gd", "momentum", "adam", "adamw"]
#: Of a stationary point, beside what its gradient over its gap allows: the constants of both norms.
_ROOM = 10.0


def train_on(
    problem: Problem, x: np.ndarray, residual: np.ndarray, rank: int, seed: int, **recipe: Any
) -> "tuple[TrainingRun, Prepared]":
    """Factors trained on data, by the settings of a `Recipe`, and what they were trained from."""
    from linreg_lora.training.recipe import Recipe
    from linreg_lora.training.statistics import of_data
    from linreg_lora.training.trained import prepare, train_prepared

    how = Recipe(**recipe)
    drawn = of_data(x, residual, problem.n, problem.ridge, rank)
    prepared = prepare(problem, rank, how, trials=len(x), seed=seed, drawn=drawn)
    return train_prepared(problem, rank, how, prepared, seed=seed, at=()), prepared


def _allowed(x: np.ndarray, residual: np.ndarray, rank: int, run: "TrainingRun") -> np.ndarray:
    """Relative error that the last gradient leaves, its size over the gap of squares at the rank in the metric of X,
    and the rounding of every step."""
    s = np.linalg.svd(residual @ np.linalg.pinv(x) @ x, compute_uv=False)
    gap = (s[:, rank - 1] ** 2 - s[:, rank] ** 2) / s[:, 0] ** 2
    rounding = (
        experiments._truncation_rounding(x, residual, rank) + experiments._EPS * sum(x.shape[1:]) * run.recipe.steps
    )
    return rounding + _ROOM * run.gradient[:, -1] * np.linalg.cond(x) ** 2 / gap


@register_experiment("trained-update", pathwise=True)
def trained_update(
    problem: Problem, trials: int, seed: int, *, rank: Rank, steps: Count, optimiser: _Optimiser
) -> Sample:
    """g B A on range(X) after `steps` of an `optimiser`, r = `rank`; context: the data.

    The tolerance is what the last gradient leaves.
    """
    sample = trained_update_everywhere(problem, trials, seed, rank=rank, steps=steps, optimiser=optimiser)
    x = sample.context["x"]
    return dataclasses.replace(sample, statistic=sample.statistic @ (x @ np.linalg.pinv(x)))


@register_experiment("trained-update-everywhere", pathwise=True)
def trained_update_everywhere(
    problem: Problem, trials: int, seed: int, *, rank: Rank, steps: Count, optimiser: _Optimiser
) -> Sample:
    """As trained-update, off range(X) too; context: A(0), and B at the end."""
    x, y = experiments._data(problem, trials, seed)
    r, residual = int(rank), experiments._residual(problem, x, y)
    run, prepared = train_on(problem, x, residual, r, seed, optimiser=optimiser, steps=int(steps))
    assert run.factors is not None
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(r), "a": prepared.start["a"]}
    context["b"] = run.recipe.scale(r) * run.factors[0]
    scale = experiments._norms(run.final)
    return Sample(run.final, context, tolerance=_allowed(x, residual, r, run), scale=scale)


@register_experiment("decayed-slope")
def decayed_slope(problem: Problem, trials: int, seed: int, *, rank: Rank, decay: Positive) -> Sample:
    """||H - D S||_2 g / lam where AdamW with decay lam = `decay` ends: 1 at a minimum penalised by (lam/g) ||D||_*."""
    x, y = experiments._data(problem, trials, seed)
    residual = experiments._residual(problem, x, y)
    run, prepared = train_on(problem, x, residual, int(rank), seed, optimiser="adamw", weight_decay=decay, steps=2000)
    left = prepared.drawn.moment - run.final @ prepared.drawn.gram
    slope = np.linalg.norm(left, 2, axis=(-2, -1)) * run.recipe.scale(int(rank)) / decay
    return Sample(slope[:, None], {"scale": np.asarray(run.recipe.scale(int(rank)))})


@register_prediction("trained-update.start-left-over")
def start_left_over(problem: Problem, sample: Sample) -> np.ndarray:
    """The closed form, and g B A(0) (I - P): A never moves where no sample is."""
    return _closed(problem, sample) + _off(sample, sample.context["a"])


@register_prediction("trained-update.whole-start")
def whole_start(problem: Problem, sample: Sample) -> np.ndarray:
    """The closed form, and g B A(0), with what the samples see of it."""
    return _closed(problem, sample) + sample.context["b"] @ sample.context["a"]


def _closed(problem: Problem, sample: Sample) -> np.ndarray:
    from linreg_lora.claims.library.predictions import lora_update_whitened

    return lora_update_whitened(problem, sample)


def _off(sample: Sample, a: np.ndarray) -> np.ndarray:
    x = sample.context["x"]
    return sample.context["b"] @ (a - a @ (x @ np.linalg.pinv(x)))


@register_prediction("decayed-slope.nuclear-norm")
def nuclear_norm(problem: Problem, sample: Sample) -> float:
    """1: the certificate of a minimum penalised by (lam/g) ||D||_*."""
    return 1.0


@register_prediction("decayed-slope.of-lam")
def nuclear_norm_of_lam(problem: Problem, sample: Sample) -> float:
    """g: as if the penalty were lam ||D||_*."""
    return float(sample.context["scale"])
