"""Claims of the papers' files under many seeds: how many seeds each file has, and every verdict other than expected.

    python benchmarks/paper_seeds.py [--seeds 100] [--paper NAME ...] [--claim ID ...] [--minutes 60]

One process. Claims are judged cheapest first, so that a run that is cut short leaves most claims with all their seeds;
neighbours are asked under every twentieth seed. A run goes on from what is in `results/paper_seeds.json`, which is
written after every seed of a claim that takes long; a claim that is judged by other means since starts again. Writes
`results/paper_seeds.md` too, and exits 1 if a verdict was other than expected.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from linreg_lora.claims.collection import Part, collect_claims, known_papers
from linreg_lora.claims.judge import judge_claim
from linreg_lora.claims.schema import Claim
from linreg_lora.files.atomic import write_atomically

RESULTS = Path(__file__).parent / "results"
_DOUBTING_EVERY, _WRITE_AFTER = 20, 20.0
_PROSE = ("title", "source", "statement", "counterexample", "condition", "proof", "contested")


def fingerprint(claim: Claim) -> str:
    """Changes with anything that a verdict depends on: all but the claim's prose and provenance."""
    decides = claim.model_dump_json(exclude={**dict.fromkeys(_PROSE, True), "rivals": {"__all__": {"mistake"}}})
    return hashlib.sha256(decides.encode()).hexdigest()[:12]


def entry(kept: dict, claim: Claim) -> dict:
    """What is kept of a claim: seeds 0 to `seeds` - 1 are judged, and took `cpu` seconds in all."""
    found = kept.get(claim.id)
    if found is None or found["text"] != fingerprint(claim):
        found = kept[claim.id] = {"text": fingerprint(claim), "seeds": 0, "cpu": 0.0, "unexpected": []}
    return found


def judge_next(claim: Claim, part: Part, found: dict) -> None:
    """The claim under its next seed."""
    seed, began = found["seeds"], time.process_time()
    corrections = {other.id: other for other in part.file.claims}
    j = judge_claim(claim, seed, corrections.get(claim.correction or ""), doubting=seed % _DOUBTING_EVERY == 0)
    found["cpu"] = round(found["cpu"] + time.process_time() - began, 3)
    found["seeds"] += 1
    if not j.as_expected:
        found["unexpected"].append(f"seed {seed}: {j.verdict}, {j.reason}")


def report(parts: Sequence[Part], kept: dict) -> str:
    """A row a file."""
    rows, unexpected = [], []
    for part in parts:
        entries = [entry(kept, claim) for claim in part.file.claims]
        counts = [found["seeds"] for found in entries]
        unexpected += [
            f"- `{c.id}`, {u}" for c, e in zip(part.file.claims, entries, strict=True) for u in e["unexpected"]
        ]
        if counts:
            judged = sum(counts)
            rows.append(f"| {part.name} | {len(counts)} | {min(counts)} | {sum(c >= 100 for c in counts)} | {judged} |")
    content = [
        "# Seeds of the papers' claims",
        "",
        "Written by `python benchmarks/paper_seeds.py`: every claim is judged under seeds from 0 on, its neighbours "
        f"under every {_DOUBTING_EVERY}th. A verdict is that of the code of its day; `linreg-lora check --all` judges "
        "by today's, under one seed.",
        "",
        f"Verdicts other than expected: {len(unexpected)}.",
        *unexpected,
        "",
        "| file | claims | seeds that all its claims have | claims with 100 seeds | verdicts |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]
    return "\n".join(content) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--paper", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--claim", nargs="*", default=[], metavar="ID")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    values, end = RESULTS / "paper_seeds.json", time.monotonic() + 60 * options.minutes
    kept = json.loads(values.read_text()) if values.exists() else {}
    everything = collect_claims(papers=list(known_papers())).parts
    parts = [part for part in everything if not options.paper or part.name in options.paper]
    unknown = set(options.claim) - {claim.id for part in parts for claim in part.file.claims}
    if unknown:
        parser.error(f"--claim: expected claims of these files, got {', '.join(sorted(unknown))}")
    claims = [
        (claim, part, entry(kept, claim))
        for part in parts
        for claim in part.file.claims
        if not options.claim or claim.id in options.claim
    ]
    written = time.monotonic()

    def write() -> None:
        write_atomically(values, (json.dumps(kept, indent=0, sort_keys=True) + "\n").encode())
        write_atomically(RESULTS / "paper_seeds.md", report(everything, kept).encode())

    while time.monotonic() < end:
        waiting = [one for one in claims if one[2]["seeds"] < options.seeds]
        if not waiting:
            break
        # Every claim under one seed, which tells what it costs; then the cheapest, until it has all its seeds.
        judge_next(*min(waiting, key=lambda one: one[2]["cpu"] / max(one[2]["seeds"], 1)))
        if time.monotonic() - written > _WRITE_AFTER:
            write()
            written = time.monotonic()
    write()
    unexpected = [f"{claim.id}, {text}" for claim, _, found in claims for text in found["unexpected"]]
    print(*unexpected, f"{len(unexpected)} verdicts other than expected", sep="\n")
    return int(bool(unexpected))


if __name__ == "__main__":
    sys.exit(main())
