"""Monte Carlo: draws of a problem to a risk curve with standard errors."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.sampling import rounding
from linreg_lora.sampling.plan import plan
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.programs import Chunk, ConditionalMeans, Program, WholeDraws
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory import heavy_tails

SAMPLERS = ("auto", "conditional", "sufficient", "explicit")

Progress = Callable[[int], None]


class CurveMoments(NamedTuple):
    """Moments over the first draws of a run: risk(D_r), risk(D_r) - risk(D_FFT), r = 0, 1, ..., and FFT averaged over
    the noise (one column)."""

    lora: RunningMoments
    difference: RunningMoments
    fft: RunningMoments

    @classmethod
    def of(cls, chunk: Chunk) -> "CurveMoments":
        """Moments of one chunk."""
        ranks = chunk.lora.shape[1]
        rows = np.column_stack([chunk.lora, chunk.lora - chunk.fft[:, None], chunk.fft_over_noise])
        every = RunningMoments.of(rows)  # together: a column alone would be summed in another order
        return cls(*(every.columns(slice(*ends)) for ends in ((0, ranks), (ranks, 2 * ranks), (2 * ranks, None))))

    def merge(self, other: "CurveMoments") -> "CurveMoments":
        """Moments of these draws followed by the others."""
        return CurveMoments(*(mine.merge(its) for mine, its in zip(self, other, strict=True)))


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
    chunks = list(_chunks(problem, program, range(trials), seed, batch_size=trials))
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
    return continued(
        problem, None, trials=trials, seed=seed, ranks=ranks, sampler=sampler, batch_size=batch_size, progress=progress
    )[0]


def continued(
    problem: Problem,
    so_far: CurveMoments | None,
    *,
    trials: int,
    seed: int,
    ranks: object = None,
    sampler: str = "auto",
    batch_size: int = 1024,
    progress: Progress | None = None,
) -> tuple[RiskCurve, CurveMoments | None]:
    """`monte_carlo`, its first draws already made: `so_far` is what this returned for fewer `trials`, else alike.

    None is no draws; it stays None where no mean exists.
    """
    chosen = valid_ranks(ranks, problem)
    trials = validation.enough_draws("trials", trials)
    seed = valid_seed(seed)
    if problem.moments is Moments.NO_MEAN:
        return _without_mean(problem, chosen, trials, seed), None
    program = _program(problem, int(np.max(chosen)), sampler)
    wanted = range(0 if so_far is None else so_far.fft.count, trials)

    def parts() -> Iterator[CurveMoments]:
        if so_far is not None:
            yield so_far
        for chunk in _chunks(problem, program, wanted, seed, batch_size):
            yield CurveMoments.of(chunk)
            if progress is not None:
                progress(len(chunk.fft))

    moments = functools.reduce(CurveMoments.merge, parts())
    return _curve(problem, program, moments, trials, seed).at(chosen), moments


def _program(problem: Problem, largest_rank: int, sampler: str) -> Program:
    if sampler not in SAMPLERS:
        raise InvalidInput("sampler", f"one of {', '.join(SAMPLERS)}", sampler)
    if sampler in ("auto", "conditional"):
        conditional = ConditionalMeans.of(problem, largest_rank)
        if conditional is not None:
            return conditional
        if sampler == "conditional":
            raise InvalidInput("sampler", "auto, sufficient or explicit for this problem", sampler,
                               "conditional means are known for Gaussian inputs, ridge 0, noise that is not tiny, "
                               "rank(Delta) <= min(n, dx), and isotropic inputs where n < dx")  # fmt: skip
    return WholeDraws(*plan(problem, sampler))


def _curve(problem: Problem, program: Program, moments: CurveMoments, trials: int, seed: int) -> RiskCurve:
    ranks = np.arange(len(moments.lora.mean))
    risk, difference, fft = (part.mean.copy() for part in moments)
    risk_stderr, difference_stderr, fft_stderr = (part.stderr for part in moments)
    missing = heavy_tails.unfelt_floor(problem, trials)
    if problem.moments is Moments.NO_VARIANCE:
        conditional = isinstance(program, ConditionalMeans) and program.variance_exists
        missing = "" if conditional else f"no standard error exists: {problem.moments_note}"
    if missing:
        for stderr in (risk_stderr, difference_stderr, fft_stderr):
            stderr[:] = np.nan
    lost, lost_note = rounding.lost_ranks(problem, risk)
    for values in (risk, risk_stderr, difference, difference_stderr):
        values[lost & (ranks < problem.max_rank)] = np.nan
    if len(ranks) > problem.max_rank:
        risk[-1], risk_stderr[-1] = fft[0], fft_stderr[0]
    risk[0], risk_stderr[0] = problem.pretrained_risk, 0.0
    return RiskCurve(
        problem=problem,
        computed_by="monte-carlo",
        ranks=ranks,
        risk=risk,
        stderr=risk_stderr,
        fft_risk=float(fft[0]),
        fft_stderr=float(fft_stderr[0]),
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


def _chunks(problem: Problem, program: Program, wanted: range, seed: int, batch_size: int) -> Iterator[Chunk]:
    """The risks of the draws `wanted`, a run of numbers, chunk by chunk; all of them finite."""
    parts = draws.chunks(program, seed, len(wanted), first=wanted.start, batch_size=batch_size)
    for first, chunk in parts:
        draws.require_finite("risk", problem, np.column_stack(chunk), first)
        yield chunk
