"""Compiled programs: a chunk of draws in, their risks out.

Two ways to the same means. `WholeDraws` draws data, or statistics sufficient for the risk, and measures each update:
its numbers have the law of the risk. `ConditionalMeans` draws only what decides LoRA's directions and takes the mean
over the rest in closed form: same mean, smaller variance, faster; it exists for most ridgeless problems.

Draw i is a function of the key and of i alone, and chunks have one compiled size: results do not depend on batches.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linreg_lora.estimators import lora
from linreg_lora.estimators.risk import excess_risk, excess_risk_path
from linreg_lora.problem import Problem
from linreg_lora.sampling import directions
from linreg_lora.sampling.plan import Draw, Layout, Parameters, draw
from linreg_lora.sampling.rounding import squared_is_safe
from linreg_lora.simulation import leading
from linreg_lora.simulation.conditional import conditional_risks

#: Floats that one chunk may hold in its largest arrays: small enough for the cache, large enough to amortise a call.
_CHUNK_FLOATS = 2**18
_LARGEST_CHUNK = 64

#: Relative residual, and loss of orthogonality, from which leading eigenvectors are computed the slow and sure way.
_DEFECT = 1e-9


class Chunk(NamedTuple):
    """Risks of one chunk of draws: LoRA at ranks 0..r, FFT, and FFT averaged over the noise."""

    lora: Float[np.ndarray, "draws ranks"]
    fft: Float[np.ndarray, "draws"]
    fft_over_noise: Float[np.ndarray, "draws"]

    def first(self, count: int) -> "Chunk":
        """Its first draws."""
        return Chunk(*(values[:count] for values in self))


class WholeDraws:
    """The program of a sampler of `sampling.plan`."""

    description = "mean over draws; FFT averaged over the noise exactly"

    def __init__(self, layout: Layout, parameters: Parameters) -> None:
        self._layout, self._parameters = layout, parameters
        self.size = chunk_size(layout, parameters)

    def start(self, key: Array, start: int) -> tuple[Array, ...]:
        """Begin the chunk whose first draw has number `start`; `finish` waits for it."""
        return _whole_draws(self._layout, self.size, self._parameters, key, start)

    def finish(self, pending: tuple[Array, ...], key: Array, start: int) -> Chunk:
        """The risks of a chunk begun by `start`."""
        path, fft_over_noise = (np.asarray(values) for values in pending)
        return Chunk(path, path[:, -1], fft_over_noise)


class ConditionalMeans:
    """The program of `sampling.directions`, for LoRA at ranks 0..`largest_rank`."""

    description = "mean over draws of the risk given LoRA's directions, the rest of the data averaged exactly"

    def __init__(self, shapes: directions.Shapes, numbers: directions.Numbers, largest_rank: int) -> None:
        self._shapes, self._numbers, self._largest = shapes, numbers, largest_rank
        side = min(shapes.dy, shapes.columns)
        self._leading = largest_rank if leading.pays(largest_rank, side) else 0
        self.size = _draws_of((shapes.dy * shapes.columns + side**2) // 2)
        self.variance_exists = bool(max(numbers.n, numbers.dx) - shapes.width > 3)
        """Whether the conditional mean has a variance: its tail index is (max(n, dx) - w + 1) / 2."""

    @classmethod
    def of(cls, problem: Problem, largest_rank: int) -> "ConditionalMeans | None":
        """The program of a problem; None where it does not exist, or would lose LoRA's directions to rounding."""
        planned = directions.plan(problem) if squared_is_safe(problem) else None
        return None if planned is None else cls(*planned, largest_rank)

    def start(self, key: Array, start: int) -> tuple[Array, ...]:
        """Begin the chunk whose first draw has number `start`; `finish` waits for it."""
        return _conditional_means(self._shapes, self.size, self._leading, self._numbers, key, start)

    def finish(self, pending: tuple[Array, ...], key: Array, start: int) -> Chunk:
        """The risks of a chunk begun by `start`, by full decompositions if the leading ones are not good enough."""
        *risks, defect = (np.asarray(values) for values in pending)
        if not np.all(defect <= _DEFECT):
            full = _conditional_means(self._shapes, self.size, 0, self._numbers, key, start)
            *risks, _ = (np.asarray(values) for values in full)
        path, fft, fft_over_noise = risks
        return Chunk(path[:, : self._largest + 1], fft, fft_over_noise)


Program = WholeDraws | ConditionalMeans


def chunk_size(layout: Layout, parameters: Parameters) -> int:
    """Draws per compiled call of whole draws: a power of two that depends on the problem's shapes only."""
    dy, dx = parameters.shift.shape
    columns = layout.n or dx
    return _draws_of(dx * columns + dy * columns + dy * dx)


def _draws_of(floats: int) -> int:
    size = _LARGEST_CHUNK
    while size > 1 and size * floats > _CHUNK_FLOATS:
        size //= 2
    return size


def _keys(key: Array, start: Array | int, size: int) -> Array:
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(size))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _whole_draws(
    layout: Layout, size: int, parameters: Parameters, key: Array, start: Array | int
) -> tuple[Float[Array, "size ranks"], Float[Array, "size"]]:
    return jax.vmap(lambda k: _risks_of_draw(layout, parameters, k))(_keys(key, start, size))


def _risks_of_draw(
    layout: Layout, parameters: Parameters, key: Array
) -> tuple[Float[Array, "ranks"], Float[Array, ""]]:
    sampled = draw(layout, parameters, key)
    path = lora.lora_path(sampled.inverse, sampled.whitened, squared=layout.squared)
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


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _conditional_means(
    shapes: directions.Shapes, size: int, rank: int, numbers: directions.Numbers, key: Array, start: Array | int
) -> tuple[Float[Array, "size ranks"], Float[Array, "size"], Float[Array, "size"], Float[Array, "size"]]:
    def risks(key: Array) -> tuple[Array, Array, Array, Array]:
        drawn = directions.draw(shapes, numbers, key)
        whitened = drawn.whitened
        if rank:
            basis, defect = leading.left_singular_basis(whitened, rank)
        else:
            basis, defect = lora.left_singular_basis(whitened, min(whitened.shape), squared=True), jnp.zeros(())
        means = conditional_risks(basis, drawn, numbers)
        return means.lora, means.fft, means.fft_over_noise, defect

    return jax.vmap(risks)(_keys(key, start, size))
