"""What pages of claims have in common: which files they are of, and what the verdicts mean, in one sentence each."""

from collections.abc import Sequence

from linreg_lora.claims.vocabulary import Verdict

MEANINGS = {
    Verdict.HOLDS: "No comparison contradicts it, and the draws would have shown an error of the stated size.",
    Verdict.HOLDS_WITH_CORRECTION: "It fails as printed, or as read; the claim that it names holds instead.",
    Verdict.HOLDS_UNDER: "It holds under its condition, and fails in every case tested outside of it.",
    Verdict.FAILS: "The evidence is against it; against our reading, where the source was not read in full.",
    Verdict.INCONCLUSIVE: "Too few draws to tell it from a rival, or to find an error of the stated size.",
    Verdict.UNDECIDABLE: "Nothing computed here can decide it.",
}
#: How a verdict is shown of what a source does not say in so many words (`report.shown`).
READING_FAILS = "this reading fails"
_OTHERWISE = {Verdict.FAILS: READING_FAILS}

OWN_FILE = "[paper_claims.yaml](../paper_claims.yaml)"
_MOST_NAMED = 3


def files(names: Sequence[str]) -> str:
    """The names of claims files, the first of many."""
    named = [OWN_FILE if name == "paper_claims.yaml" else name for name in names]
    if len(named) <= _MOST_NAMED:
        return ", ".join(named)
    return f"{named[0]} and {len(named) - 1} other files (`linreg-lora papers` lists them)"


def markdown() -> str:
    """A section with a table, a line a verdict."""
    rows = []
    for verdict, meaning in MEANINGS.items():
        also = f", *{_OTHERWISE[verdict]}*" if verdict in _OTHERWISE else ""
        rows.append(f"| *{verdict}*{also} | {meaning} |")
    return "\n".join(["## What the verdicts mean", "", "| verdict | what it means |", "| --- | --- |", *rows])
