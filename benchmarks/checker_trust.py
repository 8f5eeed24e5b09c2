"""Trust in the checker: every claim under many seeds, and the law of each identity's statistic.

    python benchmarks/checker_trust.py [--seeds 300] [--only ID ...] [--workers 1] [--resume]

No alarm in 300 seeds alone shows nothing about a level of 1e-6. The statistic z of an identity that holds has nearly
the standard normal law: its draws have 8 moments and there are thousands of them. So its 300 values are compared with
that law (Kolmogorov and Smirnov), and so are their mean and variance; the level of all these tests together is 1 %.
Pathwise claims test no mean, have no false alarm but by rounding, and run under every tenth seed. Neighbours, whose
draws are compared as those of listed cases are and which take as long again, are asked under every twentieth.
Writes `results/checker_trust.md`, and `.json` with every value, after every ten seeds; `--resume` goes on from there.
With `--only`, the values of the other claims are those of the last run. Exits 1 on a false alarm or a misfit.
"""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from linreg_lora.claims.check import select
from linreg_lora.claims.file import load_claims
from linreg_lora.claims.judge import judge_claim
from linreg_lora.claims.schema import ClaimsFile
from linreg_lora.claims.vocabulary import Kind, Verdict
from linreg_lora.files.atomic import write_atomically
from linreg_lora.sweeps.executors import local_processes

RESULTS = Path(__file__).parent / "results"
#: Probability that some law is said not to fit although all do.
LEVEL = 0.01
#: Pathwise claims run, and neighbours are asked, under one seed in so many.
_PATHWISE_EVERY, _DOUBTING_EVERY = 10, 20


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
    """One claim under all seeds: verdicts other than expected, values of its statistics, seconds of one core each."""

    alarms: list[str]
    statistics: dict[str, list[float]]
    seconds: list[float]
    looks: list[int]
    """How often it was judged with one look at its draws, with two, and with three."""


class OfOneSeed(NamedTuple):
    """One claim under one seed."""

    alarm: str
    statistics: dict[str, float]
    seconds: float
    looks: int


def judge_all(ids: Sequence[str], seed: int) -> dict[str, OfOneSeed]:
    """The claims of these ids that run under this seed."""
    by_id = {claim.id: claim for claim in load_claims().claims}
    found = {}
    for claim in (by_id[name] for name in ids):
        if claim.kind is Kind.PATHWISE and seed % _PATHWISE_EVERY:
            continue
        began = time.process_time()
        j = judge_claim(claim, seed, by_id.get(claim.correction or ""), doubting=seed % _DOUBTING_EVERY == 0)
        spent = time.process_time() - began
        alarm = "" if j.as_expected else f"seed {seed}: {j.verdict}, {j.reason}"
        compared = j.comparisons if claim.kind is Kind.IDENTITY else []
        values = {" ".join(part for part in (c.case, c.column) if part): c.numbers["z"] for c in compared}
        found[claim.id] = OfOneSeed(alarm, values, spent, j.looks)
    return found


def add(evidence: dict[str, Evidence], seed: int, found: dict[str, OfOneSeed]) -> None:
    """The seconds of seeds that compile, or ask neighbours, are not kept."""
    for name, one in found.items():
        alarms, statistics, seconds, looks = evidence[name]
        if one.alarm:
            alarms.append(one.alarm)
        for column, z in one.statistics.items():
            statistics.setdefault(column, []).append(round(z, 4))
        if seed % _DOUBTING_EVERY > 1:
            seconds.append(round(one.seconds, 3))
        looks[one.looks - 1] += 1


def run(ids: Sequence[str], seeds: range, workers: int) -> Iterator[dict[str, OfOneSeed]]:
    """What every seed gives, in their order, with at most two seeds a process under way."""
    if workers == 1:
        yield from (judge_all(ids, seed) for seed in seeds)
        return
    with local_processes(workers) as executor:
        sent: deque[Future] = deque()
        for seed in seeds:
            sent.append(executor.submit(judge_all, ids, seed))
            if len(sent) > 2 * workers:
                yield sent.popleft().result()
        while sent:
            yield sent.popleft().result()


def report(claims: ClaimsFile, evidence: dict[str, Evidence], seeds: int) -> tuple[str, bool]:
    """The table as Markdown, and whether all is well. A statement that fails has no standard normal statistic."""
    holding = {claim.id for claim in claims.claims if claim.expected in (Verdict.HOLDS, Verdict.HOLDS_UNDER)}
    fits = [
        fit(f"{claim_id} {name}", np.array(values))
        for claim_id, found in evidence.items()
        if claim_id in holding
        for name, values in found.statistics.items()
    ]
    alarms = [f"{claim_id}, {alarm}" for claim_id, found in evidence.items() for alarm in found.alarms]
    pathwise = {claim.id for claim in claims.claims if claim.kind is Kind.PATHWISE}
    on_paths, seconds = (
        sum(min(found.seconds) for name, found in evidence.items() if found.seconds and (name in pathwise) == wanted)
        for wanted in (True, False)
    )
    looks = np.sum([found.looks for found in evidence.values()], axis=0)
    again = (int(looks[1:].sum()), int(looks[2]))
    critical = LEVEL / (3 * max(len(fits), 1))
    misfits = [found.name for found in fits if found.least < critical]
    content = [
        "# Trust in the checker: how often a true claim is called false",
        "",
        f"Written by `python benchmarks/checker_trust.py --seeds {seeds}`: {len(evidence)} claims, {seeds} seeds each, "
        f"{seconds:.1f} s of one core a seed (of each claim the least: the machine had other work).",
        f"Pathwise claims, which test no mean, run under every {_PATHWISE_EVERY}th seed; there they take "
        f"{on_paths:.1f} s more. Neighbours are asked under every {_DOUBTING_EVERY}th.",
        "",
        f"- Verdicts other than expected: {len(alarms)}.",
        *(f"  - {alarm}" for alarm in alarms),
        f"- Draws that were suspicious and made again, and again: {', '.join(map(str, again))} of {sum(looks)}.",
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
    parser.add_argument("--workers", type=int, default=1, help="processes, each with seeds of its own")
    parser.add_argument("--resume", action="store_true", help="go on after the seeds of the last run")
    options = parser.parse_args()
    claims, values = load_claims(), RESULTS / "checker_trust.json"
    ids = [claim.id for claim in select(claims, options.only)]
    stored = json.loads(values.read_text()) if values.exists() else {"seeds": 0, "claims": {}}
    kept = stored["claims"] if options.only or options.resume else {}
    others = {name: Evidence(*found) for name, found in kept.items()}
    start = stored["seeds"] if options.resume else 0
    if options.resume and (set(others) != set(ids)):
        parser.error("--resume: expected the claims of the last run, received others; run without it, or with --only")
    if others and options.only and not options.resume and options.seeds != stored["seeds"]:
        parser.error(f"--seeds: expected {stored['seeds']} as the other claims have, received {options.seeds}")
    found = {name: others[name] if options.resume else Evidence([], {}, [], [0, 0, 0]) for name in ids}
    well, seeds = False, range(start, options.seeds)
    for seed, of_seed in zip(seeds, run(ids, seeds, options.workers), strict=True):
        add(found, seed, of_seed)
        if seed % 10 == 9 or seed == options.seeds - 1:
            both = (others | found) if options.only else found
            evidence = {claim.id: both[claim.id] for claim in claims.claims if claim.id in both}
            write_atomically(values, (json.dumps({"seeds": seed + 1, "claims": evidence}) + "\n").encode())
            table, well = report(claims, evidence, seed + 1)
            write_atomically(RESULTS / "checker_trust.md", table.encode())
            print(f"seed {seed}: " + "; ".join(line[2:] for line in table.splitlines() if line[:2] == "- "), flush=True)
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
