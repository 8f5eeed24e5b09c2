"""Monte Carlo: draws of a problem to a risk curve with standard errors.

Draw i of a run is a function of the seed and of i alone. Draws are computed in chunks of one fixed, compiled size and
merged in order, so results are equal to the bit for any batch size; a batch is only how many draws are in flight.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from linreg_lora import runtime, validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.sampling import rounding
from linreg_lora.sampling.plan import plan
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation.programs import Chunk, ConditionalMeans, Program, WholeDraws
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory import heavy_tails

SAMPLERS = ("auto", "conditional", "sufficient", "explicit")

Progress = Callable[[int], None]


class Risks(NamedTuple):
    """Excess risks of single draws.

    `lora`: risk(D_r), r = 0..min(n, dx, dy); the last is FFT. `fft_given_design`: E[risk(D_FFT) | X], the noise
    integrated exactly (Rao-Blackwell).
    """

    lora: Float[np.ndarray, "draws ranks"]
    fft_given_design: Float[np.ndarray, "draws"]

    @property
    def fft(self) -> Float[np.ndarray, "draws"]:
        """risk(D_FFT) of each draw."""
        return self.lora[:, -1]


def draw_risks(problem: Problem, *, trials: int, seed: int, sampler: str = "auto") -> Risks:
    """The risks of `trials` draws, one row each. Holds them all in memory; `monte_carlo` does not.

    `sampler` as in `monte_carlo`, but auto does not take conditional means: they have another law than risks. Ranks
    whose directions rounding has lost (`sampling.rounding`) are nan.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> ll.draw_risks(problem, trials=64, seed=0).lora.shape
    (64, 6)
    """
    trials = validation.positive_integer("trials", trials)
    if sampler == "conditional":
        program = _program(problem, problem.max_rank, sampler)
    else:
        program = WholeDraws(*plan(problem, sampler))
    chunks = list(_chunks(problem, program, trials, seed, batch_size=trials))
    risks = np.concatenate([c.lora for c in chunks])
    risks[:, rounding.lost_ranks(problem, np.mean(risks, axis=0))[0]] = np.nan
    return Risks(risks, np.concatenate([c.fft_over_noise for c in chunks]))


def monte_carlo(
    problem: Problem,
    *,
    trials: int,
    seed: int,
    ranks: object = None,
    sampler: str = "auto",
    batch_size: int = 1024,
    progress: Progress | None = None,
) -> RiskCurve:
    """Expected excess risk of LoRA and FFT by simulation, with standard errors.

    `trials` draws (at least 2) from `seed`; `ranks` default to all of 0..min(n, dx, dy). FFT, and LoRA at full rank,
    are averaged over the noise exactly; rank 0 is exact. `difference` pairs LoRA and FFT on the same draws. `progress`
    is called with the number of draws just done.

    | `sampler`   | what is drawn                                                                                   |
    |-------------|-------------------------------------------------------------------------------------------------|
    | explicit    | all data                                                                                        |
    | sufficient  | statistics that carry all of the risk (`sampling.sufficient`)                                   |
    | conditional | what decides LoRA's directions; the rest is averaged in closed form (`estimators.conditional`)  |
    | auto        | the last of these that exists                                                                   |

    Where the mean is infinite nothing is drawn: the risk is inf. Where only the variance is infinite whole draws give
    the mean without a standard error (nan); conditional means mostly have one. Nor is there one where rare draws carry
    a variance that these cannot have seen (`theory.heavy_tails`). Where noise is so small against the shift that
    rounding loses its directions (`sampling.rounding`), the ranks that depend on them are nan, and the others are not
    touched. `moments` and `notes` say so. Raises `NumericalFailure` if a draw is not finite.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> drawn = ll.monte_carlo(problem, trials=64, seed=0)
    >>> abs(drawn.fft_risk - 0.5**2 * 5 * 6 / (12 - 6 - 1)) < 5 * drawn.fft_stderr
    True
    """
    chosen = valid_ranks(ranks, problem)
    trials = validation.positive_integer("trials", trials)
    if trials < 2:
        raise InvalidInput("trials", "at least 2, so that a standard error exists", trials)
    seed = valid_seed(seed)
    if problem.moments is Moments.NO_MEAN:
        return _without_mean(problem, chosen, trials, seed)
    program = _program(problem, int(np.max(chosen)), sampler)
    moments = None
    for chunk in _chunks(problem, program, trials, seed, batch_size):
        rows = np.column_stack([chunk.lora, chunk.lora - chunk.fft[:, None], chunk.fft_over_noise])
        part = RunningMoments.of(rows)
        moments = part if moments is None else moments.merge(part)
        if progress is not None:
            progress(part.count)
    assert moments is not None
    return _curve(problem, program, moments, trials, seed).at(chosen)


def _program(problem: Problem, largest_rank: int, sampler: str) -> Program:
    if sampler not in SAMPLERS:
        raise InvalidInput("sampler", f"one of {', '.join(SAMPLERS)}", sampler)
    if sampler in ("auto", "conditional"):
        conditional = ConditionalMeans.of(problem, largest_rank)
        if conditional is not None:
            return conditional
        if sampler == "conditional":
            raise InvalidInput("sampler", "auto, sufficient or explicit for this problem", sampler,
                               "conditional means are known for ridge 0, noise that is not tiny, rank(Delta) <= min(n, "
                               "dx), and isotropic inputs where n < dx")  # fmt: skip
    return WholeDraws(*plan(problem, sampler))


def _curve(problem: Problem, program: Program, moments: RunningMoments, trials: int, seed: int) -> RiskCurve:
    size = len(moments.mean) // 2
    mean, stderr = moments.mean.copy(), moments.stderr
    missing = heavy_tails.unfelt_floor(problem, trials)
    if problem.moments is Moments.NO_VARIANCE:
        conditional = isinstance(program, ConditionalMeans) and program.variance_exists
        missing = "" if conditional else f"no standard error exists: {problem.moments_note}"
    if missing:
        stderr = np.full_like(stderr, np.nan)
    risk, risk_stderr = mean[:size], stderr[:size].copy()
    difference, difference_stderr = mean[size:-1], stderr[size:-1]
    lost, lost_note = rounding.lost_ranks(problem, risk)
    for values in (risk, risk_stderr, difference, difference_stderr):
        values[lost & (np.arange(size) < problem.max_rank)] = np.nan
    if size > problem.max_rank:
        risk[-1], risk_stderr[-1] = mean[-1], stderr[-1]
    risk[0], risk_stderr[0] = problem.pretrained_risk, 0.0
    return RiskCurve(
        problem=problem,
        computed_by="monte-carlo",
        ranks=np.arange(size),
        risk=risk,
        stderr=risk_stderr,
        fft_risk=float(mean[-1]),
        fft_stderr=float(stderr[-1]),
        difference=difference,
        difference_stderr=difference_stderr,
        moments=problem.moments,
        formula=program.description,
        notes=tuple(note for note in (missing, lost_note) if note),
        trials=trials,
        seed=seed,
    )


def _without_mean(problem: Problem, ranks: np.ndarray, trials: int, seed: int) -> RiskCurve:
    exact = ranks == 0
    return RiskCurve(
        problem=problem,
        computed_by="monte-carlo",
        ranks=ranks,
        risk=np.where(exact, problem.pretrained_risk, np.inf),
        stderr=np.where(exact, 0.0, np.nan),
        fft_risk=np.inf,
        fft_stderr=np.nan,
        difference=np.where(exact, -np.inf, np.nan),
        difference_stderr=np.full(len(ranks), np.nan),
        moments=problem.moments,
        formula="none: no draw was made",
        notes=(problem.moments_note,),
        trials=trials,
        seed=seed,
    )


# -- draws ------------------------------------------------------------------------------------------------------


def _chunks(problem: Problem, program: Program, trials: int, seed: int, batch_size: int) -> Iterator[Chunk]:
    batch_size = validation.positive_integer("batch_size", batch_size)
    size = program.size
    key = jax.random.key(valid_seed(seed))
    starts = range(0, trials, size)
    in_flight = max(1, batch_size // size)
    for first in range(0, len(starts), in_flight):
        group = starts[first : first + in_flight]
        try:
            with runtime.exclusive_device():
                pending = [program.start(key, start) for start in group]
                done = [program.finish(values, key, start) for values, start in zip(pending, group, strict=True)]
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).split(chr(10), 1)[0]
            raise NumericalFailure(f"n, dx, dy: expected a problem that can be drawn here, received {reason}") from None
        for start, chunk in zip(group, done, strict=True):
            kept = chunk.first(trials - start)
            _require_finite(problem, kept, start)
            yield kept


def _require_finite(problem: Problem, chunk: Chunk, start: int) -> None:
    bad = ~(np.isfinite(chunk.lora).all(axis=1) & np.isfinite(chunk.fft) & np.isfinite(chunk.fft_over_noise))
    if np.any(bad):
        raise NumericalFailure(
            f"risk: expected finite values, received {int(np.sum(bad))} draws that are not, first draw "
            f"{start + int(np.argmax(bad))}; the {problem.regime} problem n = {problem.n}, dx = {problem.dx}, "
            f"dy = {problem.dy} may be numerically singular: move n away from dx or set ridge > 0"
        )
