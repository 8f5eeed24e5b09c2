"""Contested questions as Markdown: who says what, and under which condition each is right."""

from collections.abc import Sequence

from linreg_lora.claims.contested import Question, all_questions
from linreg_lora.claims.schema import Claim, ClaimsFile, Undecidable
from linreg_lora.claims.show import legend
from linreg_lora.claims.show.pages import expected
from linreg_lora.claims.show.papers import papers_of
from linreg_lora.claims.show.report import shown
from linreg_lora.claims.sources import Paper
from linreg_lora.claims.vocabulary import Status, Verdict

_INTRODUCTION = """\
# Contested questions

Written by `linreg-lora claims contested` from the claims of {files}.
Every answer is a claim that `linreg-lora check` judges against simulation, or says why nothing here decides it;
`linreg-lora claims show ID` prints the evidence.
"Known from" says how much of a source was at hand: what is not read in full is our reading of it."""

HEAD = ["who", "known from", "answer", "verdict", "right where", "claim"]


def markdown(file: ClaimsFile, names: Sequence[str]) -> str:
    """The whole document: what the verdicts mean, a section an answered question, and the other questions."""
    parts = [_INTRODUCTION.format(files=legend.files(names)), legend.markdown()]
    answered = tables(file)
    for asks, rows in answered.items():
        code = [[*map(_markdown, row[:-1]), f"`{row[-1]}`"] for row in rows]
        lines = [HEAD, ["---"] * len(HEAD), *code]
        parts += [f"## {asks}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    left = [f"- {question.asks}" for question in all_questions(file.questions) if question.asks not in answered]
    if left:
        parts += ["## Not judged yet", "\n".join(left)]
    return "\n\n".join(parts) + "\n"


def tables(file: ClaimsFile) -> dict[str, list[list[str]]]:
    """Each question that a claim answers -> the rows of its table, under `HEAD`; the last cell is the claim's id."""
    papers = {paper.paper: paper for paper in papers_of(file)}
    answered = {question.asks: answers(file, question) for question in all_questions(file.questions)}
    return {
        asks: [_row(entry, papers[entry.source.paper]) for entry in entries]
        for asks, entries in answered.items()
        if entries
    }


def answers(file: ClaimsFile, question: Question) -> list[Claim | Undecidable]:
    """The claims, and what is undecidable, that answer a question, in the order of the files."""
    entries = (*file.claims, *file.undecidable)
    return [entry for entry in entries if entry.contested is not None and entry.contested.question == question.id]


def right_where(entry: Claim | Undecidable) -> str:
    """Under which condition an answer is right; of what fails, where it is not."""
    if isinstance(entry, Undecidable):
        return entry.why
    if entry.expected is Verdict.HOLDS:
        return entry.contested.under if entry.contested else ""
    if entry.expected is Verdict.HOLDS_UNDER:
        return entry.condition
    corrected = f"; {entry.correction} holds instead" if entry.correction else ""
    return f"not at {entry.counterexample}{corrected}"


def _row(entry: Claim | Undecidable, paper: Paper) -> list[str]:
    name = paper.paper.removeprefix("arXiv ")
    who = "" if entry.source.status is Status.OWN else f"{paper.authors} {paper.year or ''}".strip()
    name = f"ours, on {name}" if entry.source.status is Status.OWN and paper.status is not Status.OWN else name
    answer = entry.contested.answer if entry.contested else ""
    cells = [
        f"{who}, {name}" if who else name,
        str(entry.source.status),
        answer,
        shown(expected(entry), entry.source),
        right_where(entry),
        entry.id,
    ]
    return [" ".join(cell.split()) for cell in cells]


def _markdown(cell: str) -> str:
    return cell.replace("|", "\\|")
