"""What one more sample is worth: the ratio to FFT's benefit, at finite n and in the limit k/d."""

from collections.abc import Iterator

import sympy
from sympy import symbols

from linreg_lora.proofs.algebra import Exact, sign_defects
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

n, dx, dy, r, trace, missed, variance = symbols("n dx dy r Tr_Sigma_eps b sigma_squared", positive=True)


def fft_risk(inputs: Exact, noise: Exact) -> Exact:
    """Of FFT with n > dx + 1 samples."""
    return noise * inputs / (n - inputs - 1)


def benefit(risk: Exact) -> Exact:
    return risk - risk.subs(n, n + 1)


def frozen_a_ratio() -> Exact:
    """The documented ratio where A represents Delta."""
    return r * (n - dx - 1) * (n - dx) / (dx * (n - r - 1) * (n - r))


def trained_ratio() -> Exact:
    """The documented limit for trained LoRA at the rank of the shift."""
    return r * (dx + dy - r) / (dx * dy)


@register_proof(
    "sample-worth",
    title="The worth of a sample to LoRA over its worth to FFT: exact at finite n, k/d in the limit",
    source="arXiv 2505.22355 (summary), theorem on data benefit; docs/theory.md section 12, theory.data_benefit",
)
def sample_worth() -> Iterator[Step | SimulationOnly]:
    fft = benefit(fft_risk(dx, trace))
    frozen = benefit(fft_risk(r, trace))
    yield SimulationOnly(
        "risk of a frozen A", "FFT's, with dx -> r and Sigma_eps -> Sigma_eps + M",
        "test tests/test_theory_frozen.py::test_simulation_agrees_and_rejects_every_rival",
    )  # fmt: skip
    yield Step(
        "FFT's benefit",
        "risk(n) - risk(n+1) = Tr(Sigma_eps) dx / ((n - dx - 1)(n - dx))",
        lambda: fft - trace * dx / ((n - dx - 1) * (n - dx)),
    )
    yield Step(
        "the ratio at finite n",
        "r (n - dx - 1)(n - dx) / (dx (n - r - 1)(n - r)) where A represents Delta",
        lambda: frozen / fft - frozen_a_ratio(),
    )
    yield Step("its limit", "r / dx = k / d as n -> infinity", lambda: sympy.limit(frozen / fft, n, sympy.oo) - r / dx)
    above, gap = symbols("above gap", nonnegative=True)
    yield Step(
        "from below",
        "1 - (d/k) ratio has no negative coefficient in n - dx - 1 and dx - r",
        lambda: sign_defects((1 - frozen / fft * dx / r).subs(n, dx + 1 + above).subs(dx, r + gap)),
    )
    yield Step(
        "how fast",
        "ratio = (k/d) (1 - 2 (dx - r)/n + O(1/n^2))",
        lambda: sympy.limit(n * (1 - frozen / fft * dx / r), n, sympy.oo) - 2 * (dx - r),
    )
    yield Step(
        "misspecification",
        "an output with noise sigma^2 of which A misses b: the benefit is (sigma^2 + b)/sigma^2 times as large",
        lambda: (
            benefit(missed + fft_risk(r, variance + missed)) / benefit(fft_risk(r, variance))
            - (variance + missed) / variance
        ),
    )
    yield Step(
        "a frozen B",
        "Tr(B^T Sigma_eps B) = r sigma^2 of dy sigma^2: r / dy = k / d at every n",
        lambda: benefit(missed + fft_risk(dx, r * variance)) / benefit(fft_risk(dx, dy * variance)) - r / dy,
    )
    yield SimulationOnly(
        "risk of trained LoRA", "n E risk -> sigma^2 r (dx + dy - r) at the rank of the shift",
        "test tests/test_theory_capacity.py::test_simulation_agrees_and_rejects_every_rival",
    )  # fmt: skip
    tangent = variance * r * (dx + dy - r)
    yield Step(
        "trained LoRA",
        "a risk sigma^2 r (dx + dy - r)/n has the limit r (dx + dy - r)/(dx dy): k is the tangent dimension",
        lambda: sympy.limit(benefit(tangent / n) / benefit(fft_risk(dx, dy * variance)), n, sympy.oo) - trained_ratio(),
    )
    yield Step(
        "the rate", "n^2 times the benefit tends to Tr(Sigma_eps) dx: it falls like 1/n^2, not like n^{-3/2}",
        lambda: sympy.limit(n**2 * fft, n, sympy.oo) - trace * dx,
    )  # fmt: skip
