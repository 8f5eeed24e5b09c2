"""What the package says of papers, counted for the note, and on what its checker was tried."""

import functools
from collections import Counter
from typing import Any

from note.sources import RESULTS, said

from linreg_lora import citation
from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.show.papers import to_records


@functools.cache
def judged() -> list[citation.Entry]:
    """The papers of which the package judges claims."""
    return citation.judged()


#: Statements of a paper from which on it has a line of its own.
_LISTED = 3


def papers() -> dict[str, Any]:
    """Verdicts by paper, as the claims state them; statements of ours on a paper apart."""
    keys = {entry.paper: key for key, entry in citation.keyed(judged()).items()}
    file = collect_claims(None, papers=[], everything=True).file
    shown = ("holds", "holds-with-correction", "holds-under", "fails", "undecidable-here")
    rows, total, own = [], Counter(), Counter()
    for record in to_records(file, {}):
        theirs, known = Counter(), set()
        for one in record["verdicts"]:
            counts = Counter({name: int(one[name]) for name in shown})
            if one["status"] == "own":
                own += counts
            else:
                theirs += counts
                known |= {one["status"]} if sum(counts.values()) else set()
        total += theirs
        if theirs:
            name = record["paper"]
            cells = [theirs[verdict] for verdict in shown]
            rows.append({"key": keys.get(name, ""), "name": name, "known": sorted(known), "cells": cells})
    few = [row for row in rows if sum(row["cells"]) < _LISTED]
    rest = [sum(column) for column in zip(*(row["cells"] for row in few), strict=True)]
    return {
        "rows": [row for row in rows if row not in few], "few": len(few), "rest": rest, "least": _LISTED,
        "claims": len(file.claims), "undecidable": len(file.undecidable), "papers": len(rows),
        "cells": [total[verdict] for verdict in shown], "own": sum(own.values()),
        "constant": {claim.id: claim for claim in file.claims}["eq148-square-as-printed"].counterexample,
    }  # fmt: skip


def checker() -> dict[str, str]:
    """What the checker was tried on: seeds, and planted bugs."""
    claims, seeds = said(RESULTS / "checker_trust.md", r"`: (\d+) claims, (\d+) seeds each")
    (other,) = said(RESULTS / "checker_trust.md", r"Verdicts other than expected: (\d+)\.")
    bugs, caught = said(RESULTS / "planted_bugs.md", r"`: (\d+) bugs, (\d+) caught")
    return {"claims": claims, "seeds": seeds, "other": other, "bugs": bugs, "caught": caught}
