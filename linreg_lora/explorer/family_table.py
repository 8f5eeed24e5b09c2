"""The page's table of methods: size, dimension, risk and how that is known, the least risk first."""

import html
import math
from collections.abc import Mapping, Sequence

from linreg_lora.explorer.family import Member, by_risk
from linreg_lora.explorer.simulate import Drawn
from linreg_lora.figures.style import Series

_HEAD = ("method", "parameters", "dimension", "risk", "known by")
_MARK = "*"
_SHAPES = {"^": "15,0.5 19.5,9 10.5,9", "v": "15,9.5 19.5,1 10.5,1", "D": "15,0 20,5 15,10 10,5"}

STYLE = """
.family { overflow-x: auto; margin: 0 6px 14px; }
.family table { border-collapse: collapse; font-size: 13px; line-height: 1.3; color: #222; min-width: min(100%, 620px);
  font-variant-numeric: tabular-nums; }
.family th, .family td { border-bottom: 1px solid #e8e8e8; padding: 4px 14px 4px 0; text-align: left;
  vertical-align: top; font-weight: normal; }
.family thead th { color: #444; border-bottom: 1px solid #aaa; vertical-align: bottom; }
.family th[scope=row] { white-space: nowrap; }
.family .number { text-align: right; white-space: nowrap; }
.family i { font-style: normal; white-space: nowrap; }
.family i.more::before { content: "; "; }
.family svg { margin-right: 6px; vertical-align: middle; }
.family p { font-size: 13px; margin: 6px 0 0; color: #444; overflow-wrap: anywhere; }
@media (max-width: 480px) {
  .family table { font-size: 12px; }
  .family th, .family td { padding-right: 7px; }
  .family i { display: block; white-space: normal; }
  .family i.more::before { content: ""; }
  .family svg { width: 22px; margin-right: 3px; }
}
"""


def table(
    members: Sequence[Member], looks: Mapping[str, Series], drawn: Mapping[str, Drawn], waiting: Sequence[str] = ()
) -> str:
    """The table in HTML, and why some have no number. `waiting`: methods that are still computed."""
    rows = [
        _row(key(looks[one.method]), one.method, one.parameters, one.dimension, *_known(one, drawn.get(one.method)))
        for one in by_risk(members, {name: found.risk for name, found in drawn.items()})
    ]
    rows += [_row(key(looks[name]), name, None, None, "", "computing \u2026") for name in waiting]
    said = [f"{one.method}: {note}" for one in members if one.kind == "none" for note in one.notes]
    said += [
        f"{one.method}, drawn: {drawn[one.method].note}"
        for one in members
        if one.method in drawn and drawn[one.method].note not in ("", *one.notes)
    ]
    if any(one.flagged for one in members):
        said.append(f"{_MARK} may be off by more than 1 %")
    if means := [found.trials for found in drawn.values() if math.isfinite(found.risk)]:
        least, most = min(means), max(means)
        said.append(
            f"drawn: mean of {most if least == most else f'{least} to {most}'} draws \u00b1 two standard errors"
        )
    foot = "".join(f"<p>{html.escape(line)}</p>" for line in dict.fromkeys(said))
    head = "".join(f'<th scope="col"{_number(name)}>{name}</th>' for name in _HEAD)
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="family"><table>{body}</table>{foot}</div>'


def key(look: Series) -> str:
    """A piece of a method's line, as SVG."""
    dash = "" if isinstance(look.linestyle, str) else ",".join(f"{2 * part:g}" for part in look.linestyle[1])
    shape = _SHAPES.get(look.marker)
    mark = f'<polygon points="{shape}" fill="{look.color}"/>' if shape else ""
    line = f'<line x1="1" y1="5" x2="29" y2="5" stroke="{look.color}" stroke-width="2" stroke-dasharray="{dash}"/>'
    return f'<svg width="30" height="10" viewBox="0 0 30 10" aria-hidden="true">{line}{mark}</svg>'


def _row(look: str, name: str, parameters: int | None, dimension: int | None, risk: str, known: str) -> str:
    sizes = "".join(f'<td class="number">{_count(size)}</td>' for size in (parameters, dimension))
    risk = f'<td class="number">{risk}</td>'
    return f'<tr><th scope="row">{look}{html.escape(name)}</th>{sizes}{risk}<td>{known}</td></tr>'


def _known(one: Member, drawn: Drawn | None) -> tuple[str, str]:
    """The risk, and how it is known, in HTML."""
    has = drawn is not None and math.isfinite(drawn.risk)
    if one.kind == "simulation":
        if drawn is not None and has:
            return _risk(drawn.risk), f"{drawn.trials} draws <i>{_error(drawn)}</i>"
        return "", "simulation only"
    means = f"<i class=more>drawn {_risk(drawn.risk)} {_error(drawn)}</i>" if drawn is not None and has else ""
    if one.kind == "none":
        return ("infinite" if math.isinf(one.risk) else ""), f"see below{means}"
    return _risk(one.risk) + (f" {_MARK}" if one.flagged else ""), html.escape(one.kind) + means


def _risk(risk: float) -> str:
    return f"{risk:.4g}" if risk < 1e4 else f"{risk:,.0f}"


def _error(drawn: Drawn) -> str:
    return f"\u00b1 {2 * drawn.stderr:.2g}" if math.isfinite(drawn.stderr) else "no standard error"


def _count(size: int | None) -> str:
    return "\u2013" if size is None else f"{size:,}"


def _number(name: str) -> str:
    return ' class="number"' if name in ("parameters", "dimension", "risk") else ""
