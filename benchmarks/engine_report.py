"""The table and the picture of `engine.py`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt

from linreg_lora.figures import style

_COLORS = [series.color for series in style.COMPARED] + ["0.7"]


class Goal(NamedTuple):
    """One ratio and what it should be."""

    name: str
    value: float
    relation: str
    bound: float

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.relation == ">=" else self.value <= self.bound

    def __str__(self) -> str:
        verdict = "" if self.met else "  MISSED"
        return f"{self.name}: {self.value:.3g} (goal {self.relation} {self.bound:g}){verdict}"


class Line(NamedTuple):
    """Time per draw relative to the first value of what is varied."""

    name: str
    values: Sequence[int]
    ratios: Sequence[float]


class Report(NamedTuple):
    goals: Sequence[Goal]
    scaling: Sequence[Line]
    shares: Mapping[str, Mapping[str, float]]


def write(report: Report, runs: int, folder: Path) -> None:
    """Write engine.md and engine.png."""
    folder.mkdir(exist_ok=True)
    (folder / "engine.md").write_text("\n".join(_table(report, runs)) + "\n")
    _draw(report, folder / "engine.png")


def _table(report: Report, runs: int) -> list[str]:
    stages = list(next(iter(report.shares.values())))
    goals = [
        [goal.name, f"{goal.value:.3g}", f"{goal.relation} {goal.bound:g}", "yes" if goal.met else "**no**"]
        for goal in report.goals
    ]
    shares = [[name, *(f"{share:.0%}" for share in row.values())] for name, row in report.shares.items()]
    return [
        "# Speed of simulation",
        "",
        f"Written by `python benchmarks/engine.py --runs {runs}`: medians of ratios of times taken one right after the",
        "other.",
        "",
        *_rows(["ratio", "measured", "goal", "met"], goals),
        "",
        "Time per draw relative to the first value:",
        "",
        *_rows(["varied", "", "", "", "", ""], [_cells(line) for line in report.scaling]),
        "",
        "Shares of a draw's time:",
        "",
        *_rows(["", *stages], shares),
    ]


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _cells(line: Line) -> list[str]:
    cells = [f"{value:g}: {ratio:.3g}" for value, ratio in zip(line.values, line.ratios, strict=True)]
    return [line.name, *cells, *[""] * (5 - len(cells))]


def _draw(report: Report, path: Path) -> None:
    with style.applied():
        figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
        _draw_speedups(panels[0], [goal for goal in report.goals if "textbook" in goal.name])
        _draw_scaling(panels[1], report.scaling)
        _draw_shares(panels[2], report.shares)
        figure.savefig(path, dpi=150)


def _draw_speedups(axes: plt.Axes, goals: Sequence[Goal]) -> None:
    labels = [
        ("whole process" if "whole" in goal.name else "per draw")
        + (", noise\n" if "noise" in goal.name else ", true rank\n")
        + ("dx = dy = 100, n = 1000" if "noise" in goal.name else "dx = dy = 40, n = 30")
        for goal in goals
    ]
    places = range(len(goals))[::-1]
    axes.barh(list(places), [goal.value for goal in goals], color=_COLORS[0], height=0.6)
    for place, goal in zip(places, goals, strict=True):
        axes.plot([goal.bound] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.2)
        axes.text(max(goal.value, goal.bound), place, f" {goal.value:.0f}x", va="center")
    axes.set_yticks(list(places), labels)
    axes.set_xlim(0, 1.25 * max(max(goal.value, goal.bound) for goal in goals))
    axes.set_xlabel("times faster than the textbook way (line: goal)")


def _draw_scaling(axes: plt.Axes, lines: Sequence[Line]) -> None:
    for line, series in zip(lines, style.COMPARED, strict=False):
        axes.plot(line.values, line.ratios, marker=series.marker, color=series.color, label=line.name)
    axes.axhline(1.0, color="0.6", linewidth=0.7, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="value", ylabel="time per draw, relative")
    axes.legend(frameon=False)


def _draw_shares(axes: plt.Axes, shares: Mapping[str, Mapping[str, float]]) -> None:
    places = range(len(shares))[::-1]
    left = [0.0] * len(shares)
    for i, stage in enumerate(next(iter(shares.values()))):
        widths = [row[stage] for row in shares.values()]
        axes.barh(list(places), widths, left=left, color=_COLORS[i % len(_COLORS)], label=stage, height=0.5)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(list(places), [name.replace(", ", "\n") for name in shares])
    axes.set(xlim=(0, 1), ylim=(-0.4, len(shares) - 0.6), xlabel="share of a draw's time")
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize="small")
