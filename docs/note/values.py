"""The numbers of the note, read from what is committed: benchmarks/results, the data of figures, and the claims.

`collect` returns them as texts, rounded here and nowhere else, for `json("values.json")` in the Typst source. No number
has a default.
"""

import csv
import json
import re
from statistics import median
from typing import Any

from note import verdicts
from note.sources import FIGURES, RESULTS, caption, dataset, row, said, tables

import linreg_lora
from linreg_lora import proofs

#: Rows of the table of errors: the benchmark's name of a problem, and the note's.
SHOWN = {
    "n > dx: flat": "full rank, equal singular values",
    "n > dx: power law": "power law",
    "n > dx: low rank": "low rank",
    "n > dx: low rank, near the threshold": "low rank, twice as many samples as inputs",
    "n > dx: two noise levels": "low rank, two noise levels",
    "n > dx: Sigma from 1 to 1e-6": "ill-conditioned inputs",
    "n < dx: low rank": "low rank",
    "n < dx: Sigma from 1 to 1e-6": "ill-conditioned inputs",
    "ridge: low rank, n = dx": "low rank, at the threshold",
    "ridge: Sigma misaligned, n = dx": "unequal input variances, at the threshold",
    "threshold: n = dx, ridge 1": "low rank, at the threshold, weak ridge",
    "threshold: n = dx - 2, ridge 0.03": "low rank, two samples from it, weak ridge",
}
#: What a problem's name begins with, and how its regime is written.
REGIMES = {"n > dx": "over", "n < dx": "under", "ridge": "ridge", "threshold": "ridge"}
#: Rows of the table of predictors: the benchmark's name, and the note's.
PREDICTORS = {
    "odds of signal in what is dropped": "odds of signal by the equivalent",
    "C_r, in closed form": "task complexity, in closed form",
    "detectable directions": "number of detectable directions",
    "n ||Delta||^2 / (sigma^2 dx dy)": "signal-to-noise ratio",
    "tail_r^2 / ||Delta||^2": "share of the tail",
    "stable rank": "stable rank",
    "entropy effective rank": "entropy effective rank",
    "rank": "rank",
}
#: Rows of the table of rules that choose a rank.
RULES = {
    "leave-one-out": "leave-one-out, in closed form",
    "10-fold cross-validation": "ten-fold cross-validation",
    "5-fold cross-validation": "five-fold cross-validation",
    "plug-in of the theory": "equivalent with estimated parameters",
    "Gavish and Donoho, noise known": "hard threshold, noise known",
    "rank selection criterion": "rank selection criterion",
    "AIC": "AIC",
    "full fine-tuning": "full fine-tuning",
}


def collect() -> dict[str, Any]:
    """All of them, by section."""
    return {
        "version": linreg_lora.__version__,
        "proofs": len(proofs.ids()),
        "accuracy": accuracy(),
        "ugly": ugly(),
        "correction": correction(),
        "speed": speed(),
        "ranks": ranks(),
        "descent": descent(),
        "phase": phase(),
        "ridge": best_ridge(),
        "complexity": complexity(),
        "deletion": deletion(),
        "real": {"caption": caption("real-tasks")},
        "family": family(),
        "trained": trained(),
        "papers": verdicts.papers(),
        "checker": verdicts.checker(),
    }


def accuracy() -> dict[str, Any]:
    """Errors of the equivalent against simulation, per cent, at the least and largest size: by problem and over all."""
    with (RESULTS / "equivalent_error.csv").open() as file:
        found = list(csv.DictReader(file))
    sizes = [extreme(int(one["d"]) for one in found) for extreme in (min, max)]
    by = {(one["family"], int(one["d"])): one for one in found}
    rows = [
        {
            "problem": shown,
            "regime": REGIMES[name.split(":")[0]],
            "cells": [
                {
                    "raw": percent(by[name, d]["raw"]),
                    "error": percent(by[name, d]["after_error"]),
                    "withheld": f"{_withheld(by[name, d])} of {by[name, d]['ranks']}",
                }
                for d in sizes
            ],
        }
        for name, shown in SHOWN.items()
    ]
    return {
        "sizes": sizes,
        "rows": rows,
        "all": [_over_all([one for one in found if int(one["d"]) == d]) for d in sizes],
    }


def _withheld(one: dict[str, str]) -> int:
    return int(one["after_flagged"]) + int(one["after_refused"])


def _over_all(found: list[dict[str, str]]) -> dict[str, Any]:
    """Medians and largest over the problems of one size, of those that have a number."""
    raw = [float(one["raw"]) for one in found if one["raw"] != "nan"]
    errors = [float(one["after_error"]) for one in found if one["after_error"] != "nan"]
    every = [float(one["after_anywhere"]) for one in found if one["after_anywhere"] != "nan"]
    share = sum(map(_withheld, found)) / sum(int(one["ranks"]) for one in found)
    return {
        "d": int(found[0]["d"]),
        "problems": len(found),
        "judged": len(errors),
        "draws": f"{max(int(one['trials']) for one in found):,}",
        "raw": f"{median(raw):.1f}",
        "error": f"{median(errors):.2f}",
        "worst": f"{max(errors):.2f}",
        "flagged_worst": f"{max(every):.1f}",
        "withheld": f"{100 * share:.0f}",
    }


def ugly() -> dict[str, Any]:
    """What is refused, flagged and wrong on problems chosen to be ugly."""
    (found,) = tables("ugly_problems.md")
    numbers = sum(int(one["numbers"]) for one in found)
    worst = max(float(one["worst unflagged"].split()[0]) for one in found)
    flagged = max(float(one["worst"].split()[0]) for one in found)
    (problems,) = said(RESULTS / "ugly_problems.md", r"(\d+) problems in \w+ strata")
    return {
        "problems": problems, "numbers": f"{numbers:,}", "worst": f"{worst:g}",
        "flagged_worst": f"{flagged:.0f}",
    }  # fmt: skip


def correction() -> dict[str, Any]:
    """Errors of the formula without and with its correction against the dimension, at the rank of the shift."""
    data = dataset("formula-error-vs-dimension").sel(kind="shift")
    raw, error = (100 * abs(data[name] / data["risk"] - 1) for name in ("raw", "corrected"))
    noise = 100 * data["stderr"] / data["risk"]
    first, last = int(data["d"].values[0]), int(data["d"].values[-1])
    at = {"first": first, "last": last}
    return {
        key: {"d": d, "raw": f"{float(raw.sel(d=d)):.1f}", "error": f"{float(error.sel(d=d)):.2f}",
              "noise": f"{float(noise.sel(d=d)):.2f}"}
        for key, d in at.items()
    }  # fmt: skip


def speed() -> dict[str, str]:
    """Milliseconds of one core for all ranks: the least and the most of the benchmark's problems."""
    table = tables("equivalent_speed.md")[0]
    times = [int(one["after, ms"]) for one in table]
    (d,) = said(RESULTS / "equivalent_speed.md", r"All ranks at d = (\d+)")
    return {"d": d, "least": str(min(times)), "most": str(max(times))}


def ranks() -> dict[str, Any]:
    """Bias, variance and best rank, below and above the threshold."""
    import numpy as np

    data = dataset("risk-vs-rank")
    cells = []
    for n in data["n"].values:
        one = data.sel(n=n).dropna("rank")
        risk = one["theory"].values
        inside = one["rank"].values > 0  # the risk of rank 0 is no mean
        z = np.abs(one["risk"].values - risk)[inside] / one["risk_stderr"].values[inside]
        cells.append({
            "n": int(n), "best": int(np.argmin(risk)), "risk": f"{risk.min():.1f}", "fft": f"{risk[-1]:.1f}",
            "tuned": f"{float(one['fft_best_ridge']):.1f}", "weights": f"{float(one['best_weights']):.1f}",
            "z": f"{z.max():.1f}",
        })  # fmt: skip
    problem = json.loads(data.attrs["problem"])
    return {
        "d": problem["dx"], "noise": f"{problem['noise_std']:g}", "shift": len(problem["spectrum"]), "cells": cells,
        "draws": int(data.attrs["trials"]),
    }  # fmt: skip


def descent() -> dict[str, Any]:
    """Double descent at every rank."""
    data = dataset("double-descent-by-rank")
    problem = json.loads(data.attrs["problem"])
    return {
        "d": problem["dx"], "noise": f"{problem['noise_std']:g}",
        "shift": ", ".join(f"{value:g}" for value in problem["spectrum"]), "draws": int(data.attrs["trials"]),
    }  # fmt: skip


def family() -> dict[str, Any]:
    """The problem on which members of the family are compared, and which of them is best from which n on."""
    problem = json.loads(dataset("family-vs-sample-size").attrs["problem"])
    (best,) = said(FIGURES / "family-vs-sample-size.json", r"The best of these: (.*?)\. \(a\)")
    return {"dx": problem["dx"], "dy": problem["dy"], "noise": f"{problem['noise_std']:g}", "best": best}


def phase() -> dict[str, Any]:
    """In how many simulated cells the best rank is in theory's region."""
    data = dataset("phase-diagram")
    near = data["regret"].values <= 3 * data["stderr"].values
    same = data["theory"].values == data["best"].values
    return {"d": int(data.attrs["dx"]), "cells": int(same.size), "same": int((same | near).sum())}


def best_ridge() -> dict[str, str]:
    """LoRA of best rank against FFT with its best ridge, for two shifts: without a ridge, and with its own best."""
    names = ("full_less", "full_more", "full_points", "full_own", "full_grid", "full_by",
             "low_less", "low_more", "low_points", "low_own", "low_grid", "low_by")  # fmt: skip
    without = (
        r"LoRA without ridge has less risk by more than 1 % at (\d+), and more at (\d+), of (\d+) points of the grid"
    )
    own = r"with its own best ridge it has less at (\d+) of (\d+), by (\d+) % at most"
    pattern = f"full rank .*?{without}; {own}.*?shift of rank \\d+ {without}; {own}"
    return dict(zip(names, said(FIGURES / "phase-diagram-best-ridge.json", pattern), strict=True))


def complexity() -> dict[str, Any]:
    """In how many random problems the winner is named rightly, and by what."""
    page = "task_complexity.md"
    heads = ("C_r everywhere", "C_r in its domain", "the difference outside")
    found = {head: row(page, "all", head)[head] for head in heads}
    problems, decided, errors, draws = said(
        RESULTS / page, r"(\d+) random problems, (\d+) of them decided at (\d+) standard errors of (\d+) paired draws"
    )
    sharp, blunt = (row(page, name, "within 5 %") for name in ("`sharp`", "not `sharp`"))
    near = row(page, "C_r in [0.8, 1)", heads[0])[heads[0]]
    predictors = []
    for name, shown in PREDICTORS.items():
        one = row(page, name, "AUC")
        predictors.append({
            "name": shown, "auc": one["AUC"], "one": one["accuracy at 1"], "best": one["at the best threshold"],
        })  # fmt: skip
    return {
        "problems": problems, "decided": decided, "errors": errors, "draws": draws,
        "everywhere": found[heads[0]], "domain": found[heads[1]], "outside": found[heads[2]],
        "near": near, "base": _share_of_lora(), "sharp": sharp["within 5 %"], "blunt": blunt["within 5 %"],
        "predictors": predictors,
    }  # fmt: skip


def _share_of_lora() -> str:
    """In how many of the decided problems LoRA won, per cent: the accuracy of always naming it."""
    drawn = [json.loads(line) for line in (RESULTS / "task_complexity.jsonl").read_text().splitlines()]
    won = [one["difference"] < 0 for one in drawn if abs(one["difference"]) > 3 * one["stderr"]]
    return f"{100 * sum(won) / len(won):.1f}"


def deletion() -> dict[str, Any]:
    """What choosing a rank by leave-one-out costs, and how often its intervals hold."""
    page = "own_data_choice.md"
    columns = ("n > dx: 90 %, 95 %, worst", "n < dx: 90 %, 95 %, worst")
    rules = []
    for name, shown in RULES.items():
        one = row(page, name, columns[0])
        cells = [one[column].split(" (")[0].split() for column in columns]
        rules.append(
            {"name": shown, "cells": [part for cell in cells for part in (cell if len(cell) == 3 else ["–"] * 3)]}
        )
    (nominal,) = said(RESULTS / page, r"interval of nominal (\d+) % covers")
    covers = {
        key: row(page, f"{sign}, {what} covers", "ours")["ours"]
        for key, sign, what in (
            ("over", "n > dx", f"interval of nominal {nominal} %"),
            ("under", "n < dx", f"interval of nominal {nominal} %"),
            ("over_plain", "n > dx", "error +- 1.645 standard errors"),
            ("under_plain", "n < dx", "error +- 1.645 standard errors"),
        )
    }  # fmt: skip
    paired = {}
    for key, folds in (("five", 5), ("ten", 10)):
        one = row(page, f"n < dx, 95 % regret within 8 % of {folds}-fold cross-validation", "ours")
        (count,) = re.findall(r"\((\d+) problems\)", one["measure"])
        paired[key] = {"problems": count, "ours": one["ours"], "other": one["goal, or the other"]}
    (problems,) = said(RESULTS / page, r"`: (\d+) problems")
    rows, size, refits, closed = said(
        RESULTS / page,
        r"(\d+) rows, (\d+) inputs, \d+ outputs, .*? ([\d.]+) s by refitting .*?, ([\d.]+) s in closed form",
    )
    return {
        "problems": problems, "rules": rules, "paired": paired, "nominal": nominal,
        "covers": {key: f"{100 * float(share):.0f}" for key, share in covers.items()},
        "rows": rows, "size": size, "refits": refits, "closed": closed,
    }  # fmt: skip


def trained() -> str:
    """How far adapters that PEFT trains end from the closed form, at most."""
    (largest,) = said(RESULTS / "peft.md", r"the first three optimisers: met, the largest is (\S+)\.")
    return power_of_ten(largest)


def power_of_ten(text: str) -> str:
    """3e-07 as 3 × 10⁻⁷."""
    mantissa, exponent = text.split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if float(mantissa) == 1 else f"{mantissa} × 10{raised}"


def percent(text: str) -> str:
    """Two digits of a percentage, or a dash where there is none."""
    return "–" if text == "nan" else f"{float(text):.2f}"
