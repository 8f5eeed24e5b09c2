"""Errata of the papers, as Markdown, from claims files: a table of all papers, and a section a paper."""

import re
from collections.abc import Iterable, Sequence

from linreg_lora.claims.schema import Claim, ClaimsFile, Slip, Undecidable
from linreg_lora.claims.show import legend
from linreg_lora.claims.show.papers import HEADS, known, papers_of, title_of, to_records
from linreg_lora.claims.show.report import given, shown, source_line
from linreg_lora.claims.vocabulary import Status, Verdict

_INTRODUCTION = """\
# Errata

Written by `linreg-lora claims errata` from the claims of {files}.
`linreg-lora check` tests them; `linreg-lora claims show ID` prints the evidence for each.

Slips are mostly in constants that statements leave open ("up to constants"), in assumptions that proofs use without a
word, and in print. We list them because whoever computes with the formulas needs the right ones. Every source says how
it is known. Of one that was not read in full nothing is said but of our reading: "this reading fails"."""


def markdown(file: ClaimsFile, names: Sequence[str] = ()) -> str:
    """The whole document: papers at a glance, what the verdicts mean, and of each paper corrections, what
    fails, conditions, slips of print, and what is undecidable.

    `names`: of the files, where it is not `paper_claims.yaml` alone.
    """
    files = legend.files(names) or legend.OWN_FILE
    by_id = {claim.id: claim for claim in file.claims}
    sections = {paper.paper: list(_sections(file, paper.paper, by_id)) for paper in papers_of(file)}
    parts = [_INTRODUCTION.format(files=files), *_glance(file, sections), legend.markdown()]
    for paper in papers_of(file):
        if sections[paper.paper]:
            place = f'<a id="{_anchor(paper.paper)}"></a>'
            parts += [place, f"## {title_of(paper)}", known(paper), *sections[paper.paper]]
    return "\n\n".join(parts) + "\n"


def _glance(file: ClaimsFile, sections: dict[str, list[str]]) -> list[str]:
    """A line a paper: how it is known, how many of its statements have which verdict, and where its errata are.

    Statements of ours about a paper are not the paper's, and have a column of their own; where a source has no others
    they count by verdict.
    """
    verdicts = [verdict for verdict in Verdict if verdict is not Verdict.INCONCLUSIVE]
    heads = ["paper", "known from", *(HEADS[verdict] for verdict in verdicts), "ours about it"]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * (len(verdicts) + 1)]
    totals = [0] * (len(verdicts) + 1)
    for record in to_records(file, {}):
        rows = [row for row in record["verdicts"] if row["status"] is not Status.OWN] or record["verdicts"]
        ours = [row for row in record["verdicts"] if row not in rows]
        name = record["paper"].removeprefix("arXiv ")
        whose = " ".join(str(part) for part in (record["authors"], record["year"]) if part)
        said = name if whose in ("", name) else f"{whose}, {name}"
        said = f"[{said}](#{_anchor(record['paper'])})" if sections[record["paper"]] else said
        known_from = ", ".join(row["status"] for row in rows)
        counts = [sum(row[verdict] for row in rows) for verdict in verdicts]
        counts.append(sum(row[verdict] for row in ours for verdict in verdicts))
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        lines.append(f"| {said} | {known_from} | {' | '.join(str(count or '') for count in counts)} |")
    lines.append(f"| all | | {' | '.join(map(str, totals))} |")
    explained = (
        "How many of a paper's statements have which verdict, as the claims state it. The last column counts what we "
        "say about a paper (what its statement becomes here, a correction, a case that it leaves out), of any verdict; "
        "the claims report, and what `linreg-lora check` counts, has these among the others. A link leads to what does "
        "not simply hold."
    )
    return ["## Papers at a glance", explained, "\n".join(lines)]


def _anchor(paper: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", paper.lower()).strip("-")


def _sections(file: ClaimsFile, paper: str, by_id: dict[str, Claim]) -> Iterable[str]:
    """What there is to say of one paper."""
    corrected, failed, conditional = (
        [claim for claim in with_expected(file, verdict) if claim.source.paper == paper]
        for verdict in (Verdict.HOLDS_WITH_CORRECTION, Verdict.FAILS, Verdict.HOLDS_UNDER)
    )
    slips = [slip for slip in file.slips if slip.source.paper == paper]
    undecidable = [entry for entry in file.undecidable if entry.source.paper == paper]
    yield from _section("Statements with a correction", [_corrected(claim, by_id) for claim in corrected])
    yield from _section("Statements that fail", [_failed(claim) for claim in failed])
    yield from _section("Statements that hold under a condition", [_conditional(claim) for claim in conditional])
    yield from _section("Slips without consequence for the results", [_slips(slips)] if slips else [])
    yield from _section("What linear regression cannot decide", [_undecidable(entry) for entry in undecidable])


def with_expected(file: ClaimsFile, verdict: Verdict) -> list[Claim]:
    """The claims that state this verdict of themselves."""
    return [claim for claim in file.claims if claim.expected is verdict]


def _section(title: str, entries: list[str]) -> list[str]:
    return [f"### {title}", *entries] if entries else []


def _corrected(claim: Claim, by_id: dict[str, Claim]) -> str:
    correction = by_id[claim.correction or ""]
    return "\n\n".join(
        [
            *_head(claim),
            f"{given(claim.source)}:\n\n{_math(claim.statement)}",
            f"Counterexample: {claim.counterexample}.",
            f"What holds (`{correction.id}`):\n\n{_math(correction.statement)}",
            *_tail(claim),
        ]
    )


def _failed(claim: Claim) -> str:
    counterexample = f"Counterexample: {claim.counterexample}."
    reading = [f"{shown(claim.expected, claim.source).capitalize()}."] if claim.source.is_a_reading else []
    return "\n\n".join([*_head(claim), _math(claim.statement), *reading, counterexample, *_tail(claim)])


def _conditional(claim: Claim) -> str:
    return "\n\n".join(
        [*_head(claim), _math(claim.statement), f"It holds under: {claim.condition}.", *_tail(claim)]
    )  # fmt: skip


def _undecidable(entry: Undecidable) -> str:
    note = [entry.source.note] if entry.source.note else []
    return "\n\n".join([*_head(entry), entry.why, *note])


def _head(claim: Claim | Undecidable) -> list[str]:
    return [f"#### {claim.title}", f"{source_line(claim.source)}, `{claim.id}`."]


def _tail(claim: Claim) -> list[str]:
    note = [claim.source.note] if claim.source.note else []
    proofs = ", ".join(f"`linreg-lora prove {proof}`" for proof in claim.proof)
    return [*note, *([f"Algebra: {proofs}."] if proofs else [])]


def _slips(slips: list[Slip]) -> str:
    rows = [f"| {source_line(slip.source)} | {slip.printed} | {slip.correct} | {slip.consequence} |" for slip in slips]
    return "\n".join(["| where | as printed | correct | consequence |", "| --- | --- | --- | --- |", *rows])


def _math(statement: str) -> str:
    return f"```math\n{statement}\n```"
