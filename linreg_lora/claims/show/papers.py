"""What is judged of each paper, by verdict and by how its source is known: at a glance, from the claims files.

Verdicts are those that claims state of themselves, or those of a run of `check`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linreg_lora.claims.schema import Claim, ClaimsFile, Undecidable
from linreg_lora.claims.show.legend import READING_FAILS
from linreg_lora.claims.show.pages import expected
from linreg_lora.claims.show.report import shown
from linreg_lora.claims.sources import Paper
from linreg_lora.claims.vocabulary import Status, Verdict
from linreg_lora.errors import InvalidInput

#: Verdicts as heads of columns.
HEADS = {
    Verdict.HOLDS: "holds",
    Verdict.HOLDS_WITH_CORRECTION: "with a correction",
    Verdict.HOLDS_UNDER: "under a condition",
    Verdict.FAILS: "fails",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.UNDECIDABLE: "undecidable",
}
_SAID = {
    Status.READ: "Its text was at hand.",
    Status.ABSTRACT: "Of its text, the abstract was at hand.",
    Status.SUMMARY: "A summary was at hand, not its text.",
    Status.MEMORY: "It is said to claim this: nothing of it was at hand.",
    Status.OWN: "Ours.",
    Status.UNREAD: "It was not at hand.",
}
#: More than any run of `check` writes.
_LARGEST = 50_000_000


def papers_of(file: ClaimsFile) -> list[Paper]:
    """The papers of a file in the order of its claims; one that it does not list has a name and a status."""
    listed = {paper.paper: paper for paper in file.papers}
    found: dict[str, Paper] = {}
    for entry in (*file.claims, *file.undecidable, *file.slips):
        name = entry.source.paper
        found.setdefault(name, listed.get(name) or Paper(paper=name, status=entry.source.status))
    return list(found.values())


def title_of(paper: Paper) -> str:
    """A paper's name, its title, and whose it is."""
    whose = " ".join(str(part) for part in (paper.authors, paper.year) if part)
    said = ", ".join(part for part in (paper.title, whose) if part)
    return f"{paper.paper}: {said}" if said else paper.paper


def known(paper: Paper) -> str:
    """A sentence on how a paper is known, or what its file says of that."""
    return f"Status: {paper.status}. {paper.note or _SAID[paper.status]}"


def read_verdicts(path: Path) -> dict[str, Verdict]:
    """Id -> verdict, of what `linreg-lora check --format json` wrote.

    Raises `InvalidInput` in one line for a file that is something else.
    """
    expected_file = "what `linreg-lora check --format json` writes"
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise InvalidInput("checked", f"at most {_LARGEST} bytes", str(path))
        content = json.loads(text)
        return {str(claim["id"]): Verdict(claim["verdict"]) for claim in content["claims"]}
    except OSError as error:
        raise InvalidInput("checked", expected_file, str(path), error.strerror or str(error)) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput("checked", expected_file, str(path), f"{type(error).__name__}: {error}") from None


def require_judged(file: ClaimsFile, checked: Mapping[str, Verdict]) -> None:
    """Refuse the verdicts of a run that judged none of the file's claims."""
    if checked and not any(claim.id in checked for claim in file.claims):
        judged = f"one of {', '.join(list(checked)[:3])}"
        remedy = "give --paper as it was given to check"
        raise InvalidInput("checked", "a run that judged some of these claims", judged, remedy)


def to_records(file: ClaimsFile, checked: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """A record a paper: how it is known, its verdicts by status, its claims, and what is undecidable, with the reason.

    `checked`: id -> verdict of a run; a claim that is not in it has the verdict that it states.
    """
    records = []
    for paper in papers_of(file):
        entries = [entry for entry in (*file.claims, *file.undecidable) if entry.source.paper == paper.paper]
        claims = [entry for entry in entries if isinstance(entry, Claim)]
        records.append(
            {
                "paper": paper.paper,
                "title": paper.title,
                "authors": paper.authors,
                "year": paper.year,
                "status": paper.status,
                "known": known(paper),
                "verdicts": [
                    {"status": status, **_counted(entries, status, checked)}
                    for status in Status
                    if any(entry.source.status is status for entry in entries)
                ],
                "claims": [_claim(claim, checked) for claim in claims],
                "undecidable": [
                    {"id": entry.id, "title": entry.title, "status": entry.source.status, "why": entry.why}
                    for entry in entries
                    if isinstance(entry, Undecidable)
                ],
                "slips": sum(slip.source.paper == paper.paper for slip in file.slips),
                "questions": list(dict.fromkeys(entry.contested.question for entry in entries if entry.contested)),
                "checked": sum(claim.id in checked for claim in claims),
                "as_expected": all(checked.get(claim.id, claim.expected) is claim.expected for claim in claims),
            }
        )
    return records


def _counted(
    entries: "Sequence[Claim | Undecidable]", status: Status, checked: Mapping[str, Verdict]
) -> dict[str, int]:
    found = Counter(checked.get(e.id, expected(e)) for e in entries if e.source.status is status)
    return {str(verdict): found[verdict] for verdict in Verdict}


def _claim(claim: Claim, checked: Mapping[str, Verdict]) -> dict[str, Any]:
    verdict = checked.get(claim.id, claim.expected)
    return {
        "id": claim.id,
        "title": claim.title,
        "status": claim.source.status,
        "expected": claim.expected,
        "verdict": verdict,
        "verdict_shown": shown(verdict, claim.source),
        "checked": claim.id in checked,
    }


def glance(file: ClaimsFile, checked: Mapping[str, Verdict]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table of papers: a row for each paper and status, with the paper's name first."""
    records = to_records(file, checked)
    verdicts = [
        verdict
        for verdict in Verdict
        if verdict is not Verdict.INCONCLUSIVE or any(row[verdict] for r in records for row in r["verdicts"])
    ]
    rows = [
        [
            record["paper"],
            record["title"],
            row["status"],
            *(_cell(record, row, verdict) for verdict in verdicts),
            _share(record, row["status"], bool(checked)),
        ]
        for record in records
        for row in record["verdicts"]
    ]
    head = ["paper", "title", "known from", *(HEADS[verdict] for verdict in verdicts)]
    return [*head, "as expected" if checked else "claims"], rows


def _cell(record: Mapping[str, Any], row: Mapping[str, Any], verdict: Verdict) -> str:
    """How many of a status have a verdict; of readings that fail it is said that they are."""
    counted = (c for c in record["claims"] if c["status"] == row["status"] and c["verdict"] == verdict)
    reading = any(claim["verdict_shown"] == READING_FAILS for claim in counted)
    return f"{row[verdict]} as read" if reading else str(row[verdict] or "")


def tables(file: ClaimsFile, checked: Mapping[str, Verdict]) -> list[Any]:
    """Rich tables: a line for each paper and status, and what is undecidable, with the reason."""
    from rich.table import Table
    from rich.text import Text

    head, rows = glance(file, checked)
    named = "of the last check, where it judged them" if checked else "as the claims state them"
    first = Table(title=f"Papers ({len(papers_of(file))}); verdicts {named}", title_justify="left")
    for name in head:
        first.add_column(name, overflow="fold", justify="left" if name in head[:3] else "right")
    for before, row in zip([[""], *rows], rows, strict=False):
        first.add_row(*map(Text, ["", "", *row[2:]] if row[0] == before[0] else row))
    if not file.undecidable:
        return [first]
    title = f"Undecidable here ({len(file.undecidable)})"
    reasons = Table(title=title, title_justify="left", row_styles=["", "dim"])
    for name in ("statement", "paper", "known from", "why"):
        reasons.add_column(name, overflow="fold")
    for entry in file.undecidable:
        reasons.add_row(*map(Text, (entry.title, entry.source.paper, entry.source.status, entry.why)))
    return [first, reasons]


def _share(record: Mapping[str, Any], status: Status, checked: bool) -> str:
    """How many claims of a status there are; of a run, how many of those judged are as expected."""
    claims = [claim for claim in record["claims"] if claim["status"] == status]
    if not checked:
        return str(len(claims))
    judged = [claim for claim in claims if claim["checked"]]
    return f"{sum(claim['verdict'] == claim['expected'] for claim in judged)} of {len(judged)}"
