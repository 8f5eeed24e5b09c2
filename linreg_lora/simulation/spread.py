"""How far the risk of one data set lies from the mean: the spread between draws, by simulation."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from linreg_lora import validation
from linreg_lora.errors import LinregLoraError
from linreg_lora.methods import registry
from linreg_lora.methods.method import Method, in_size, moments_note
from linreg_lora.problem import Moments, Problem
from linreg_lora.simulation.methods import fitted_risks
from linreg_lora.theory import heavy_tails

#: Quantiles of the risk that are told.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Spread(NamedTuple):
    """The excess risk over data sets: quantiles (5, 25, 50, 75, 95 %), mean, and standard deviation.

    `mean` is inf and `std` nan where these do not exist, or are carried by draws too rare to be seen; quantiles always
    exist. `median_interval`: 95 % for the median, whatever the law; of fewer than six draws it is 0 to inf. `note`:
    what is missing, and why.
    """

    quantiles: dict[float, float]
    mean: float
    std: float
    median_interval: tuple[float, float]
    note: str = ""


def risk_spread(problem: Problem, method: Method | str, *, trials: int, seed: int) -> Spread:
    """The spread of a method's excess risk between data sets: the method is fitted to `trials` of them from `seed`.

    `method` as in `monte_carlo`. Everything is of single draws: what a user who has one data set meets, not the error
    of the mean. The interval of the median has ends at order statistics by the binomial law.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=30, dx=12, dy=8, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> found = ll.risk_spread(problem, "lora:2", trials=256, seed=0)
    >>> found.quantiles[0.05] < found.quantiles[0.5] < found.quantiles[0.95]
    True
    """
    chosen, trials = registry.of(method), validation.enough_draws("trials", trials)
    moments, note = chosen.moments(problem), moments_note(chosen, problem)
    risks = np.sort(fitted_risks(problem, chosen, trials=trials, seed=seed))
    reduced = chosen.reduce(in_size(problem))
    if not note and reduced is not None and reduced.rank != 0:
        note = heavy_tails.unfelt_floor(reduced.problem, trials)
    low, high = (int(end) for end in stats.binom.interval(0.95, trials, 0.5))
    return Spread(
        quantiles={share: float(np.quantile(risks, share)) for share in QUANTILES},
        mean=math.inf if moments is Moments.NO_MEAN else float(np.mean(risks)),
        std=math.nan if note else float(np.std(risks, ddof=1)),
        median_interval=(
            float(risks[low - 1]) if low > 0 else 0.0,
            float(risks[high]) if high < trials else math.inf,
        ),
        note=note,
    )


def spreads_of(
    problem: Problem,
    methods: Sequence[Method],
    *,
    trials: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[Spread | str]:
    """The spread of each method; where it has none, a line that says why."""
    found: list[Spread | str] = []
    for method in methods:
        try:
            found.append(risk_spread(problem, method, trials=trials, seed=seed))
        except LinregLoraError as error:
            found.append(str(error))
        if progress is not None:
            progress(trials)
    return found
