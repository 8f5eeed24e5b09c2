"""Least squares by turns, for classes that are linear in each of two parts: VeRA and DoRA.

    VeRA:  D = diag(b) B diag(d) A,   B and A frozen:      b given d, d given b, until neither moves
    DoRA:  D = diag(g) A0 + L,        rank(L) <= r:        g given L, L given g, |g_j| <= `bound`

Both are stopped after a number of turns; the objective falls at each. They are not convex: DoRA has two starts, and the
better one is kept. Its class is not closed: with g_j without bound, a map of rank one beside diag(g) A0 comes as near
as one likes to some of rank two, so the magnitudes are bounded. Source: derived here.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import arrays, fft, input_scales
from linreg_lora.estimators.arrays import ArrayLike


def fit_vera(
    inputs: ArrayLike,
    outputs: ArrayLike,
    left: ArrayLike,
    right: ArrayLike,
    pretrained: ArrayLike | None = None,
    *,
    turns: int = 100,
) -> Float[Array, "... dy dx"]:
    """The update D = diag(b) B diag(d) A after `turns` turns from d = 1; the fine-tuned map is A0 + D.

    `inputs` X (... dx n), `outputs` Y (... dy n), `left` B (dy r), `right` A (r dx), `pretrained` A0 (... dy dx; None:
    zero). Arrays as in `fft.fit_fft`.

    >>> import linreg_lora as ll
    >>> found = ll.estimators.fit_vera([[1.0, 2.0]], [[3.0, 6.0], [1.0, 2.0]], [[1.0], [1.0]], [[1.0]])
    >>> found.round(9).tolist()
    [[3.0], [1.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    b, a = arrays.real_array("left", left, "B, dy x r"), arrays.real_array("right", right, "A, r x dx")
    if b.shape != (y.shape[-2], a.shape[-2]) or a.shape[-1] != x.shape[-2]:
        raise InvalidInput("left, right", "B, dy x r, and A, r x dx", f"shapes {b.shape} and {a.shape}")
    b, a = arrays.lifted(b, x.ndim), arrays.lifted(a, x.ndim)
    z, residual = a @ x, fft.residual(x, y, a0)
    gram, moment = z @ z.mT, residual @ z.mT

    def outputs_of(d: Array) -> Array:
        rows = b * d[..., None, :]
        energy = jnp.sum((rows @ gram) * rows, axis=-1)
        return jnp.where(energy > 0, jnp.sum(rows * moment, axis=-1) / jnp.where(energy > 0, energy, 1.0), 0.0)

    def turn(_: Any, d: Array) -> Array:
        return input_scales.solved(b * outputs_of(d)[..., None], gram, moment)

    d = jax.lax.fori_loop(0, turns, turn, jnp.ones((*gram.shape[:-2], b.shape[-1])))
    return arrays.finite((outputs_of(d)[..., None] * (b * d[..., None, :])) @ a)


def fit_dora(
    inputs: ArrayLike,
    outputs: ArrayLike,
    rank: int,
    pretrained: ArrayLike,
    *,
    bound: float = 10.0,
    turns: int = 200,
) -> Float[Array, "... dy dx"]:
    """The update D = diag(g) A0 + L, |g_j| <= `bound`, after `turns` turns, the better of two starts: g = 0 and L = 0.

    `inputs` X (... dx n), `outputs` Y (... dy n), `rank` r of L, `pretrained` A0 (... dy dx), without zero
    rows in A0 X. L is of minimum norm. Arrays as in `fft.fit_fft`.

    >>> import linreg_lora as ll
    >>> inputs, outputs = [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], [[3.0, 3.0, 6.0], [5.0, 0.0, 5.0]]
    >>> ll.estimators.fit_dora(inputs, outputs, 1, [[1.0, 1.0], [1.0, 0.0]]).round(6).tolist()
    [[2.0, 2.0], [4.0, 0.0]]
    """
    x, y, a0 = arrays.data(inputs, outputs, pretrained)
    if a0 is None:
        raise InvalidInput("pretrained", "A0, dy x dx", None)
    r = arrays.rank_up_to(rank, min(x.shape[-1], x.shape[-2], y.shape[-2]))
    inverse = fft.any_pseudo_inverse(x, None)
    target = inverse.whiten(fft.residual(x, y, a0))
    known = inverse.whiten(a0 @ x)
    energy = jnp.sum(known**2, axis=-1)
    best = functools.partial(_by_turns, target, known, energy, r, bound, turns)
    starts = [best(jnp.zeros(energy.shape)), best(jnp.clip(jnp.sum(target * known, axis=-1) / energy, -bound, bound))]
    (g, low, left), (other, lower, least) = starts
    better = least < left
    g, low = jnp.where(better[..., None], other, g), jnp.where(better[..., None, None], lower, low)
    return arrays.finite(g[..., None] * a0 + low @ inverse.whitening)


def _by_turns(
    target: Float[Array, "... dy k"],
    known: Float[Array, "... dy k"],
    energy: Float[Array, "... dy"],
    rank: int,
    bound: float,
    turns: int,
    start: Float[Array, "... dy"],
) -> tuple[Array, Array, Array]:
    """g, the whitened L, and the sum of squares that is left."""

    def low_of(g: Array) -> Array:
        left = target - g[..., None] * known
        u = jnp.linalg.eigh(left @ left.mT)[1][..., left.shape[-2] - rank :]
        return u @ (u.mT @ left)

    def turn(_: Any, g: Array) -> Array:
        return jnp.clip(jnp.sum((target - low_of(g)) * known, axis=-1) / energy, -bound, bound)

    g = jax.lax.fori_loop(0, turns, turn, start)
    low = low_of(g)
    return g, low, jnp.sum((target - g[..., None] * known - low) ** 2, axis=(-2, -1))
