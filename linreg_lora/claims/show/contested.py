"""Contested questions as Markdown: who says what, and under which condition each is right."""

from collections.abc import Sequence

from linreg_lora.claims.contested import Question, all_questions
from linreg_lora.claims.schema import Claim, ClaimsFile, Undecidable
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

_HEAD = ["who", "known from", "answer", "verdict", "right where", "claim"]


def markdown(file: ClaimsFile, names: Sequence[str]) -> str:
    """The whole document: a section a question that a claim answers, and the questions that none does yet."""
    papers = {paper.paper: paper for paper in papers_of(file)}
    parts, open_questions = [_INTRODUCTION.format(files=", ".join(names))], []
    for question in all_questions(file.questions):
        entries = answers(file, question)
        if not entries:
            open_questions.append(question.asks)
            continue
        rows = [_row(entry, papers[entry.source.paper]) for entry in entries]
        lines = [_HEAD, ["---"] * len(_HEAD), *rows]
        parts += [f"## {question.asks}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    if open_questions:
        parts += ["## Not judged yet", "\n".join(f"- {asks}" for asks in open_questions)]
    return "\n\n".join(parts) + "\n"


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
    corrected = f"; `{entry.correction}` holds instead" if entry.correction else ""
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
        f"`{entry.id}`",
    ]
    return [" ".join(cell.split()).replace("|", "\\|") for cell in cells]
