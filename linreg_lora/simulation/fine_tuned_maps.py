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


class Runs(NamedTuple):
    """How many draws of which seed, at which ranks of a problem, of what: `quantity`, as in "spectral norm"."""

    problem: Problem
    quantity: str
    ranks: Int[np.ndarray, "k"]
    trials: int
    seed: int

    @classmethod
    def of(cls, problem: Problem, quantity: str, *, trials: int, seed: int, ranks: object) -> "Runs":
        """What was asked for, `ranks` None: all of 0..min(n, dx, dy).

        Raises `InvalidInput` for inputs that are not Gaussian or have a mean, and where the update has none.
        """
        problem.require_gaussian(f"the {quantity}")
        chosen = valid_ranks(ranks, problem)
        trials = validation.enough_draws("trials", trials)
        seed = valid_seed(seed)
        if problem.moments is Moments.NO_MEAN:
            raise InvalidInput("problem", "a mean that exists", problem.moments_note)
        return cls(problem, quantity, chosen, trials, seed)

    def means(self, measure: Measure) -> MeansOverDraws:
        """Means of what `measure` finds. Raises `NumericalFailure` where it finds something that is not finite."""
        moments = functools.reduce(RunningMoments.merge, self._parts(measure))
        note, count = _variance_note(self.problem, self.trials), len(self.ranks)
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

    def _parts(self, measure: Measure) -> Iterator[RunningMoments]:
        """Of each chunk the moments at the ranks, of FFT, and of their differences."""
        layout, parameters = plan(self.problem.replace(pretrained=None), "explicit")
        program: draws.Draws[_Path] = draws.Draws(_path, (layout,), parameters, chunk_size(layout, parameters))
        ranks = [*self.ranks.tolist(), self.problem.max_rank]
        for first, path in draws.chunks(program, self.seed, self.trials):
            rows = np.array([
                measure([basis[:, :rank] @ (basis[:, :rank].T @ update) for rank in ranks])
                for basis, update in zip(path.basis, path.update, strict=True)
            ])  # fmt: skip
            draws.require_finite(self.quantity, self.problem, rows, first)
            yield RunningMoments.of(np.column_stack([rows, rows[:, :-1] - rows[:, -1:]]))


class _Path(NamedTuple):
    basis: Float[Array, "dy q"]
    update: Float[Array, "dy dx"]


def _path(layout: Layout, parameters: Parameters, key: Key[Array, ""]) -> _Path:
    """LoRA's basis and FFT's update of one draw."""
    sampled = draw(layout, parameters, key)
    path = lora.lora_path(sampled.inverse, sampled.whitened, squared=layout.squared)
    return _Path(jnp.asarray(path.basis), jnp.asarray(path.update))
