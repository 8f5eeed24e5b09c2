"""A backdoor's success, and the risk on clean inputs, against its budget m |p|^2 at several ranks, with thresholds.

Setting: n = 400, dx = 60, dy = 50, Sigma = I, sigma = 1, a shift of singular values 3, 2, 1, and a backdoor in 40
random samples whose trigger (|t| = 2) and target are orthogonal to the shift. Rank r keeps it beyond the budget

    max(n s_r^2, sigma^2 sqrt(dx dy)) (n + delta^2) / (dx + delta^2)   (r <= 3; s_4 = 0),     delta^2 = m |t|^2,

which is hijacking up to rank 3; below it rank 4 takes up some of it with a direction of noise. FFT's curves are exact,
LoRA's the spiked model of `theory.poisoning`, pale where its verdict is flagged: mostly ties, theta between .75 and
1.35 of the root of its threshold, where the draws decide.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.simulation.poisoned import simulate_poisoned
from linreg_lora.theory.poisoning.attack import Poison
from linreg_lora.theory.poisoning.full import poisoned_fft
from linreg_lora.theory.poisoning.spiked import spiked_poisoned_risk
from linreg_lora.theory.poisoning.verdict import poison_verdicts

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANKS = (1, 2, 3, 4)
BUDGETS = tuple(np.geomspace(30, 60_000, 160).tolist())
SIMULATED_BUDGETS = tuple(np.geomspace(30, 60_000, 16).tolist())
CELLS = len(SIMULATED_BUDGETS)

#: A budget that does nothing.
_NO_BUDGET = 1e-12

_FFT = "FFT"
_LORA = {f"LoRA, r = {rank}": rank for rank in RANKS}
_LOOKS = {_FFT: style.REFERENCE, **dict(zip(_LORA, style.COMPARED, strict=True))}
#: How opaque a line is where theory is flagged.
_PALE = 0.35
#: Where the names of thresholds stand, whose lines are near to one another.
_SIDES = {1: "left", 2: "right"}


def setting() -> Problem:
    """The figure's problem."""
    return Problem(n=400, dx=60, dy=50, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)


def backdoor(budget: float) -> Poison:
    """Its poison with m |p|^2 = `budget`."""
    return Poison(count=40, target=np.sqrt(budget / 40) * np.eye(50)[-1], trigger=2 * np.eye(60)[-1])


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    budgets: Sequence[float] = BUDGETS,
    simulated_budgets: Sequence[float] = SIMULATED_BUDGETS,
) -> "xr.Dataset":
    """The figure's numbers: by theory along `budget`, simulated along `budget_simulated`; `threshold` of each rank."""
    import xarray as xr

    problem, ranks = setting(), list(RANKS)
    curves = [(spiked_poisoned_risk(problem, backdoor(x)), poisoned_fft(problem, backdoor(x))) for x in budgets]
    drawn = []
    for x in simulated_budgets:
        drawn.append(simulate_poisoned(problem, backdoor(x), trials=trials, seed=seed, ranks=ranks))
        progress(1)
    verdicts = [poison_verdicts(problem, backdoor(x), ranks) for x in budgets]
    clean, unit = spiked_poisoned_risk(problem, backdoor(_NO_BUDGET)).risk[ranks], datasets.RISK
    unpoisoned = [problem.noise_trace * problem.dx / (problem.n - problem.dx - 1), *clean]
    by, simulated = ("method", "budget"), ("method", "budget_simulated")

    def of(name: str) -> np.ndarray:
        return np.array([[getattr(one, f"fft_{name}"), *getattr(one, name)] for one in drawn]).T

    coordinates = {
        "method": [_FFT, *_LORA],
        "budget": datasets.variable("budget", budgets, "m |p|^2, the energy added to the labels", unit),
        "budget_simulated": datasets.variable("budget_simulated", simulated_budgets, "m |p|^2 where simulated", unit),
    }
    risk = np.array([[full.risk, *found.risk[ranks]] for found, full in curves]).T
    success = np.array([[full.success, *found.success[ranks]] for found, full in curves]).T
    flagged = np.array([[0, *(int(one.flagged) for one in at)] for at in verdicts], dtype=np.int8).T
    variables = {
        "risk": datasets.variable(by, risk, "expected excess risk on clean inputs", unit),
        "success": datasets.variable(by, success, "success of the backdoor"),
        "flagged": datasets.variable(by, flagged, "1 where the draws decide, or theory doubts itself"),
        "risk_simulated": datasets.variable(simulated, of("risk"), "excess risk on clean inputs, simulated", unit),
        "risk_stderr": datasets.variable(simulated, of("risk_stderr"), "its standard error", unit),
        "success_simulated": datasets.variable(simulated, of("success"), "success of the backdoor, simulated"),
        "success_stderr": datasets.variable(simulated, of("success_stderr"), "its standard error"),
    }
    dataset = xr.Dataset(variables, coordinates)
    kept = [np.nan, *(one.budget for one in verdicts[0])]
    dataset["threshold"] = datasets.variable("method", kept, "budget at which the backdoor is kept", unit)
    dataset["unpoisoned"] = datasets.variable("method", unpoisoned, "risk without poison", unit)
    title = "A backdoor's success and damage against its budget"
    return dataset.assign_attrs(datasets.provenance(title, [problem], trials, seed))


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    threshold, risk = dataset["threshold"], dataset["risk"]
    kept = ", ".join(f"{float(threshold.sel({'method': name})):.0f} at rank {rank}" for name, rank in _LORA.items())
    last = risk.isel(budget=-1)
    worse = [str(rank) for name, rank in _LORA.items() if last.sel({"method": name}) > last.sel({"method": _FFT})]
    success = float(dataset["success"].sel({"method": _FFT}).isel(budget=0))
    absorbed = float(dataset["success"].sel({"method": "LoRA, r = 4"}).isel(budget=0)) / success
    clean = [float(dataset["unpoisoned"].sel({"method": name})) for name in ("LoRA, r = 3", _FFT)]
    return (
        f"A backdoor in a tenth of the samples calls forth {100 * success:.3g} % of its target from FFT, whatever its "
        f"budget, and the same from LoRA from a threshold on (dashed): {kept}. Far below it LoRA up to rank 3 is "
        f"immune, and keeps its risk on clean inputs, {clean[0]:.3g} at rank 3 against {clean[1]:.3g} of FFT without "
        f"poison; rank 4 has a direction of noise, which takes up {100 * absorbed:.2g} % of FFT's success even at the "
        "least budget here. Up to rank 3, "
        "that of the task, the backdoor then takes the place of a direction of the task, so that at large budgets LoRA "
        f"of rank {', '.join(worse) or 'none'} is worse than FFT. Lines are theory, FFT's exact and LoRA's a limit, "
        "pale around its thresholds, where the draws decide; markers are simulation with standard errors."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: success on the left, risk on clean inputs on the right, thresholds dashed."""
    with style.applied():
        figure, panels = style.panels(2, 3.4)
        for axes, name in zip(panels, ("success", "risk"), strict=True):
            for method, look in _LOOKS.items():
                one = dataset.sel({"method": method})
                _draw_theory(axes, one, name, look)
                style.means(axes, one["budget_simulated"], one[f"{name}_simulated"], one[f"{name}_stderr"], look)
                kept = float(one["threshold"])
                if np.isfinite(kept):
                    axes.axvline(kept, color=look.color, linewidth=0.8, linestyle=(0, (2.0, 2.0)), zorder=1)
                    rank = _LORA[method]
                    axes.annotate(
                        f"r = {rank}", (kept, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                        textcoords="offset points", ha=_SIDES.get(rank, "center"), va="bottom", fontsize=7.5,
                        color=look.color,
                    )  # fmt: skip
            axes.set_xscale("log")
            axes.set_xlabel("budget m|p|$^2$ of the backdoor")
        panels[0].set_ylabel("success of the backdoor")
        panels[1].set(yscale="log", ylabel="expected excess risk on clean inputs")
        figure.legend(*panels[0].get_legend_handles_labels(), ncols=5, loc="outside upper center", frameon=False)
    return figure


def _draw_theory(axes: "Axes", found: "xr.Dataset", name: str, look: style.Series) -> None:
    """A curve of one method by theory, pale where flagged."""
    sure = found[name].where(found["flagged"] == 0)
    axes.plot(
        found["budget"], found[name], color=look.color, linestyle=look.linestyle, alpha=_PALE, label="_flagged",
        zorder=1.9,
    )  # fmt: skip
    style.line(axes, found["budget"], sure, look, str(found["method"].values))
