"""Trust in the checker: every claim under many seeds, and the law of each identity's statistic.

    python benchmarks/checker_trust.py [--seeds 300]

No alarm in 300 seeds alone shows nothing about a level of 1e-6. The statistic z of an identity that holds has nearly
the standard normal law: its draws have 8 moments and there are thousands of them. So its 300 values are compared with
that law (Kolmogorov and Smirnov), and so are their mean and variance; the level of all these tests together is 1 %.
Writes `results/checker_trust.md`; exits 1 on a false alarm or a law that does not fit.
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from linreg_lora.claims.check import default_path
from linreg_lora.claims.file import load
from linreg_lora.claims.judge import judge
from linreg_lora.claims.vocabulary import Kind

RESULTS = Path(__file__).parent / "results"
#: Probability that some law is said not to fit although all do.
LEVEL = 0.01


class Fit(NamedTuple):
    """One statistic over all seeds, and the p-values of its three tests against N(0, 1)."""

    name: str
    mean: float
    std: float
    p_law: float
    p_mean: float
    p_variance: float

    @property
    def least(self) -> float:
        return min(self.p_law, self.p_mean, self.p_variance)


def fit(name: str, z: np.ndarray) -> Fit:
    """Compare the values of one statistic with the standard normal law."""
    mean, variance, count = float(np.mean(z)), float(np.var(z, ddof=1)), len(z)
    below = scipy.stats.chi2.cdf((count - 1) * variance, count - 1)
    return Fit(
        name,
        mean,
        variance**0.5,
        float(scipy.stats.kstest(z, "norm").pvalue),
        float(2 * scipy.stats.norm.sf(abs(mean) * count**0.5)),
        float(2 * min(below, 1 - below)),
    )


def run(seeds: int) -> tuple[list[str], dict[str, list[float]], float]:
    """Alarms, the values of every identity's statistic, and seconds a seed once all is compiled."""
    alarms: list[str] = []
    statistics: dict[str, list[float]] = defaultdict(list)
    file = load(default_path())
    by_id = {claim.id: claim for claim in file.claims}
    started = time.perf_counter()
    for seed in range(seeds):
        for claim in file.claims:
            j = judge(claim, seed, by_id.get(claim.correction or ""))
            if not j.as_expected:
                alarms.append(f"{j.claim.id}, seed {seed}: {j.verdict}, {j.reason}")
            if j.claim.kind is Kind.IDENTITY:
                for c in j.comparisons:
                    statistics[" ".join(part for part in (j.claim.id, c.case, c.column) if part)].append(c.numbers["z"])
        if seed == 0:
            started = time.perf_counter()
        elif seed % 10 == 0:
            print(
                f"seed {seed}: {(time.perf_counter() - started) / seed:.1f} s a seed, {len(alarms)} alarms", flush=True
            )
    return alarms, statistics, (time.perf_counter() - started) / max(seeds - 1, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=300)
    seeds = parser.parse_args().seeds
    alarms, statistics, seconds = run(seeds)
    fits = [fit(name, np.array(values)) for name, values in statistics.items()]
    critical = LEVEL / (3 * len(fits))
    misfits = [found.name for found in fits if found.least < critical]
    content = [
        "# Trust in the checker",
        "",
        f"Written by `python benchmarks/checker_trust.py --seeds {seeds}`: every claim under {seeds} seeds.",
        "",
        f"- Verdicts other than expected: {len(alarms)}.",
        *(f"  - {alarm}" for alarm in alarms),
        f"- Statistics of identities that do not have the standard normal law (p < {critical:.1e}, {LEVEL:.0%} for all "
        f"tests together): {len(misfits)} of {len(fits)}.",
        "",
        "| statistic | mean | std | p, law | p, mean | p, variance |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {f.name} | {f.mean:+.3f} | {f.std:.3f} | {f.p_law:.2g} | {f.p_mean:.2g} | {f.p_variance:.2g} |"
            for f in fits
        ),
    ]
    (RESULTS / "checker_trust.md").write_text("\n".join(content) + "\n")
    print(f"{seconds:.1f} s a seed; {len(alarms)} alarms; {len(misfits)} of {len(fits)} laws do not fit")
    return int(bool(alarms or misfits))


if __name__ == "__main__":
    sys.exit(main())
