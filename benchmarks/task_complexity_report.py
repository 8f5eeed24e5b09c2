"""The tables and the figure of `task_complexity.py`."""

import itertools
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import scipy.stats

from linreg_lora.figures import style

FAMILIES = ("power", "exponential", "flat", "spikes", "gaussian", "lognormal", "low-rank")
DECIDED, GOAL = 3.0, 0.985
BINS = (0.0, 0.5, 0.8, 1.0, 1.25, np.inf)
#: Numbers that may say who wins, and those of them that have a threshold beforehand: FFT wins above 1, or below.
PREDICTORS = {
    "C_r, in closed form": "complexity",
    "odds of signal in what is dropped": "odds",
    "risk ratio of the spiked model": "spiked",
    "detectable directions": "detectable",
    "detectable directions / r": "detectable_share",
    "n ||Delta||^2 / (sigma^2 dx dy)": "snr",
    "tail_r^2 / ||Delta||^2": "tail_share",
    "nuclear^2 / Frobenius^2": "nuclear",
    "entropy effective rank": "entropy",
    "stable rank": "stable",
    "rank": "rank_of_shift",
}
_THRESHOLD = {"complexity": True, "odds": True, "spiked": True}
_PANELS = ("complexity", "odds", "detectable_share", "snr", "entropy", "rank_of_shift")

Rows = list[dict[str, Any]]


def decided(rows: Rows) -> Rows:
    return [row for row in rows if abs(row["difference"]) > DECIDED * row["stderr"]]


def tables(rows: Rows, draws: int) -> str:
    known = decided(rows)
    lines = [
        "# Task complexity", "",
        f"Written by `python benchmarks/task_complexity.py --problems {len(rows)} --first {rows[0]['seed']} --draws "
        f"{draws}`: {len(rows)} random problems, {len(known)} of them decided at {DECIDED:g} standard errors of "
        f"{draws} paired draws.", "", *_given_rank(known), "", *_predictors(known), "", *_best_rank(rows),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _given_rank(known: Rows) -> list[str]:
    def cells(name: str, some: Rows) -> str:
        inside = [row for row in some if row["sure"]]
        outside = [row for row in some if not row["sure"]]
        return f"| {name} | {_right(some, 'C_r')} | {_right(inside, 'C_r')} | {_right(outside)} | {_right(some)} |"

    inside = [row for row in known if row["sure"]]
    share = np.mean([(row["complexity"] < 1) == (row["difference"] < 0) for row in inside])
    lines = [
        "## Who wins at a given rank", "",
        f"The winner is named rightly in so many of the decided cases. In its domain (`sure`) C_r answers, outside the "
        f"equivalent's difference does. Goal inside: {100 * GOAL:g} %, {'met' if share >= GOAL else 'missed'}.", "",
        "| cases | C_r everywhere | C_r in its domain | the difference outside | both together |",
        "|---|---|---|---|---|", cells("all", known),
    ]  # fmt: skip
    for above in (True, False):
        lines.append(cells(f"n {'>' if above else '<'} dx", [r for r in known if (r["n"] > r["dx"]) is above]))
    lines += [cells(family, [row for row in known if row["family"] == family]) for family in FAMILIES]
    for low, high in ((0, 0.35), (0.35, 0.7), (0.7, 1)):
        some = [row for row in known if low < row["rank"] / row["full"] <= high]
        lines.append(cells(f"r/R in ({low:g}, {high:g}]", some))
        lines.append(cells("the same, gaussian", [row for row in some if row["family"] == "gaussian"]))
    for low, high in itertools.pairwise(BINS):
        lines.append(cells(f"C_r in [{low:g}, {high:g})", [r for r in known if low <= r["complexity"] < high]))
    return lines


def _right(rows: Rows, says: str = "says_lora") -> str:
    """Share of rows whose winner was named, and how many there are."""
    if not rows:
        return "-"
    good = sum((row["complexity"] < 1 if says == "C_r" else row[says]) == (row["difference"] < 0) for row in rows)
    return f"{100 * good / len(rows):.1f} % of {len(rows)}"


def _predictors(known: Rows) -> list[str]:
    lines = [
        "## Predictors", "",
        "Of the winner at a given rank: a threshold that was fixed beforehand, or the best one in hindsight; the rank "
        "correlation is with the relative difference of the risks.", "",
        "| predictor | AUC | accuracy at 1 | at the best threshold | Spearman |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, field in PREDICTORS.items():
        auc, cut, spearman = predicts(known, field)
        good = np.mean([(row[field] < 1) == (row["difference"] < 0) for row in known])
        own = f"{100 * good:.1f} %" if field in _THRESHOLD else ""
        escaped = name.replace("|", "\\|")
        lines.append(f"| {escaped} | {auc:.3f} | {own} | {100 * cut:.1f} % | {spearman:.3f} |")
    return lines


def predicts(rows: Rows, field: str) -> tuple[float, float, float]:
    """AUC for FFT as the winner (at least one half), the accuracy of the best cut, and the rank correlation."""
    values = np.nan_to_num(np.array([row[field] for row in rows]), posinf=1e300)
    fft = np.array([row["difference"] > 0 for row in rows])
    ranks = scipy.stats.rankdata(values)
    auc = (ranks[fft].sum() - fft.sum() * (fft.sum() + 1) / 2) / (fft.sum() * (~fft).sum())
    accuracy = max(max(a, 1 - a) for a in (np.mean((values > cut) == fft) for cut in np.unique(values)))
    spearman = scipy.stats.spearmanr(values, [row["relative"] for row in rows]).statistic
    return float(max(auc, 1 - auc)), float(accuracy), float(abs(spearman))


def _best_rank(rows: Rows) -> list[str]:
    def cells(name: str, some: Rows, rank: str, regret: str) -> str:
        if not some:
            return f"| {name} | - | - | - | - |"
        fine = np.mean([row[regret][0] <= DECIDED * row[regret][1] for row in some])
        apart = np.array([abs(row[rank] - row["best_of_draws"]) for row in some])
        same = [row[rank] == row["solved_best"] for row in some if not row["solved_flagged"]]
        agrees = f"{100 * np.mean(same):.1f} % of {len(same)}" if same else "-"
        return (
            f"| {name} | {100 * fine:.1f} % of {len(some)} | {100 * np.mean(apart == 0):.1f} % | "
            f"{100 * np.mean(apart <= 1):.1f} % | {agrees} |"
        )

    by = {name: [row for row in rows if row["best_by"] == name] for name in ("complexity", "difference")}
    fine = np.mean([row["closed_regret"][0] <= DECIDED * row["closed_regret"][1] for row in by["complexity"]])
    goal = "met" if fine >= GOAL else "missed"
    lora = [row for row in rows if abs(row["best_lora"][0]) > DECIDED * row["best_lora"][1]]
    named = np.mean([(row["best_rank"] < row["full"]) == (row["best_lora"][0] < 0) for row in lora])
    least = np.mean([(row["least_complexity"] < 1) == (row["best_lora"][0] < 0) for row in lora])
    return [
        "## Best rank", "",
        f"A rank is right where the one that half of the draws names is not better on the other half by {DECIDED:g} "
        f"standard errors. Goal where the closed form is `sure`: {100 * GOAL:g} %, {goal}.",
        "",
        "| cases | right | the draws' rank | within 1 of it | the equivalent's, where that is not flagged |",
        "|---|---|---|---|---|",
        cells("closed form, everywhere", rows, "closed_best", "closed_regret"),
        cells("closed form where `sure`", by["complexity"], "closed_best", "closed_regret"),
        *(
            cells(f"the same, n {sign} dx", [r for r in by["complexity"] if (r["n"] > r["dx"]) is above],
                  "closed_best", "closed_regret")
            for sign, above in ((">", True), ("<", False))
        ),
        cells("the equivalent elsewhere", by["difference"], "best_rank", "best_regret"),
        cells("both together", rows, "best_rank", "best_regret"),
        *(cells(f"both, {f}", [r for r in rows if r["family"] == f], "best_rank", "best_regret") for f in FAMILIES),
        "",
        f"Whether LoRA of its best rank beats FFT (decided in {len(lora)} problems): both together "
        f"{100 * named:.1f} %, min C_r < 1 {100 * least:.1f} %.",
    ]  # fmt: skip


def draw(rows: Rows, path: Path) -> None:
    """Six predictors against what was measured: the relative difference of the risks, positive where FFT wins."""
    known = decided(rows)
    names = {field: name for name, field in PREDICTORS.items()}
    measured = np.array([row["relative"] for row in known])
    lora = measured < 0
    with style.applied():
        figure, panels = plt.subplots(2, 3, figsize=(10, 5.6), sharey=True, layout="constrained")
        for axes, field in zip(panels.flat, _PANELS, strict=True):
            values = np.array([row[field] for row in known])
            positive = values[(values > 0) & np.isfinite(values)]
            shown = np.clip(values, positive.min() / 2, positive.max())
            for some, series, name in ((lora, style.COMPARED[3], "LoRA won"), (~lora, style.COMPARED[2], "FFT won")):
                axes.plot(shown[some], measured[some], series.marker, color=series.color, ms=2.6, alpha=0.6, label=name)
            axes.axhline(0, color=style.ANNOTATION, linewidth=0.7)
            if field in _THRESHOLD:
                axes.axvline(1, color=style.ANNOTATION, linewidth=0.9, linestyle="--")
            auc, cut, _ = predicts(known, field)
            good = np.mean([(row[field] < 1) == (row["difference"] < 0) for row in known])
            at = f"{100 * good:.1f} % right at 1" if field in _THRESHOLD else f"at best {100 * cut:.1f} % right"
            axes.set(xscale="log", yscale="symlog", xlabel=names[field], title=f"AUC {auc:.3f}, {at}")
            axes.set_yscale("symlog", linthresh=0.01)
        for axes in panels[:, 0]:
            axes.set_ylabel("(risk of LoRA - risk of FFT) / risk of FFT")
        panels[0, 0].legend(loc="upper left")
        figure.savefig(path, dpi=130)
        plt.close(figure)
