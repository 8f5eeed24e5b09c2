"""How often the interval of an estimated task complexity holds what it estimates.

    python benchmarks/complexity_coverage.py [--data 80]

For each of eight Gaussian problems, on either side of n = dx and with task directions that stand out and that do not,
data are drawn anew, and the intervals of `own_data.estimated_complexity` of level 90 % and 95 % are counted that hold
C_r: the ratio of the means of signal and noise over 2,000 other draws. Intervals without bounds hold it. Writes
`results/complexity_coverage.md`; minutes.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from linreg_lora.own_data import estimated_complexity
from linreg_lora.own_data.complexity import _means
from linreg_lora.own_data.curve import curve
from linreg_lora.own_data.deletion import design
from linreg_lora.own_data.samples import samples

RESULTS = Path(__file__).parent / "results" / "complexity_coverage.md"
LEVELS, KNOWN = (0.9, 0.95), 2000
#: n, dx, dy, singular values of the shift, noise, rank.
PROBLEMS = [
    (40, 12, 8, (3.0, 2.0, 1.0), 1.0, 1),
    (40, 12, 8, (3.0, 2.0, 1.0), 1.0, 2),
    (40, 12, 8, (1.0, 0.5, 0.3), 2.0, 1),
    (120, 16, 10, (2.0, 1.0, 0.5, 0.3), 1.0, 2),
    (60, 20, 12, (0.6,) * 8, 1.0, 3),
    (20, 30, 10, (3.0, 2.0, 1.0), 1.0, 1),
    (20, 30, 10, (1.0, 0.5, 0.3), 1.0, 2),
    (14, 40, 8, (3.0, 1.0), 0.5, 1),
]


def drawn(rng: np.random.Generator, of: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and outputs, samples in rows."""
    n, dx, dy, s, noise, _ = of
    x = rng.standard_normal((n, dx))
    y = noise * rng.standard_normal((n, dy))
    y[:, : len(s)] += x[:, : len(s)] * np.array(s)
    return x, y


def known(rng: np.random.Generator, of: tuple) -> float:
    """C_r, by means of what `estimated_complexity` has the ratio of."""
    found = []
    for _ in range(KNOWN):
        given = samples(*drawn(rng, of), None, None)
        found.append(_means(curve(given, design(given.inputs, intercept=True), 0.0), of[-1]))
    signal, noise = np.mean(found, axis=0)
    return float(signal / noise)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=int, default=80)
    count = parser.parse_args().data
    rows, every = [], []
    for k, of in enumerate(PROBLEMS):
        truth, rng = known(np.random.default_rng([31, k]), of), np.random.default_rng([32, k])
        found = [estimated_complexity(*drawn(rng, of), rank=of[-1]) for _ in range(count)]
        inside = np.array([[low <= truth <= high for low, high in map(one.interval, LEVELS)] for one in found])
        every.append(inside)
        share = " | ".join(f"{100 * one:.1f} %" for one in inside.mean(axis=0))
        n, dx, dy, s, noise, rank = of
        noted = sum(bool(one.note) for one in found)
        rows.append(
            f"| {n} | {dx} | {dy} | {', '.join(map(str, s))} | {noise} | {rank} | {truth:.3g} | {share} | {noted} |"
        )
        print(rows[-1], flush=True)
    share = np.concatenate(every).mean(axis=0)
    error = 100 * np.sqrt(0.9 * 0.1 / (count * len(PROBLEMS)))
    lines = [
        "# How often the interval of an estimated task complexity holds it", "",
        f"Written by `python benchmarks/complexity_coverage.py --data {count}`: {count} data sets of each problem. All "
        f"in all {100 * share[0]:.1f} % of the intervals of nominal 90 % and {100 * share[1]:.1f} % of those of "
        f"nominal 95 % hold it, +- {error:.1f} %. Noted: data sets whose interval comes with a note.", "",
        "| n | dx | dy | singular values | noise | rank | C_r | of 90 % | of 95 % | noted |",
        "|---|---|---|---|---|---|---|---|---|---|", *rows,
    ]  # fmt: skip
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
