"""300 problems chosen to be ugly, before any result was looked at: what theory says of them, or why it says nothing.

References are plain NumPy (`benchmarks/ugly_problems.py`). Every number must be right within 5 of their standard errors
and 1 %, or flagged, or refused with a reason. `python tests/test_ugly_problems.py` writes the table by stratum,
`benchmarks/results/ugly_problems.md`.
"""

import functools
import json
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import ugly_problems

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.floor import least_risk
from linreg_lora.theory.forgetting import expected_forgetting
from linreg_lora.theory.notes import UNFLAGGED

LINES = [json.loads(line) for line in ugly_problems.OUTPUT.read_text().splitlines()]
STRATA = sorted({line["stratum"] for line in LINES})
REPORT = Path(__file__).parent.parent / "benchmarks" / "results" / "ugly_problems.md"
#: Standard errors of the reference that a number may be off besides.
ERRORS = 5
#: One problem in so many is judged in every run, all of them in the heavy one.
SHARE = 29


class Number(NamedTuple):
    """One number of theory beside its reference; `value` nan: refused. `reliable`: `stderr` bounds the reference."""

    where: str
    value: float
    flagged: bool
    mean: float
    stderr: float
    reliable: bool
    least: float

    @property
    def off(self) -> float:
        """The relative error beyond `ERRORS` standard errors of the reference, and its seven digits."""
        known = abs(self.value - self.mean) - ERRORS * self.stderr - 1e-6 * abs(self.mean)
        return max(known, 0.0) / abs(self.mean) if self.mean else math.inf * (known > 0)

    @property
    def wrong(self) -> bool:
        """A number that is silent and wrong, or impossible."""
        if math.isnan(self.value):
            return False
        if self.value < self.least * (1 - 1e-12):
            return True
        return self.reliable and not self.flagged and self.off > UNFLAGGED


@functools.cache
def numbers(place: int) -> tuple[Number, ...]:
    """What theory says of one problem, beside its reference. Raises what should not be raised."""
    line = LINES[place]
    name, problem = f"{line['stratum']}:{line['index']}", Problem(**line["problem"])
    if line["no_mean"]:
        assert np.all(np.isinf(expected_risk(problem, [problem.max_rank]).risk)), name
        return ()
    ranks, reliable = line["ranks"], not line["heavy"]
    curve = expected_risk(problem, [*ranks, problem.max_rank])
    assert curve.flagged is not None
    rows = [(f"{name} rank {rank}", curve.risk[k], curve.flagged[k], line["lora"], k) for k, rank in enumerate(ranks)]
    found = [_beside(*row, reliable, least_risk(problem, rank)) for row, rank in zip(rows, ranks, strict=True)]
    found.append(_beside(f"{name} FFT", curve.fft_risk, curve.fft_flagged, line["fft"], None, reliable, 0.0))
    said = all(not math.isnan(number.value) for number in found)
    assert said or any("expected" in note for note in curve.notes), f"{name}: no number and no reason"
    if (known := line["forgetting"]) is not None:
        forgotten = expected_forgetting(problem, [*ranks, problem.max_rank])
        for k, rank in enumerate(ranks):
            value, flagged = forgotten.forgetting[k], forgotten.flagged[k]
            found.append(_beside(f"{name} forgetting {rank}", value, flagged, known["lora"], k, reliable, 0.0))
        whole = (forgotten.fft_forgetting, forgotten.fft_flagged)
        found.append(_beside(f"{name} forgetting FFT", *whole, known["fft"], None, reliable, 0.0))
    return tuple(found)


def _beside(where, value, flagged, reference, k, reliable, least) -> Number:
    mean, stderr = (reference[field] if k is None else reference[field][k] for field in ("mean", "stderr"))
    return Number(where, float(value), bool(flagged), mean, stderr or 0.0, reliable and stderr is not None, least)


def judged(places) -> list[Number]:
    return [number for place in places for number in numbers(place)]


def of_stratum(stratum: int) -> list[int]:
    return [place for place, line in enumerate(LINES) if line["stratum"] == stratum]


def test_some_of_each_stratum_have_no_silent_wrong_number():
    places = range(0, len(LINES), SHARE)
    assert {LINES[place]["stratum"] for place in places} == set(STRATA)
    assert not [number for number in judged(places) if number.wrong]


@pytest.mark.heavy
@pytest.mark.parametrize("stratum", STRATA)
def test_no_unflagged_number_is_wrong(stratum):
    """5 standard errors at some 600 numbers a stratum: a false alarm in 3000, were they all normal and independent."""
    found = judged(of_stratum(stratum))
    assert not [number for number in found if number.wrong]


def all_ranks(stratum: int) -> tuple[float, float]:
    """Shares of the numbers of whole curves, every rank above 0 and FFT, that are refused and flagged."""
    refused, flagged, total = 0, 0, 0
    for place in of_stratum(stratum):
        if not LINES[place]["no_mean"]:
            curve = expected_risk(Problem(**LINES[place]["problem"]))
            assert curve.flagged is not None
            refused += int(np.sum(np.isnan(curve.risk[1:]))) + math.isnan(curve.fft_risk)
            flagged += int(np.sum(curve.flagged[1:])) + curve.fft_flagged
            total += len(curve.risk)
    return refused / total, flagged / total


@pytest.mark.heavy
def test_the_benign_are_not_doubted():
    """Of the numbers of their risk curves at most one in twenty."""
    assert sum(all_ranks(5)) <= 0.05


@pytest.mark.heavy
def test_the_check_sees_a_wrong_number():
    """The uncorrected equivalent does not pass: some of its numbers are wrong on the benign."""
    benign = [LINES[place] for place in of_stratum(5)[:12]]
    found = []
    for line in benign:
        raw = expected_risk(Problem(**line["problem"]), line["ranks"], correction=False)
        found += [_beside("", raw.risk[k], False, line["lora"], k, True, 0.0) for k in range(len(line["ranks"]))]
    assert any(number.wrong for number in found)


@pytest.mark.heavy
def test_ten_references_are_drawn_again():
    """Other seeds: within 5 joint standard errors; level 1e-4 for some 60 numbers."""
    for place in range(4, len(LINES), 30):
        line = LINES[place]
        if line["no_mean"] or line["heavy"]:
            continue
        again = ugly_problems.reference(line["problem"], min(line["draws"], 4000), seed=1)
        for first, second in zip(
            [line["fft"]["mean"], *line["lora"]["mean"]], [again["fft"]["mean"], *again["lora"]["mean"]], strict=True
        ):
            assert math.isfinite(first)
            assert math.isfinite(second)
        errors = np.hypot(
            [line["fft"]["stderr"], *line["lora"]["stderr"]], [again["fft"]["stderr"], *again["lora"]["stderr"]]
        )
        apart = np.subtract(
            [line["fft"]["mean"], *line["lora"]["mean"]], [again["fft"]["mean"], *again["lora"]["mean"]]
        )
        assert np.all(np.abs(apart) <= 5 * errors + 1e-6 * abs(line["fft"]["mean"])), (line["stratum"], line["index"])


def test_without_a_mean_nothing_is_said():
    line = next(line for line in LINES if line["no_mean"])
    with pytest.raises(InvalidInput, match="a mean that exists"):
        expected_forgetting(Problem(**line["problem"]), [1])


# -- the table --------------------------------------------------------------------------------------------------------


def table() -> str:
    """Numbers, and how many are refused, flagged, and how far off, by stratum."""
    heads = ("stratum", "curves: refused", "flagged", "numbers", "refused", "flagged", "worst unflagged")
    heads = (*heads, "flagged: median", "95 %", "worst")
    rows = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for stratum in STRATA:
        found = judged(of_stratum(stratum))
        given = [number for number in found if not math.isnan(number.value) and number.reliable]
        silent = [number.off for number in given if not number.flagged]
        flagged = [abs(number.value / number.mean - 1) for number in given if number.flagged] or [0.0]
        kinds = Counter("refused" if math.isnan(n.value) else "flagged" if n.flagged else "given" for n in found)
        shares = [f"{100 * kinds[kind] / len(found):.1f} %" for kind in ("refused", "flagged")]
        sizes = [f"{100 * size:.2f} %" for size in (max(silent), *np.quantile(flagged, [0.5, 0.95, 1.0]))]
        curves = " | ".join(f"{100 * share:.1f} %" for share in all_ranks(stratum))
        numbers = " | ".join([str(len(found)), *shares, *sizes])
        rows.append(f"| {ugly_problems.STRATA[stratum]} | {curves} | {numbers} |")
    return "\n".join(rows)


if __name__ == "__main__":
    REPORT.write_text(
        "# Problems chosen to be ugly\n\n"
        "300 problems in five strata of 60, fixed before any result was looked at; references in plain NumPy\n"
        "(`benchmarks/ugly_problems.py`), written by `python tests/test_ugly_problems.py`. Curves: every rank above\n"
        "0, and FFT. The numbers: risks of LoRA at up to six ranks, the first three among them, and of FFT, and, for\n"
        "half of the problems, what they forget. *Worst unflagged* is beyond five standard errors of the reference;\n"
        f"the sizes of flagged errors contain its noise.\n\n{table()}\n"
    )
    print(table())
