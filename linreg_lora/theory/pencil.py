"""The Dyson equation behind the risk of LoRA, and its first-order correction at finite size.

Stack inputs and residuals, H = [X; R], columns iid N(0, V), and let J = diag(0_dx, I_dy) and
C(z) = diag(eta I_dx, z I_dy),

    V = [[Sigma, Sigma Delta^T], [Delta Sigma, Delta Sigma Delta^T + Sigma_eps]],
    M(z) = C(z) + H H^T - J H H^T J = [[X X^T + eta I, X R^T], [R X^T, z I]].

The blocks of M^{-1} hold the resolvent of F F^T and everything the risk needs (`equivalent`). As the dimensions grow,
E M^{-1} is close to

    G = [ C(z) - n sum_ab Gamma_ab V_ab ]^{-1},     V_ab = J^{a-1} V J^{b-1},  a, b in {1, 2},  J^0 = I,
    Gamma = [ -diag(1, -1) - tau ]^{-1},            tau_ab = Tr(V_ba G).

Gamma is a symmetric 2 x 2 complex matrix: three scalars. Where V splits into small blocks (isotropic inputs: one 2 x 2
block for each distinct singular value) the cost does not depend on the dimensions. The same code serves one block of
full size.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from linreg_lora.theory.dyson import Equations, damped, newton

#: diag(1, -1), the signs with which H H^T and J H H^T J enter M.
_THETA = jnp.array([1.0, -1.0])


class Pencil(NamedTuple):
    """A block-diagonal pencil: K distinct blocks of size b x b, block k repeated `multiplicity[k]` times.

    `covariance` V; `outputs` the diagonal of J, which is the same in all blocks; `ridge` eta; `dummy` marks coordinates
    that pad a block to size b: there V = 0 and C = 1, so that they add constants, which no contour integral sees.
    `weights` W_t define the traces that a contour integral turns into numbers (`equivalent`).
    """

    n: Float[Array, ""]
    ridge: Float[Array, ""]
    covariance: Float[Array, "K b b"]
    outputs: Float[Array, "b"]
    dummy: Float[Array, "K b"]
    multiplicity: Float[Array, "K"]
    weights: Float[Array, "traces K b b"]

    @property
    def parts(self) -> Float[Array, "2 2 K b b"]:
        """V_ab = J^{a-1} V J^{b-1}."""
        masks = jnp.stack([jnp.ones_like(self.outputs), self.outputs])
        return masks[:, None, None, :, None] * self.covariance * masks[None, :, None, None, :]

    @property
    def output_masks(self) -> tuple[Float[Array, "b b"], Float[Array, "b b"]]:
        """V J + J V and J V J as entrywise multiples of V: J_i + J_j and J_i J_j."""
        return self.outputs[:, None] + self.outputs, self.outputs[:, None] * self.outputs

    def offset(self, z: Complex[Array, ""]) -> Complex[Array, "K b"]:
        """The diagonal of C(z)."""
        diagonal = self.outputs * z + (1 - self.outputs) * self.ridge
        return jnp.where(self.dummy > 0, 1.0, diagonal)


def resolvent(pencil: Pencil, z: Complex[Array, ""], gamma: Complex[Array, "2 2"]) -> Complex[Array, "K b b"]:
    """G(z) for given Gamma."""
    either, both = pencil.output_masks
    weights = gamma[0, 0] + gamma[0, 1] * either + gamma[1, 1] * both
    diagonal = pencil.offset(z)[:, :, None] * jnp.eye(pencil.outputs.shape[0])
    return _inverse(diagonal - pencil.n * weights * pencil.covariance)


def iterate(pencil: Pencil, z: Complex[Array, ""], packed: Complex[Array, "3"]) -> Complex[Array, "3"]:
    """One step of the fixed-point map on (Gamma_11, Gamma_12, Gamma_22)."""
    either, both = pencil.output_masks
    share = jnp.sum(
        pencil.multiplicity[:, None, None] * pencil.covariance * resolvent(pencil, z, unpack(packed)), axis=0
    )
    a, b, c = -1 - jnp.sum(share), -jnp.sum(either * share) / 2, 1 - jnp.sum(both * share)
    return jnp.stack([c, -b, a]) / (a * c - b * b)


def unpack(packed: Complex[Array, "3"]) -> Complex[Array, "2 2"]:
    """The symmetric matrix Gamma from its three entries."""
    return jnp.array([[packed[0], packed[1]], [packed[1], packed[2]]])


def traces(pencil: Pencil, z: Complex[Array, ""], packed: Complex[Array, "3"]) -> Complex[Array, "traces"]:
    """Tr(W_t G) for every weight W_t of the pencil."""
    return weigh(pencil, resolvent(pencil, z, unpack(packed)))


def weigh(pencil: Pencil, matrix: Complex[Array, "K b b"]) -> Complex[Array, "traces"]:
    """Tr(W_t A) for a block-diagonal A."""
    weighted = pencil.multiplicity[:, None, None] * pencil.weights * matrix.mT
    return jnp.sum(weighted, axis=(1, 2, 3))


def damp(pencil: Pencil, z: Complex[Array, ""], start: Complex[Array, "3"], steps: int) -> Complex[Array, "3"]:
    """Damped fixed-point steps from `start`."""
    return damped(lambda packed: iterate(pencil, z, packed), start, steps)


def solve(
    pencil: Pencil, z: Complex[Array, ""], start: Complex[Array, "3"]
) -> tuple[Complex[Array, "3"], Float[Array, ""]]:
    """Gamma at z by Newton's method from `start`, and the residual |map(Gamma) - Gamma|; never raises."""

    return newton(lambda packed: iterate(pencil, z, packed) - packed, start)


def correction(pencil: Pencil, z: Complex[Array, ""], packed: Complex[Array, "3"]) -> Complex[Array, "K b b"]:
    """delta G, the first-order difference between E M^{-1} and G at finite size.

    The leading error is the transpose term of the Dyson equation of a real symmetric pencil. With Theta = diag(1, -1)
    freed to vary in Gamma = [-Theta^{-1} - tau]^{-1}, G^(ab) = dG / dTheta_ab, theta_a the entries of Theta, and

        Y_ab = -theta_a theta_b G^(ab),   K1 = sum_ab V_ab Y_ab,   (K2)_ac = (1/n) sum_b Tr(V_ab Y_cb),
        delta G = G K1 + n sum_cd delta Gamma_cd G V_cd G,
        delta Gamma = Gamma delta tau Gamma + Gamma K2,             delta tau_ab = Tr(V_ba delta G).
    """
    n, parts, multiplicity = pencil.n, pencil.parts + 0j, pencil.multiplicity + 0j
    gamma = unpack(packed)
    g = resolvent(pencil, z, gamma)
    spread = jnp.einsum("kij,cdkjl,klm->cdkim", g, parts, g)
    response = n * jnp.einsum("k,bakij,cdkji->abcd", multiplicity, parts, spread)
    # dGamma - Gamma (response dGamma) Gamma = right side, a 4 x 4 system for each of five right sides.
    system = jnp.eye(4) - jnp.einsum("ae,efcd,fb->abcd", gamma, response, gamma).reshape(4, 4)

    def respond(right: Complex[Array, "2 2 m"]) -> Complex[Array, "2 2 m"]:
        return jnp.linalg.solve(system, right.reshape(4, -1)).reshape(right.shape)

    signs = _THETA + 0j
    units = jnp.einsum("ap,bq->abpq", jnp.diag(signs), jnp.diag(signs)).reshape(2, 2, 4)
    d_gamma = respond(-jnp.einsum("ae,efm,fb->abm", gamma, units, gamma)).reshape(2, 2, 2, 2)
    derivative = n * jnp.einsum("cdpq,cdkij->pqkij", d_gamma, spread)
    y = -signs[:, None, None, None, None] * signs[None, :, None, None, None] * derivative
    k1 = jnp.einsum("abkij,abkjl->kil", parts, y)
    k2 = jnp.einsum("k,abkij,cbkji->ac", multiplicity, parts, y) / n
    first = jnp.einsum("kij,kjl->kil", g, k1)
    d_tau = jnp.einsum("k,bakij,kji->ab", multiplicity, parts, first)
    delta_gamma = respond((gamma @ d_tau @ gamma + gamma @ k2)[..., None])[..., 0]
    return first + n * jnp.einsum("cd,cdkij->kij", delta_gamma, spread)


def _inverse(matrix: Complex[Array, "K b b"]) -> Complex[Array, "K b b"]:
    if matrix.shape[-1] != 2:
        return jnp.linalg.inv(matrix)
    a, b, c, d = (matrix[:, i, j] for i in (0, 1) for j in (0, 1))
    determinant = a * d - b * c
    return jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], -2) / determinant[:, None, None]


#: Gamma where G vanishes, diag(-1, 1): the start of the branch that continues from z = infinity.
FAR_START = (-1.0 + 0j, 0j, 1.0 + 0j)
EQUATIONS = Equations(FAR_START, damp, solve, traces)
