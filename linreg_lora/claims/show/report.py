"""Judgements as a table, as JSON and as JUnit XML."""

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from linreg_lora.claims.show.legend import READING_FAILS
from linreg_lora.claims.sources import Source
from linreg_lora.claims.vocabulary import Kind, Status, Verdict

if TYPE_CHECKING:
    from linreg_lora.claims.collection import Part
    from linreg_lora.claims.judge import Comparison, Judgement

_NONE: Mapping[str, str] = MappingProxyType({})
_STYLE = {
    Verdict.HOLDS: "green",
    Verdict.HOLDS_WITH_CORRECTION: "green",
    Verdict.HOLDS_UNDER: "green",
    Verdict.FAILS: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.UNDECIDABLE: "dim",
}


#: How a source is known, behind its name.
_KNOWN = {
    Status.READ: "",
    Status.ABSTRACT: " (as read in the abstract)",
    Status.SUMMARY: " (as read in a summary)",
    Status.MEMORY: " (is said to claim, from memory)",
    Status.OWN: " (ours)",
    Status.UNREAD: " (not at hand)",
}


def verdict_table(judgements: "list[Judgement]", narrow: bool = False) -> Any:
    """A rich table: one line a claim, with its rivals' fate, error rates and, unless it fails, sharpness.

    >>> import linreg_lora as ll
    >>> table = ll.claims.verdict_table(ll.check_claims(only=["lemma2-square"]))
    >>> [column.header for column in table.columns[:4]], table.row_count
    (['claim', 'source', 'kind', 'verdict'], 1)
    """
    from rich.markup import escape
    from rich.table import Table

    out = Table(title="Claims", title_justify="left", row_styles=["", "dim"])
    names = (
        "claim",
        "source",
        "kind",
        "verdict",
        "worst |z|",
        "false alarm",
        "power",
        "detects",
        "rivals rejected",
        "s",
    )
    shown_of = [i for i, name in enumerate(names) if not narrow or name in ("claim", "verdict", "worst |z|")]
    for i in shown_of:
        if i == 0:
            out.add_column(names[i], no_wrap=True, min_width=max((len(j.claim.id) for j in judgements), default=0))
        else:
            out.add_column(names[i], overflow="fold", justify="left" if i < 4 else "right")
    for j in judgements:
        rejected = sum(rival.rejected for rival in j.rivals)
        verdict = shown(j.verdict, j.claim.source)
        if not j.as_expected:
            verdict += f", expected {j.claim.expected}: {j.reason}"
        if loose := looseness(j):
            verdict += f", {loose}"
        row = (
            j.claim.id,
            escape(source_line(j.claim.source)),
            j.claim.kind,
            f"[{_STYLE[j.verdict]}]{escape(verdict)}[/]",
            worst(j),
            "0" if j.claim.false_alarm == 0 else f"{j.claim.false_alarm:.0e}",
            *(("-", "-") if j.verdict is Verdict.FAILS else (probability(j.power), percentage(j.detectable))),
            f"{rejected} of {len(j.rivals)}",
            f"{j.seconds:.1f}",
        )
        out.add_row(*(row[i] for i in shown_of))
    return out


def summary(
    judgements: "list[Judgement]", parts: "Sequence[Part]" = (), could_not_run: Mapping[str, str] = _NONE
) -> str:
    """One line: how many are as expected, and the family-wise false-alarm level of the run.

    `parts`: the files that the claims are from (`collect_claims`). Where there are several, a second line has the
    levels that each allows itself, and their sum. `could_not_run`: id of a claim that has no judgement -> why.

    >>> import linreg_lora as ll
    >>> ll.claims.summary(ll.check_claims(only=["lemma2-square"]))
    '1 of 1 claims as expected; false-alarm level of the whole run 0.0e+00; 2 of 2 rivals rejected'
    """
    expected = sum(j.as_expected for j in judgements)
    level = sum(j.claim.false_alarm for j in judgements)
    unable = f"; could not run: {', '.join(could_not_run)}" if could_not_run else ""
    return (
        f"{expected} of {len(judgements)} claims as expected; false-alarm level of the whole run {level:.1e}; "
        f"{sum(r.rejected for j in judgements for r in j.rivals)} of {sum(len(j.rivals) for j in judgements)} rivals "
        f"rejected{unable}{_levels(parts)}"
    )


def _levels(parts: "Sequence[Part]") -> str:
    if len(parts) < 2:
        return ""
    levels = [part.file.family_wise_level for part in parts]
    listed = " + ".join(f"{part.name} {level:.1e}" for part, level in zip(parts, levels, strict=True))
    return f"\nfamily-wise levels of the files: {listed} = {sum(levels):.1e}"


def to_json(
    judgements: "list[Judgement]", seed: int, parts: "Sequence[Part]" = (), could_not_run: Mapping[str, str] = _NONE
) -> str:
    """One object; `claims` is the list. Numbers that are infinite or undefined are null.

    `parts`: the files that the claims are from (`collect_claims`), listed as `files` with the ids of what was judged.
    `could_not_run`: id of a claim that has no judgement -> why.

    >>> import linreg_lora as ll
    >>> import json
    >>> judged = json.loads(ll.claims.to_json(ll.check_claims(only=["lemma2-square"]), seed=0))
    >>> judged["claims"][0]["verdict"]
    'holds'
    """
    content = {
        "seed": seed,
        "as_expected": all(j.as_expected for j in judgements) and not could_not_run,
        "false_alarm": sum(j.claim.false_alarm for j in judgements),
        "family_wise_level": sum(part.file.family_wise_level for part in parts) if parts else None,
        "files": [_file(part, judgements) for part in parts],
        "claims": [_claim(j) for j in judgements],
        "could_not_run": [{"id": name, "reason": reason} for name, reason in could_not_run.items()],
    }
    return json.dumps(_finite(content), indent=2, allow_nan=False)


def to_junit(judgements: "list[Judgement]", could_not_run: Mapping[str, str] = _NONE) -> str:
    """JUnit XML: a test case a claim, failed when it is not as expected, an error when it could not run.

    >>> import linreg_lora as ll
    >>> print(ll.claims.to_junit(ll.check_claims(only=["lemma2-square"])))
    <?xml version='1.0' encoding='utf-8'?>
    <testsuite name="linreg-lora check" tests="1" failures="0" errors="0" time="...">
      <testcase classname="pathwise" name="lemma2-square" time="..." />
    </testsuite>
    """
    failures = sum(not j.as_expected for j in judgements)
    suite = ET.Element(
        "testsuite",
        name="linreg-lora check",
        tests=str(len(judgements) + len(could_not_run)),
        failures=str(failures),
        errors=str(len(could_not_run)),
        time=f"{sum(j.seconds for j in judgements):.3f}",
    )
    for j in judgements:
        case = ET.SubElement(suite, "testcase", classname=j.claim.kind, name=j.claim.id, time=f"{j.seconds:.3f}")
        if not j.as_expected:
            message = f"{j.verdict}, expected {j.claim.expected}: {j.reason}"
            ET.SubElement(case, "failure", message=message).text = json.dumps(_finite(_claim(j)), indent=2)
    for name, reason in could_not_run.items():
        case = ET.SubElement(suite, "testcase", classname="could not run", name=name, time="0.000")
        ET.SubElement(case, "error", message=reason)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _file(part: "Part", judgements: "list[Judgement]") -> dict[str, Any]:
    ids = {claim.id for claim in part.file.claims}
    judged = [j.claim.id for j in judgements if j.claim.id in ids]
    return {"name": part.name, "family_wise_level": part.file.family_wise_level, "claims": judged}


def _claim(j: "Judgement") -> dict[str, Any]:
    claim = j.claim
    return {
        "id": claim.id,
        "title": claim.title,
        "source": claim.source.model_dump(),
        "statement": claim.statement,
        "kind": claim.kind,
        "verdict": j.verdict,
        "verdict_shown": shown(j.verdict, claim.source),
        "expected": claim.expected,
        "reason": j.reason,
        "evidence": [_comparison(c) for c in j.comparisons],
        "evidence_outside": [_comparison(c) for c in j.outside],
        "power": {
            "level": j.power,
            "detects": j.detectable,
            "detects_stated": claim.detects,
            "false_alarm": claim.false_alarm,
            "resolves": claim.resolves.model_dump(exclude_defaults=True),
            "assumes": claim.assumes,
            "looks": j.looks,
        },
        "rivals": [
            {
                "prediction": rival.prediction,
                "mistake": rival.mistake,
                "rejected": rival.rejected,
                "power": rival.comparison.power,
                "evidence": _comparison(rival.comparison),
            }
            for rival in j.rivals
        ],
        "seconds": j.seconds,
    }


def _comparison(c: "Comparison") -> dict[str, Any]:
    return {"case": c.case, "column": c.column, "verdict": c.verdict, "detects": c.detectable, **c.numbers}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def styled(verdict: Verdict, source: Source | None = None) -> Any:
    """A verdict in its colour; that of a claim as `shown`."""
    from rich.text import Text

    return Text(str(verdict) if source is None else shown(verdict, source), _STYLE[verdict])


def shown(verdict: Verdict, source: Source) -> str:
    """A verdict as readers see it: what fails of a source that was not read in full is our reading of it.

    So is what fails of our own about a paper of others, which does not say it.
    """
    return READING_FAILS if verdict is Verdict.FAILS and source.is_a_reading else str(verdict)


def given(source: Source) -> str:
    """What stands before a statement that is corrected: only one whose text was read is quoted as it is printed."""
    return "As printed" if source.status is Status.READ else "As read"


def source_line(source: Source) -> str:
    """Paper and locator, and how they are known; of an abstract's paper other parts were read in part."""
    known = _KNOWN[source.status]
    if source.status is Status.ABSTRACT and "abstract" not in source.locator.casefold():
        known = " (as read in part)"
    return f"{source.paper.removeprefix('arXiv ')} {source.locator}{known}"


def worst(j: "Judgement") -> str:
    """The largest |z| of a claim's comparisons, if it is about means that a formula should equal or bound."""
    if j.claim.kind in (Kind.PATHWISE, Kind.ASYMPTOTIC):
        return "-"
    return f"{max(abs(c.numbers['z']) for c in j.comparisons):.1f}"


def looseness(j: "Judgement") -> str:
    """How many times a bound that holds exceeds what was measured, where it is tightest; nothing below 2."""
    least = min((c.numbers["slack"] for c in j.comparisons if "slack" in c.numbers), default=0.0)
    return f"{least:.3g} times loose" if j.verdict is Verdict.HOLDS and least >= 2 else ""


def probability(p: float) -> str:
    """A power, to four decimals."""
    return ">0.9999" if p > 0.9999 else f"{p:.4f}"


def percentage(relative: float) -> str:
    """A relative discrepancy."""
    return f"{100 * relative:.2g} %" if relative >= 1e-4 else f"{relative:.0e}"
