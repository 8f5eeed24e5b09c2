"""Simulation on demand: draws in a process of their own, some at a time, so that it can be watched and stopped."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve

if TYPE_CHECKING:
    from linreg_lora.simulation.curve import CurveMoments

#: Draws of one call: results come, and cancelling takes effect, at this step.
CHUNK = 32
#: Fits of one call: the first, and more while a call takes less than so many seconds.
_FIRST_FITS, _SECONDS = 8, 0.5


@dataclass
class Job:
    """A simulation of `trials` draws (a multiple of 32, at least one) of a problem at some ranks.

    They are the draws of `monte_carlo` with the same trials and seed, and so is the last of the curves, up to rounding.
    """

    problem: Problem
    ranks: list[int]
    trials: int
    seed: int = 0

    def __post_init__(self) -> None:
        if validation.positive_integer("trials", self.trials) % CHUNK:
            raise InvalidInput("trials", f"a multiple of {CHUNK}", self.trials)

    async def run(self, executor: Executor) -> AsyncIterator[RiskCurve]:
        """The means so far, after each chunk. Cancelling the task that iterates stops it; the running chunk is lost.

        Raises what `monte_carlo` raises.
        """
        moments = None
        for trials in range(CHUNK, self.trials + 1, CHUNK):
            call = executor.submit(_continued, self.problem, moments, trials, self.seed, self.ranks)
            curve, moments = await asyncio.wrap_future(call)
            yield curve


def _continued(
    problem: Problem, so_far: "CurveMoments | None", trials: int, seed: int, ranks: list[int]
) -> "tuple[RiskCurve, CurveMoments | None]":
    from linreg_lora.simulation.curve import continued

    return continued(problem, so_far, trials=trials, seed=seed, ranks=ranks)


class Drawn(NamedTuple):
    """The mean risk of so many draws, and its standard error; nan where none can be trusted, `note` says why."""

    risk: float
    stderr: float
    trials: int
    note: str = ""


class MethodJob:
    """A simulation of `trials` draws of a method on a problem, of which `more` makes some at a time.

    They are the draws of `monte_carlo(problem, method=name)` with the same trials and seed, of explicit data.
    """

    def __init__(self, problem: Problem, name: str, trials: int, seed: int = 0) -> None:
        self.problem, self.name, self.seed = problem, name, seed
        self.trials = validation.positive_integer("trials", trials)
        self._risks = np.empty(0)
        self._next = _FIRST_FITS
        self._refused: Drawn | None = None

    @property
    def made(self) -> int:
        """How many draws are made; all of them where there is nothing to draw."""
        return self.trials if self._refused is not None else len(self._risks)

    async def more(self, executor: Executor) -> Drawn:
        """Make some draws. Raises what `monte_carlo` raises."""
        first, started = len(self._risks), time.monotonic()
        count = min(self._next, self.trials - first)
        call = executor.submit(_fits, self.problem, self.name, first, count, self.seed)
        risks, doubt = await asyncio.wrap_future(call)
        if risks is None:
            self._refused = Drawn(math.inf, math.nan, 0, doubt)
            return self._refused
        if time.monotonic() - started < _SECONDS:
            self._next *= 2
        self._risks = np.concatenate([self._risks, risks])
        stderr = math.nan if doubt else float(np.std(self._risks, ddof=1)) / math.sqrt(len(self._risks))
        return Drawn(float(np.mean(self._risks)), stderr, len(self._risks), doubt)


def _fits(
    problem: Problem, name: str, first: int, count: int, seed: int
) -> "tuple[Float[np.ndarray, 'draws'] | None, str]":
    """Risks of some draws, None where there is no mean; and why their mean has no standard error, empty if it has."""
    from linreg_lora.methods import registry
    from linreg_lora.methods.method import moments_note
    from linreg_lora.simulation import methods as simulation

    method = registry.named(name)
    if method.moments(problem) is Moments.NO_MEAN:
        return None, moments_note(method, problem)
    risks = simulation.fitted_risks(problem, method, trials=count, seed=seed, first=first)
    return risks, simulation.doubt_of_stderr(problem, method, first + count)
