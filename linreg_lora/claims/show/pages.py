"""What a reader sees of the claims: a list that can be filtered, and a page for each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from linreg_lora.claims.schema import Claim, ClaimsFile, Undecidable
from linreg_lora.claims.show.report import percentage, probability, source_line, styled
from linreg_lora.claims.sources import Source
from linreg_lora.claims.vocabulary import Kind, Verdict

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Comparison, Judgement


def matching(
    file: ClaimsFile, verdict: Verdict | None, source: str | None, kind: Kind | None
) -> list[Claim | Undecidable]:
    """The claims with this expected verdict and kind, and `source` somewhere in their source; None matches all.

    A source has the title and the authors that the file gives its paper, too.
    """
    more = {paper.paper: f"{paper.title} {paper.authors}" for paper in file.papers}

    def words(of: Source) -> str:
        return f"{of.paper} {of.locator} {more.get(of.paper, '')}".casefold()

    return [
        claim
        for claim in (*file.claims, *file.undecidable)
        if (verdict is None or expected(claim) is verdict)
        and (source is None or source.casefold() in words(claim.source))
        and (kind is None or (isinstance(claim, Claim) and claim.kind is kind))
    ]


def expected(claim: Claim | Undecidable) -> Verdict:
    """The verdict that a claim states of itself."""
    return claim.expected if isinstance(claim, Claim) else Verdict.UNDECIDABLE


def listing(claims: list[Claim | Undecidable], narrow: bool = False) -> Any:
    """A rich table, one line a claim; `narrow`: without source and kind. Ids are never broken."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"Claims ({len(claims)})", title_justify="left", row_styles=["", "dim"])
    table.add_column("claim", no_wrap=True, min_width=max((len(claim.id) for claim in claims), default=0))
    for name in ("what it says", *(() if narrow else ("source", "kind")), "expected"):
        table.add_column(name, overflow="fold")
    for claim in claims:
        kind = claim.kind if isinstance(claim, Claim) else ""
        row = (claim.id, claim.title, *(() if narrow else (source_line(claim.source), kind)))
        table.add_row(*map(Text, row), styled(expected(claim), claim.source))
    return table


def to_records(claims: list[Claim | Undecidable]) -> list[dict[str, Any]]:
    """The claims as the file has them, with their verdicts; the exponent of a power law also by its old name, rate."""
    records = []
    for claim in claims:
        record = {**claim.model_dump(mode="json", exclude_defaults=True), "expected": expected(claim)}
        record["source"]["status"] = claim.source.status
        for domain in (record.get("domain", {}), record.get("outside", {})):
            if "exponent" in domain.get("spectrum", {}):
                domain["spectrum"]["rate"] = domain["spectrum"]["exponent"]
        records.append(record)
    return records


def claim_page(claim: Claim | Undecidable, judgement: "Judgement | None") -> Iterator[Any]:
    """The parts of a claim's page, for rich to print.

    >>> import linreg_lora as ll
    >>> claim = ll.load_claims().claims[0]
    >>> title, source, *_ = ll.claims.claim_page(claim, judgement=None)
    >>> print(source)
    prop1-fft-closed-form: 2605.19018 Proposition 1
    """
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
    for name, value in assumptions(claim):
        yield Text(f"{name}: {value}")
    if judgement is not None:
        reason = f" ({judgement.reason})" if judgement.reason else ""
        looks = f", after {judgement.looks} looks" if judgement.looks > 1 else ""
        yield Text.assemble(
            "verdict: ", styled(judgement.verdict, claim.source), f"{reason}{looks}, expected {claim.expected}\n"
        )
        yield _evidence(judgement.claim, "Evidence", judgement.comparisons)
        if judgement.outside:
            yield _evidence(judgement.claim, "Evidence outside of the condition", judgement.outside)
        if judgement.rivals:
            yield _rivals(judgement)
    yield from _proofs(claim)


def assumptions(claim: Claim) -> Iterator[tuple[str, str]]:
    """What a claim is tested on, how, and how sharply: pairs of a name and a value."""
    yield "kind", f"{claim.kind}, {claim.relation}" if claim.relation else str(claim.kind)
    yield "tested on", claim.domain.describe()
    if claim.outside is not None:
        yield "holds under", claim.condition
        yield "fails on", f"{claim.outside.describe()} (another {claim.changed})"
    if claim.counterexample:
        yield "counterexample", claim.counterexample
    if claim.correction is not None:
        yield "corrected by", claim.correction
    settings = "".join(
        f", {name} {value if isinstance(value, str) else f'{value:g}'}"
        for name, value in claim.experiment.settings.items()
    )
    yield "measured", f"{claim.experiment.name}, {claim.experiment.trials} draws a case{settings}"
    yield "compared with", claim.prediction
    yield "false alarm", f"{claim.false_alarm:g}; must detect {percentage(claim.detects)}"
    if resolved := claim.resolves.model_dump(exclude_defaults=True):
        yield "shows only", ", ".join(_resolved(name, value) for name, value in resolved.items())
    if claim.assumes:
        yield "assumes", f"{', '.join(claim.assumes)} as in the domain"


def _resolved(name: str, value: float) -> str:
    if name in ("shift", "noise"):
        return f"a {name} that is {percentage(value)} of the outputs' variance"
    return f"mistakes of {value} in {name}"


def evidence(claim: Claim, comparisons: "list[Comparison]") -> tuple[list[str], list[list[str | Verdict]]]:
    """The head and the rows of the table of a claim's comparisons."""
    pathwise = claim.kind is Kind.PATHWISE
    names = ("worst", "tolerance", "violated_share") if pathwise else ("mean", "predicted", "stderr", "z", "critical")
    names += tuple(name for name in ("slack", "error") if name in comparisons[0].numbers)
    head = ["case", "verdict", *(name.replace("_", " ") for name in names), "detects", "power"]
    rows: list[list[str | Verdict]] = [
        [
            where(c),
            c.verdict,
            *(f"{c.numbers[name]:.5g}" for name in names),
            percentage(c.detectable),
            probability(c.power),
        ]
        for c in comparisons
    ]
    return head, rows


def rivals(judgement: "Judgement") -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table of a claim's rivals."""
    rows = [
        [rival.prediction, rival.mistake, "yes" if rival.rejected else "NO", probability(rival.comparison.power)]
        for rival in judgement.rivals
    ]
    return ["prediction", "mistake", "rejected", "power"], rows


def _evidence(claim: Claim, title: str, comparisons: "list[Comparison]") -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    head, rows = evidence(claim, comparisons)
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*(styled(cell) if isinstance(cell, Verdict) else Text(cell) for cell in row))
    return table


def _rivals(judgement: "Judgement") -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Rivals", title_justify="left")
    head, rows = rivals(judgement)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _proofs(claim: Claim) -> Iterator[Any]:
    if not claim.proof:
        return
    from linreg_lora.proofs import report, steps

    for proof in claim.proof:
        yield report.details(steps.run(steps.find(proof)))


def where(c: "Comparison") -> str:
    """The case of a comparison, and its column where there are several."""
    return " ".join(part for part in (c.case, c.column) if part)
