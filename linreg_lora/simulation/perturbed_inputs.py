"""How much the loss of LoRA and of FFT rises when test inputs are noisy, by simulation: `theory.input_perturbation`."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import lora
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.sampling.plan import Layout, Parameters, draw, plan
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import draws
from linreg_lora.simulation.programs import chunk_size
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory import heavy_tails
from linreg_lora.theory.hessian import Loss
from linreg_lora.theory.input_perturbation import required_pretrained, rise_scale

#: Within this distance of the threshold only the ridge, or nothing, bounds the variance.
_NO_VARIANCE_WITHOUT_RIDGE = 3


@dataclass(frozen=True, kw_only=True)
class InputRise:
    """Expected rise of the loss of LoRA at each rank, and of FFT, under perturbed inputs, with standard errors.

    | field               | meaning                                                                                |
    |---------------------|----------------------------------------------------------------------------------------|
    | `ranks`             | LoRA ranks r; rank 0 is the pretrained map, rank min(n, dx, dy) is FFT                 |
    | `rise`              | E rise(D_r), in units of the loss; inf where the mean does not exist                   |
    | `stderr`            | its standard error; 0 at rank 0, which is exact; nan where none exists                 |
    | `fft_rise`          | E rise(D_FFT)                                                                          |
    | `fft_stderr`        | its standard error                                                                     |
    | `difference`        | E [rise(D_r) - rise(D_FFT)], paired on the same draws; negative: LoRA is more robust   |
    | `difference_stderr` | its standard error                                                                     |
    | `moments`           | which moments exist at ranks >= 1                                                      |
    | `notes`             | what is missing, and why; empty when nothing is                                        |
    """

    ranks: Int[np.ndarray, "k"]
    rise: Float[np.ndarray, "k"]
    stderr: Float[np.ndarray, "k"]
    fft_rise: float
    fft_stderr: float
    difference: Float[np.ndarray, "k"]
    difference_stderr: Float[np.ndarray, "k"]
    moments: Moments
    notes: tuple[str, ...]
    trials: int
    seed: int


def simulate_rise(
    problem: Problem,
    *,
    trials: int,
    seed: int,
    ranks: object = None,
    sampler: str = "auto",
    perturbation_std: float | int = 1.0,
    loss: Loss | str = Loss.SQUARED,
) -> InputRise:
    """Expected rise of LoRA and FFT by simulation, every rank from one decomposition per draw.

    `problem.pretrained` A0 is needed; `trials` draws (at least 2) from `seed`; `ranks` default to all of
    0..min(n, dx, dy); `perturbation_std` tau, integrated exactly. `sampler` is "explicit" (all data), "sufficient" (the
    small designs of `sampling`; isotropic noise, and isotropic inputs or ridgeless n >= dx, else `InvalidInput`), or
    "auto": sufficient where it exists. Draws are a function of the seed and their number alone.

    Where the mean is infinite nothing is drawn: the rise is inf. Where the variance is infinite, or finite only thanks
    to a ridge (|n - dx| <= 3) or to rare draws (`theory.heavy_tails`), the mean comes without a standard error (nan).
    `notes` say so. Raises `NumericalFailure` if a draw is not finite.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5, pretrained=np.eye(5, 6))
    >>> drawn = ll.simulate_rise(problem, trials=64, seed=0)
    >>> abs(drawn.fft_rise - ll.theory.expected_fft_rise(problem)) < 5 * drawn.fft_stderr
    True
    """
    pretrained = required_pretrained(problem)
    scale = rise_scale(perturbation_std, loss)
    chosen = valid_ranks(ranks, problem)
    trials = validation.enough_draws("trials", trials)
    seed = valid_seed(seed)
    size = problem.max_rank + 1
    if problem.moments is Moments.NO_MEAN and scale > 0:
        note = problem.moments_note
        mean = np.concatenate([[0.0], np.full(size - 1, np.inf), [-np.inf], np.full(size - 1, np.nan)])
        stderr = np.full(2 * size, np.nan)
    else:
        note = _variance_note(problem, trials)
        program = _program(problem, sampler)
        moments = functools.reduce(RunningMoments.merge, _parts(problem, program, trials, seed))
        mean, stderr = scale * moments.mean, scale * moments.stderr * (np.nan if note else 1.0)
    stderr[0] = 0.0
    values = scale * float(np.sum(pretrained**2)) + mean[:size]
    return InputRise(
        ranks=chosen,
        rise=values[chosen],
        stderr=stderr[:size][chosen],
        fft_rise=float(values[-1]),
        fft_stderr=float(stderr[size - 1]),
        difference=mean[size:][chosen],
        difference_stderr=stderr[size:][chosen],
        moments=problem.moments,
        notes=(note,) if note else (),
        trials=trials,
        seed=seed,
    )


def _program(problem: Problem, sampler: str) -> draws.Draws[np.ndarray]:
    """Draws in coordinates in which the update has the same law of ||D_r|| and the same mean of <A0, D_r>.

    Sufficient: with C = Sigma^{1/2} (n >= dx), or 1 and noise and ridge in units of the inputs (Sigma = c I), and
    Delta C = U diag(s) V^T, the update D' = U^T D C V is that of a problem with Sigma = I and shift diag(s), and
    <A0, D> = <U^T A0 C^{-1} V, D'>, ||D||_F = ||D' V^T C^{-1}||_F. That problem keeps its law when input k and output k
    change sign together, or an input or output that the shift does not see changes sign alone. So E D'_r is diagonal,
    and zero beyond the rank of Delta: only the diagonal of U^T A0 C^{-1} V matters, and the directions that the
    underdetermined design merges do not.
    """
    reduced = problem.without_null_inputs()
    pretrained = required_pretrained(reduced)
    scale, noise = reduced.isotropic_scale, reduced.isotropic_noise_scale
    whitens = reduced.ridge == 0 and reduced.regime is not Regime.UNDERDETERMINED
    known = reduced.input_law.is_gaussian and reduced.input_mean is None and noise is not None
    if sampler != "explicit" and known and (scale is not None or whitens):
        assert noise is not None
        root = np.eye(reduced.dx) if scale is not None else reduced.sigma_sqrt
        unit = 1.0 if scale is None else scale
        u, s, vt = np.linalg.svd(reduced.shift @ root)
        s = np.where(s > max(reduced.shift.shape) * np.finfo(float).eps * np.max(s), s, 0.0)
        simple = Problem(
            n=reduced.n,
            dx=reduced.dx,
            dy=reduced.dy,
            spectrum=tuple(s.tolist()),
            noise_std=float(reduced.noise_std * np.sqrt(noise / unit)),
            ridge=reduced.ridge / unit,
        )
        layout, parameters = plan(simple, sampler)
        back = vt @ np.linalg.inv(root)
        seen = np.arange(np.count_nonzero(s))
        alignment = np.zeros(parameters.shift.shape)
        alignment[seen, seen] = np.diagonal(u.T @ pretrained @ back.T)[seen]
        metric = None if scale is not None else jnp.asarray(back)
    elif sampler == "sufficient":
        expected = (
            "auto or explicit where noise is anisotropic, inputs are and n < dx or ridge > 0, are not Gaussian or have "
            "a mean"
        )
        raise InvalidInput("sampler", expected, sampler)
    else:
        layout, parameters = plan(reduced, "explicit" if sampler == "auto" else sampler)
        alignment, metric = pretrained, None
    arrays = (parameters, jnp.asarray(alignment), metric)
    return draws.Draws(_increments, (layout,), arrays, chunk_size(layout, parameters), 0)


def _parts(problem: Problem, program: draws.Draws[np.ndarray], trials: int, seed: int) -> Iterator[RunningMoments]:
    """Moments of rise(D_r) - rise(0), r = 0, 1, ..., and of rise(D_r) - rise(D_FFT), in units of tau^2, by chunks."""
    for first, increments in draws.chunks(program, seed, trials):
        draws.require_finite("rise", problem, increments, first)
        yield RunningMoments.of(np.column_stack([increments, increments - increments[:, -1:]]))


def _increments(
    layout: Layout,
    arrays: tuple[Parameters, Float[Array, "dy p"], Float[Array, "p dx"] | None],
    key: Key[Array, ""],
) -> Float[Array, "ranks"]:
    """||A0 + D_r||^2 - ||A0||^2 = sum_{i<=r} ( 2 u_i^T A0 D^T u_i + ||u_i^T D||^2 ) of a draw, r = 0, 1, ...

    `arrays`: the parameters of the draw, a matrix with <A0, D> = <it, D'> in mean, and one with ||D|| = ||D' times it||
    (None: identity), where D' is the update in the coordinates of the draw.
    """
    parameters, alignment, metric = arrays
    sampled = draw(layout, parameters, key)
    path = lora.lora_path(sampled.inverse, sampled.whitened, squared=layout.squared)
    kept = path.basis.mT @ path.update
    length = kept if metric is None else kept @ metric
    steps = 2 * jnp.sum((path.basis.mT @ alignment) * kept, axis=1) + jnp.sum(length**2, axis=1)
    return jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)])


def _variance_note(problem: Problem, trials: int) -> str:
    if problem.moments is Moments.NO_VARIANCE:
        return f"no standard error exists: {problem.moments_note}"
    near = abs(problem.distance_from_threshold) <= _NO_VARIANCE_WITHOUT_RIDGE
    if problem.ridge > 0 and problem.noise_trace > 0 and near:
        return (
            f"no standard error: within {_NO_VARIANCE_WITHOUT_RIDGE} samples of the threshold n = {problem.input_rank} "
            "only the ridge bounds the variance, and the draws need not feel it"
        )
    return heavy_tails.unfelt_floor(problem, trials)
