"""LoRA's risk given its directions, averaged over the rest of the data in closed form (simulation.conditional).

For n < dx the samples are X = [[L, 0], [Z21, Z22]] after a rotation, b = (b_1, b_2) is the residual along one of LoRA's
directions, and e = ||b (X^T X)^-1 X^T - (a, 0)||^2 its share of the risk, a the shift along that direction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import sympy
from sympy import Rational, symbols

from linreg_lora.proofs.algebra import Exact, Matrix, energy, eye, gaussian_mean, matrix, zeros
from linreg_lora.proofs.fft_in_n import mean_inverse
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

n, dx, w, trace, t = symbols("n dx w Tr_Sigma_eps t", positive=True)


@dataclass(frozen=True)
class Data:
    """One instance: symbols where they are cheap, rational numbers elsewhere."""

    triangle: Exact
    z21: Exact
    z22: Exact

    @cached_property
    def samples(self) -> Exact:
        w, rest = self.triangle.shape[0], self.z22.shape[1]
        return Matrix([[self.triangle, zeros(w, rest)], [self.z21, self.z22]])

    @cached_property
    def gram(self) -> Exact:
        """(Z22^T Z22)^-1."""
        return (self.z22.T * self.z22).inv()

    @cached_property
    def unseen(self) -> Exact:
        """C^T: the part of Z21 outside the columns of Z22."""
        return (self.z21 - self.z22 * self.gram * self.z22.T * self.z21).applyfunc(sympy.cancel)

    @cached_property
    def schur(self) -> Exact:
        """S = L^T L + C C^T."""
        return (self.triangle.T * self.triangle + self.unseen.T * self.unseen).applyfunc(sympy.cancel)

    @cached_property
    def inverse(self) -> Exact:
        """S^-1."""
        return self.schur.inv().applyfunc(sympy.cancel)


def _data() -> tuple[Data, Data, Data]:
    """w = 1 in symbols, n < dx and, in coordinates of the row space, n >= dx; w = 2 at rational numbers, n < dx."""
    small = Data(matrix("L", 1, 1), matrix("Z", 2, 1), matrix("Y", 2, 1))
    square = Data(matrix("L", 1, 1), matrix("Z", 1, 1), matrix("Y", 1, 1))
    triangle = Matrix([[2, 0], [Rational(-1, 3), Rational(3, 2)]])
    z21, z22 = Matrix([[1, 2], [Rational(-1, 2), 1], [3, Rational(1, 3)]]), Matrix([2, 1, -2])
    return small, square, Data(triangle, z21, z22)


def spread(unit: Exact, gap: Exact) -> Exact:
    """What ||u^T N_2||^2 is multiplied with, `gap` = |n - dx|: (1 + Tr S^-1)/(|n - dx| - 1)."""
    return (1 + unit) / (gap - 1)


def error(data: Data, signal: Exact, first: Exact, q: Exact) -> Exact:
    """e averaged over Z21's seen part, with q for b_2^T (Z22^T Z22)^-1 b_2."""
    inverse, triangle = data.inverse, data.triangle
    missed = eye(triangle.shape[0]) - triangle * inverse * triangle.T
    both = signal * triangle + first
    learned = first * inverse * triangle.T - signal * missed
    return energy(learned) + energy(both * inverse * data.unseen.T) + q * (1 + inverse.trace())


@register_proof(
    "conditional-mean",
    title="LoRA's risk given its directions, averaged over other data: a sum of squares, and FFT's when summed",
    source="own; docs/theory.md section 15, simulation.conditional",
)
def conditional_mean() -> Iterator[Step | SimulationOnly]:
    instances = _data()
    sizes = "w = 1 in symbols, on both sides of n = dx; w = 2 in numbers"
    yield Step(
        "Schur complement",
        f"that of Z22^T Z22 in X^T X is S = L^T L + C C^T, and the first block of the inverse is S^-1; {sizes}",
        lambda: [_first_block(data) for data in instances],
    )
    yield Step(
        "one direction",
        f"e = ||L S^-1(b_1 - h) - a||^2 + ||C^T S^-1(b_1 - h)||^2 + q, h = Z21^T Z22 (Z22^T Z22)^-1 b_2; {sizes}",
        lambda: [_direct(data) - _by_blocks(data, *_seen(data)) for data in instances],
    )
    yield Step(
        "h given Z22",
        "has covariance q I, and is made of Pi Z21, Pi the projector on the columns of Z22; C is made of (I - Pi) Z21",
        lambda: _law_of_h(instances[0]),
    )
    yield Step(
        "a sum of squares",
        f"the mean over h ~ N(0, q I) is ||n_1 S^-1 L^T - a P||^2 + ||b_1 S^-1 C||^2 + q (1 + Tr S^-1); {sizes}",
        lambda: [_mean_over_h(data) for data in instances],
    )
    yield Step(
        "its trace",
        f"Tr S^-1(L^T L + C C^T) S^-1 = Tr S^-1; {sizes}",
        lambda: [
            (data.inverse * (data.triangle.T * data.triangle + data.unseen.T * data.unseen) * data.inverse).trace()
            - data.inverse.trace()
            for data in instances
        ],
    )  # fmt: skip
    yield Step(
        "n < dx: the mean of q",
        "Z22^T Z22 ~ Wishart_{n-w}(I, dx - w): E q = ||b_2||^2/(dx - n - 1)",
        lambda: mean_inverse(n - w, dx - w) / (n - w) * (1 + t) - spread(t, dx - n),
    )
    yield Step(
        "n >= dx: the mean of q",
        "C = 0, P = 0, and Z22 Z22^T ~ Wishart_{dx-w}(I, n - w): E q = ||b_2||^2/(n - dx - 1)",
        lambda: [
            mean_inverse(dx - w, n - w) / (dx - w) * (1 + t) - spread(t, n - dx),
            instances[1].unseen,
            eye(1) - instances[1].triangle * instances[1].inverse * instances[1].triangle.T,
        ],
    )  # fmt: skip
    yield SimulationOnly(
        "what is independent", "L, C, N and Z22 are; C C^T ~ Wishart_w(I, dx - n)",
        "test tests/test_conditional.py::test_the_closed_form_is_the_mean_over_the_rest_of_the_data",
    )  # fmt: skip
    yield Step(
        "summed over all directions",
        f"P^2 + L S^-1 C C^T S^-1 L^T = P, so that the bias is Tr A P A^T; {sizes}",
        lambda: [_bias(data) for data in instances],
    )
    yield Step(
        "averaged over the noise",
        f"one noise direction of variance 1 costs Tr S^-1 in N_1; {sizes}",
        lambda: [_noise_share(data) for data in instances],
    )
    yield Step(
        "FFT once more",
        "with E Tr S^-1 of Wishart_w(I, max(n, dx)): Tr(Sigma_eps) (t + (k - w)(1 + t)/(|n - dx| - 1)) is its variance",
        _fft,
    )


def _seen(data: Data) -> tuple[Exact, Exact]:
    """h as a row, and q."""
    b2 = matrix("b", 1, data.z22.shape[1])
    return b2 * data.gram * data.z22.T * data.z21, (b2 * data.gram * b2.T)[0]


def _rows(data: Data) -> tuple[Exact, Exact]:
    """a and n_1."""
    w = data.triangle.shape[0]
    return matrix("a", 1, w), matrix("m", 1, w)


def _first_block(data: Data) -> list[Exact]:
    w = data.triangle.shape[0]
    inverse = (data.samples.T * data.samples).inv()
    return list((inverse[:w, :w] * data.schur - eye(w)).applyfunc(sympy.cancel))


def _direct(data: Data) -> Exact:
    """e from the definition of FFT's update, D = B (X^T X)^-1 X^T."""
    (a, first), x = _rows(data), data.samples
    b = Matrix([[a * data.triangle + first, matrix("b", 1, data.z22.shape[1])]])
    row = b * (x.T * x).inv() * x.T
    return energy(row - Matrix([[a, zeros(1, x.shape[0] - a.shape[1])]]))


def _by_blocks(data: Data, h: Exact, q: Exact) -> Exact:
    a, first = _rows(data)
    coefficients = (a * data.triangle + first - h) * data.inverse
    return energy(coefficients * data.triangle.T - a) + energy(coefficients * data.unseen.T) + q


def _law_of_h(data: Data) -> list[Exact]:
    h, q = _seen(data)
    column = data.z22 * data.gram * matrix("b", 1, 1).T
    return [gaussian_mean(h[0] ** 2, data.z21) - q, sympy.diff(h[0], data.z21[0]) - column[0],
            (column.T * (eye(2) - data.z22 * data.gram * data.z22.T)).applyfunc(sympy.cancel)]  # fmt: skip


def _mean_over_h(data: Data) -> Exact:
    h, q = matrix("h", 1, data.triangle.shape[0]), symbols("q", positive=True)
    return gaussian_mean(_by_blocks(data, h, q), h, q) - error(data, *_rows(data), q)


def _bias(data: Data) -> Exact:
    inverse, triangle = data.inverse, data.triangle
    missed = eye(triangle.shape[0]) - triangle * inverse * triangle.T
    seen = inverse * data.unseen.T * data.unseen * inverse
    return missed * missed + triangle * seen * triangle.T - missed


def _noise_share(data: Data) -> Exact:
    a, first = _rows(data)
    mean = gaussian_mean(error(data, a, first, sympy.Integer(0)), first)
    return mean.subs(dict.fromkeys(a, 0)) - data.inverse.trace()


def _fft() -> list[Exact]:
    def risk(k: Exact, largest: Exact, gap: Exact) -> Exact:
        unit = mean_inverse(w, largest)
        return trace * (unit + (k - w) * spread(unit, gap))

    return [risk(dx, n, n - dx) - trace * dx / (n - dx - 1), risk(n, dx, dx - n) - trace * n / (dx - n - 1)]
