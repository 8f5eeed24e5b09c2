"""What the command line does for people at terminals: names that stay whole, and completion."""

import os
import re
import subprocess
import sys

import pytest

from linreg_lora.claims.check import check_claims
from linreg_lora.claims.file import load_claims
from linreg_lora.claims.show import pages
from linreg_lora.claims.show.report import verdict_table


def printed(table, width):
    from rich.console import Console

    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_ids_stay_whole_at_80_columns():
    claims = load_claims().claims[:40]
    listing = printed(pages.listing(claims, narrow=True), 80)
    assert max(map(len, listing.splitlines())) <= 80
    assert all(re.search(rf"\b{claim.id}\b", listing) for claim in claims)
    judged = check_claims(only=["lemma2-square"])
    assert re.search(r"\blemma2-square\b +│ holds", printed(verdict_table(judged, narrow=True), 80))
    assert [column.header for column in verdict_table(judged, narrow=True).columns] == ["claim", "verdict", "worst |z|"]


@pytest.mark.parametrize(
    ("words", "expected"), [("linreg-lora cros", "crossover"), ("linreg-lora figures --wi", "--width")]
)
def test_the_shell_completes(words, expected):
    complete = {"_LINREG_LORA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    script = "import sys; sys.argv = ['linreg-lora']; from linreg_lora.__main__ import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | complete,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, expected in done.stdout.split()) == (0, True)
