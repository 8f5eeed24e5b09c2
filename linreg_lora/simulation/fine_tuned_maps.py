"""Means of what is measured on updates fitted to explicit data: LoRA's at several ranks and FFT's, on the same draws.

One decomposition a draw gives all ranks, D_r = U_r U_r^T D; what is measured on them is plain NumPy's.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import lora
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.sampling.plan import Layout, Parameters, draw, plan
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.perturbed_inputs import _variance_note
from linreg_lora.simulation.programs import chunk_size
from linreg_lora.simulation.running_moments import RunningMoments

#: Updates of one draw, at the ranks asked for and FFT's, in inputs that have variance -> one number of each.
Measure = Callable[[Sequence[np.ndarray]], Sequence[float]]


class Runs(NamedTuple):
    """How many draws of which seed, at which ranks."""

    ranks: Int[np.ndarray, "k"]
    trials: int
    seed: int


class MeansOverDraws(NamedTuple):
    """Means over draws with standard errors, nan where a variance is missing, of which `notes` tell.

    `mean`, `stderr`: of LoRA at each rank; `fft_mean`, `fft_stderr`; `difference`, `difference_stderr`: LoRA less FFT.
    """

    mean: Float[np.ndarray, "k"]
    stderr: Float[np.ndarray, "k"]
    fft_mean: float
    fft_stderr: float
    difference: Float[np.ndarray, "k"]
    difference_stderr: Float[np.ndarray, "k"]
    notes: tuple[str, ...]


def valid_runs(problem: Problem, *, trials: int, seed: int, ranks: object) -> Runs:
    """What was asked for, `ranks` None: all of 0..min(n, dx, dy). Raises `InvalidInput` where no mean exists."""
    chosen = valid_ranks(ranks, problem)
    trials = validation.positive_integer("trials", trials)
    if trials < 2:
        raise InvalidInput("trials", "at least 2, so that a standard error exists", trials)
    seed = valid_seed(seed)
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    return Runs(chosen, trials, seed)


def means_over_draws(problem: Problem, runs: Runs, measure: Measure, name: str) -> MeansOverDraws:
    """Means of what `measure` finds; `name` says what that is where a draw is not finite, a `NumericalFailure`."""
    moments = functools.reduce(RunningMoments.merge, _parts(problem, runs, measure, name))
    note, count = _variance_note(problem, runs.trials), len(runs.ranks)
    stderr = moments.stderr * (np.nan if note else 1.0)
    return MeansOverDraws(
        mean=moments.mean[:count],
        stderr=stderr[:count],
        fft_mean=float(moments.mean[count]),
        fft_stderr=float(stderr[count]),
        difference=moments.mean[count + 1 :],
        difference_stderr=stderr[count + 1 :],
        notes=(note,) if note else (),
    )


def _parts(problem: Problem, runs: Runs, measure: Measure, name: str) -> Iterator[RunningMoments]:
    """Of each chunk the moments at the ranks, of FFT, and of their differences."""
    layout, parameters = plan(problem.replace(pretrained=None), "explicit")
    program: draws.Draws[_Path] = draws.Draws(_path, (layout,), parameters, chunk_size(layout, parameters))
    ranks = [*runs.ranks.tolist(), problem.max_rank]
    for first, path in draws.chunks(program, runs.seed, runs.trials):
        rows = np.array([
            measure([basis[:, :rank] @ (basis[:, :rank].T @ update) for rank in ranks])
            for basis, update in zip(path.basis, path.update, strict=True)
        ])  # fmt: skip
        draws.require_finite(name, problem, rows, first)
        yield RunningMoments.of(np.column_stack([rows, rows[:, :-1] - rows[:, -1:]]))


class _Path(NamedTuple):
    basis: Float[Array, "dy q"]
    update: Float[Array, "dy dx"]


def _path(layout: Layout, parameters: Parameters, key: Key[Array, ""]) -> _Path:
    """LoRA's basis and FFT's update of one draw."""
    sampled = draw(layout, parameters, key)
    path = lora.lora_path(sampled.inverse, sampled.whitened, squared=layout.squared)
    return _Path(jnp.asarray(path.basis), jnp.asarray(path.update))
