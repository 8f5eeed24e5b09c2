"""Compiled programs: a chunk of draws in, their risks out.

Two ways to the same means. `WholeDraws` draws data, or statistics sufficient for the risk, and measures each update:
its numbers have the law of the risk. `ConditionalMeans` draws only what decides LoRA's directions and takes the mean
over the rest in closed form: same mean, smaller variance, faster; it exists for most ridgeless problems.
"""

from typing import Any, NamedTuple

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
from linreg_lora.simulation.conditional import ConditionalRisks, conditional_risks
from linreg_lora.simulation.draws import Draws, size_for

#: Relative residual, and loss of orthogonality, from which leading eigenvectors are computed the slow and sure way.
_DEFECT = 1e-9
#: The structure of what one draw of conditional means gives.
_MEANS: Any = (ConditionalRisks(*(0,) * len(ConditionalRisks._fields)), 0)  # pyright: ignore[reportArgumentType]


class Chunk(NamedTuple):
    """Risks of one chunk of draws: LoRA at ranks 0..r, FFT, and FFT averaged over the noise."""

    lora: Float[np.ndarray, "draws ranks"]
    fft: Float[np.ndarray, "draws"]
    fft_over_noise: Float[np.ndarray, "draws"]


class WholeDraws(Draws[Chunk]):
    """The program of a design of `sampling.plan`."""

    description = "mean over draws; FFT averaged over the noise exactly"

    def __init__(self, layout: Layout, parameters: Parameters) -> None:
        super().__init__(_risks_of_draw, (layout,), parameters, chunk_size(layout, parameters), (0, 0))

    def finish(self, pending: tuple[Array, ...], key: Array, first: int) -> Chunk:
        """The risks of a chunk begun by `start`."""
        path, fft_over_noise = (np.asarray(values) for values in pending)
        return Chunk(path, path[:, -1], fft_over_noise)


class ConditionalMeans(Draws[Chunk]):
    """The program of `sampling.directions`, for LoRA at ranks 0..`largest_rank`."""

    description = "mean over draws of the risk given LoRA's directions, the rest of the data averaged exactly"

    def __init__(self, shapes: directions.Shapes, numbers: directions.Numbers, largest_rank: int) -> None:
        side = min(shapes.dy, shapes.columns)
        leading_rank = largest_rank if leading.pays(largest_rank, side) else 0
        size = size_for((shapes.dy * shapes.columns + side**2) // 2)
        super().__init__(_means_of_draw, (shapes, leading_rank), numbers, size, _MEANS)
        self._largest = largest_rank
        self._full = Draws(_means_of_draw, (shapes, 0), numbers, size, _MEANS)
        self.variance_exists = bool(max(numbers.n, numbers.dx) - shapes.width > 3)
        """Whether the conditional mean has a variance: its tail index is (max(n, dx) - w + 1) / 2."""

    @classmethod
    def of(cls, problem: Problem, largest_rank: int) -> "ConditionalMeans | None":
        """The program of a problem; None where it does not exist, or would lose LoRA's directions to rounding."""
        planned = directions.plan(problem) if squared_is_safe(problem) else None
        return None if planned is None else cls(*planned, largest_rank)

    def finish(self, pending: tuple[ConditionalRisks, Array], key: Array, first: int) -> Chunk:
        """The risks of a chunk begun by `start`, by full decompositions if the leading ones are not good enough."""
        means, defect = pending
        if not np.all(np.asarray(defect) <= _DEFECT):
            means, _ = self._full.start(key, first)
        path, fft, fft_over_noise = (np.asarray(values) for values in means)
        return Chunk(path[:, : self._largest + 1], fft, fft_over_noise)


Program = WholeDraws | ConditionalMeans


def chunk_size(layout: Layout, parameters: Parameters) -> int:
    """Draws per compiled call of whole draws: a power of two that depends on the problem's shapes only."""
    dy, dx = parameters.shift.shape
    columns = layout.n or dx
    return size_for(dx * columns + dy * columns + dy * dx)


def _risks_of_draw(
    layout: Layout, parameters: Parameters, key: Array
) -> tuple[Float[Array, "ranks"], Float[Array, ""]]:
    sampled = draw(layout, parameters, key)
    path = lora.lora_path(sampled.inverse, sampled.whitened, squared=layout.squared)
    shift = parameters.shift if parameters.diagonal is None else parameters.diagonal
    risks = excess_risk_path(path.basis, path.update, shift, _risk_root(parameters))
    unbiased = layout.design == "overdetermined" and parameters.ridge is None
    return risks, _fft_risk_given_design(sampled, parameters, unbiased=unbiased)


def _risk_root(parameters: Parameters) -> Array | None:
    """C with risk(D) = ||(D - Delta) C||_F^2; None: identity."""
    return parameters.sigma_sqrt if parameters.risk_root is None else parameters.risk_root


def _fft_risk_given_design(sampled: Draw, parameters: Parameters, *, unbiased: bool) -> Float[Array, ""]:
    """E[risk(D_FFT) | X] = ||(Delta X X^+ - Delta) Sigma^{1/2}||_F^2 + Tr(Sigma_eps) ||V^{1/2} X^+ Sigma^{1/2}||_F^2.

    V = diag(v), the scales of the samples' noise, mostly 1. Ridgeless with n >= dx X X^+ = I: `unbiased`.
    """
    inverse, root = sampled.inverse, _risk_root(parameters)
    spread = inverse.whitening if root is None else inverse.whitening @ root
    if inverse.coordinates is not None:
        spread = inverse.coordinates @ spread
    if sampled.noise_scale is not None:
        spread = jnp.sqrt(sampled.noise_scale)[:, None] * spread
    variance = parameters.noise_trace * jnp.sum(spread**2)
    if unbiased:
        return variance
    return variance + excess_risk(sampled.signal @ inverse.whitening, parameters.shift, root)


def _means_of_draw(
    shapes: directions.Shapes, rank: int, numbers: directions.Numbers, key: Array
) -> tuple[ConditionalRisks, Float[Array, ""]]:
    """Conditional means by the `rank` leading directions (0: by all of them), and the defect of these."""
    drawn = directions.draw(shapes, numbers, key)
    whitened = drawn.whitened
    if rank:
        basis, defect = leading.left_singular_basis(whitened, rank)
    else:
        basis, defect = lora.left_singular_basis(whitened, min(whitened.shape), squared=True), jnp.zeros(())
    return conditional_risks(basis, drawn, numbers), defect
