"""How many draws each claim needs, and how many it has.

    python benchmarks/sample_sizes.py [--seeds 4] [--only ID ...]

A claim's level, its `detects`, its rivals and the power of 0.99 decide how many draws it needs; what is not known
beforehand is the spread of a draw, which is measured here under a few seeds other than the default. Needed is the
largest number over these seeds, all comparisons and all rivals. A claim should have half as many again: spreads are
estimated too. Pathwise claims test no mean, and are not listed. Writes `results/sample_sizes.md`; exits 1 where a claim
has fewer draws than it needs.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from scipy.stats import norm

from linreg_lora.claims.check import select
from linreg_lora.claims.evidence import Comparison
from linreg_lora.claims.file import load_claims
from linreg_lora.claims.judge import Judgement, judge_claim
from linreg_lora.claims.statistics import POWER
from linreg_lora.claims.vocabulary import Kind, Verdict
from linreg_lora.files.atomic import write_atomically

RESULTS = Path(__file__).parent / "results"
#: The first seed: claims are judged with seed 0 by default, and their sizes must not come from the same draws.
_FIRST_SEED = 40
#: Draws that a claim should have, as a multiple of those that it needs.
ROOM = 1.5


def to_reject(trials: float, critical: float, z: float) -> float:
    """Draws with which a mean that is z standard errors off after `trials` is rejected with probability `POWER`."""
    return trials * ((critical + float(norm.ppf(POWER))) / max(abs(z), 1e-12)) ** 2


def needed(judgement: Judgement) -> tuple[float, str]:
    """The draws that decide a claim as expected, with power, and the comparison or rival that needs them."""
    count, reason = max(_reasons(judgement), key=lambda found: found[0])
    return max(count, 2.0), reason


def _reasons(judgement: Judgement) -> Iterator[tuple[float, str]]:
    if judgement.claim.expected in (Verdict.FAILS, Verdict.HOLDS_WITH_CORRECTION):
        yield min((_to_contradict(c) for c in judgement.comparisons), key=lambda found: found[0])
        return
    yield from ((c.trials_needed, c.case) for c in judgement.comparisons)
    yield from (_to_contradict(c) for c in judgement.outside)
    for rival in judgement.rivals:
        numbers = rival.comparison.numbers
        if not rival.rejected:
            yield rival.comparison.trials_needed, rival.prediction
        elif rival.comparison.power < 1 - 1e-12:
            distance = numbers["critical"] + float(norm.ppf(rival.comparison.power))
            yield to_reject(numbers["trials"], numbers["critical"], distance), rival.prediction


def _to_contradict(comparison: Comparison) -> tuple[float, str]:
    numbers = comparison.numbers
    count = math.inf
    if comparison.verdict is Verdict.FAILS:
        count = to_reject(numbers["trials"], numbers["critical"], numbers["z"])
    return count, f"{comparison.case}, to contradict"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=[], metavar="ID")
    options = parser.parse_args()
    file = load_claims()
    by_id = {claim.id: claim for claim in file.claims}
    rows = []
    for claim in select(file, options.only):
        if claim.kind is Kind.PATHWISE or claim.expected is Verdict.UNDECIDABLE:
            continue
        judged = [judge_claim(claim, _FIRST_SEED + k, by_id.get(claim.correction or "")) for k in range(options.seeds)]
        count, reason = max((needed(j) for j in judged), key=lambda found: found[0])
        seconds = sum(j.seconds for j in judged[1:]) / max(len(judged) - 1, 1)
        has = claim.experiment.trials
        rows.append((has / count, claim.id, count, has, reason))
        print(f"{claim.id}: {has} draws, {has / count:.2f} times what it needs, {seconds:.2f} s", flush=True)
    rows.sort()
    table = [
        "# Sample sizes",
        "",
        f"Written by `python benchmarks/sample_sizes.py --seeds {options.seeds}`. Draws that each claim needs to be "
        f"decided at its level with power {POWER:g}, and those it has; {ROOM:g} times as many leave room for spreads "
        "that are estimated. The comparison or rival that needs the most is named.",
        "",
        "| claim | needed | has | has / needed | needed for |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {name} | {count:.0f} | {has} | {ratio:.1f} | {why} |" for ratio, name, count, has, why in rows),
    ]
    if not options.only:
        write_atomically(RESULTS / "sample_sizes.md", ("\n".join(table) + "\n").encode())
    short = [name for ratio, name, *_ in rows if ratio < 1]
    if short:
        print("fewer draws than needed: " + ", ".join(short))
    return int(bool(short))


if __name__ == "__main__":
    sys.exit(main())
