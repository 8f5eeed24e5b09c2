"""Monte Carlo: draws of a problem to a risk curve with standard errors.

Draw i of a run is a function of the seed and of i alone. Draws are computed in chunks of one fixed, compiled size and
merged in order, so results are equal to the bit for any batch size; a batch is only how many draws are in flight.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linreg_lora import runtime, validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.estimators import lora
from linreg_lora.estimators.risk import excess_risk, excess_risk_path
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.running_moments import RunningMoments
from linreg_lora.sampling.plan import Draw, Layout, Parameters, draw, plan
from linreg_lora.seeds import valid_seed

#: Floats that one chunk may hold in its largest arrays: small enough for the cache, large enough to amortise a call.
_CHUNK_FLOATS = 2**18
_LARGEST_CHUNK = 64
_DRAWS_THAT_FEEL_THE_RIDGE = 30

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
    """The risks of `trials` draws, one row each. Holds them all in memory; `monte_carlo` does not."""
    chunks = list(_chunks(problem, trials, seed, sampler, batch_size=trials))
    return Risks(np.concatenate([c.lora for c in chunks]), np.concatenate([c.fft_given_design for c in chunks]))


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

    `trials` draws (at least 2) from `seed`; `ranks` default to all of 0..min(n, dx, dy); `sampler` is auto, explicit or
    sufficient (`sampling.plan`). FFT, and LoRA at full rank, are averaged over the noise exactly; rank 0 is exact.
    `difference` pairs LoRA and FFT on the same draws. `progress` is called with the number of draws just done.

    Where the mean is infinite nothing is drawn: the risk is inf. Where only the variance is infinite the mean comes
    without a standard error (nan). `moments` and `notes` say so. Raises `NumericalFailure` if a draw is not finite.
    """
    chosen = valid_ranks(ranks, problem)
    trials = validation.positive_integer("trials", trials)
    if trials < 2:
        raise InvalidInput("trials", "at least 2, so that a standard error exists", trials)
    seed = valid_seed(seed)
    if problem.moments is Moments.NO_MEAN:
        return _without_mean(problem, chosen, trials, seed)
    moments = None
    for chunk in _chunks(problem, trials, seed, sampler, batch_size):
        rows = np.column_stack([chunk.lora, chunk.lora - chunk.fft[:, None], chunk.fft_given_design])
        part = RunningMoments.of(rows)
        moments = part if moments is None else moments.merge(part)
        if progress is not None:
            progress(part.count)
    assert moments is not None
    return _curve(problem, moments, trials, seed).at(chosen)


def _curve(problem: Problem, moments: RunningMoments, trials: int, seed: int) -> RiskCurve:
    size = problem.max_rank + 1
    mean, stderr = moments.mean.copy(), moments.stderr
    unfelt = _unfelt_ridge(problem, trials)
    if problem.moments is Moments.NO_VARIANCE or unfelt:
        stderr = np.full_like(stderr, np.nan)
    risk, risk_stderr = mean[:size], stderr[:size].copy()
    risk[-1], risk_stderr[-1] = mean[-1], stderr[-1]
    risk[0], risk_stderr[0] = problem.pretrained_risk, 0.0
    return RiskCurve(
        problem=problem,
        method="monte-carlo",
        ranks=np.arange(size),
        risk=risk,
        stderr=risk_stderr,
        fft_risk=float(mean[-1]),
        fft_stderr=float(stderr[-1]),
        difference=mean[size:-1],
        difference_stderr=stderr[size:-1],
        moments=problem.moments,
        formula="mean over draws; FFT averaged over the noise exactly",
        notes=tuple(note for note in (problem.moments_note, unfelt) if note),
        trials=trials,
        seed=seed,
    )


def _unfelt_ridge(problem: Problem, trials: int) -> str:
    """A note where the draws cannot see the ridge that makes their moments finite, else empty.

    Within three samples of the threshold only the ridge bounds the variance. A draw feels it when the smallest
    eigenvalue of X X^T falls below eta, which has a probability of order p = (eta dx / l_min)^((|n - dx| + 1) / 2),
    l_min the smallest variance. With fewer than 30 such draws to expect, a standard error would describe some other
    problem.
    """
    gap = abs(problem.distance_from_threshold)
    if problem.ridge == 0 or problem.noise_trace == 0 or gap > 3:
        return ""
    share = min(1.0, problem.ridge * problem.input_rank / problem.smallest_variance) ** ((gap + 1) / 2)
    if trials * share >= _DRAWS_THAT_FEEL_THE_RIDGE:
        return ""
    return (
        f"no standard error: near the threshold n = {problem.input_rank} a ridge of {problem.ridge:g} is felt by a "
        f"share of some {share:.1g} of the draws, too few of {trials}; raise ridge or trials"
    )


def _without_mean(problem: Problem, ranks: np.ndarray, trials: int, seed: int) -> RiskCurve:
    exact = ranks == 0
    return RiskCurve(
        problem=problem,
        method="monte-carlo",
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


def _chunks(problem: Problem, trials: int, seed: int, sampler: str, batch_size: int) -> Iterator[Risks]:
    trials = validation.positive_integer("trials", trials)
    batch_size = validation.positive_integer("batch_size", batch_size)
    layout, parameters = plan(problem, sampler)
    size = chunk_size(layout, parameters)
    key = jax.random.key(valid_seed(seed))
    starts = range(0, trials, size)
    in_flight = max(1, batch_size // size)
    for first in range(0, len(starts), in_flight):
        group = starts[first : first + in_flight]
        try:
            with runtime.exclusive_device():
                pending = [_chunk(layout, size, parameters, key, start) for start in group]
                done = [(np.asarray(path), np.asarray(fft)) for path, fft in pending]
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).split(chr(10), 1)[0]
            raise NumericalFailure(f"n, dx, dy: expected a problem that can be drawn here, received {reason}") from None
        for start, (path, fft) in zip(group, done, strict=True):
            kept = min(size, trials - start)
            _require_finite(problem, path[:kept], fft[:kept], start)
            yield Risks(path[:kept], fft[:kept])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _chunk(
    layout: Layout, size: int, parameters: Parameters, key: Array, start: Array | int
) -> tuple[Float[Array, "size ranks"], Float[Array, "size"]]:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(size))
    return jax.vmap(lambda k: _risks_of_draw(layout, parameters, k))(keys)


def _risks_of_draw(
    layout: Layout, parameters: Parameters, key: Array
) -> tuple[Float[Array, "ranks"], Float[Array, ""]]:
    sampled = draw(layout, parameters, key)
    path = lora.path(sampled.inverse, sampled.whitened, squared=layout.squared)
    shift = parameters.shift if parameters.diagonal is None else parameters.diagonal
    risks = excess_risk_path(path.basis, path.update, shift, parameters.sigma_sqrt)
    unbiased = layout.sampler == "overdetermined" and parameters.ridge is None
    return risks, _fft_risk_given_design(sampled, parameters, unbiased=unbiased)


def _fft_risk_given_design(sampled: Draw, parameters: Parameters, *, unbiased: bool) -> Float[Array, ""]:
    """E[risk(D_FFT) | X] = ||(Delta X X^+ - Delta) Sigma^{1/2}||_F^2 + Tr(Sigma_eps) ||X^+ Sigma^{1/2}||_F^2.

    Ridgeless with n >= dx X X^+ = I: `unbiased`.
    """
    inverse, root = sampled.inverse, parameters.sigma_sqrt
    spread = inverse.whitening if root is None else inverse.whitening @ root
    if inverse.coordinates is not None:
        spread = inverse.coordinates @ spread
    variance = parameters.noise_trace * jnp.sum(spread**2)
    if unbiased:
        return variance
    return variance + excess_risk(sampled.signal @ inverse.whitening, parameters.shift, root)


def chunk_size(layout: Layout, parameters: Parameters) -> int:
    """Draws per compiled call: a power of two that depends on the problem's shapes only."""
    dy, dx = parameters.shift.shape
    columns = layout.n or dx
    floats = dx * columns + dy * columns + dy * dx
    size = _LARGEST_CHUNK
    while size > 1 and size * floats > _CHUNK_FLOATS:
        size //= 2
    return size


def _require_finite(problem: Problem, path: np.ndarray, fft: np.ndarray, start: int) -> None:
    bad = ~(np.all(np.isfinite(path), axis=1) & np.isfinite(fft))
    if np.any(bad):
        raise NumericalFailure(
            f"risk: expected finite values, received {int(np.sum(bad))} draws that are not, first draw "
            f"{start + int(np.argmax(bad))}; the {problem.regime} problem n = {problem.n}, dx = {problem.dx}, "
            f"dy = {problem.dy} may be numerically singular: move n away from dx or set ridge > 0"
        )
