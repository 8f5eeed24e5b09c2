"""The ratio of learning rates, each tuned: Adam from the start of Hugging Face peft, thirty steps, decaying to 0."""

from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Positive, Rank
from linreg_lora.problem import Problem

if TYPE_CHECKING:
    from linreg_lora.training.statistics import Statistics

_STEPS = 30
#: Learning rates sqrt(eta_A eta_B) that are tried: the best lies inside.
_RATES = tuple(0.04 * 2.0 ** (k / 2) for k in range(11))


@register_experiment("tuned-ratio-gain")
def tuned_ratio_gain(problem: Problem, trials: int, seed: int, *, rank: Rank, per_width: Positive) -> Sample:
    """Logarithm of the excess risk with eta_B / eta_A = `per_width` dx over that with equal rates, each tuned.

    Tuned is sqrt(eta_A eta_B), to least risk on each draw. Context: 1, to measure by, and the same logarithm of equal
    rates and twice the steps, over equal rates.
    """
    from linreg_lora.training.statistics import drawn_statistics

    drawn = drawn_statistics(problem, int(rank), trials=trials, seed=seed)
    ways = ((per_width * problem.dx, _STEPS), (1.0, _STEPS), (1.0, 2 * _STEPS))
    tuned, equal, longer = (_least_risk(problem, drawn, seed, int(rank), *way) for way in ways)
    return Sample(np.log(tuned / equal)[:, None], {"fft": np.ones(trials), "longer": np.log(longer / equal)})


def _least_risk(problem: Problem, drawn: "Statistics", seed: int, rank: int, ratio: float, steps: int) -> np.ndarray:
    from linreg_lora.training.recipe import Recipe
    from linreg_lora.training.trained import prepare, train_prepared

    risks = []
    for rate in _RATES:
        recipe = Recipe(optimiser="adam", steps=steps, ratio=ratio, learning_rate=rate / ratio**0.5)
        prepared = prepare(problem, rank, recipe, trials=len(drawn.gram), seed=seed, drawn=drawn)
        risks.append(train_prepared(problem, rank, recipe, prepared, seed=seed, at=()).risk[:, -1])
    return np.min(risks, axis=0)


@register_prediction("tuned-ratio-gain.twice-as-fast")
def twice_as_fast(problem: Problem, sample: Sample) -> float:
    """What equal rates gain by twice the steps."""
    return float(np.mean(sample.context["longer"]))
