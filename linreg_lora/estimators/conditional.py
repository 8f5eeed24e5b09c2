"""Excess risk of LoRA given all that decides its directions: the mean over the rest of the data, in closed form.

In the frame of `sampling.directions` Delta = [A 0], B = [A L + N_1, N_2], and u_i, the left singular vectors of B,
are independent of the other dx - w rows of X. Averaged over those, with S = L^T L + C C^T, t = Tr(S^{-1}),
P = I - L S^{-1} L^T:

    E risk(D_r) = sum_{i<=r} e_i + ||(I - U_r U_r^T) A||_F^2
    e_i = ||u_i^T N_1 S^{-1} L^T - u_i^T A P||^2 + ||u_i^T B_1 S^{-1} C||^2 + (1 + t) ||u_i^T N_2||^2 / (|n - dx| - 1)

with B_1 = A L + N_1. For n >= dx C and P are zero. All terms are positive: nothing cancels. Summed over all directions
and averaged over the noise, this is the risk of FFT given L and C:

    E risk(D_FFT) = Tr(Sigma_eps) (t + (k - w) (1 + t) / (|n - dx| - 1)) + Tr(A P A^T),    k = min(n, dx)

The variance of these means is smaller than that of the risk, and finite for max(n, dx) > w + 3 wherever the mean
exists. Derivation: `docs/theory.md`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linreg_lora.sampling.directions import Directions, Numbers


class ConditionalRisks(NamedTuple):
    """Given one draw of the directions: risk of D_r for r = 0..q, of FFT, and of FFT averaged over the noise."""

    lora: Float[Array, "ranks"]
    fft: Float[Array, ""]
    fft_over_noise: Float[Array, ""]


def conditional_risks(
    basis: Float[Array, "rows q"], directions: Directions, whitened: Float[Array, "rows k"], numbers: Numbers
) -> ConditionalRisks:
    """`basis` U_q, the leading left singular vectors of `whitened` B, strongest first."""
    seen, w = numbers.seen, numbers.seen.shape[1]
    gap, k = jnp.abs(numbers.n - numbers.dx), jnp.minimum(numbers.n, numbers.dx)
    first, second = directions.noise[:, :w], directions.noise[:, w:]
    update, unseen_update, missed, t = _inverses(directions)
    spread = (1 + t) / (gap - 1)

    def errors(signal: Array, first: Array, both: Array, second: Array) -> Float[Array, "directions"]:
        """e_i of rows u_i^T A, u_i^T N_1, u_i^T B_1, u_i^T N_2; summed over an orthonormal basis, e of all of it."""
        learned = jnp.sum((first @ update - signal @ missed) ** 2, axis=-1)
        return learned + jnp.sum((both @ unseen_update) ** 2, axis=-1) + spread * jnp.sum(second**2, axis=-1)

    signal = basis.mT @ seen
    error = errors(signal, basis.mT @ first, basis.mT @ whitened[:, :w], basis.mT @ second)
    loss = jnp.sum(signal**2, axis=-1)
    zero = jnp.zeros(1)
    learned = jnp.concatenate([zero, jnp.cumsum(error)])
    unlearned = jnp.concatenate([jnp.cumsum(loss[::-1])[::-1], zero])
    beyond = 0.0 if basis.shape[0] == basis.shape[1] else jnp.sum((seen - basis @ signal) ** 2)
    return ConditionalRisks(
        learned + unlearned + beyond,
        jnp.sum(errors(seen, first, whitened[:, :w], second)),
        numbers.noise_trace * (t + (k - w) * spread) + jnp.sum((seen @ missed) * seen),
    )


def _inverses(directions: Directions) -> tuple[Array, Array, Array, Array]:
    """S^{-1} L^T, S^{-1} C, P and t, from a QR factorisation of [L; C^T] (n < dx)."""
    triangle = directions.triangle
    w = triangle.shape[0]
    if directions.unseen is None:
        inverse = _inverse_of_lower(triangle)
        return inverse, jnp.zeros((w, 1)), jnp.zeros((w, w)), jnp.sum(inverse**2)
    q, r = jnp.linalg.qr(jnp.concatenate([triangle, directions.unseen.mT]))
    inverse = _inverse_of_lower(r.mT).mT
    return inverse @ q[:w].mT, inverse @ q[w:].mT, jnp.eye(w) - q[:w] @ q[:w].mT, jnp.sum(inverse**2)


def _inverse_of_lower(matrix: Float[Array, "w w"]) -> Float[Array, "w w"]:
    return jax.lax.linalg.triangular_solve(matrix, jnp.eye(matrix.shape[0]), left_side=True, lower=True)
