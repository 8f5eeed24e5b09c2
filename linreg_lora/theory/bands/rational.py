"""The self-consistent equation without ridge as an explicit curve z(zeta): nothing is left to solve at a zeta.

With A = sum (s^2 + sigma^2) / (zeta - s^2), B = sum s^2 / (zeta - s^2), sums over outputs (s = 0 included), for n > dx
and noise sigma^2 I, in coordinates with Sigma = I,

    z = (n + A) [ zeta + sigma^2 ( dx / n + (1 - dx / n) B / (n + B) ) ]
    t_00 = (n + A) / (n + B) [ dx / (n - dx) + B / (n + B) ],  1 + t_01 = n / (n + B),  t_11 = 1 - n / (n + A)

where w = (L + t)^{-1} (`contours.pencil`). For n < dx, any Sigma and Sigma_eps, with v the eigenvalues of V_11,

    z = zeta (n + sum v / (zeta - v)),        gamma = z / (n zeta)          (`contours.ridgeless`)

z(zeta) has poles on the real axis. An interval between two of them where z grows is a gap of the spectrum where the
unknowns grow with z as those of a resolvent do: where dw / dz >= 0, or d gamma / dz >= 0.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Inexact

from linreg_lora.theory.contours.blocks import ScalarBlock
from linreg_lora.theory.contours.pencil import Equation, PencilEquation
from linreg_lora.theory.contours.ridgeless import RidgelessEquation


class Value(NamedTuple):
    """z at some zeta, with its first two derivatives."""

    z: np.ndarray
    first: np.ndarray
    second: np.ndarray


@runtime_checkable
class Curve(Protocol):
    """z(zeta), its real `poles` in rising order, and the unknowns of the `Equation` that it solves.

    `size`: of zeta in the spectrum. `unknowns`: those of the equation, and their derivatives in z, (s p) each. `total`:
    eigenvalues of F F^T that are not zero. `is_gap`: of real zeta where z grows.
    """

    poles: Float[np.ndarray, "k"]
    size: float
    total: int

    def __call__(self, zeta: np.ndarray) -> Value: ...
    def unknowns(self, zeta: Inexact[np.ndarray, "p"]) -> tuple[np.ndarray, np.ndarray]: ...
    def is_gap(self, zeta: Float[np.ndarray, "p"]) -> Bool[np.ndarray, "p"]: ...


class Sums(NamedTuple):
    """B and A with their derivatives."""

    b: tuple[np.ndarray, np.ndarray, np.ndarray]
    a: tuple[np.ndarray, np.ndarray, np.ndarray]


class Overdetermined:
    """The curve for n > dx; `squares` s^2 of the outputs, `copies` times each."""

    def __init__(
        self, n: float, dx: int, squares: Float[np.ndarray, "K"], copies: Float[np.ndarray, "K"], noise: float
    ) -> None:
        self.n, self.dx, self.noise, self.squares = n, dx, noise, squares
        self._weights = np.stack([copies * squares, copies * (squares + noise)], axis=1)
        self.size = float(np.max(squares)) + noise
        self.total = min(dx, int(np.sum(copies)))
        planted = squares > 0
        s, c = squares[planted], copies[planted]
        zeros = np.linalg.eigvalsh(np.diag(s) - np.sqrt(np.outer(c * s, c * s)) / n)
        self.poles = np.unique(np.concatenate([squares, zeros]))

    def __call__(self, zeta: np.ndarray) -> Value:
        (b, b1, b2), (a, a1, a2) = self._sums(zeta)
        n, inverse = self.n, 1 / (self.n + b)
        share = self.noise * (n - self.dx)
        inner = zeta + self.noise * self.dx / n + share / n * b * inverse
        first = 1 + share * b1 * inverse**2
        second = share * (b2 - 2 * b1 * b1 * inverse) * inverse**2
        beta = n + a
        return Value(beta * inner, a1 * inner + beta * first, a2 * inner + 2 * a1 * first + beta * second)

    def unknowns(self, zeta: Inexact[np.ndarray, "p"]) -> tuple[np.ndarray, np.ndarray]:
        (t00, t01, t11), (d00, d01, d11) = self._traces(zeta)
        cross, t11 = 1 + t01, t11 - 1
        w = np.stack([t11, -cross, t00]) / (t00 * t11 - cross * cross)
        a, b, c = w
        # dw = -w dt w.
        slope = np.stack(
            [
                a * a * d00 + 2 * a * b * d01 + b * b * d11,
                a * b * d00 + (a * c + b * b) * d01 + b * c * d11,
                b * b * d00 + 2 * b * c * d01 + c * c * d11,
            ]
        )
        return w, -slope / self(zeta).first

    def is_gap(self, zeta: Float[np.ndarray, "p"]) -> Bool[np.ndarray, "p"]:
        """dw >= 0 where dt <= 0: that is so of dt_11 always, so the determinant decides."""
        _, (d00, d01, d11) = self._traces(zeta)
        return (d00 <= 0) & (d00 * d11 >= d01 * d01)

    def _traces(self, zeta: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """t_00, t_01 and t_11, and their derivatives in zeta."""
        (b, b1, _), (a, a1, _) = self._sums(zeta)
        n, inverse, beta = self.n, 1 / (self.n + b), self.n + a
        inner = self.dx / (n - self.dx) + b * inverse
        t = beta * inverse * inner, -b * inverse, 1 - n / beta
        outer = a1 * inner - beta * b1 * inverse * (inner - n * inverse)
        return t, (outer * inverse, -n * b1 * inverse**2, n * a1 / beta**2)

    def _sums(self, zeta: np.ndarray) -> Sums:
        inverse = 1 / (zeta[..., None] - self.squares)
        square = inverse * inverse
        s0, s1, s2 = inverse @ self._weights, square @ self._weights, (square * inverse) @ self._weights
        b, a = ((s0[..., k], -s1[..., k], 2 * s2[..., k]) for k in (0, 1))
        return Sums(b, a)


class Underdetermined:
    """The curve for n < dx; `values` v, `copies` times each."""

    def __init__(self, n: float, values: Float[np.ndarray, "K"], copies: Float[np.ndarray, "K"]) -> None:
        self.n, self.poles = n, values
        self._weights = copies * values
        self.size = float(values[-1])
        self.total = min(int(n), int(np.sum(copies)))

    def __call__(self, zeta: np.ndarray) -> Value:
        inverse = 1 / (zeta[..., None] - self.poles)
        weighted = inverse * self._weights
        square = weighted * inverse * self.poles
        z = zeta * (self.n + np.sum(weighted, axis=-1))
        return Value(z, self.n - np.sum(square, axis=-1), 2 * np.sum(square * inverse, axis=-1))

    def unknowns(self, zeta: Inexact[np.ndarray, "p"]) -> tuple[np.ndarray, np.ndarray]:
        inverse = 1 / (zeta[..., None] - self.poles)
        gamma, slope = 1 + inverse @ self._weights / self.n, -(inverse * inverse) @ self._weights / self.n
        return gamma[None], (slope / self(zeta).first)[None]

    def is_gap(self, zeta: Float[np.ndarray, "p"]) -> Bool[np.ndarray, "p"]:
        return np.ones(len(zeta), dtype=bool)


def curve_of(equation: Equation, dx: int, noise: float) -> Curve | None:
    """The curve of an equation without ridge, where it has one; `noise` sigma^2 if isotropic, 0 if not."""
    if isinstance(equation, RidgelessEquation):
        limit = equation.limit
        values, place = np.unique(limit.eigenvalues, return_inverse=True)
        copies = np.bincount(place, limit.multiplicity)
        seen = values > 0
        return Underdetermined(limit.n, values[seen], copies[seen]) if np.any(seen) else None
    if not isinstance(equation, PencilEquation) or equation.ridge != 0 or noise == 0:
        return None
    block = equation.blocks[0]
    if len(equation.blocks) != 1 or not isinstance(block, ScalarBlock):
        return None
    outputs = block.kept > 0
    inputs, cross, _ = (part[outputs] for part in block.v)
    squares = np.divide(cross**2, inputs, out=np.zeros_like(cross), where=inputs > 0)
    return Overdetermined(equation.n, dx, squares, block.kept[outputs], noise)
