"""The words of the claims file and of its check. Imports nothing slow: the command line offers them as choices."""

from enum import StrEnum


class Kind(StrEnum):
    """How a claim is tested (`judge`)."""

    IDENTITY = "identity"
    UPPER_BOUND = "upper_bound"
    LOWER_BOUND = "lower_bound"
    PATHWISE = "pathwise"
    QUALITATIVE = "qualitative"
    ASYMPTOTIC = "asymptotic"


class Verdict(StrEnum):
    """What the evidence says; `holds-with-correction` and `holds-under` are explained in `judge`."""

    HOLDS = "holds"
    HOLDS_WITH_CORRECTION = "holds-with-correction"
    HOLDS_UNDER = "holds-under"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"
    UNDECIDABLE = "undecidable-here"


class Status(StrEnum):
    """How the source of a claim is known, from its text to nothing at all."""

    READ = "read"
    ABSTRACT = "abstract"
    SUMMARY = "summary"
    MEMORY = "memory"
    OWN = "own"
    UNREAD = "unread"

    @property
    def is_a_reading(self) -> bool:
        """Whether what is judged is our reading of a source that was not read in full."""
        return self in (Status.ABSTRACT, Status.SUMMARY, Status.MEMORY)


class Budget(StrEnum):
    """`ci`: the draws that each claim states, enough for its error rates; `thorough`: eight times as many."""

    CI = "ci"
    THOROUGH = "thorough"
