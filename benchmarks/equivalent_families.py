"""Families of problems whose dimensions grow at fixed ratios, and what a checkout's theory says of them.

    PYTHONPATH=CHECKOUT python benchmarks/equivalent_families.py --dimensions 25 50

prints the theory of CHECKOUT as JSON, one entry for each family and dimension: this runs in checkouts as old as
15613fb, so that `equivalent_error.py` can set two of them side by side. Where that `Problem` knows no law of the
inputs, what is printed is its formula for Gaussian ones.
"""

import argparse
import dataclasses
import json
from typing import Any

import numpy as np

from linreg_lora.errors import LinregLoraError
from linreg_lora.problem import Problem
from linreg_lora.spectra import exponential, power_law
from linreg_lora.theory.equivalent import partial_equivalent

Fields = dict[str, Any]


def covariance(d: int) -> np.ndarray:
    """A covariance with eigenvalues from 4 to 1/4, in a random basis: aligned with nothing."""
    turn = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    return (turn * np.geomspace(4, 0.25, d)) @ turn.T


def families(d: int) -> dict[str, Fields]:
    """Fields of problems with d inputs, by name."""
    half, steep, ill = d // 2, np.geomspace(4, 0.25, d), np.geomspace(1, 1e-6, d)
    weak, strong = (3.0, 2.0, 1.0), (6.0, 4.0, 2.0)
    power, decay = power_law(d, 1.0, 5.0), exponential(d, 10 / d, 5.0)
    two = np.repeat([0.3, 3.0], [half, d - half])

    def over(n: int, **fields: Any) -> Fields:
        return {"n": n, "dx": d, "dy": d, "spectrum": weak, "noise_std": 1.0, **fields}

    def under(n: int, **fields: Any) -> Fields:
        return over(n, **{"spectrum": strong, **fields})

    return {
        "n > dx: low rank": over(4 * d),
        "n > dx: low rank, dy < dx": over(4 * d, dy=half),
        "n > dx: low rank, dy > dx": over(3 * d, dy=2 * d),
        "n > dx: low rank, many samples": over(20 * d),
        "n > dx: low rank, near the threshold": over(2 * d),
        "n > dx: low rank, n = dx + 4": over(d + 4),
        "n > dx: power law": over(4 * d, spectrum=power, noise_std=0.5),
        "n > dx: exponential": over(4 * d, spectrum=decay),
        "n > dx: flat": over(4 * d, spectrum=(1.0,) * d),
        "n > dx: half rank": over(4 * d, spectrum=(1.5,) * half),
        "n > dx: two noise levels": over(4 * d, noise_covariance=two),
        "n > dx: Sigma misaligned": over(4 * d, input_covariance=covariance(d)),
        "n > dx: Sigma from 1 to 1e-6": over(4 * d, input_covariance=ill),
        "n < dx: low rank": under(half),
        "n < dx: low rank, dy < n": under(half, dy=max(3, d // 4)),
        "n < dx: low rank, dy > dx": under(half, dy=2 * d),
        "n < dx: few samples": under(d // 5),
        "n < dx: low rank, n = dx - 4": under(d - 4),
        "n < dx: power law": under(half, spectrum=power),
        "n < dx: exponential": under(half, spectrum=decay),
        "n < dx: flat": under(half, spectrum=(1.0,) * d),
        "n < dx: Sigma aligned": under(half, input_covariance=steep),
        "n < dx: Sigma opposed": under(half, input_covariance=steep[::-1].copy()),
        "n < dx: Sigma misaligned": under(half, input_covariance=covariance(d)),
        "n < dx: Sigma from 1 to 1e-6": under(half, input_covariance=ill),
        "n < dx: two noise levels": under(half, noise_covariance=two),
        "ridge: low rank, n = dx": over(d, ridge=0.2 * d),
        "ridge: power law, n > dx": over(2 * d, spectrum=power, ridge=0.2 * d),
        "ridge: flat, n < dx": over(half, spectrum=(1.0,) * d, ridge=0.2 * d),
        "ridge: Sigma aligned, n = dx": over(d, input_covariance=steep, ridge=0.2 * d),
        "ridge: Sigma misaligned, n = dx": over(d, input_covariance=covariance(d), ridge=0.2 * d),
        "threshold: n = dx + 2, ridge 0.1": over(d + 2, ridge=0.1),
        "threshold: n = dx + 4, ridge 0.1": over(d + 4, ridge=0.1),
        "threshold: n = dx - 2, ridge 0.03": under(d - 2, ridge=0.03),
        "threshold: n = dx, ridge 1": over(d, ridge=1.0),
        "threshold: n = dx + 2, ridge 0.1, Sigma aligned": over(d + 2, ridge=0.1, input_covariance=steep),
        "inputs: two weights, n > dx": over(4 * d, input_law="two-point:0.25:0.5"),
        "inputs: multivariate t, n > dx": over(4 * d, input_law="t:8"),
        "inputs: two weights, n < dx": under(half, input_law="two-point:0.25:0.5"),
        "inputs: AR(1), n > dx": over(4 * d, input_law="ar1:0.6"),
        "inputs: Rademacher, n > dx": over(4 * d, input_law="rademacher"),
    }


def problem_of(fields: Fields) -> Problem:
    """The problem, with Gaussian inputs where `Problem` knows no others."""
    known = {field.name for field in dataclasses.fields(Problem)}
    return Problem(**{name: value for name, value in fields.items() if name in known})


def ranks_of(name: str, fields: Fields) -> list[int]:
    """All ranks from 1 on; a dozen where Delta couples everything."""
    full = min(fields["n"], fields["dx"], fields["dy"])
    if "misaligned" in name and not name.startswith("n > dx"):
        some = {1, 2, 3, 4, 6, 7, 8, 12, full // 4, full // 2, 3 * full // 4, full - 1, full}
        return sorted(rank for rank in some if rank <= full)
    return list(range(1, full + 1))


def theory_of(name: str, fields: Fields) -> dict[str, Any]:
    """Risks by theory and their flags, nan where refused; `fft` likewise. `refused`: why there is nothing at all."""
    problem, ranks = problem_of(fields), ranks_of(name, fields)
    if getattr(getattr(problem, "input_law", None), "is_gaussian", True):
        try:
            found = partial_equivalent(problem, ranks)
        except LinregLoraError as refusal:
            return {"refused": str(refusal)}
        return {
            "risk": found.risk.tolist(),
            "raw": found.raw.tolist(),
            "flagged": found.flagged.tolist(),
            "fft": float(found.fft_risk),
        }
    from linreg_lora.theory.curve import expected_risk

    curve, raw = expected_risk(problem, ranks), expected_risk(problem, ranks, correction=False, flags=False)
    flagged = [False] * len(ranks) if curve.flagged is None else curve.flagged.tolist()
    return {"risk": curve.risk.tolist(), "raw": raw.risk.tolist(), "flagged": flagged, "fft": float(curve.fft_risk)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--dimensions", type=int, nargs="+", required=True)
    parser.add_argument("--families", nargs="+", default=list(families(25)))
    options = parser.parse_args()
    chosen = [(name, d) for d in options.dimensions for name in options.families]
    print(json.dumps([{"family": name, "d": d, **theory_of(name, families(d)[name])} for name, d in chosen]))


if __name__ == "__main__":
    main()
