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


def conditional_risks(basis: Float[Array, "rows q"], directions: Directions, numbers: Numbers) -> ConditionalRisks:
    """`basis` U_q, the leading left singular vectors of B, strongest first; all of them give FFT too."""
    seen, w = numbers.seen, numbers.seen.shape[1]
    gap, k = jnp.abs(numbers.n - numbers.dx), jnp.minimum(numbers.n, numbers.dx)
    from_noise, from_signal, t = _maps(directions)
    spread = (1 + t) / (gap - 1)

    def errors(signal: Array, noise: Array) -> Float[Array, "directions"]:
        """e_i of rows u_i^T A and u_i^T N; summed over an orthonormal basis, e of all of it."""
        learned = noise[:, :w] @ from_noise
        if from_signal is not None:
            learned = learned + signal @ from_signal
        return jnp.sum(learned**2, axis=-1) + spread * jnp.sum(noise[:, w:] ** 2, axis=-1)

    signal = basis.mT @ seen
    error = errors(signal, basis.mT @ directions.noise)
    loss = jnp.sum(signal**2, axis=-1)
    zero = jnp.zeros(1)
    learned = jnp.concatenate([zero, jnp.cumsum(error)])
    unlearned = jnp.concatenate([jnp.cumsum(loss[::-1])[::-1], zero])
    beyond = 0.0 if basis.shape[0] == basis.shape[1] else jnp.sum((seen - basis @ signal) ** 2)
    path = learned + unlearned + beyond
    complete = basis.shape[1] == min(directions.noise.shape)
    bias = 0.0 if from_signal is None else jnp.sum((seen @ from_signal) ** 2)
    return ConditionalRisks(
        path,
        path[-1] if complete else jnp.sum(errors(seen, directions.noise)),
        numbers.noise_trace * (t + (k - w) * spread) + bias,
    )


def _maps(directions: Directions) -> tuple[Array, Array | None, Array]:
    """S^{-1} [L^T, C], [-P, L S^{-1} C] and t.

    With the QR factorisation [L; C^T] = [Q_1; Q_2] R these are R^{-1} Q^T, Q_1 Q^T - [I, 0] and ||R^{-1}||_F^2. For
    n >= dx they are L^{-1}, 0 (None) and ||L^{-1}||_F^2.
    """
    triangle = directions.triangle
    if directions.unseen is None:
        inverse = _inverse_of_lower(triangle)
        return inverse, None, jnp.sum(inverse**2)
    w = len(triangle)
    q, r = jnp.linalg.qr(jnp.concatenate([triangle, directions.unseen.mT]))
    inverse = _inverse_of_lower(r.mT).mT
    return inverse @ q.mT, q[:w] @ q.mT - jnp.eye(w, 2 * w), jnp.sum(inverse**2)


def _inverse_of_lower(matrix: Float[Array, "w w"]) -> Float[Array, "w w"]:
    return jax.lax.linalg.triangular_solve(matrix, jnp.eye(matrix.shape[0]), left_side=True, lower=True)
