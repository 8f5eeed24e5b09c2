"""Simulation on demand: draws in a process of their own, some at a time, so that it can be watched and stopped."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.simulation.running_moments import RunningMoments

#: Draws of one call: results come, and cancelling takes effect, at this step.
CHUNK = 32


@dataclass
class Job:
    """A simulation of `trials` draws (a multiple of 32, at least one) of a problem at some ranks.

    Draws k * 32 to (k + 1) * 32 are those of `monte_carlo` with seed `seed` + k: independent, and the same each time.
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
        lora = full = None
        for chunk in range(self.trials // CHUNK):
            call = executor.submit(_draw, self.problem, self.ranks, CHUNK, self.seed + chunk)
            part = await asyncio.wrap_future(call)
            assert part.stderr is not None
            lora = _merged(lora, part.risk, part.stderr)
            full = _merged(full, np.array([part.fft_risk]), np.array([part.fft_stderr]))
            yield replace(
                part,
                risk=lora.mean,
                stderr=lora.stderr,
                fft_risk=float(full.mean[0]),
                fft_stderr=float(full.stderr[0]),
                difference=np.full(len(lora.mean), np.nan),
                difference_stderr=np.full(len(lora.mean), np.nan),
                trials=lora.count,
                seed=self.seed,
            )


def _draw(problem: Problem, ranks: list[int], trials: int, seed: int) -> RiskCurve:
    from linreg_lora.simulation.curve import monte_carlo

    return monte_carlo(problem, trials=trials, seed=seed, ranks=ranks)


def _merged(so_far: RunningMoments | None, mean: np.ndarray, stderr: np.ndarray) -> RunningMoments:
    """A chunk's means and standard errors added to those before; second sums follow from standard errors."""
    part = RunningMoments(CHUNK, mean, stderr**2 * CHUNK * (CHUNK - 1), np.zeros_like(mean))
    with np.errstate(invalid="ignore"):  # inf - inf where no mean exists
        return part if so_far is None else so_far.merge(part)
