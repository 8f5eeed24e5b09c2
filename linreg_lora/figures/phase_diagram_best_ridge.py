"""LoRA of best rank against full fine-tuning with its best ridge, over n / dx and the noise.

Setting: dx = dy = 24, Sigma = I, and two task shifts: that of `phase_diagram`, of full rank with singular values
s_i = exp(-0.2 (i - 1)), and one of rank 4 with s_i = 1. LoRA without ridge, and with its own best ridge
(`theory.best_ridge`); in both FFT has its best ridge. Colours are theory: by how much the risk of one is above that of
the other, from risks at the n and noise levels of a grid, and monotone cubics in between. Dots are simulation: the same
ratio on the same draws, at theory's rank and ridges.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.figures import datasets, phase_diagram, style
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import grid, map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DIMENSION, _SHIFT_RANK = 24, 4
SHIFTS = ("decaying", "low-rank")
#: The n and the noise levels of the colours; at n = dx ridges have a risk, though without one there is none.
SAMPLE_SIZES = (3, 6, 10, 15, 19, 22, 24, 26, 29, 36, 60, 140, 400)
NOISE_STDS = tuple(np.geomspace(0.01, 4.0, 9).tolist())
#: The n and the noise levels of the dots.
SIMULATED_SIZES = (4, 10, 18, 34, 60, 140)
SIMULATED_NOISE_STDS = tuple(np.geomspace(0.02, 2.0, 5).tolist())
CELLS = len(SHIFTS) * (len(SAMPLE_SIZES) * len(NOISE_STDS) + len(SIMULATED_SIZES) * len(SIMULATED_NOISE_STDS))

#: Ranks to either side of the best without correction that are looked at.
_AROUND = 2
#: Bounds of the colours, risk of LoRA over risk of FFT less 1, and the colours: LoRA wins (blue), neither, FFT wins.
_BOUNDS = (-0.5, -0.2, -0.05, -0.01, 0.01, 0.05, 0.2, 0.5)
_COLORS = ("#0B4A85", "#2474B0", "#6FAFDA", "#C3DFF2", "#F2F2F2", "#FBE3AE", "#F2BE52", "#D98A00", "#9C5F00")
_FINE = 240


def setting(shift: str, n: int, noise_std: float, dimension: int = _DIMENSION) -> Problem:
    """The figure's problem with one of `SHIFTS`, n samples and noise sigma; dx = dy = `dimension`."""
    problem = phase_diagram.setting(n, noise_std, dimension)
    return problem.replace(spectrum=(1.0,) * _SHIFT_RANK) if shift == "low-rank" else problem


class Cell(NamedTuple):
    """LoRA of best rank against FFT with its best ridge, by theory; nan where LoRA without ridge has no mean.

    `plain`, `tuned`: risk of LoRA without ridge, and with its best one, over FFT's, less 1; `plain_rank`, `tuned_rank`:
    the best ranks; `ridge`, `fft_ridge`: the best ridges at `tuned_rank` and of FFT.
    """

    plain: float
    tuned: float
    plain_rank: int
    tuned_rank: int
    ridge: float
    fft_ridge: float


class Simulated(NamedTuple):
    """The ratios of a dot at theory's ranks and ridges, with their standard errors, paired."""

    plain: float
    tuned: float
    plain_stderr: float
    tuned_stderr: float


_TEXTS = {
    "plain": "risk of LoRA of best rank without ridge over that of FFT with its best ridge, minus 1",
    "tuned": "risk of LoRA of best rank with its best ridge over that of FFT with its best ridge, minus 1",
    "plain_rank": "best rank of LoRA without ridge; min(n, dx) is FFT",
    "tuned_rank": "best rank of LoRA with its best ridge; min(n, dx) is FFT",
    "ridge": "best ridge of LoRA at its best rank",
    "fft_ridge": "best ridge of FFT",
    "plain_stderr": "standard error of simulated_plain",
    "tuned_stderr": "standard error of simulated_tuned",
}


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    noise_stds: Sequence[float] = NOISE_STDS,
    simulated_sizes: Sequence[int] = SIMULATED_SIZES,
    simulated_noise_stds: Sequence[float] = SIMULATED_NOISE_STDS,
    dimension: int = _DIMENSION,
) -> "xr.Dataset":
    """The figure's numbers: the fields of `Cell` over (n, noise_std), and those of `Simulated` at the dots."""
    import xarray as xr

    def make(shift: str, n: int, noise_std: float) -> Problem:
        return setting(shift, n, noise_std, dimension)

    regions = grid(make, {"shift": SHIFTS, "n": sample_sizes, "noise_std": noise_stds})
    dots = grid(make, {"shift": SHIFTS, "n": simulated_sizes, "noise_std": simulated_noise_stds})
    attributes = datasets.provenance(
        "LoRA of best rank against FFT with its best ridge", [*regions.problems, *dots.problems], trials, seed
    )
    computed = map_cells(cell, regions.problems, (), executor, progress)
    drawn = map_cells(simulate, dots.problems, (trials, seed), executor, progress)
    variables = {
        name: datasets.variable(("shift", "n", "noise_std"), np.reshape(values, regions.shape), _TEXTS[name])
        for name, values in zip(Cell._fields, zip(*computed, strict=True), strict=True)
    } | {
        f"simulated_{name}": datasets.variable(
            ("shift", "n_simulated", "noise_std_simulated"), np.reshape(values, dots.shape), _TEXTS[name]
        )
        for name, values in zip(Simulated._fields, zip(*drawn, strict=True), strict=True)
    }
    noise = "noise sigma, with s_1 = 1"
    coordinates = {
        "shift": datasets.variable("shift", SHIFTS, "spectrum of the task shift"),
        "n": datasets.variable("n", sample_sizes, "number of samples"),
        "noise_std": datasets.variable("noise_std", noise_stds, noise, "units of y"),
        "n_simulated": datasets.variable("n_simulated", simulated_sizes, "number of samples"),
        "noise_std_simulated": datasets.variable("noise_std_simulated", simulated_noise_stds, noise, "units of y"),
    }
    return xr.Dataset(variables, coordinates, {**attributes, "dx": dimension})


def cell(problem: Problem) -> Cell:
    """The numbers of one problem, by theory.

    Ratios are from differences at the same order: errors that LoRA and FFT share cancel.
    """
    tuned = _tuned(problem)
    best = tuned.at_rank(tuned.best_rank)
    assert best.ridge is not None
    assert tuned.fft_ridge is not None
    rank, ratio = _plain(problem, tuned.fft_risk)
    return Cell(ratio, best.difference / tuned.fft_risk, rank, best.rank, best.ridge, tuned.fft_ridge)


def _tuned(problem: Problem) -> RiskCurve:
    """Risks with best ridges, FFT's among them, at ranks around the best: moved on until the best is inside."""
    from linreg_lora.theory.best_ridge import fft_best_ridge, tuned_risk
    from linreg_lora.theory.curve import expected_risk

    at, last = fft_best_ridge(problem).ridge, problem.max_rank
    rough = [expected_risk(problem, ridge=share * at, correction=False).risk for share in (0.5, 1.0)]
    middle = int(np.nanargmin(np.min(rough, axis=0)))
    while True:
        low, high = max(middle - _AROUND, 1), min(middle + _AROUND, last)
        curve = tuned_risk(problem, sorted({*range(low, high + 1), last}))
        best = curve.best_rank
        if best in (last, middle) or low < best < high or best == low == 1:
            return curve
        middle = best


def _plain(problem: Problem, fft_risk: float) -> tuple[int, float]:
    """The best rank without ridge, and its risk over FFT's best, less 1."""
    from linreg_lora.theory.curve import expected_risk

    if problem.moments is Moments.NO_MEAN:
        return 0, np.nan
    curve = expected_risk(problem)
    best = curve.at_rank(curve.best_rank)
    return best.rank, (best.difference + curve.fft_risk) / fft_risk - 1


def simulate(problem: Problem, trials: int, seed: int) -> Simulated:
    """One dot; its seed is derived from `seed` and the problem. The same data are fitted with every ridge."""
    from linreg_lora.simulation.curve import draw_risks

    found, derived = cell(problem), derived_seed(seed, problem.fingerprint)

    def risks(ridge: float) -> Float[np.ndarray, "draws ranks"]:
        return draw_risks(problem.replace(ridge=ridge), trials=trials, seed=derived).lora

    full = risks(found.fft_ridge)[:, -1]
    plain, tuned = risks(0.0)[:, found.plain_rank], risks(found.ridge)[:, found.tuned_rank]
    (one, one_error), (other, other_error) = (_ratio(values, full) for values in (plain, tuned))
    return Simulated(one, other, one_error, other_error)


def _ratio(values: Float[np.ndarray, "draws"], full: Float[np.ndarray, "draws"]) -> tuple[float, float]:
    """mean / mean of FFT - 1, and its standard error to first order."""
    ratio = float(np.mean(values) / np.mean(full))
    rest = (values - ratio * full) / np.mean(full)
    return ratio - 1, float(np.std(rest, ddof=1)) / np.sqrt(len(full))


def region(ratio: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """The colour of a ratio, by number, from LoRA wins by most to FFT does."""
    return np.searchsorted(_BOUNDS, ratio)


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    parts = []
    for shift, name in zip(SHIFTS, ("of full rank with decaying singular values", "of rank 4"), strict=True):
        plain, tuned = (dataset[ratio].sel(shift=shift).values for ratio in ("plain", "tuned"))
        known = np.isfinite(plain)
        parts.append(
            f"For a shift {name} LoRA without ridge has less risk by more than 1 % at {np.sum(plain < -0.01)}, and "
            f"more at {np.sum(plain > 0.01)}, of {np.sum(known)} points of the grid; with its own best ridge it has "
            f"less at {np.sum(tuned < -0.01)} of {tuned.size}, by {-100 * np.min(tuned):.0f} % at most"
        )
    return (
        "Where LoRA of best rank beats full fine-tuning (FFT) that has its best ridge: the colour is by how much. "
        f"{'. '.join(parts)}; more it cannot have, for at full rank LoRA is FFT. Colours are theory, dots simulation."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a row a shift, LoRA without and with ridge; a strip where no mean exists."""
    titles = (r"Full-rank shift, $s_i = e^{-0.2 (i-1)}$", r"Shift of rank 4, $s_i = 1$")
    with style.applied():
        figure = style.figure(7.2, 6.4)
        rows = figure.subplots(2, 2, sharex=True, sharey=True)
        for row, shift, words in zip(rows, SHIFTS, titles, strict=True):
            part = dataset.sel(shift=shift)
            for axes, name, ridge in zip(
                row, ("plain", "tuned"), ("without ridge", "with its best ridge"), strict=True
            ):
                _panel(axes, part, name)
                axes.set_title(f"{words}; LoRA {ridge}", fontsize=8.5, loc="left")
            row[0].set_ylabel("noise σ  (largest $s_i$: 1)")
        for axes in rows[-1]:
            axes.set_xlabel("n / dx  (samples per input dimension)")
        _keys(figure)
    return figure


def _panel(axes: "Axes", part: "xr.Dataset", name: str) -> None:
    dx, n = part.attrs["dx"], part["n"].values
    axes.set(xscale="log", yscale="log")
    axes.grid(False)
    known = np.flatnonzero(np.all(np.isfinite(part[name].values), axis=1))
    for side in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        _fill(axes, part.isel(n=side), name)
    if len(known) < len(n):
        strip = np.max(n[known][n[known] < dx]) / dx, np.min(n[known][n[known] > dx]) / dx
        axes.axvspan(*strip, facecolor="white", edgecolor="0.5", hatch="//////", linewidth=0, zorder=1)
        axes.text(
            1.0, 0.5, "no mean exists", transform=axes.get_xaxis_transform(), rotation=90, ha="center",
            va="center", fontsize=7, zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
    _dots(axes, part, name)
    axes.set_xlim(n[0] / dx, n[-1] / dx)
    axes.set_ylim(float(part["noise_std"].values[0]), float(part["noise_std"].values[-1]))


def _fill(axes: "Axes", part: "xr.Dataset", name: str) -> None:
    """Colours of the ratio, and the line where LoRA and FFT are equal."""
    from scipy.interpolate import PchipInterpolator

    n, noise = part["n"].values / part.attrs["dx"], part["noise_std"].values
    x, y = np.geomspace(n[0], n[-1], _FINE), np.geomspace(noise[0], noise[-1], _FINE)
    u, v = (np.clip(np.log(fine), np.log(ends[0]), np.log(ends[-1])) for fine, ends in ((x, n), (y, noise)))
    along = PchipInterpolator(np.log(noise), np.log1p(part[name].values), axis=1)(v)
    ratio = np.expm1(PchipInterpolator(np.log(n), along, axis=0)(u)).T
    axes.contourf(x, y, ratio, levels=(-1.0, *_BOUNDS, 1e9), colors=_COLORS, zorder=1)
    if name == "plain":
        axes.contour(x, y, ratio, levels=[0.0], colors="black", linewidths=1.1, zorder=2)


def _dots(axes: "Axes", dataset: "xr.Dataset", name: str) -> None:
    """Simulated ratios in the colours of the regions."""
    n, noise = np.meshgrid(dataset["n_simulated"], dataset["noise_std_simulated"], indexing="ij")
    colors = np.array(_COLORS)[region(dataset[f"simulated_{name}"].values)]
    look = {"marker": "o", "s": 24, "linewidth": 0.8, "edgecolor": "black", "zorder": 4}
    axes.scatter(n.ravel() / dataset.attrs["dx"], noise.ravel(), c=colors.ravel(), **look)


def _keys(figure: "Figure") -> None:
    """The colours above the axes."""
    from matplotlib.patches import Patch

    percent = [f"{100 * abs(bound):.0f}" for bound in _BOUNDS]
    middle = len(percent) // 2
    lora = [f"{low}–{high} %" for high, low in itertools.pairwise(percent[:middle])]
    full = [f"{low}–{high} %" for low, high in itertools.pairwise(percent[middle:])]
    labels = [f"over {percent[0]} %", *lora, f"less than {percent[middle]} %", *full, f"over {percent[-1]} %"]
    patches = [
        Patch(facecolor=color, edgecolor="0.3", linewidth=0.5, label=label)
        for color, label in zip(_COLORS, labels, strict=True)
    ]
    figure.legend(
        handles=patches,
        title="← LoRA of best rank has less risk        than FFT with its best ridge        FFT has less risk →",
        ncols=len(patches), handlelength=1.1, handletextpad=0.4, columnspacing=0.9, frameon=False, fontsize=7,
        loc="outside upper center",
    )  # fmt: skip
