"""Trust in the checker: every claim under many seeds, and the law of each identity's statistic.

    python benchmarks/checker_trust.py [--seeds 300] [--only ID ...]

No alarm in 300 seeds alone shows nothing about a level of 1e-6. The statistic z of an identity that holds has nearly
the standard normal law: its draws have 8 moments and there are thousands of them. So its 300 values are compared with
that law (Kolmogorov and Smirnov), and so are their mean and variance; the level of all these tests together is 1 %.
Pathwise claims test no mean, have no false alarm but by rounding, and run under every tenth seed.
Writes `results/checker_trust.md`, and `.json` with every value; with `--only`, the values of the other claims are those
of the last run. Exits 1 on a false alarm or a law that does not fit.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from linreg_lora.claims.check import default_path, select
from linreg_lora.claims.file import load
from linreg_lora.claims.judge import judge
from linreg_lora.claims.schema import ClaimsFile
from linreg_lora.claims.vocabulary import Kind

RESULTS = Path(__file__).parent / "results"
#: Probability that some law is said not to fit although all do.
LEVEL = 0.01
#: Pathwise claims run under one seed in so many.
_PATHWISE_EVERY = 10


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


class Evidence(NamedTuple):
    """One claim under all seeds: verdicts other than expected, values of its statistics, seconds of one core a seed.

    A pathwise claim counts as if it had run under every seed.
    """

    alarms: list[str]
    statistics: dict[str, list[float]]
    seconds: float


def run(claims: ClaimsFile, only: set[str], seeds: int) -> dict[str, Evidence]:
    """The evidence on each claim of `only`; the first seed, which compiles, is not timed."""
    by_id = {claim.id: claim for claim in claims.claims}
    found = {claim_id: Evidence([], defaultdict(list), 0.0) for claim_id in by_id if claim_id in only}
    started = time.perf_counter()
    for seed in range(seeds):
        for claim_id in found:
            claim = by_id[claim_id]
            if claim.kind is Kind.PATHWISE and seed % _PATHWISE_EVERY:
                continue
            began = time.process_time()
            j = judge(claim, seed, by_id.get(claim.correction or ""))
            spent = time.process_time() - began
            alarms, statistics, seconds = found[claim_id]
            if not j.as_expected:
                alarms.append(f"seed {seed}: {j.verdict}, {j.reason}")
            if claim.kind is Kind.IDENTITY:
                for c in j.comparisons:
                    statistics[" ".join(part for part in (c.case, c.column) if part)].append(round(c.numbers["z"], 4))
            if seed:
                timed = (seeds - 1) // _PATHWISE_EVERY if claim.kind is Kind.PATHWISE else seeds - 1
                found[claim_id] = found[claim_id]._replace(seconds=seconds + spent / timed)
        if seed % 10 == 0:
            per_seed = (time.perf_counter() - started) / (seed + 1)
            print(
                f"seed {seed}: {per_seed:.1f} s a seed, {sum(len(e.alarms) for e in found.values())} alarms", flush=True
            )
    return found


def report(evidence: dict[str, Evidence], seeds: int) -> tuple[str, bool]:
    """The table as Markdown, and whether all is well."""
    fits = [
        fit(f"{claim_id} {name}", np.array(values))
        for claim_id, found in evidence.items()
        for name, values in found.statistics.items()
    ]
    alarms = [f"{claim_id}, {alarm}" for claim_id, found in evidence.items() for alarm in found.alarms]
    critical = LEVEL / (3 * len(fits))
    misfits = [found.name for found in fits if found.least < critical]
    content = [
        "# Trust in the checker",
        "",
        f"Written by `python benchmarks/checker_trust.py --seeds {seeds}`: {len(evidence)} claims, {seeds} seeds each, "
        f"in one process, {sum(found.seconds for found in evidence.values()):.1f} s of one core a seed.",
        "Pathwise claims, which test no mean, run under every tenth seed, and count as if they ran under each.",
        "",
        f"- Verdicts other than expected: {len(alarms)}.",
        *(f"  - {alarm}" for alarm in alarms),
        f"- Statistics of identities that do not have the standard normal law (p < {critical:.1e}, {LEVEL:.0%} for all "
        f"tests together): {len(misfits)} of {len(fits)}.",
        *(f"  - {misfit}" for misfit in misfits),
        "",
        "| statistic | mean | std | p, law | p, mean | p, variance |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {f.name} | {f.mean:+.3f} | {f.std:.3f} | {f.p_law:.2g} | {f.p_mean:.2g} | {f.p_variance:.2g} |"
            for f in fits
        ),
    ]
    return "\n".join(content) + "\n", not (alarms or misfits)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=[], metavar="ID")
    options = parser.parse_args()
    claims = load(default_path())
    ids = [claim.id for claim in select(claims, options.only)]
    evidence = run(claims, set(ids), options.seeds)
    values = RESULTS / "checker_trust.json"
    if options.only and values.exists():
        stored = json.loads(values.read_text())
        if stored["seeds"] != options.seeds:
            parser.error(f"--seeds: expected {stored['seeds']} as the other claims have, received {options.seeds}")
        evidence = {name: Evidence(*found) for name, found in stored["claims"].items()} | evidence
    evidence = {claim.id: evidence[claim.id] for claim in claims.claims if claim.id in evidence}
    values.write_text(json.dumps({"seeds": options.seeds, "claims": evidence}, indent=None) + "\n")
    table, well = report(evidence, options.seeds)
    (RESULTS / "checker_trust.md").write_text(table)
    print("\n".join(table.splitlines()[2:6]))
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
