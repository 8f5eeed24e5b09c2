"""How much the loss of LoRA and of FFT rises under worst-case perturbed inputs, by simulation.

The rise is that of `theory.worst_perturbation`. Maps come from explicit data, one decomposition a draw for all ranks.
Of each, fresh samples (x, y) are perturbed by the worst d of length tau, one secular equation a sample. Every method
sees the same samples.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import lora
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.sampling.plan import Layout, Parameters, draw, plan
from linreg_lora.seeds import derived_seed, valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.perturbed_inputs import InputRise, _variance_note
from linreg_lora.simulation.programs import chunk_size
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory.input_perturbation import required_pretrained
from linreg_lora.theory.worst_perturbation import worst_rise


class _Path(NamedTuple):
    basis: Float[Array, "dy q"]
    update: Float[Array, "dy dx"]


def simulate_worst_rise(
    problem: Problem, *, radius: float | int, trials: int, seed: int, ranks: object = None, samples: int = 16
) -> InputRise:
    """The expected worst rise E max_{|d| <= tau} |e + M d|^2 - |e|^2 of LoRA at each rank, and of FFT, M = A0 + D.

    `radius` tau in units of x, `problem.pretrained` A0 is needed; `trials` data sets (at least 2) from `seed`, of each
    `samples` fresh samples; `ranks` default to all of 0..min(n, dx, dy). Fields as in `InputRise`, for |y - M x|^2;
    standard errors are those of means over data sets. Gaussian inputs without a mean.

    Where the mean is infinite raises `InvalidInput`; where the variance is, or only a ridge or rare draws bound it,
    standard errors are nan and `notes` say so. Raises `NumericalFailure` if a draw is not finite.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5, pretrained=np.eye(5, 6))
    >>> drawn = ll.simulation.simulate_worst_rise(problem, radius=0.1, trials=64, seed=0)
    >>> bool(drawn.rise[1] < drawn.fft_rise)
    True
    """
    problem.require_gaussian("the worst rise")
    pretrained = required_pretrained(problem)
    radius = validation.nonnegative_number("radius", radius)
    chosen = valid_ranks(ranks, problem)
    trials, samples = validation.positive_integer("trials", trials), validation.positive_integer("samples", samples)
    if trials < 2:
        raise InvalidInput("trials", "at least 2, so that a standard error exists", trials)
    seed = valid_seed(seed)
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    layout, parameters = plan(problem.replace(pretrained=None), "explicit")
    program: draws.Draws[_Path] = draws.Draws(_path, (layout,), parameters, chunk_size(layout, parameters))
    rows = _rises(problem, pretrained, program, chosen.tolist(), trials, seed, radius, samples)
    moments = functools.reduce(RunningMoments.merge, rows)
    note = _variance_note(problem, trials)
    count = len(chosen)
    stderr = moments.stderr * (np.nan if note else 1.0)
    return InputRise(
        ranks=chosen,
        rise=moments.mean[:count],
        stderr=stderr[:count],
        fft_rise=float(moments.mean[count]),
        fft_stderr=float(stderr[count]),
        difference=moments.mean[count + 1 :],
        difference_stderr=stderr[count + 1 :],
        moments=problem.moments,
        notes=(note,) if note else (),
        trials=trials,
        seed=seed,
    )


def _rises(
    problem: Problem,
    pretrained: np.ndarray,
    program: draws.Draws[_Path],
    ranks: list[int],
    trials: int,
    seed: int,
    radius: float,
    samples: int,
) -> Iterator[RunningMoments]:
    """Of each chunk the moments of worst rises at the ranks, of FFT, and of their differences; means over samples."""
    reduced = problem.without_null_inputs()
    inside = reduced.pretrained
    assert inside is not None, "required_pretrained has seen to it"
    # Inputs without variance are perturbed too, and no update moves what A0 does with them.
    unseen = pretrained @ pretrained.T - inside @ inside.T
    values, vectors = np.linalg.eigh(unseen)
    beyond = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng(derived_seed(seed, "worst rise"))
    full = problem.max_rank
    for first, path in draws.chunks(program, seed, trials):
        rows = np.empty((len(path.basis), len(ranks) + 1))
        for row, basis, update in zip(rows, path.basis, path.update, strict=True):
            x = rng.standard_normal((samples, reduced.dx)) @ reduced.sigma_sqrt
            noise = rng.standard_normal((samples, reduced.dy)) @ reduced.sigma_eps_sqrt
            for place, rank in enumerate([*ranks, full]):
                kept = basis[:, :rank] @ (basis[:, :rank].T @ update)
                errors = x @ (kept - reduced.shift).T - noise
                row[place] = np.mean(worst_rise(np.column_stack([inside + kept, beyond]), errors, radius))
        draws.require_finite("worst rise", problem, rows, first)
        yield RunningMoments.of(np.column_stack([rows, rows[:, :-1] - rows[:, -1:]]))


def _path(layout: Layout, parameters: Parameters, key: Key[Array, ""]) -> _Path:
    """LoRA's basis and FFT's update of one draw."""
    sampled = draw(layout, parameters, key)
    path = lora.lora_path(sampled.inverse, sampled.whitened, squared=layout.squared)
    return _Path(jnp.asarray(path.basis), jnp.asarray(path.update))
