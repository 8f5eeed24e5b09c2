"""A claim's figure: one strip for each comparison and each rival, all on one axis, as SVG.

    identity, qualitative   (measured - predicted) / standard error; what the test accepts is a bar
    bounds                  bound / measured, or measured / bound, on a logarithmic axis; a bound holds right of 1
    asymptotic              relative error at every size, on a logarithmic axis; a bar up to the band at the last
    pathwise                largest relative violation of any draw, on a logarithmic axis; a bar up to its tolerance

Places are percentages of the width, so that strips fill a phone and a page alike and their text keeps its size. Colours
are classes of the page's style sheet, and every colour has a shape of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from linreg_lora.claims.show.pages import where
from linreg_lora.claims.vocabulary import Kind, Verdict

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Comparison, Judgement
    from linreg_lora.claims.schema import Claim

#: Heights in CSS pixels: a row with its label above its strip, and the axis with its numbers.
_ROW, _AXIS = 36, 26
#: Shares of the width where the axis begins and ends: room for half a marker before, and for a number behind.
_LEFT, _RIGHT = 5.0, 81.0
#: Letters of a label that fit on a phone; the figure's words and the tables have all of them.
_LONGEST = 50
#: Standard errors around 0 within which the axis is about linear; beyond, about logarithmic.
_LINEAR = 3.0
#: What is below any rounding error that double precision can show.
_NOTHING = 1e-17


@dataclass(frozen=True)
class Row:
    """One strip: `low` to `high` is what the claim's test accepts, `point` what was found, `said` the same for people.

    `role`: "own" where the evidence agrees, "against" where it contradicts, "rival" for the sharpest test of a rival.
    `fate`: the outcome in words.
    """

    label: str
    role: str
    point: float
    low: float
    high: float
    said: str
    fate: str


@dataclass(frozen=True)
class Scale:
    """An axis: its name, where a value lies between 0 and 1, its ticks, and a value that has a line of its own."""

    name: str
    place: Callable[[float], float]
    ticks: list[tuple[float, str]]
    reference: float | None


@dataclass(frozen=True)
class Figure:
    """The SVG, which has its content in words as its label; the name of its axis; the roles of its rows, in order."""

    svg: str
    axis: str
    roles: list[str]


def figure(judgement: "Judgement") -> Figure:
    """A claim's evidence, drawn."""
    rows = list(_rows(judgement))
    scale = _scale(judgement.claim.kind, rows)
    roles = [role for role in _MARKERS if any(row.role == role for row in rows)]
    return Figure(_svg(rows, scale, alternative(rows, scale)), scale.name, roles)


def compact(value: float) -> str:
    """Three digits, as in 5.39e−15, −0.301 or 203,000."""
    digits = f"{value:.3g}"
    return (f"{float(digits):,.0f}" if 1000 <= abs(value) < 1e6 else digits).replace("-", "−")


def alternative(rows: Sequence[Row], scale: Scale) -> str:
    """What a figure shows, in words."""
    told = (f"{'rival ' if row.role == 'rival' else ''}{row.label}: {row.said}, {row.fate}" for row in rows)
    return f"{scale.name}. {'; '.join(told)}."


def _rows(judgement: "Judgement") -> Iterator[Row]:
    row = {Kind.PATHWISE: _pathwise, Kind.ASYMPTOTIC: _limit}.get(judgement.claim.kind, _mean)
    for comparison in judgement.comparisons:
        yield row(judgement.claim, comparison, where(comparison), *_fate(comparison))
    for comparison in judgement.outside:
        yield row(judgement.claim, comparison, f"outside: {where(comparison)}", *_fate(comparison))
    for rival in judgement.rivals:
        fate = "rejected" if rival.rejected else "not rejected"
        yield row(judgement.claim, rival.comparison, rival.prediction, "rival", fate)


def _fate(comparison: "Comparison") -> tuple[str, str]:
    return ("against" if comparison.verdict is Verdict.FAILS else "own"), str(comparison.verdict)


def _mean(claim: "Claim", comparison: "Comparison", label: str, role: str, fate: str) -> Row:
    numbers = comparison.numbers
    if "slack" in numbers:
        slack, noise = numbers["slack"], numbers["critical"] * numbers["stderr"] / (abs(numbers["mean"]) or math.inf)
        return Row(label, role, slack, max(1 - noise, 0.0), math.inf, compact(slack), fate)
    z, critical = numbers["z"], numbers["critical"]
    significant = claim.kind is Kind.QUALITATIVE and role != "rival"
    low, high = (-math.inf, -critical) if significant else (-critical, critical)
    return Row(label, role, z, low, high, f"{'+' if z > 0 else ''}{compact(z)}", fate)


def _pathwise(claim: "Claim", comparison: "Comparison", label: str, role: str, fate: str) -> Row:
    worst, tolerance = comparison.numbers["worst"], comparison.numbers["tolerance"]
    said = "none" if worst <= 0 else "∞" if math.isinf(worst) else compact(worst)
    return Row(label, role, worst, 0.0, tolerance, said, fate)


def _limit(claim: "Claim", comparison: "Comparison", label: str, role: str, fate: str) -> Row:
    error = comparison.numbers["error"]
    judged = role == "rival" or comparison.detectable > 0
    return Row(label, role, error, 0.0, claim.detects if judged else math.inf, compact(error), fate if judged else "")


# -- axes ---------------------------------------------------------------------------------------------------------


def _scale(kind: Kind, rows: Sequence[Row]) -> Scale:
    if kind is Kind.PATHWISE:
        return _violations(rows)
    if kind in (Kind.UPPER_BOUND, Kind.LOWER_BOUND):
        return _slacks(kind, rows)
    if kind is Kind.ASYMPTOTIC:
        return _errors(rows)
    return _standard_errors(rows)


def _standard_errors(rows: Sequence[Row]) -> Scale:
    """asinh: as wide as the farthest point needs, on both sides of 0 alike."""
    farthest = max((abs(v) for row in rows for v in (row.point, row.low, row.high) if math.isfinite(v)), default=10.0)
    end = math.asinh(max(farthest, 10.0) * 1.15 / _LINEAR)

    def place(z: float) -> float:
        return (0.5 + math.asinh(z / _LINEAR) / end / 2) if math.isfinite(z) else float(z > 0)

    powers = [10**k for k in range(1, 1 + int(math.log10(max(farthest, 10.0) * 1.15)))]
    powers = powers[:: (1 + len(powers)) // 2]
    ticks = [(float(sign * p), _number(sign * p)) for p in powers for sign in (-1, 1)]
    return Scale("Measured minus predicted, in standard errors", place, [(0.0, "0"), *ticks], 0.0)


def _slacks(kind: Kind, rows: Sequence[Row]) -> Scale:
    values = [row.point for row in rows if row.point > 0 and math.isfinite(row.point)]
    low, high = min([0.5, *(0.8 * v for v in values)]), max([2.0, *(1.25 * v for v in values)])
    name = "bound / measured" if kind is Kind.UPPER_BOUND else "measured / bound"
    ticks = _powers(low, high) if high / low > 30 else [(v, f"{v:g}") for v in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    shown = [(float(v), label) for v, label in ticks if low <= v <= high]
    return Scale(f"Slack: {name}, which must be at least 1", _logarithmic(low, high), shown, 1.0)


def _errors(rows: Sequence[Row]) -> Scale:
    values = [v for row in rows for v in (row.point, row.high) if v > 0 and math.isfinite(v)]
    low, high = min(values, default=0.1) / 2, 2 * max(values, default=1.0)
    ticks = ((0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %"), (10.0, "1000 %"))
    shown = [(v, label) for v, label in ticks if low <= v <= high]
    return Scale("Relative error of the limit", _logarithmic(low, high), shown, None)


def _violations(rows: Sequence[Row]) -> Scale:
    values = [v for row in rows for v in (row.point, row.high) if v > 0 and math.isfinite(v)]
    high = max([10.0, *(3 * v for v in values)])
    ticks = [(v, label) for v, label in _powers(_NOTHING, high) if v > 3 * _NOTHING]
    name = "Largest relative violation on any draw"
    return Scale(name, _logarithmic(_NOTHING / 10, high), [(_NOTHING / 10, "0"), *ticks], None)


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    def place(value: float) -> float:
        if not value > low:
            return 0.0
        return 1.0 if value >= high else (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))

    return place


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    """At most five powers of ten from `low` to `high`, 1 among them if it lies there."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    step = max(1, -(-(last - first) // 4))
    return [(10.0**k, _number(10.0**k)) for k in range(first, last + 1) if k % step == 0]


def _number(value: float) -> str:
    if 0.01 <= abs(value) <= 1000:
        return f"{value:g}".replace("-", "−")
    exponent = str(round(math.log10(abs(value)))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'−' if value < 0 else ''}10{exponent}"


# -- drawing ------------------------------------------------------------------------------------------------------

_MARKERS = {
    "own": '<circle class="own" r="5"/>',
    "against": '<path class="against" d="M-5-5L5 5M-5 5L5-5"/>',
    "rival": '<path class="rival" d="M0-6L6 0L0 6L-6 0Z"/>',
}


def _svg(rows: Sequence[Row], scale: Scale, label: str) -> str:
    height = _ROW * len(rows) + _AXIS

    def x(value: float) -> str:
        return f"{_LEFT + (_RIGHT - _LEFT) * min(max(scale.place(value), 0.0), 1.0):.2f}%"

    parts = [f'<svg class="strips" role="img" aria-label="{escape(label)}" width="100%" height="{height}">']
    for value, _ in scale.ticks:
        parts.append(f'<line class="grid" x1="{x(value)}" x2="{x(value)}" y1="16" y2="{height - _AXIS + 4}"/>')
    for i, row in enumerate(rows):
        parts += _strip(row, i * _ROW, x)
    if scale.reference is not None:
        at = x(scale.reference)
        parts.append(f'<line class="reference" x1="{at}" x2="{at}" y1="16" y2="{height - _AXIS + 4}"/>')
    for i, row in enumerate(rows):
        top = i * _ROW
        parts.append(f'<text class="{row.role}" x="0" y="{top + 12}">{escape(_shortened(row.label))}</text>')
        parts.append(f'<text class="value" x="100%" y="{top + 29}" text-anchor="end">{escape(row.said)}</text>')
        # A nested svg is what can be moved by a percentage.
        parts.append(f'<svg x="{x(row.point)}" y="{top + 25}" overflow="visible">{_MARKERS[row.role]}</svg>')
    for value, name in scale.ticks:
        parts.append(f'<text class="tick" x="{x(value)}" y="{height - 7}" text-anchor="middle">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _shortened(label: str) -> str:
    label = label.replace("sigma=", "σ=")
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def _strip(row: Row, top: int, x: Callable[[float], str]) -> Iterator[str]:
    low, high = x(row.low), x(row.high)
    width = float(high[:-1]) - float(low[:-1])
    yield f'<line class="lane" x1="{_LEFT}%" x2="{_RIGHT}%" y1="{top + 25}" y2="{top + 25}"/>'
    if width > 0:
        yield f'<rect class="accepted" x="{low}" y="{top + 20}" width="{width:.2f}%" height="10" rx="3"/>'
