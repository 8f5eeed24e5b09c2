"""Judged claims and verified proofs -> one HTML page. The same judgements give the same bytes.

The page asks for nothing: its policy forbids every request, and admits its own style and script by their hashes.
"""

import base64
import hashlib
import importlib.resources
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import jinja2
from markupsafe import Markup

from linreg_lora.claims.schema import Claim, ClaimsFile, Undecidable
from linreg_lora.claims.show import contested, legend, pages, papers, report
from linreg_lora.claims.show.errata import with_expected
from linreg_lora.claims.sources import Paper
from linreg_lora.claims.vocabulary import Budget, Kind, Verdict
from linreg_lora.proofs import report as proofs_report
from linreg_lora.proofs.steps import ProofResult
from linreg_lora.proofs.steps import Verdict as StepVerdict
from linreg_lora.provenance import versions
from linreg_lora.report_page import formulas, strips

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Judgement

#: A verdict is told by its word, its sign and its colour; what it means stands in the page's legend.
_SIGNS = {
    Verdict.HOLDS: "✓",
    Verdict.HOLDS_WITH_CORRECTION: "✎",
    Verdict.HOLDS_UNDER: "◐",
    Verdict.FAILS: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.UNDECIDABLE: "–",
}
SIGNS = {verdict: (sign, legend.MEANINGS[verdict]) for verdict, sign in _SIGNS.items()}
#: The sign of each role in a figure, and its name.
KEYS = {"own": ("●", "claim"), "against": ("✕", "contradicted"), "rival": ("◇", "rival")}


def render(
    file: ClaimsFile,
    judgements: "Sequence[Judgement]",
    proofs: Sequence[ProofResult],
    *,
    seed: int,
    budget: Budget,
    paper: Paper | None = None,
) -> str:
    """The page, of the judgements of all claims of a file, in its order, and of results of proofs.

    `proofs` has at least those that the claims name; `seed` and `budget` are those of the judgements; `paper`: what the
    page is about, where it is one of several beside an index (`by_paper`). The times that judging took are not in it.
    """
    style, script = text("page.css"), text("page.js")
    counts = Counter([*(j.verdict for j in judgements), *(Verdict.UNDECIDABLE for _ in file.undecidable)])
    steps = Counter(step.verdict for proof in proofs for step in proof.steps)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text("page.html")).render(
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        cards=[_card(judgement) for judgement in judgements],
        undecidable=[_undecidable(entry) for entry in file.undecidable],
        corrected=[
            (claim, report.given(claim.source), _statement(claim))
            for claim in with_expected(file, Verdict.HOLDS_WITH_CORRECTION)
        ],
        corrections={claim.id: _statement(claim) for claim in file.claims},
        slips=[(report.source_line(slip.source), slip) for slip in file.slips],
        proofs={proof.proof.id: proof for proof in proofs},
        proofs_summary=proofs_report.summary(list(proofs)),
        steps=steps,
        step_verdicts=StepVerdict,
        signs=SIGNS,
        keys=KEYS,
        counts=counts,
        labels={verdict: _label(verdict, judgements) for verdict in SIGNS},
        papers=_sources(file),
        paper=paper,
        title="LoRA against full fine-tuning: the claims, checked" if paper is None else papers.title_of(paper),
        known="" if paper is None else papers.known(paper),
        glance=_glance(file, judgements),
        contested=_contested(file),
        contested_head=contested.HEAD,
        kinds=[kind for kind in Kind if any(claim.kind is kind for claim in file.claims)],
        as_expected=sum(j.as_expected for j in judgements),
        rejected=sum(r.rejected for j in judgements for r in j.rivals),
        rivals=sum(len(j.rivals) for j in judgements),
        level=f"{sum(j.claim.false_alarm for j in judgements):.1e}",
        seed=seed,
        budget=budget,
        versions=versions(),
    )  # fmt: skip


def _glance(file: ClaimsFile, judgements: "Sequence[Judgement]") -> tuple[list[str], list[list[Any]]]:
    """The table of papers; a paper's name filters the claims of the page by it."""
    head, rows = papers.glance(file, {j.claim.id: j.verdict for j in judgements})
    link = Markup('<a href="#source={}">{}</a>')
    return head, [[link.format(quote_plus(name), name), *rest] for name, *rest in rows]


def _contested(file: ClaimsFile) -> list[tuple[str, list[list[Any]]]]:
    """The questions that the claims of the page answer; the id of a claim leads to it."""
    link = Markup('<a href="#claim-{0}"><code>{0}</code></a>')
    return [
        (asks, [[*rest, link.format(claim)] for *rest, claim in rows])
        for asks, rows in contested.tables(file).items()
    ]  # fmt: skip


def _card(judgement: "Judgement") -> dict[str, Any]:
    claim = judgement.claim
    figure = strips.figure(judgement)
    tables = [("Evidence", *pages.evidence(claim, judgement.comparisons))]
    if judgement.outside:
        tables.append(("Evidence outside of the condition", *pages.evidence(claim, judgement.outside)))
    if judgement.rivals:
        tables.append(("Rivals, which the same draws must reject", *pages.rivals(judgement)))
    return _common(claim) | {
        "verdict": judgement.verdict,
        "shown": report.shown(judgement.verdict, claim.source),
        "expected": claim.expected,
        "as_expected": judgement.as_expected,
        "reason": judgement.reason,
        "kind": claim.kind,
        "condition": claim.condition,
        "figure": Markup(figure.svg),
        "axis": figure.axis,
        "roles": figure.roles,
        "numbers": list(_numbers(judgement)),
        "assumptions": list(pages.assumptions(claim)),
        "tables": tables,
        "proofs": claim.proof,
        "slack": _least_slack(judgement),
    }


def _undecidable(entry: Undecidable) -> dict[str, Any]:
    return _common(entry) | {
        "verdict": Verdict.UNDECIDABLE,
        "shown": str(Verdict.UNDECIDABLE),
        "kind": "",
        "why": entry.why,
        "slack": None,
    }


def _common(claim: Claim | Undecidable) -> dict[str, Any]:
    return {
        "id": claim.id,
        "title": claim.title,
        "paper": claim.source.paper,
        "source": report.source_line(claim.source),
        "note": claim.source.note,
        "statement": _statement(claim),
    }


def _statement(claim: Claim | Undecidable) -> list[Markup]:
    return [Markup(line) for line in formulas.lines(claim.statement)]


def _numbers(judgement: "Judgement") -> Iterator[tuple[str, str]]:
    """What a reader asks of a test first: pairs of a name and a value."""
    claim, comparisons = judgement.claim, judgement.comparisons
    slack = _least_slack(judgement)
    if slack is not None:
        yield "least slack", strips.compact(slack)
    elif claim.kind is Kind.PATHWISE:
        worst = max(c.numbers["worst"] for c in comparisons)
        yield "worst violation", strips.compact(worst) if worst > 0 else "none"
    elif claim.kind is Kind.ASYMPTOTIC:
        yield "error at last", report.percentage(comparisons[-1].numbers["error"])
    else:
        yield "worst |z|", report.worst(judgement)
    if judgement.verdict is not Verdict.FAILS:
        yield "power", report.probability(judgement.power)
        yield "detects", report.percentage(judgement.detectable)
    yield "false alarm", f"{claim.false_alarm:g}"
    if judgement.rivals:
        yield "rivals rejected", f"{sum(r.rejected for r in judgement.rivals)} of {len(judgement.rivals)}"
    yield "draws", f"{sum(int(c.numbers['trials']) for c in comparisons if c.column == comparisons[0].column):,}"


def _least_slack(judgement: "Judgement") -> float | None:
    slacks = [c.numbers["slack"] for c in judgement.comparisons if "slack" in c.numbers]
    return min(slacks) if slacks and all(map(math.isfinite, slacks)) else None


def _label(verdict: Verdict, judgements: "Sequence[Judgement]") -> str:
    """The verdict over all claims of the page that have it, of which some, or all, may be readings."""
    ways = sorted({report.shown(verdict, j.claim.source) for j in judgements if j.verdict is verdict})
    return " or ".join(ways) or str(verdict)


def _sources(file: ClaimsFile) -> list[str]:
    return list(dict.fromkeys(claim.source.paper for claim in (*file.claims, *file.undecidable)))


def policy(style: str, script: str) -> str:
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    style_hash, script_hash = (f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; style-src {style_hash}; script-src {script_hash}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def text(name: str) -> str:
    return importlib.resources.files("linreg_lora.report_page").joinpath(name).read_text(encoding="utf-8")
