"""The self-consistent equation behind the risk of LoRA, and its first-order correction at finite size.

Stack inputs and residuals, h = (x, R), columns iid N(0, V), with blocks V_kl, k, l in {0: inputs, 1: outputs},

    V_00 = Sigma,  V_10 = Delta Sigma = V_01^T,  V_11 = Delta Sigma Delta^T + Sigma_eps,
    M(z) = [[X X^T + eta I, X R^T], [R X^T, z I]] = diag(eta I, z I) + sum over samples of U K U^T,
    U = [(x, 0), (0, R)],   K = [[1, 1], [1, 0]].

The blocks of M^{-1} hold the resolvent of F F^T and everything the risk needs (`equivalent`). Each sample is an update
of rank two, so that E M^{-1} is close to

    G = [ diag(eta I, z I) + n w o V ]^{-1},    (w o V)_kl = w_kl V_kl,
    w = (L + t)^{-1},   L = K^{-1} = [[0, 1], [1, -1]],   t_kl = Tr(V_lk G_kl):

three complex scalars w_00, w_01 = w_10, w_11. Of the solutions the one with Im w >= 0 (a positive semi-definite 2 x 2
matrix) for Im z > 0 is unique and is the limit of the true one. See docs/theory.md for the derivation.
"""

import functools
import itertools
import operator
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex

from linreg_lora.theory.contours.modes import Blocks, Pencil
from linreg_lora.theory.resolvent.dyson import Equations

_L = np.array([[0.0, 1.0], [1.0, -1.0]])
_SIDES = (0, 1)
_QUADRUPLES = list(itertools.product(_SIDES, repeat=4))
#: The entries of a symmetric 2 x 2 matrix that are kept.
_PACKED = ((0, 0), (0, 1), (1, 1))
_ROUNDING = 1e-12


def step(pencil: Pencil, z: Complex[Array, ""], state: Complex[Array, "3"]) -> Complex[Array, "3"]:
    """One step of the fixed-point map on (w_00, w_01, w_11)."""
    return linearise(pencil, z, state)[0]


def linearise(
    pencil: Pencil, z: Complex[Array, ""], state: Complex[Array, "3"]
) -> tuple[Complex[Array, "3"], Complex[Array, "3 3"]]:
    """The fixed-point map w -> (L + t)^{-1} and its Jacobian, dw = -w dt w.

    t is the gradient of the potential log det G^{-1} / n in w, where w_01 counts twice, and dt its Hessian.
    """
    parts = [_potential(pencil, part, z, state) for part in pencil.parts]
    gradient, hessian = _sum(slope for slope, _ in parts), _sum(curvature for _, curvature in parts)
    twice = jnp.array([1.0, 2.0, 1.0])
    a, b, c = found = _weights(gradient / (pencil.n * twice))
    dw = -_matrix([[a * a, 2 * a * b, b * b], [a * b, a * c + b * b, b * c], [b * b, 2 * b * c, c * c]])
    dt = hessian / (pencil.n * twice[:, None])
    return found, jnp.sum(dw[:, :, None] * dt[None], axis=1)


def traces(pencil: Pencil, z: Complex[Array, ""], state: Complex[Array, "3"]) -> Complex[Array, "4"]:
    """-Tr G_11 (directions), -Tr V_00 G_00 (energy), Tr V_10 G_01 (overlap), -Tr Sigma_pre G_00 (forgetting)."""
    w = _unpack(state)
    return _sum(_traces(part, _resolvent(pencil, part, z, w)) for part in pencil.parts)


def proper(state: Complex[Array, "3"]) -> Bool[Array, ""]:
    """Whether Im w >= 0: the one solution that is a limit of resolvents.

    Without ridge w_00 = w_01 = 0 solves the equation too, and is none: there the inputs' resolvent is infinite.
    """
    a, b, c = jnp.imag(state)
    size = jnp.max(jnp.abs(state))
    slack = _ROUNDING * size
    positive = (a >= -slack) & (c >= -slack) & (a * c - b * b >= -slack * (jnp.abs(a) + jnp.abs(c) + slack))
    return positive & (jnp.abs(state[0]) > _ROUNDING * size)


def correction(pencil: Pencil, z: Complex[Array, ""], state: Complex[Array, "3"]) -> Complex[Array, "4"]:
    """The four traces of delta G, the first-order difference between E M^{-1} and G at finite size.

    The leading error is the transpose term of the self-consistent equation of a real matrix. With L free to vary in
    w = (L + t)^{-1}, and Y_kl = dG / dL_kl (all four entries independent),

        delta G = G K1 - n G (delta w o V) G,         K1 = sum_kl V_kl Y_kl,
        delta w = -w delta t w + w K2,                (K2)_km = (1/n) sum_l Tr(V_kl Y_ml),
        delta t_kl = Tr(V_lk delta G_kl).
    """
    n, w = pencil.n, _unpack(state)
    resolvents = [_resolvent(pencil, part, z, w) for part in pencil.parts]
    each = [_response(pencil, part, g) for part, g in zip(pencil.parts, resolvents, strict=True)]
    response = jnp.stack([_sum(r[index] for r in each) for index in _QUADRUPLES]).reshape(2, 2, 2, 2)
    # dw - w (response . dw) w = right side: four unknowns.
    system = jnp.eye(4) - jnp.einsum("ae,efcd,fb->abcd", w, response, w).reshape(4, 4)

    def respond(right: Complex[Array, "2 2 m"]) -> Complex[Array, "2 2 m"]:
        return jnp.linalg.solve(system, right.reshape(4, -1)).reshape(right.shape)

    d_w = respond(-jnp.einsum("ak,lb->abkl", w, w).reshape(2, 2, 4)).reshape(2, 2, 2, 2)
    first, k2 = [], jnp.zeros((2, 2), complex)
    for part, g in zip(pencil.parts, resolvents, strict=True):
        gk1, share = _transpose_term(part, g, n * d_w)
        first.append(gk1)
        k2 = k2 + share / n
    t = _sum(_overlaps(part, gk1) for part, gk1 in zip(pencil.parts, first, strict=True))
    delta_w = respond((w @ k2 - w @ t @ w)[..., None])[..., 0]
    return _sum(
        _traces(part, [[gk1[i][j] - n * _spread(part, g, delta_w, i, j) for j in _SIDES] for i in _SIDES])
        for part, g, gk1 in zip(pencil.parts, resolvents, first, strict=True)
    )


# -- one part -------------------------------------------------------------------------------------------------------


def _resolvent(pencil: Pencil, part: Blocks, z: Array, w: Complex[Array, "2 2"]) -> list[list[Array]]:
    """G by blocks, by elimination of the inputs."""
    n = pencil.n
    a = jnp.where(part.absent[0], 1.0, pencil.ridge) + n * w[0, 0] * part.inputs
    b = n * w[0, 1] * part.cross
    scaled = _times(1 / a, b)
    schur = _diagonal(part, jnp.where(part.absent[1], 1.0, z)) + n * w[1, 1] * part.outputs - _times(b.T, scaled)
    g11 = 1 / schur if part.copies is not None else jnp.linalg.inv(schur)
    g01 = -_times(scaled, g11)
    return [[_diagonal(part, 1 / a) - _times(g01, scaled.T), g01], [g01.T, g11]]


def _potential(
    pencil: Pencil, part: Blocks, z: Array, state: Complex[Array, "3"]
) -> tuple[Complex[Array, "3"], Complex[Array, "3 3"]]:
    """Gradient and Hessian of log det G^{-1} in (w_00, w_01, w_11).

    log det G^{-1} = sum log a + log det S,     a = eta + n w_00 V_00,
    S = z + n w_11 V_11 - n^2 w_01^2 C_1,       C_k = V_10 V_00^{k-1} a^{-k} V_01
    """
    n, (w00, w01, _) = pencil.n, state
    a = jnp.where(part.absent[0], 1.0, pencil.ridge) + n * w00 * part.inputs
    share = n * part.inputs / a
    c1, c2, c3 = (_gram(part, weight) for weight in (1 / a, part.inputs / a**2, part.inputs**2 / a**3))
    schur = _diagonal(part, jnp.where(part.absent[1], 1.0, z)) + n * state[2] * part.outputs - (n * w01) ** 2 * c1
    g = 1 / schur if part.copies is not None else jnp.linalg.inv(schur)
    d = [n**3 * w01**2 * c2, -2 * n**2 * w01 * c1, n * part.outputs]
    gd = [_times(g, first) for first in d]
    second = {(0, 0): -2 * n**4 * w01**2 * c3, (0, 1): 2 * n**3 * w01 * c2, (1, 1): -2 * n**2 * c1}
    copies = 1.0 if part.copies is None else part.copies
    gradient = [_trace(part, g, first) for first in d]
    gradient[0] = gradient[0] + jnp.sum(copies * share)
    hessian = [[-_trace(part, gd[i], gd[j]) for j in range(3)] for i in range(3)]
    hessian[0][0] = hessian[0][0] - jnp.sum(copies * share**2)
    for (i, j), derivative in second.items():
        curvature = _trace(part, g, derivative)
        hessian[i][j] = hessian[i][j] + curvature
        if i != j:
            hessian[j][i] = hessian[j][i] + curvature
    return jnp.stack(gradient), _matrix(hessian)


def _gram(part: Blocks, weight: Complex[Array, "i"]) -> Array:
    """V_10 diag(weight) V_01."""
    return _times(part.cross.T, weight[:, None] * part.cross if part.copies is None else weight * part.cross)


def _diagonal(part: Blocks, values: Array) -> Array:
    return values if part.copies is not None else jnp.diag(values)


def _response(pencil: Pencil, part: Blocks, g: list[list[Array]]) -> dict[tuple[int, ...], Array]:
    """r_klmq = n Tr(V_lk G_km V_mq G_ql), so that dt_kl = -sum_mq r_klmq dw_mq."""
    v = part.v
    half = {(i, k, m): _times(v[i][k], g[k][m]) for i, k, m in itertools.product(_SIDES, repeat=3)}
    return {(k, j, m, q): pencil.n * _trace(part, half[j, k, m], half[m, q, j]) for k, j, m, q in _QUADRUPLES}


def _transpose_term(
    part: Blocks, g: list[list[Array]], d_w: Complex[Array, "2 2 2 2"]
) -> tuple[list[list[Array]], Complex[Array, "2 2"]]:
    """G K1 and n K2, where Y_kl = -sum_mq d_w_mqkl G V_mq G (`d_w` includes the factor n)."""
    v = part.v

    def v_times_y(i: int, k: int, m: int, j: int) -> Array:
        """V_ik times block (k, j) of Y_mk."""
        return _times(v[i][k], -_spread(part, g, d_w[:, :, m, k], k, j))

    k1 = [[_sum(v_times_y(i, k, i, j) for k in _SIDES) for j in _SIDES] for i in _SIDES]
    gk1 = [[_sum(_times(g[i][k], k1[k][j]) for k in _SIDES) for j in _SIDES] for i in _SIDES]
    one = jnp.ones_like(part.inputs), jnp.ones_like(jnp.diagonal(part.outputs) if part.copies is None else part.outputs)
    k2 = [[_sum(_trace(part, one[i], v_times_y(i, k, m, i)) for k in _SIDES) for m in _SIDES] for i in _SIDES]
    return gk1, _matrix(k2)


def _spread(part: Blocks, g: list[list[Array]], d_w: Array, i: int, j: int) -> Array:
    """Block (i, j) of G (d_w o V) G."""
    v = part.v
    return _sum(d_w[m, q] * _times(g[i][m], _times(v[m][q], g[q][j])) for m in _SIDES for q in _SIDES)


def _overlaps(part: Blocks, a: list[list[Array]]) -> Complex[Array, "2 2"]:
    """t_kl = Tr(V_lk A_kl)."""
    return _matrix([[_trace(part, part.v[j][k], a[k][j]) for j in _SIDES] for k in _SIDES])


def _traces(part: Blocks, g: list[list[Array]]) -> Complex[Array, "4"]:
    present = jnp.where(part.absent[1], 0.0, 1.0)
    kept = _trace(part, present, g[1][1])
    energy, overlap = _trace(part, part.inputs, g[0][0]), _trace(part, part.cross.T, g[0][1])
    return jnp.stack([-kept, -energy, overlap, -_trace(part, part.pretraining, g[0][0])])


def _times(x: Array | np.ndarray, y: Array) -> Array:
    """A product of blocks: matrices, diagonal matrices given by their diagonal, or vectors of independent scalars."""
    x = jnp.asarray(x)
    if x.ndim == y.ndim == 2:
        return x @ y
    return x[:, None] * y if y.ndim == 2 else x * y


def _trace(part: Blocks, x: Array | np.ndarray, y: Array) -> Array:
    """Tr(x y), each of `part.copies` copies counted."""
    if part.copies is not None:
        return jnp.sum(part.copies * x * y)
    if x.ndim == 1:
        return jnp.sum(x * jnp.diagonal(y))
    return jnp.sum(x * y.T)


def _sum(terms: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, terms)


def _matrix(rows: list[list[Array]]) -> Array:
    return jnp.stack([jnp.stack(row) for row in rows])


# -- w --------------------------------------------------------------------------------------------------------------


def _unpack(state: Complex[Array, "3"]) -> Complex[Array, "2 2"]:
    return jnp.stack([state[:2], state[1:]])


def _weights(t: Complex[Array, "3"]) -> Complex[Array, "3"]:
    """w = (L + t)^{-1}."""
    a, b, c = (_L[index] + t[i] for i, index in enumerate(_PACKED))
    return jnp.stack([c, -b, a]) / (a * c - b * b)


#: K, the value of w where G vanishes: the start of the branch that continues from z = infinity.
EQUATIONS = Equations((1.0 + 0j, 1.0 + 0j, 0j), step, linearise, traces, proper)
