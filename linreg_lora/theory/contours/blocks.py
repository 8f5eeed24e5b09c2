"""Blocks of the self-consistent equation at many points: their share of t, of its derivatives and of the traces.

    G = [[a, b], [b^T, S']]^{-1},   a = eta + n w_00 V_00,   b = n w_01 V_01,   S' = z + n w_11 V_11

Every sum is one of products of entries of G with products of entries of V. Where Delta, Sigma and Sigma_eps share their
bases the blocks are 2 x 2, one a mode, and all sums over modes are products with a few vectors; else they are matrices.
"""

import functools
import itertools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Complex, Float, Inexact

from linreg_lora.theory.contours.modes import Blocks

#: Points times modes that are worked on together: a megabyte of complex numbers, so that they stay in the cache.
_CHUNK = 2**15
_SIDES = (0, 1)
_QUADRUPLES = list(itertools.product(_SIDES, repeat=4))
#: The place of an entry of a symmetric 2 x 2 matrix among (00, 01, 11), and of a pair of such among the six.
_PAIR = {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 1): 3, (1, 2): 4, (2, 2): 5}
_TRIPLES = list(itertools.combinations_with_replacement(range(3), 3))


def block_of(part: Blocks, n: float, ridge: float) -> "ScalarBlock | MatrixBlock":
    """The block of independent modes, or of matrices."""
    return MatrixBlock(part, n, ridge) if part.copies is None else ScalarBlock(part, n, ridge)


def summed(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of arrays of one shape, as an array of its own."""
    return functools.reduce(np.add, parts, np.zeros(()))


class ScalarBlock:
    """K modes of one input and one output each, counted `copies` times."""

    def __init__(self, part: Blocks, n: float, ridge: float) -> None:
        assert part.copies is not None
        self.n, self.v = n, np.stack([part.inputs, part.cross, part.outputs])
        no_input, no_output = part.absent
        self.ridge, self.lacks_output = np.where(no_input, 1.0, ridge), no_output
        self.any_lacks_output = bool(np.any(no_output))
        copies, pretraining = part.copies, part.pretraining
        self.weights = copies * self.v
        self.pairs = np.stack([copies * self.v[i] * self.v[j] for i, j in _PAIR], axis=1)
        self.kept = copies * ~no_output
        self.copies, self.forgotten = copies, copies * pretraining
        #: Weights of T1 or T2 of products of three entries of G: for traces with 1, V_00, V_01, V_11 and Sigma_pre.
        self.triples = np.concatenate(
            [self.pairs * extra[:, None] for extra in (self.kept / np.maximum(copies, 1), *self.v, pretraining)], axis=1
        )
        self.size = max(1, _CHUNK // max(1, len(copies)))

    def overlaps(self, z: np.ndarray, w: np.ndarray) -> Inexact[np.ndarray, "3 p"]:
        """t in the order 00, 01, 11."""
        found = np.empty((3, len(z)), dtype=complex)
        for part in self._chunks(len(z)):
            for k, g in enumerate(self.resolvent(z[part], w[:, part])):
                found[k, part] = g @ self.weights[k]
        return found

    def slopes(self, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """t in the order 00, 01, 11, its Jacobian in w, and its derivative in z."""
        p = len(z)
        t, dt, dz = (np.empty((*s, p), dtype=complex) for s in ((3,), (3, 3), (3,)))
        c = self.pairs.T
        for part in self._chunks(p):
            g00, g01, g11 = self.resolvent(z[part], w[:, part])
            for k, g in enumerate((g00, g01, g11)):
                t[k, part] = g @ self.weights[k]
            h01, h11 = g00 * g01, g01 * g01
            cross, outer, inner = h11 @ c[3], g01 * g11, g11 * g11
            mixed = h01 @ c[1]
            corner, other = h11 @ c[2], outer @ c[4]
            dt[0, 0, part], dt[0, 1, part], dt[0, 2, part] = (g00 * g00) @ c[0], 2 * mixed, corner
            dt[1, 0, part], dt[1, 1, part], dt[1, 2, part] = mixed, (g00 * g11) @ c[3] + cross, other
            dt[2, 0, part], dt[2, 1, part], dt[2, 2, part] = corner, 2 * other, inner @ c[5]
            dz[0, part], dz[1, part], dz[2, part] = (
                h11 @ self.weights[0],
                outer @ self.weights[1],
                inner @ self.weights[2],
            )
        dt *= -self.n
        return t, dt, -dz

    def traces(self, z: np.ndarray, w: np.ndarray) -> np.ndarray:
        found = np.empty((4, len(z)), dtype=complex)
        for part in self._chunks(len(z)):
            g00, g01, g11 = self.resolvent(z[part], w[:, part])
            found[0, part], found[1, part] = -(g11 @ self.kept), -(g00 @ self.weights[0])
            found[2, part], found[3, part] = g01 @ self.weights[1], -(g00 @ self.forgotten)
        return found

    def shift_energy(self, z: np.ndarray, w: np.ndarray) -> Complex[np.ndarray, "p"]:
        """Tr Delta Sigma Delta^T G_11."""
        energy = self.copies * np.divide(self.v[1] ** 2, self.v[0], out=np.zeros_like(self.v[0]), where=self.v[0] > 0)
        found = np.empty(len(z), dtype=complex)
        for part in self._chunks(len(z)):
            found[part] = self.resolvent(z[part], w[:, part])[2] @ energy
        return found

    def argument(self, z: np.ndarray, w: np.ndarray) -> Float[np.ndarray, "p"]:
        """The argument of det G^{-1}, of a and of its Schur complement."""
        found = np.empty(len(z))
        for part in self._chunks(len(z)):
            a, b, d = self._entries(z[part], w[:, part])
            found[part] = (np.angle(a) + np.angle(d - b * b / a)) @ self.copies
        return found

    def resolvent(self, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """G_00, G_01 and G_11, each (points, modes)."""
        a, b, d = self._entries(z, w)
        inverse = 1 / (a * d - b * b)
        return d * inverse, -b * inverse, a * inverse

    def response(self, z: np.ndarray, w: np.ndarray) -> Complex[np.ndarray, "2 2 2 2 p"]:
        """r_klmq = n Tr(V_lk G_km V_mq G_ql), so that dt_kl = -sum_mq r_klmq dw_mq."""
        table = np.empty((6, 6, len(z)), dtype=complex)
        for part in self._chunks(len(z)):
            g = self._by_modes(z[part], w[:, part])
            table[:, :, part] = _weighted(self.pairs, np.stack([g[i] * g[j] for i, j in _PAIR]))
        found = np.empty((2, 2, 2, 2, len(z)), dtype=complex)
        for k, j, m, q in _QUADRUPLES:
            found[k, j, m, q] = self.n * table[_pair(k + m, q + j), _pair(j + k, m + q)]
        return found

    def transposed(self, z: np.ndarray, w: np.ndarray, d_w: np.ndarray) -> Complex[np.ndarray, "6 p"]:
        """Traces of G K1 (`correction`) with V_00, V_01, V_10, V_11, the outputs and Sigma_pre; `d_w`: (2 2 2 2 p)."""
        table = np.empty((10, 30, len(z)), dtype=complex)
        for part in self._chunks(len(z)):
            g = self._by_modes(z[part], w[:, part])
            squares = {(i, j): g[i] * g[j] for i, j in _PAIR}
            table[:, :, part] = _weighted(self.triples, np.stack([squares[i, j] * g[k] for i, j, k in _TRIPLES]))
        place: dict[tuple[int, ...], int] = {triple: row for row, triple in enumerate(_TRIPLES)}
        found = np.zeros((6, len(z)), dtype=complex)
        for p, s, a, b in _QUADRUPLES:
            weight = -self.n * d_w[a, b, p, s]
            pair = _pair(p + s, a + b)
            for row, (i, j, extra) in enumerate(((0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 3), (1, 1, 0), (0, 0, 4))):
                triple = place[tuple(sorted((i + p, s + a, b + j)))]
                found[row] += weight * table[triple, 6 * extra + pair]
        return found

    def spread(self, z: np.ndarray, w: np.ndarray, d_w: np.ndarray) -> Complex[np.ndarray, "2 p"]:
        """Traces of n G (d_w o V) G with the outputs and with Sigma_pre."""
        found = np.empty((2, len(z)), dtype=complex)
        weight = d_w.reshape(4, -1)
        for part in self._chunks(len(z)):
            g00, g01, g11 = self.resolvent(z[part], w[:, part])
            for row, (side, copies) in enumerate((((g01, g11), self.kept), ((g00, g01), self.forgotten))):
                pairs = side[0] * side[0], side[0] * side[1], side[1] * side[1]
                sums = [pair @ (copies * v) for pair, v in zip(pairs, self.v, strict=True)]
                found[row, part] = self.n * sum(weight[k, part] * sums[place] for k, place in enumerate((0, 1, 1, 2)))
        return found

    def _entries(self, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b, d = (self.n * w)[:, :, None] * self.v[:, None]
        d += np.where(self.lacks_output, 1.0, z[:, None]) if self.any_lacks_output else z[:, None]
        return a + self.ridge, b, d

    def _by_modes(self, z: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
        """G_00, G_01 and G_11, each (modes, points)."""
        return [np.ascontiguousarray(entry.T) for entry in self.resolvent(z, w)]

    def _chunks(self, points: int) -> list[slice]:
        return [slice(k, k + self.size) for k in range(0, points, self.size)]


def _weighted(
    weights: Float[np.ndarray, "k c"], products: Complex[np.ndarray, "t k p"]
) -> Complex[np.ndarray, "t c p"]:
    """Sums over modes with each column of real weights, real and imaginary parts side by side."""
    return (weights.T @ products.view(float)).view(complex)


class MatrixBlock:
    """Input and output directions that Delta couples in other bases than those of Sigma and Sigma_eps."""

    def __init__(self, part: Blocks, n: float, ridge: float) -> None:
        self.n, self.ridge, self.part = n, ridge, part
        self.inputs, self.cross, self.outputs = part.inputs, part.cross, part.outputs
        self.unit = np.eye(len(self.outputs))
        self.size = max(1, 16 * _CHUNK // max(1, self.unit.size))

    def overlaps(self, z: np.ndarray, w: np.ndarray) -> Inexact[np.ndarray, "3 p"]:
        return self.slopes(z, w)[0]

    def slopes(self, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As for scalars, from gradient and Hessian of log det G^{-1} = sum log a + log det S in w:

        S = z + n w_11 V_11 - n^2 w_01^2 C_1,       C_k = V_10 V_00^{k-1} a^{-k} V_01
        """
        found = [self._slopes(z[part], w[:, part]) for part in self._chunks(len(z))]
        t, dt, dz = (np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True))
        return t, dt, dz

    def _slopes(self, z: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n, w01 = self.n, w[1][:, None, None]
        a = self.ridge + n * w[0][:, None] * self.inputs
        c1, c2, c3 = (self._gram(weight) for weight in (1 / a, self.inputs / a**2, self.inputs**2 / a**3))
        g = np.linalg.inv(self._schur(z, w, c1))
        share = n * self.inputs / a
        d = (n**3 * w01**2 * c2, -2 * n**2 * w01 * c1, n * self.outputs)
        second = {(0, 0): -2 * n**4 * w01**2 * c3, (0, 1): 2 * n**3 * w01 * c2, (1, 1): -2 * n**2 * c1}
        gd = [g @ first for first in d]
        twice = n * np.array([1.0, 2.0, 1.0])
        gradient = np.stack([np.trace(first, axis1=1, axis2=2) for first in gd])
        gradient[0] += np.sum(share, axis=1)
        slope = -np.stack([_trace(first, g) for first in gd])
        hessian = np.empty((3, 3, len(z)), dtype=complex)
        for i, j in _PAIR:
            hessian[i, j] = -_trace(gd[i], gd[j])
            if (i, j) in second:
                hessian[i, j] += _trace(g, second[i, j])
            hessian[j, i] = hessian[i, j]
        hessian[0, 0] -= np.sum(share**2, axis=1)
        return gradient / twice[:, None], hessian / twice[:, None, None], slope / twice[:, None]

    def traces(self, z: np.ndarray, w: np.ndarray) -> np.ndarray:
        found = []
        for part in self._chunks(len(z)):
            g = self._resolvent(z[part], w[:, part])
            found.append(self._traces(g))
        return np.concatenate(found, axis=1)

    def argument(self, z: np.ndarray, w: np.ndarray) -> Float[np.ndarray, "p"]:
        """The argument of det G^{-1}: the eigenvalues of S have theirs between 0 and pi, as those of a.

        nan where w is no number, as where Newton's method failed.
        """
        found = []
        for part in self._chunks(len(z)):
            a = self.ridge + self.n * w[0, part][:, None] * self.inputs
            schur = self._schur(z[part], w[:, part], self._gram(1 / a))
            lost = ~np.all(np.isfinite(schur), axis=(1, 2))
            values = np.linalg.eigvals(np.where(lost[:, None, None], 0.0, schur))
            argument = np.sum(np.angle(a), axis=1) + np.sum(np.angle(values), axis=1)
            found.append(np.where(lost, np.nan, argument))
        return np.concatenate(found)

    def response(self, z: np.ndarray, w: np.ndarray) -> Complex[np.ndarray, "2 2 2 2 p"]:
        found = np.empty((2, 2, 2, 2, len(z)), dtype=complex)
        for part in self._chunks(len(z)):
            g = self._resolvent(z[part], w[:, part])
            half = {(i, k, m): _times(self.part.v[i][k], g[k][m]) for i, k, m in itertools.product(_SIDES, repeat=3)}
            for k, j, m, q in _QUADRUPLES:
                found[k, j, m, q, part] = self.n * _trace(half[j, k, m], half[m, q, j])
        return found

    def transposed(self, z: np.ndarray, w: np.ndarray, d_w: np.ndarray) -> Complex[np.ndarray, "6 p"]:
        """As for scalars, with K1_ij = sum_l V_il (Y_il)_lj and Y_kl = -n G (d_w_kl o V) G."""
        found = np.empty((6, len(z)), dtype=complex)
        v = self.part.v
        for part in self._chunks(len(z)):
            g = self._resolvent(z[part], w[:, part])
            k1 = [
                [sum(_times(v[i][k], -self._spread(g, d_w[:, :, i, k, part], k, j)) for k in _SIDES) for j in _SIDES]
                for i in _SIDES
            ]
            gk1 = [[g[i][0] @ k1[0][j] + g[i][1] @ k1[1][j] for j in _SIDES] for i in _SIDES]
            for row, (i, j) in enumerate(itertools.product(_SIDES, repeat=2)):
                found[row, part] = _trace(v[j][i], gk1[i][j])
            found[4, part] = np.trace(gk1[1][1], axis1=1, axis2=2)
            found[5, part] = _trace(self.part.pretraining, gk1[0][0])
        return found

    def spread(self, z: np.ndarray, w: np.ndarray, d_w: np.ndarray) -> Complex[np.ndarray, "2 p"]:
        found = np.empty((2, len(z)), dtype=complex)
        for part in self._chunks(len(z)):
            g = self._resolvent(z[part], w[:, part])
            found[0, part] = np.trace(self._spread(g, d_w[:, :, part], 1, 1), axis1=1, axis2=2)
            found[1, part] = _trace(self.part.pretraining, self._spread(g, d_w[:, :, part], 0, 0))
        return found

    def _spread(self, g: list[list[np.ndarray]], d_w: np.ndarray, i: int, j: int) -> np.ndarray:
        """Block (i, j) of n G (d_w o V) G."""
        v = self.part.v
        return self.n * summed(
            d_w[m, q][:, None, None] * (g[i][m] @ _times(v[m][q], g[q][j])) for m in _SIDES for q in _SIDES
        )

    def _traces(self, g: list[list[np.ndarray]]) -> np.ndarray:
        kept, energy = np.trace(g[1][1], axis1=1, axis2=2), _trace(self.inputs, g[0][0])
        return np.stack([-kept, -energy, _trace(self.cross.T, g[0][1]), -_trace(self.part.pretraining, g[0][0])])

    def _resolvent(self, z: np.ndarray, w: np.ndarray) -> list[list[np.ndarray]]:
        """G by blocks, by elimination of the inputs."""
        a = self.ridge + self.n * w[0][:, None] * self.inputs
        scaled = (self.n * w[1][:, None] / a)[:, :, None] * self.cross
        g11 = np.linalg.inv(self._schur(z, w, self._gram(1 / a)))
        g01 = -scaled @ g11
        g00 = -g01 @ scaled.swapaxes(1, 2)
        place = np.arange(len(self.inputs))
        g00[:, place, place] += 1 / a
        return [[g00, g01], [g01.swapaxes(1, 2), g11]]

    def _schur(self, z: np.ndarray, w: np.ndarray, c1: np.ndarray) -> np.ndarray:
        z, _, w01, w11 = (part[:, None, None] for part in (z, *w))
        return z * self.unit + self.n * w11 * self.outputs - (self.n * w01) ** 2 * c1

    def _gram(self, weight: Complex[np.ndarray, "p i"]) -> Complex[np.ndarray, "p o o"]:
        """V_10 diag(weight) V_01."""
        return (self.cross.T * weight[:, None, :]) @ self.cross

    def _chunks(self, points: int) -> list[slice]:
        return [slice(k, k + self.size) for k in range(0, points, self.size)]


def _times(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A product of blocks, of which the first may be the diagonal of a diagonal matrix."""
    return x[:, None] * y if x.ndim == 1 else x @ y


def _trace(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tr(x y) at every point."""
    if x.ndim == 1:
        return np.diagonal(y, axis1=1, axis2=2) @ x
    return np.einsum("...ij,...ji->...", x, y)


def _pair(i: int, j: int) -> int:
    """The place of a product of two entries, each given by the sum of its indices."""
    return _PAIR[min(i, j), max(i, j)]
