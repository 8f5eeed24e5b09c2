"""The spectral norm of fine-tuned maps, ||A0 + D||_2, by simulation: what large worst-case perturbations cost.

A perturbation of an input by at most tau raises the loss by tau^2 ||A0 + D||_2^2 once tau is large
(`theory.worst_perturbation`); limits of the norm are in `theory.perturbed_norms`.
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.sampling.plan import plan
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.perturbed_inputs import _variance_note
from linreg_lora.simulation.programs import chunk_size
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.simulation.worst_rises import _path
from linreg_lora.theory.input_perturbation import required_pretrained


@dataclass(frozen=True, kw_only=True)
class SpectralNorms:
    """Means of ||A0 + D||_2 with standard errors, nan where a variance is missing, of which `notes` tell.

    | field                             | meaning                                                    |
    |-----------------------------------|------------------------------------------------------------|
    | `ranks`                           | LoRA ranks r; rank 0 is A0                                 |
    | `norm`, `stderr`                  | E ||A0 + D_r||_2                                           |
    | `fft_norm`, `fft_stderr`          | E ||A0 + D_FFT||_2                                         |
    | `difference`, `difference_stderr` | E [||A0 + D_r||_2 - ||A0 + D_FFT||_2], on the same draws   |
    """

    ranks: Int[np.ndarray, "k"]
    norm: Float[np.ndarray, "k"]
    stderr: Float[np.ndarray, "k"]
    fft_norm: float
    fft_stderr: float
    difference: Float[np.ndarray, "k"]
    difference_stderr: Float[np.ndarray, "k"]
    notes: tuple[str, ...]
    trials: int
    seed: int


def simulate_norm(problem: Problem, *, trials: int, seed: int, ranks: object = None) -> SpectralNorms:
    """E ||A0 + D||_2 of LoRA at each rank, and of FFT; `problem.pretrained` A0 is needed.

    `trials` data sets (at least 2) from `seed`; `ranks` default to all of 0..min(n, dx, dy). Gaussian inputs
    without a mean. Raises `InvalidInput` elsewhere and where the update has no mean, and `NumericalFailure` if a draw
    is not finite.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5, pretrained=np.eye(5, 6))
    >>> drawn = ll.simulation.simulate_norm(problem, trials=64, seed=0)
    >>> drawn.norm[0].item(), bool(drawn.norm[-1] == drawn.fft_norm)
    (1.0, True)
    """
    problem.require_gaussian("the spectral norm")
    pretrained = required_pretrained(problem)
    chosen = valid_ranks(ranks, problem)
    trials = validation.positive_integer("trials", trials)
    if trials < 2:
        raise InvalidInput("trials", "at least 2, so that a standard error exists", trials)
    seed = valid_seed(seed)
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    layout, parameters = plan(problem.replace(pretrained=None), "explicit")
    program = draws.Draws(_path, (layout,), parameters, chunk_size(layout, parameters))
    reduced = problem.without_null_inputs()
    assert reduced.pretrained is not None, "required_pretrained has seen to it"
    unseen = pretrained @ pretrained.T - reduced.pretrained @ reduced.pretrained.T
    parts, full = [], problem.max_rank
    for first, path in draws.chunks(program, seed, trials):
        rows = np.empty((len(path.basis), len(chosen) + 1))
        for row, basis, update in zip(rows, path.basis, path.update, strict=True):
            for place, rank in enumerate([*chosen.tolist(), full]):
                fitted = reduced.pretrained + basis[:, :rank] @ (basis[:, :rank].T @ update)
                row[place] = np.sqrt(np.linalg.eigvalsh(fitted @ fitted.T + unseen)[-1])
        draws.require_finite("spectral norm", problem, rows, first)
        parts.append(RunningMoments.of(np.column_stack([rows, rows[:, :-1] - rows[:, -1:]])))
    moments, note, count = functools.reduce(RunningMoments.merge, parts), _variance_note(problem, trials), len(chosen)
    stderr = moments.stderr * (np.nan if note else 1.0)
    return SpectralNorms(
        ranks=chosen,
        norm=moments.mean[:count],
        stderr=stderr[:count],
        fft_norm=float(moments.mean[count]),
        fft_stderr=float(stderr[count]),
        difference=moments.mean[count + 1 :],
        difference_stderr=stderr[count + 1 :],
        notes=(note,) if note else (),
        trials=trials,
        seed=seed,
    )
