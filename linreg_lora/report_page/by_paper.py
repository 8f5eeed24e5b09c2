"""The report as a folder: a page a paper, each as the whole report would show it, and an index that leads to them."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from linreg_lora.claims.schema import Claim, ClaimsFile
from linreg_lora.claims.show import contested, papers
from linreg_lora.claims.sources import Paper
from linreg_lora.claims.vocabulary import Budget
from linreg_lora.proofs.steps import ProofResult
from linreg_lora.report_page import page

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Judgement


def render_all(
    file: ClaimsFile, judgements: "Sequence[Judgement]", proofs: Sequence[ProofResult], *, seed: int, budget: Budget
) -> dict[str, str]:
    """Name of a file -> its page: `index.html`, and one for each paper. Arguments: those of `page.render`."""
    names = _names(papers.papers_of(file))
    out = {"index.html": _index(file, judgements, names, seed=seed, budget=budget)}
    for paper in papers.papers_of(file):
        part = _part(file, paper)
        ids = {claim.id for claim in part.claims}
        needed = {proof for claim in part.claims for proof in claim.proof}
        out[names[paper.paper]] = page.render(
            part,
            [judgement for judgement in judgements if judgement.claim.id in ids],
            [proof for proof in proofs if proof.proof.id in needed],
            seed=seed,
            budget=budget,
            paper=paper,
        )
    return out


def _names(listed: Sequence[Paper]) -> dict[str, str]:
    """Paper -> the name of its page, each another one."""
    names: dict[str, str] = {}
    for paper in listed:
        stem = re.sub(r"[^a-z0-9.]+", "-", paper.paper.lower()).strip("-.") or "paper"
        name, count = f"{stem}.html", 1
        while name in {"index.html", *names.values()}:
            count += 1
            name = f"{stem}-{count}.html"
        names[paper.paper] = name
    return names


def _part(file: ClaimsFile, paper: Paper) -> ClaimsFile:
    """What the file says of one paper, and the claims of others that correct it."""
    corrections = {claim.correction for claim in file.claims if claim.source.paper == paper.paper}

    def belongs(claim: Claim) -> bool:
        return claim.source.paper == paper.paper or claim.id in corrections

    changes = {
        "claims": [claim for claim in file.claims if belongs(claim)],
        "undecidable": [entry for entry in file.undecidable if entry.source.paper == paper.paper],
        "slips": [slip for slip in file.slips if slip.source.paper == paper.paper],
    }
    return file.model_copy(update=changes)


def _index(
    file: ClaimsFile, judgements: "Sequence[Judgement]", names: dict[str, str], *, seed: int, budget: Budget
) -> str:
    head, rows = papers.glance(file, {judgement.claim.id: judgement.verdict for judgement in judgements})
    to_paper = Markup('<a href="{}">{}</a>')
    of = {entry.id: names[entry.source.paper] for entry in (*file.claims, *file.undecidable)}
    to_claim = Markup('<a href="{0}#claim-{1}"><code>{1}</code></a>')
    style = page.text("page.css")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(page.text("index.html")).render(
        style=Markup(style),
        policy=page.policy(style, ""),
        head=head,
        rows=[[to_paper.format(names[name], name), *rest] for name, *rest in rows],
        contested_head=contested.HEAD,
        contested=[
            (asks, [[*rest, to_claim.format(of[claim], claim)] for *rest, claim in answers])
            for asks, answers in contested.tables(file).items()
        ],
        undecidable=[
            (to_claim.format(of[entry.id], entry.id), entry.title, entry.source.paper, entry.source.status, entry.why)
            for entry in file.undecidable
        ],
        as_expected=sum(judgement.as_expected for judgement in judgements),
        claims=len(judgements),
        seed=seed,
        budget=budget,
    )
