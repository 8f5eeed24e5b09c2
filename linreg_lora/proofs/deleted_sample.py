"""Deleting a sample is a change of rank two: what decides LoRA's directions, and what FFT then predicts of the sample.

S = sum_j x_j x_j^T + eta, b = sum_j R_j x_j^T, D = b S^{-1}, A = b S^{-1} b^T; h = x^T S^{-1} x and c = b S^{-1} x of
the sample (x, R) that goes. With an intercept these are centred sums, and without the sample they lose kappa x x^T and
kappa R x^T, kappa = n / (n - 1), its deviations from the others' means being kappa x and kappa R.
"""

from collections.abc import Iterator

from sympy import symbols

from linreg_lora.proofs.algebra import Exact
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

h, kappa, n = symbols("h kappa n", positive=True)
#: Two outputs p and q stand for all: an identity of matrices is one of each of their entries.
a_pq, c_p, c_q, r_p, r_q = symbols("A_pq c_p c_q R_p R_q", real=True)


def inverse_gain(share: Exact) -> Exact:
    """g in (S - kappa x x^T)^{-1} = S^{-1} + g S^{-1} x x^T S^{-1}."""
    return share / (1 - share * h)


def weight(share: Exact) -> Exact:
    """1 - h_i: without an intercept 1 - h, with one 1 - h - 1/n, which is 1/kappa - h."""
    return 1 / share - h


def missed(c: Exact, r: Exact, share: Exact) -> Exact:
    """The documented e_i = (R - D x) / (1 - h_i)."""
    return (r - c) / weight(share)


def changed(share: Exact) -> Exact:
    """The documented A - kappa R R^T + (1 - h_i) e e^T."""
    return a_pq - share * r_p * r_q + weight(share) * missed(c_p, r_p, share) * missed(c_q, r_q, share)


def without(share: Exact) -> Exact:
    """(b - kappa R x^T) (S - kappa x x^T)^{-1} (b - kappa R x^T)^T, by the inverse of a rank-one change."""
    g = inverse_gain(share)
    both = a_pq + g * c_p * c_q
    cross = share * (c_p * r_q + r_p * c_q) * (1 + g * h)
    return both - cross + share**2 * r_p * r_q * (h + g * h**2)


def predicted(share: Exact) -> Exact:
    """(b - kappa R x^T) (S - kappa x x^T)^{-1} kappa x."""
    return share * (c_p - share * r_p * h) * (1 + inverse_gain(share) * h)


@register_proof(
    "deleted-sample",
    title="Deleting a sample changes A = R^T H R by rank two, and FFT misses e_i of it",
    source="ours; own_data.deletion, own_data.losses",
)
def deleted_sample() -> Iterator[Step | SimulationOnly]:
    yield Step(
        "the inverse",
        "(S - kappa x x^T)(S^{-1} + g S^{-1} x x^T S^{-1}) = I + (g - kappa - kappa g h) x x^T S^{-1} = I",
        lambda: inverse_gain(kappa) - kappa - kappa * inverse_gain(kappa) * h,
    )
    yield Step("without an intercept", "A_i = A - R R^T + (1 - h) e e^T", lambda: without(1) - changed(1))
    yield Step(
        "what FFT misses", "R - D_i x = e = (R - D x) / (1 - h)", lambda: r_p - predicted(1) - missed(c_p, r_p, 1)
    )
    others = symbols("t", real=True)
    yield Step(
        "the others' mean",
        "a sample that is t from the mean of all n is kappa t from the mean of the others, kappa = n / (n - 1)",
        lambda: others - (0 - others) / (n - 1) - n / (n - 1) * others,
    )
    yield Step(
        "the others' moment",
        "around their own mean the others have sum_j x_j x_j^T - kappa x x^T",
        lambda: others**2 + (n - 1) * (others / (n - 1)) ** 2 - n / (n - 1) * others**2,
    )
    yield Step(
        "the intercept's leverage",
        "1 / kappa = 1 - 1/n",
        lambda: weight(n / (n - 1)) - (1 - h - 1 / n),
    )
    yield Step(
        "with an intercept", "A_i = A - kappa R R^T + (1 - h - 1/n) e e^T", lambda: without(kappa) - changed(kappa)
    )
    yield Step(
        "what FFT misses then",
        "kappa R - D_i kappa x = e = (R - D x) / (1 - h - 1/n)",
        lambda: kappa * r_p - predicted(kappa) - missed(c_p, r_p, kappa),
    )
    w_d, w_r, rest = symbols("w.d w.R rest", real=True)
    yield Step(
        "the loss",
        "|R' - P d|^2 = |R'|^2 + sum_k (w_k.d)^2 - 2 (w_k.d)(w_k.R'), in an orthonormal basis, one direction kept",
        lambda: (w_r - w_d) ** 2 + rest**2 - (w_r**2 + rest**2 + w_d**2 - 2 * w_d * w_r),
    )
    yield SimulationOnly(
        "its mean", "E LOO_r(n) = E risk_r(n - 1) + Tr Sigma_eps, for independent samples of any one law",
        "test tests/test_own_data.py::test_its_mean_is_the_risk_of_one_sample_less_and_the_noise",
    )  # fmt: skip
