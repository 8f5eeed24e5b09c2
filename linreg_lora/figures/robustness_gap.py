"""Accuracy and robustness of LoRA against FFT, along the task complexity C_r: a difference, and a sum.

Setting: dx = 20, dy = 15, n = 60 (left), dx = 60, n = 20 (right), Sigma = I, r = 3, a shift of three strong directions
and a tail T of three weak ones; the noise moves C_r. In units of A_r (B_r + tail_r^2), and as the kept directions grow,

    risk(FFT) - risk(LoRA)      (1 - C_r) / (1 + C_r)
    rise(FFT) - rise(LoRA)      1 where A0 is orthogonal to T,      1 - 4 C_r / (a (1 + C_r)) where A0 = -2 T,

the rise being that of the loss on noisy inputs: positive where LoRA is the better method. `theory.robustness`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import map_cells
from linreg_lora.theory.complexity import task_complexity
from linreg_lora.theory.robustness import less_robust_above, strong_limit_robustness

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

COMPLEXITIES = tuple(np.geomspace(0.05, 5, 61).round(6).tolist())
SIMULATED = (0.06, 0.12, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0)
REGIMES = (60, 20), (20, 60)
CELLS = len(REGIMES) * len(SIMULATED)

_RANK, _UNDONE = 3, 0.5
_STRONG, _TAIL = (60.0, 50.0, 40.0), (1.5, 1.2, 1.0)
_MEASURES = ("risk", "rise, A0 orthogonal", "rise, A0 undone")
_LOOKS = dict(zip(_MEASURES, (style.REFERENCE, style.COMPARED[3], style.COMPARED[2]), strict=True))
_LABELS = dict(zip(_MEASURES, ("accuracy", "robustness, A0 orthogonal to T", "robustness, A0 = −2 T"), strict=True))


def setting(n: int, dx: int, complexity: float) -> Problem:
    """The problem of these sizes whose C_r at rank 3 is `complexity`, with A0 = -2 T."""
    shift, pretrained = np.zeros((15, dx)), np.zeros((15, dx))
    index = np.arange(6)
    shift[index, index] = *_STRONG, *_TAIL
    pretrained[index[3:], index[3:]] = -np.asarray(_TAIL) / _UNDONE
    problem = Problem(n=n, dx=dx, dy=15, task_shift=shift, noise_std=1.0, pretrained=pretrained)
    found = float(task_complexity(problem, [_RANK]).complexity[0])
    return problem.replace(noise_std=float(np.sqrt(found / complexity)))


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    complexities: Sequence[float] = COMPLEXITIES,
    simulated: Sequence[float] = SIMULATED,
) -> "xr.Dataset":
    """The figure's numbers, of each regime and measure: `theory` along C_r, simulated `mean` and `stderr` at a few.

    `threshold`: the C_r above which LoRA is less robust with A0 = -2 T. All in units of A_r (B_r + tail_r^2).
    """
    import xarray as xr

    problems = [setting(*sizes, value) for sizes in REGIMES for value in simulated]
    drawn = np.array(map_cells(_simulated, problems, (trials, seed), executor, progress))
    drawn = drawn.reshape(len(REGIMES), len(simulated), 2, len(_MEASURES))
    expected = np.array([_theory(problem) for problem in problems]).reshape(drawn[:, :, 0].shape)
    theory = np.array([[_theory(setting(*sizes, value)) for value in complexities] for sizes in REGIMES])
    threshold = [less_robust_above(setting(*sizes, 1.0), _RANK, _UNDONE) for sizes in REGIMES]
    unit, text = "A_r (B_r + tail_r^2)", "FFT minus LoRA"
    where = ("regime", "simulated", "measure")
    return xr.Dataset(
        {
            "theory": datasets.variable(("regime", "complexity", "measure"), theory, f"{text}, strong limit", unit),
            "expected": datasets.variable(where, expected, f"{text}, strong limit, where simulated", unit),
            "mean": datasets.variable(where, drawn[:, :, 0], f"{text}, simulated", unit),
            "stderr": datasets.variable(where, drawn[:, :, 1], "standard error of mean", unit),
            "threshold": datasets.variable("regime", threshold, "C_r above which LoRA is less robust, A0 = -2 T"),
        },
        {
            "regime": ("regime", [f"n = {n}, dx = {dx}" for n, dx in REGIMES], {"long_name": "sizes"}),
            "complexity": datasets.variable("complexity", complexities, "task complexity C_r at rank 3"),
            "simulated": datasets.variable("simulated", simulated, "task complexity of simulated problems"),
            "measure": ("measure", list(_MEASURES), {"long_name": "what is compared"}),
        },
        datasets.provenance("Robustness against task complexity", problems, trials, seed),
    )


def _theory(problem: Problem) -> list[float]:
    found, closed = strong_limit_robustness(problem, _RANK), task_complexity(problem, [_RANK])
    return [-float(closed.difference[0]) / found.discarded, 1.0, found.rise_difference() / found.discarded]


def _simulated(problem: Problem, trials: int, seed: int) -> np.ndarray:
    """Mean and standard error (rows) of the three measures."""
    from linreg_lora.simulation.curve import draw_risks
    from linreg_lora.simulation.perturbed_inputs import simulate_rise

    own = derived_seed(seed, problem.fingerprint)
    risks = draw_risks(problem, trials=trials, seed=own)
    difference = risks.fft - risks.lora[:, _RANK]
    blank = problem.replace(pretrained=np.zeros((problem.dy, problem.dx)))
    rises = [simulate_rise(one, trials=trials, seed=own, ranks=[_RANK]) for one in (blank, problem)]
    means = [np.mean(difference), *(-rise.difference[0] for rise in rises)]
    errors = [np.std(difference, ddof=1) / np.sqrt(trials), *(rise.difference_stderr[0] for rise in rises)]
    return np.array([means, errors]) / strong_limit_robustness(problem, _RANK).discarded


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    away = np.abs((dataset["mean"] - dataset["expected"]) / dataset["stderr"])
    return (
        "What full fine-tuning loses to LoRA of rank 3, along the task complexity C_r, which the noise moves: accuracy "
        "and robustness to noisy inputs, in units of the energy that LoRA discards. Above 0 LoRA is the better method. "
        "Accuracy changes sides at C_r = 1. With A0 orthogonal to the tail T, what rank 3 cannot hold, LoRA is the "
        "more robust method throughout; where the shift undoes half of A0 there, it is so only below "
        f"C_r = {float(dataset['threshold'].max()):.2f}: in the shaded band it is more accurate and less robust. "
        "Lines are the limit of strong directions, markers simulation with standard errors, at most "
        f"{float(away.max()):.1f} of them away."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a panel a regime, on one vertical scale."""
    with style.applied():
        figure, panels = style.panels(len(REGIMES), 3.5)
        for axes, (place, regime) in zip(panels, enumerate(dataset["regime"].values), strict=True):
            here = dataset.isel(regime=place)
            axes.axvspan(float(here["threshold"]), 1.0, color="0.9", linewidth=0, zorder=0.5)
            middle = float(np.sqrt(here["threshold"]))
            look = {"ha": "center", "va": "bottom", "fontsize": 6.5, "color": style.ANNOTATION}
            axes.text(middle, -2.3, "more\naccurate,\nless robust", **look)
            axes.axhline(0.0, color="black", linewidth=0.8, zorder=1)
            for name, series in _LOOKS.items():
                one = here.sel(measure=name)
                style.line(axes, dataset["complexity"], one["theory"], series, _LABELS[name])
                style.means(axes, dataset["simulated"], one["mean"], one["stderr"], series)
            axes.set(xscale="log", xlabel="task complexity C_r", ylim=(-2.4, 1.3))
            axes.set_title(f"({'ab'[place]}) {regime}", loc="left", fontsize=9)
        panels[0].set_ylabel("(FFT − LoRA) / what LoRA discards")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=3, loc="outside upper center", frameon=False)
    return figure
