"""The part of the data that decides LoRA's directions, in a frame where nearly all of it is zero.

Let w >= rank(Delta) and choose input coordinates that put the row space of Delta first: Delta = [A 0], A dy x w. Rotate
the samples so that the first w rows of X are [L 0], L lower triangular, L L^T ~ Wishart_w(I, n). Then the whitened
residual is

    B = [A L + N_1,  N_2],    N = [N_1 N_2] dy x k,  columns iid N(0, Sigma_eps),  k = min(n, dx),

and the other dx - w rows of X are independent of it: they move the risk, not LoRA's directions. All that is left of
them is C C^T ~ Wishart_w(I, dx - n) (n < dx) and expectations known in closed form (`estimators.conditional`).

Rotations of the last k - w samples, and with isotropic noise of the last dy - w outputs, leave this law alone. Block
Golub-Kahan bidiagonalisation spends them: N becomes a band |i - j| <= w of independent normals, with
chi_{k-w-i} on the diagonal (i, i + w) and chi_{dy-w-j} on the diagonal (j + w, j), counted from 0. With other noise
covariances N_2 alone is lower triangular, as after a QR factorisation. So a draw costs O(w dy) random numbers whatever
n and dx are, and one compiled program serves all n and dx of a regime; where min(n, dx) is well below dy, all of them
up to the next power of two.

Gaussian inputs, ridgeless, isotropic (n >= dx: any, through Delta Sigma^{1/2}), rank(Delta) <= min(n, dx).
Source of the band form for w = 1: Dumitriu and Edelman 2002; for spiked blocks: Bloemendal and Virag 2016.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora.problem import Problem

#: Sizes and widths up to which the width of the band hardly matters.
_SMALL = 64
_NARROW = 16


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What a compiled program is specialised to."""

    dy: int
    width: int
    """w."""
    columns: int
    """k, padded; or, where that is no less than dy, dy + w: the columns of the band that reach the last row."""
    underdetermined: bool
    isotropic_noise: bool


class Numbers(NamedTuple):
    """What a compiled program takes as input."""

    seen: Float[Array, "rows w"]
    """A."""
    noise_root: Float[Array, ""] | Float[Array, "dy dy"]
    """sigma, or Sigma_eps^{1/2}."""
    noise_trace: Float[Array, ""]
    """Tr(Sigma_eps)."""
    n: Float[Array, ""]
    dx: Float[Array, ""]


class Directions(NamedTuple):
    """One draw. `signal` A L and `noise` [N_1 N_2] make B; C is `unseen` (None: n >= dx)."""

    triangle: Float[Array, "... w w"]
    """L, lower triangular."""
    unseen: Float[Array, "... w w"] | None
    signal: Float[Array, "... rows w"]
    noise: Float[Array, "... rows columns"]

    @property
    def whitened(self) -> Float[Array, "... rows columns"]:
        """B."""
        beyond = self.noise.shape[-1] - self.signal.shape[-1]
        return self.noise + jnp.pad(self.signal, [(0, 0)] * (self.signal.ndim - 1) + [(0, beyond)])


def plan(problem: Problem) -> tuple[Shapes, Numbers] | None:
    """Shapes and numbers that draw the directions of `problem`; None where this frame does not exist."""
    reduced = problem.without_null_inputs()
    scale, k = reduced.isotropic_scale, min(reduced.n, reduced.dx)
    overdetermined = reduced.n >= reduced.dx
    known = problem.input_law.is_gaussian and problem.input_mean is None and reduced.ridge == 0
    if not known or (scale is None and not overdetermined):
        return None
    left, values = _spectral(reduced, scale)
    rank = int(np.sum(values > reduced.dy * np.finfo(float).eps * np.max(values, initial=0.0)))
    if rank > k:
        return None
    width = min(_padded(rank, _shares(rank, min(reduced.dy, k))), reduced.dy, k)
    noise_scale = reduced.isotropic_noise_scale
    columns = _padded(k)
    if columns >= reduced.dy:
        columns = reduced.dy + width
    shapes = Shapes(reduced.dy, width, columns, not overdetermined, noise_scale is not None)
    seen = np.zeros((_rows(shapes), width))
    seen[:, :rank] = values[:rank] * (left[:, :rank] if noise_scale is None else np.eye(len(seen), rank))
    numbers = (
        seen,
        reduced.sigma_eps_sqrt if noise_scale is None else reduced.noise_std * np.sqrt(noise_scale),
        reduced.noise_trace,
        float(reduced.n),
        float(reduced.dx),
    )
    return shapes, Numbers(*(np.asarray(number, dtype=float) for number in numbers))  # pyright: ignore[reportArgumentType]


def draw(shapes: Shapes, numbers: Numbers, key: Key[Array, ""]) -> Directions:
    """One draw of all that decides LoRA's directions."""
    w, k, rows = shapes.width, jnp.minimum(numbers.n, numbers.dx), jnp.arange(_rows(shapes), dtype=float)
    samples = [numbers.n, numbers.dx - numbers.n] if shapes.underdetermined else [numbers.n]
    key_corners, key_normal, key_chi = jax.random.split(key, 3)
    degrees = [shapes.dy - rows, k - w - rows, *(count - jnp.arange(w, dtype=float) for count in samples)]
    ends = np.cumsum([len(rows), len(rows), *(w for _ in samples)])
    lower, upper, *diagonals = jnp.split(_chi(key_chi, jnp.concatenate(degrees)), ends[:-1])
    corners = jax.random.normal(key_corners, (w, w))
    triangle, *unseen = map(_wishart_factor, samples, (corners, corners.T), diagonals)
    white = _noise(key_normal, shapes, k, lower[:, None], upper[:, None])
    noise = numbers.noise_root * white if shapes.isotropic_noise else numbers.noise_root @ white
    return Directions(triangle, unseen[0] if unseen else None, numbers.seen @ triangle, noise)


def _wishart_factor(
    dof: Float[Array, ""], normal: Float[Array, "w w"], diagonal: Float[Array, "w"]
) -> Float[Array, "w w"]:
    """Lower triangular L with L L^T ~ Wishart_w(I, dof), also where dof < w: the last columns are zero."""
    column = jnp.arange(len(diagonal), dtype=float)
    return jnp.where(column < dof, jnp.tril(normal, -1), 0.0) + jnp.diag(diagonal)


def _noise(
    key: Key[Array, ""],
    shapes: Shapes,
    k: Float[Array, ""],
    lower: Float[Array, "rows 1"],
    upper: Float[Array, "rows 1"],
) -> Float[Array, "rows columns"]:
    """N with the chi variables `lower` and `upper` on the two outermost diagonals of its band."""
    rows, columns, w = _rows(shapes), shapes.columns, shapes.width
    row, column = jnp.arange(rows, dtype=float), jnp.arange(columns, dtype=float)
    offset = column[None, :] - row[:, None]
    if shapes.isotropic_noise and 2 * w < columns:
        inside = jax.random.normal(key, (rows, 2 * w - 1))
        noise = _from_diagonals(jnp.concatenate([lower, inside, upper], axis=1), -w, columns)
    else:
        noise = jnp.where(offset < w, jax.random.normal(key, (rows, columns)), 0.0)
        noise = jnp.where(offset == w, upper, noise)
    if shapes.isotropic_noise and 2 * w >= columns:
        noise = jnp.where(offset == -w, lower, jnp.where(offset > -w, noise, 0.0))
    return jnp.where(column[None, :] < k, noise, 0.0)


def _from_diagonals(band: Float[Array, "rows width"], first: int, columns: int) -> Float[Array, "rows columns"]:
    """The matrix whose row i holds `band`[i] from column i + `first` on, first <= 0.

    Laid out in rows that are one entry too long, and read in rows of the right length, each row moves one to the right.
    """
    rows, width = band.shape
    stride = max(rows, columns) + width
    padded = jnp.pad(band, ((0, 0), (0, stride + 1 - width))).reshape(-1)
    return padded[: rows * stride].reshape(rows, stride)[:, -first : columns - first]


def _chi(key: Key[Array, ""], dof: Float[Array, "k"]) -> Float[Array, "k"]:
    """Independent chi variables with a whole number of degrees of freedom; zero where dof <= 0.

    chi_1 is |normal|; from 2 on by the rejection of Marsaglia and Tsang 2000, for all entries at once: three times
    faster here than `jax.random.chisquare`, which takes them one by one.
    """
    key_first, key_more, key_one = jax.random.split(key, 3)
    shape = jnp.maximum(dof, 2.0) / 2 - 1 / 3

    def propose(key: Array) -> tuple[Array, Array]:
        key_normal, key_uniform = jax.random.split(key)
        normal = jax.random.normal(key_normal, dof.shape)
        cube = (1 + normal / jnp.sqrt(9 * shape)) ** 3
        positive = cube > 0
        bound = normal**2 / 2 + shape * (1 - cube + jnp.log(jnp.where(positive, cube, 1.0)))
        return cube, positive & (jnp.log(jax.random.uniform(key_uniform, dof.shape)) < bound)

    def again(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, cube, accepted = state
        key, key_next = jax.random.split(key)
        other, accepted_now = propose(key_next)
        return key, jnp.where(accepted, cube, other), accepted | accepted_now

    _, cube, _ = jax.lax.while_loop(lambda state: ~jnp.all(state[2]), again, (key_more, *propose(key_first)))
    chi = jnp.where(dof > 1.5, jnp.sqrt(2 * shape * cube), jnp.abs(jax.random.normal(key_one, dof.shape)))
    return jnp.where(dof > 0.5, chi, 0.0)


def _rows(shapes: Shapes) -> int:
    """Rows of the reduced B: those that the band reaches, where the other outputs see nothing."""
    return min(shapes.dy, shapes.columns + shapes.width) if shapes.isotropic_noise else shapes.dy


def _shares(rank: int, size: int) -> tuple[int, ...]:
    """Steps of the width's padding: a wider band costs random numbers if `size` is large, and a QR if it is wide."""
    if size > _SMALL:
        return (4, 5, 6)
    return (4, 6) if rank > _NARROW else (4,)


def _padded(size: int, shares: tuple[int, ...] = (4,)) -> int:
    """The least of 4 and `shares` times 2, 4, 8, ..., that is at least `size`: similar sizes then share a program."""
    return next(padded for padded in (4, *(share << p for p in range(1, 40) for share in shares)) if padded >= size)


def _spectral(problem: Problem, scale: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors and singular values of Delta Sigma^{1/2}; `scale` c where Sigma = c I."""
    if scale is None:
        left, values, _ = np.linalg.svd(problem.shift @ problem.sigma_sqrt, full_matrices=False)
        return left, values
    values = np.sqrt(scale) * np.asarray(problem.spectrum)
    if problem.task_shift is None:
        return np.eye(problem.dy, len(values)), values
    return np.linalg.svd(problem.task_shift, full_matrices=False)[0], values
