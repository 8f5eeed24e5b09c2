"""docs/statements.md: the claims that it names are there, with the verdicts that it states, and it counts its rows."""

import re
from pathlib import Path

import pytest

from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.show.report import shown
from linreg_lora.claims.vocabulary import Status, Verdict

TEXT = (Path(__file__).parent.parent / "docs" / "statements.md").read_text()
ROWS = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in TEXT.splitlines() if line[:2] == "| "]
ROWS = [(said, verdict, re.findall(r"`([^`]+)`", ids)) for said, verdict, ids in ROWS if verdict != "verdict"]


@pytest.fixture(scope="module")
def known():
    file = collect_claims(everything=True).file
    return {**{claim.id: claim for claim in file.claims}, **{entry.id: entry for entry in file.undecidable}}


def test_verdicts_are_those_of_the_claims_and_what_is_ours_says_so(known):
    for said, verdict, ids in ROWS:
        assert set(ids) <= set(known), said
        first = known[ids[0]]
        expected = getattr(first, "expected", Verdict.UNDECIDABLE)
        assert verdict == ("undecidable" if expected is Verdict.UNDECIDABLE else shown(expected, first.source)), said
        decided = expected is not Verdict.UNDECIDABLE
        assert ("(ours)" in said) == (decided and first.source.status is Status.OWN), said


def test_the_counts_are_those_of_the_rows():
    undecidable = sum(verdict == "undecidable" for _, verdict, _ in ROWS)
    ours = sum("(ours)" in said for said, _, _ in ROWS)
    counts = (len(ROWS), len(ROWS) - undecidable, ours, undecidable)
    text = " ".join(TEXT.split())
    found = re.search(r"(\d+) statements, .*?(\d+) decided, .*?(\d+) of them ours, .*?(\d+) undecidable", text)
    assert found is not None
    assert tuple(map(int, found.groups())) == counts
    assert len({said for said, _, _ in ROWS}) > 0.95 * len(ROWS)


def test_every_paper_with_a_claims_file_is_there(known):
    """Of each file beside our own one entry at least is named."""
    named = {one for _, _, ids in ROWS for one in ids}
    for part in collect_claims(everything=True).parts[1:]:
        if part.name != "linreg-lora":
            assert named & {entry.id for entry in (*part.file.claims, *part.file.undecidable)}, part.name
