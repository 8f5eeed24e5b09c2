"""Simulation on demand: draws in a process of their own, some at a time, so that it can be watched and stopped."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import RiskCurve

if TYPE_CHECKING:
    from linreg_lora.simulation.curve import CurveMoments

#: Draws of one call: results come, and cancelling takes effect, at this step.
CHUNK = 32


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
