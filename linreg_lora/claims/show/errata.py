"""Errata of the papers, as Markdown, from the claims file."""

from collections.abc import Iterator, Sequence

from linreg_lora.claims.schema import Claim, ClaimsFile, Slip, Undecidable, Verdict
from linreg_lora.claims.show.report import source_line

_INTRODUCTION = """\
# Errata

Written by `linreg-lora claims errata` from [paper_claims.yaml](../paper_claims.yaml), whose claims `linreg-lora check`
tests; `linreg-lora claims show ID` prints the evidence for each.

None of this sinks a theorem. The slips are in constants that the statements leave open ("up to constants"), in
assumptions that the proofs use without a word, and in print. We list them because whoever computes with the formulas
needs the right ones. Of the papers marked "as read" only summaries were at hand: what fails there is the statement as
given here."""


_INTRODUCTION_OF_OTHERS = """\
# Errata

Written by `linreg-lora claims errata` from the claims of {names}."""


def markdown(file: ClaimsFile, names: Sequence[str] = ()) -> str:
    """The whole document: corrections, conditions, slips of print, and what could not be decided.

    `names`: of the files, where it is not `paper_claims.yaml` alone.
    """
    by_id = {claim.id: claim for claim in file.claims}
    corrected, failed, conditional = (
        with_expected(file, verdict) for verdict in (Verdict.HOLDS_WITH_CORRECTION, Verdict.FAILS, Verdict.HOLDS_UNDER)
    )
    parts = [
        _INTRODUCTION_OF_OTHERS.format(names=", ".join(names)) if names else _INTRODUCTION,
        *_section("Statements with a correction", (_corrected(claim, by_id) for claim in corrected)),
        *_section("Statements that fail", (_failed(claim) for claim in failed)),
        *_section("Statements that hold under a condition", (_conditional(claim) for claim in conditional)),
        *_section("Slips without consequence for the results", [_slips(file.slips)] if file.slips else []),
        *_section("What linear regression cannot decide", (_undecidable(entry) for entry in file.undecidable)),
    ]
    return "\n\n".join(parts) + "\n"


def with_expected(file: ClaimsFile, verdict: Verdict) -> list[Claim]:
    """The claims that state this verdict of themselves."""
    return [claim for claim in file.claims if claim.expected is verdict]


def _section(title: str, entries: Iterator[str] | list[str]) -> list[str]:
    listed = list(entries)
    return [f"## {title}", *listed] if listed else []


def _corrected(claim: Claim, by_id: dict[str, Claim]) -> str:
    correction = by_id[claim.correction or ""]
    given = "As read" if claim.source.status == "reading" else "As printed"
    return "\n\n".join(
        [
            *_head(claim),
            f"{given}:\n\n{_math(claim.statement)}",
            f"Counterexample: {claim.counterexample}.",
            f"What holds (`{correction.id}`):\n\n{_math(correction.statement)}",
            *_tail(claim),
        ]
    )


def _failed(claim: Claim) -> str:
    counterexample = f"Counterexample: {claim.counterexample}."
    return "\n\n".join([*_head(claim), _math(claim.statement), counterexample, *_tail(claim)])


def _conditional(claim: Claim) -> str:
    return "\n\n".join(
        [*_head(claim), _math(claim.statement), f"It holds under: {claim.condition}.", *_tail(claim)]
    )  # fmt: skip


def _undecidable(entry: Undecidable) -> str:
    return "\n\n".join([*_head(entry), entry.why])


def _head(claim: Claim | Undecidable) -> list[str]:
    return [f"### {claim.title}", f"{source_line(claim.source)}, `{claim.id}`."]


def _tail(claim: Claim) -> list[str]:
    note = [claim.source.note] if claim.source.note else []
    proofs = ", ".join(f"`linreg-lora prove {proof}`" for proof in claim.proof)
    return [*note, *([f"Algebra: {proofs}."] if proofs else [])]


def _slips(slips: list[Slip]) -> str:
    rows = [f"| {source_line(slip.source)} | {slip.printed} | {slip.correct} | {slip.consequence} |" for slip in slips]
    return "\n".join(["| where | as printed | correct | consequence |", "| --- | --- | --- | --- |", *rows])


def _math(statement: str) -> str:
    return f"```math\n{statement}\n```"
