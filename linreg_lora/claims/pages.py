"""What a reader sees of the claims: a list that can be filtered, and a page for each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from linreg_lora.claims.cases import describe_domain
from linreg_lora.claims.report import percentage, probability, source_line, styled
from linreg_lora.claims.schema import Claim, ClaimsFile, Kind, Undecidable, Verdict

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Comparison, Judgement


def matching(
    file: ClaimsFile, verdict: Verdict | None, source: str | None, kind: Kind | None
) -> list[Claim | Undecidable]:
    """The claims with this expected verdict and kind, and `source` somewhere in their source; None matches all."""
    return [
        claim
        for claim in (*file.claims, *file.undecidable)
        if (verdict is None or expected(claim) is verdict)
        and (source is None or source.casefold() in f"{claim.source.paper} {claim.source.locator}".casefold())
        and (kind is None or (isinstance(claim, Claim) and claim.kind is kind))
    ]


def expected(claim: Claim | Undecidable) -> Verdict:
    """The verdict that a claim states of itself."""
    return claim.expected if isinstance(claim, Claim) else Verdict.UNDECIDABLE


def listing(claims: list[Claim | Undecidable]) -> Any:
    """A rich table, one line a claim."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"Claims ({len(claims)})", title_justify="left", row_styles=["", "dim"])
    for name in ("claim", "what it says", "source", "kind", "expected"):
        table.add_column(name, overflow="fold")
    for claim in claims:
        kind = claim.kind if isinstance(claim, Claim) else ""
        row = (claim.id, claim.title, source_line(claim.source), kind)
        table.add_row(*map(Text, row), styled(expected(claim)))
    return table


def to_records(claims: list[Claim | Undecidable]) -> list[dict[str, Any]]:
    """The claims as the file has them, with their verdicts."""
    return [{**claim.model_dump(mode="json", exclude_defaults=True), "expected": expected(claim)} for claim in claims]


def page(claim: Claim | Undecidable, judgement: "Judgement | None") -> Iterator[Any]:
    """The parts of a claim's page, for rich to print."""
    from rich.text import Text

    yield Text(claim.title, style="bold")
    yield Text(f"{claim.id}: {source_line(claim.source)}")
    if claim.source.note:
        yield Text(claim.source.note, style="italic")
    yield Text(f"\n{claim.statement}\n")
    if isinstance(claim, Undecidable):
        yield Text.assemble("verdict: ", styled(Verdict.UNDECIDABLE))
        yield Text(claim.why)
        return
    yield from _assumptions(claim)
    if judgement is not None:
        reason = f" ({judgement.reason})" if judgement.reason else ""
        yield Text.assemble("verdict: ", styled(judgement.verdict), f"{reason}, expected {claim.expected}\n")
        yield _evidence(judgement.claim, "Evidence", judgement.comparisons)
        if judgement.outside:
            yield _evidence(judgement.claim, "Evidence outside of the condition", judgement.outside)
        if judgement.rivals:
            yield _rivals(judgement)
    yield from _proofs(claim)


def _assumptions(claim: Claim) -> Iterator[Any]:
    from rich.text import Text

    relation = f", {claim.relation}" if claim.relation else ""
    yield Text(f"kind: {claim.kind}{relation}")
    yield Text(f"tested on: {describe_domain(claim.domain)}")
    if claim.outside is not None:
        yield Text(f"holds under: {claim.condition}")
        yield Text(f"fails on: {describe_domain(claim.outside)}")
    if claim.counterexample:
        yield Text(f"counterexample: {claim.counterexample}")
    if claim.correction is not None:
        yield Text(f"corrected by: {claim.correction}")
    settings = "".join(f", {name} {value:g}" for name, value in claim.experiment.settings.items())
    yield Text(f"measured: {claim.experiment.name}, {claim.experiment.trials} draws a case{settings}")
    yield Text(f"compared with: {claim.prediction}")
    yield Text(f"false alarm {claim.false_alarm:g}; must detect {percentage(claim.detects)}")


def _evidence(claim: Claim, title: str, comparisons: "list[Comparison]") -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    pathwise = claim.kind is Kind.PATHWISE
    names = ("worst", "tolerance", "violated_share") if pathwise else ("mean", "predicted", "stderr", "z", "critical")
    names += ("slack",) if "slack" in comparisons[0].numbers else ()
    for name in ("case", "verdict", *(name.replace("_", " ") for name in names), "detects", "power"):
        table.add_column(name)
    for c in comparisons:
        numbers = (f"{c.numbers[name]:.5g}" for name in names)
        table.add_row(
            Text(_where(c)), styled(c.verdict), *numbers, percentage(c.detectable), probability(c.power)
        )  # fmt: skip
    return table


def _rivals(judgement: "Judgement") -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Rivals", title_justify="left")
    for name in ("prediction", "mistake", "rejected", "power"):
        table.add_column(name, overflow="fold")
    for rival in judgement.rivals:
        rejected = "yes" if rival.rejected else "NO"
        table.add_row(rival.prediction, Text(rival.mistake), rejected, probability(rival.comparison.power))
    return table


def _proofs(claim: Claim) -> Iterator[Any]:
    if not claim.proof:
        return
    from linreg_lora.proofs import report, steps

    for proof in claim.proof:
        yield report.details(steps.run(steps.find(proof)))


def _where(c: "Comparison") -> str:
    return " ".join(part for part in (c.case, c.column) if part)
