"""Means over draws of poisoned data: the clean risk and the success of the attack, of LoRA at each rank and of FFT."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from linreg_lora import validation
from linreg_lora.estimators import lora
from linreg_lora.estimators.risk import excess_risk_path
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.sampling import poisoned, rounding
from linreg_lora.sampling.plan import Layout, Parameters
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.programs import chunk_size
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory import heavy_tails
from linreg_lora.theory.poisoning.attack import Poison, with_noise_of_poison


@dataclass(frozen=True, kw_only=True)
class PoisonedRisks:
    """Means over draws of poisoned data, with standard errors (nan where none exists).

    | field                               | meaning                                                                |
    |-------------------------------------|------------------------------------------------------------------------|
    | `ranks`                             | LoRA ranks r; rank min(n, dx, dy) is FFT                               |
    | `risk`, `risk_stderr`               | E risk(D_r) on clean inputs, in squared units of y                     |
    | `success`, `success_stderr`         | E p^T (D_r - Delta) t / |p|^2; nan without trigger                     |
    | `difference`, `difference_stderr`   | E [risk(D_r) - risk(D_FFT)], paired on the same draws                  |
    | `fft_risk`, `fft_risk_stderr`       | E risk(D_FFT)                                                          |
    | `fft_success`, `fft_success_stderr` | E p^T (D_FFT - Delta) t / |p|^2                                        |
    | `moments`, `notes`                  | which exist at ranks >= 1, poison being noise; what is missing, and why |
    """

    ranks: Int[np.ndarray, "k"]
    risk: Float[np.ndarray, "k"]
    risk_stderr: Float[np.ndarray, "k"]
    success: Float[np.ndarray, "k"]
    success_stderr: Float[np.ndarray, "k"]
    difference: Float[np.ndarray, "k"]
    difference_stderr: Float[np.ndarray, "k"]
    fft_risk: float
    fft_risk_stderr: float
    fft_success: float
    fft_success_stderr: float
    moments: Moments
    notes: tuple[str, ...]
    trials: int
    seed: int


def simulate_poisoned(
    problem: Problem,
    poison: Poison,
    *,
    trials: int,
    seed: int,
    ranks: object = None,
    progress: Callable[[int], None] | None = None,
) -> PoisonedRisks:
    """Clean risk and success of LoRA and FFT by simulation, every rank from one decomposition per draw.

    `trials` draws (at least 2) from `seed`, of any input law, with or without ridge; `ranks` default to all of
    0..min(n, dx, dy). Draw i is a function of the seed and of i alone. Where the mean is infinite nothing is drawn, and
    the risk is inf; where the variance is, or rare draws carry it, no standard error is given. Raises
    `NumericalFailure` if a draw is not finite.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=16, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> poison = ll.theory.Poison(count=3, target=2 * np.eye(5)[4], trigger=np.eye(6)[5])
    >>> drawn, exact = ll.simulate_poisoned(problem, poison, trials=64, seed=0), ll.theory.poisoned_fft(problem, poison)
    >>> abs(drawn.fft_success - exact.success) < 5 * drawn.fft_success_stderr
    True
    """
    chosen = valid_ranks(ranks, problem)
    trials = validation.enough_draws("trials", trials)
    seed = valid_seed(seed)
    poison.require_fit(problem)
    size, notes, noisy = problem.max_rank + 1, [], with_noise_of_poison(problem)
    if noisy.moments is Moments.NO_MEAN:
        notes.append(noisy.moments_note)
        mean = np.concatenate([[problem.pretrained_risk], np.full(size - 1, np.inf), np.full(2 * size, np.nan)])
        stderr = np.full(3 * size, np.nan)
    else:
        total = functools.reduce(RunningMoments.merge, _parts(problem, poison, trials, seed, progress))
        mean, stderr = total.mean, total.stderr
        missing = heavy_tails.unfelt_floor(noisy, trials)
        if noisy.moments is Moments.NO_VARIANCE:
            missing = f"no standard error exists: {noisy.moments_note}"
        stderr = np.full_like(stderr, np.nan) if missing else stderr
        lost, lost_note = rounding.lost_ranks(poisoned.stand_in(problem, poison), mean[:size])
        lost[-1] = False
        mean[:size][lost] = mean[size : 2 * size][lost] = mean[2 * size :][lost] = np.nan
        notes += [note for note in (missing, lost_note) if note]
    mean[0], stderr[0] = problem.pretrained_risk, 0.0
    parts = [(mean[k * size : (k + 1) * size], stderr[k * size : (k + 1) * size]) for k in range(3)]
    (risk, risk_stderr), (difference, difference_stderr), (success, success_stderr) = parts
    return PoisonedRisks(
        ranks=chosen,
        risk=risk[chosen],
        risk_stderr=risk_stderr[chosen],
        success=success[chosen],
        success_stderr=success_stderr[chosen],
        difference=difference[chosen],
        difference_stderr=difference_stderr[chosen],
        fft_risk=float(risk[-1]),
        fft_risk_stderr=float(risk_stderr[-1]),
        fft_success=float(success[-1]),
        fft_success_stderr=float(success_stderr[-1]),
        moments=noisy.moments,
        notes=tuple(notes),
        trials=trials,
        seed=seed,
    )


def draw_poisoned(
    problem: Problem, poison: Poison, *, trials: int, seed: int
) -> tuple[Float[np.ndarray, "draws ranks"], Float[np.ndarray, "draws ranks"]]:
    """Clean risk and success of single draws at ranks 0..min(n, dx, dy): those that `simulate_poisoned` averages.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=16, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> poison = ll.theory.Poison(count=3, target=[0.0, 0.0, 0.0, 0.0, 2.0])
    >>> risks, success = draw_poisoned(problem, poison, trials=8, seed=0)
    >>> risks.shape
    (8, 6)
    """
    return draws.collected(_program(problem, poison), valid_seed(seed), validation.positive_integer("trials", trials))


def _parts(
    problem: Problem, poison: Poison, trials: int, seed: int, progress: Callable[[int], None] | None
) -> Iterator[RunningMoments]:
    """Moments of risk(D_r), risk(D_r) - risk(D_FFT) and success, r = 0, 1, ..., by chunks."""
    for first, (risks, success) in draws.chunks(_program(problem, poison), seed, trials):
        draws.require_finite("risk", problem, risks, first)
        yield RunningMoments.of(np.column_stack([risks, risks - risks[:, -1:], success]))
        if progress is not None:
            progress(len(risks))


def _program(problem: Problem, poison: Poison) -> draws.Draws[tuple[np.ndarray, np.ndarray]]:
    planned = poisoned.plan_poisoned(problem, poison)
    size = chunk_size(planned.layout, planned.parameters)
    arrays = (planned.parameters, planned.attack)
    return draws.Draws(_of_draw, (planned.layout, planned.poisoned), arrays, size, (0, 0))


def _of_draw(
    layout: Layout, count: int, arrays: tuple[Parameters, poisoned.Attack], key: Key[Array, ""]
) -> tuple[Float[Array, "ranks"], Float[Array, "ranks"]]:
    """The clean risk and the success of a draw at every rank; the success is nan without trigger."""
    parameters, attack = arrays
    inverse, whitened = poisoned.draw(layout, count, parameters, attack, key)
    path = lora.lora_path(inverse, whitened, squared=layout.squared)
    root = parameters.sigma_sqrt if parameters.risk_root is None else parameters.risk_root
    risks = excess_risk_path(path.basis, path.update, parameters.shift, root)
    if attack.trigger is None:
        return risks, jnp.full_like(risks, jnp.nan)
    kept = path.basis.mT
    steps = (kept @ attack.target) * (kept @ (path.update @ attack.trigger))
    called = jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)])
    clean = attack.target @ (parameters.shift @ attack.trigger)
    return risks, (called - clean) / jnp.sum(attack.target**2)
