"""Intruder dimensions against the strength of the shift: outliers of the bulk, and vectors unlike any of A0's.

Setting: A0 of iid entries of variance 1/dx, a shift of rank one, dx = 80, dy = 64, n = 800, Sigma = I, sigma = 1.5;
strengths in units of (dx dy)^{1/4} / sqrt(dx), from which an update has an outlier beside A0. Each draw has its own A0.
Theory: `theory.training.outliers`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.claims.library import plain_data
from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import map_cells
from linreg_lora.theory.training import count_intruders, fft_intruders, lora_intruders

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Strengths of the shift, in units of the threshold beside A0.
STRENGTHS = (0.05, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05, 1.2, 1.4, 1.7, 2.1)
RANKS = (1, 4)
CELLS = len(STRENGTHS)
_FINE, _TOP = 400, 10
#: How opaque a line is where theory is flagged.
_PALE = 0.4
_METHODS = (*(f"LoRA, r = {rank}" for rank in RANKS), "FFT")
_LOOKS = (style.COMPARED[3], style.COMPARED[0], style.REFERENCE)


def setting(strength: float, n: int = 800, dx: int = 80, dy: int = 64) -> Problem:
    """The figure's problem, its shift `strength` times as strong as the threshold beside A0."""
    return Problem(n=n, dx=dx, dy=dy, spectrum=(strength * (dx * dy) ** 0.25 / dx**0.5,), noise_std=1.5)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    strengths: Sequence[float] = STRENGTHS,
    n: int = 800,
    dx: int = 80,
    dy: int = 64,
) -> "xr.Dataset":
    """The figure's numbers: `by_outlier` and `by_cosine` (strength, adapted); theory's outliers and flags, finely."""
    import xarray as xr

    problems = [setting(strength, n, dx, dy) for strength in strengths]
    attributes = datasets.provenance("Intruder dimensions against strength", problems, trials, seed)
    found = np.array(map_cells(simulate, problems, (trials, seed), executor, progress))
    fine = np.linspace(min(strengths), max(strengths), _FINE)
    theory = np.array([_by_theory(setting(float(strength), n, dx, dy)) for strength in fine])
    variables = {}
    for i, (name, text) in enumerate((("by_outlier", "outliers of the bulk"), ("by_cosine", "vectors unlike A0's"))):
        variables[name] = datasets.variable(("strength", "adapted"), found[:, 0, i], f"mean number of {text}")
        variables[f"{name}_stderr"] = datasets.variable(
            ("strength", "adapted"), found[:, 1, i], f"standard error of {name}"
        )
    for i, (name, text) in enumerate(
        (("outliers_theory", "outliers by theory"), ("outliers_theory_flagged", "1 where theory flags a direction"))
    ):
        variables[name] = datasets.variable(("strength_fine", "adapted"), theory[:, i], text)
    coordinates = {
        "strength": datasets.variable("strength", list(strengths), "s over the threshold beside A0"),
        "strength_fine": datasets.variable("strength_fine", fine, "s over the threshold beside A0"),
        "adapted": datasets.variable("adapted", list(_METHODS), "method"),
    }
    return xr.Dataset(variables, coordinates, {**attributes, "n": n, "dx": dx, "dy": dy, "top": _TOP})


def _by_theory(problem: Problem) -> list[list[int]]:
    """Outliers of each method beside A0 of entries of variance 1/dx, and whether any direction is flagged."""
    std = problem.dx**-0.5
    found = [*(lora_intruders(problem, rank, std) for rank in RANKS), fft_intruders(problem, std)]
    return [[int(np.sum(one.outlier)) for one in found], [int(np.any(one.flagged)) for one in found]]


def simulate(problem: Problem, trials: int, seed: int) -> list[list[list[float]]]:
    """Means and standard errors of both counts, a list a method; the seed is derived from `seed` and the problem."""
    own = derived_seed(seed, problem.fingerprint)
    x, residual = plain_data.reduced(problem, trials, own)
    fitted = [plain_data.full_and_truncated(x, residual, rank) for rank in RANKS]
    updates = [*(lora for _, lora in fitted), fitted[0][0]]
    rng = np.random.default_rng(derived_seed(own, "A0"))
    counts = np.zeros((trials, 2, len(updates)))
    for draw in range(trials):
        a0 = rng.standard_normal((problem.dy, problem.dx)) / problem.dx**0.5
        for i, update in enumerate(updates):
            found = count_intruders(a0, update[draw], min(_TOP, problem.dy, problem.dx))
            counts[draw, :, i] = found.by_outlier, found.by_cosine
    return [counts.mean(axis=0).tolist(), (counts.std(axis=0, ddof=1) / trials**0.5).tolist()]


def onset(dataset: "xr.Dataset", method: str) -> float:
    """The least strength of the fine grid from which on theory always has an outlier; nan where there is none."""
    present = dataset["outliers_theory"].sel(adapted=method).values > 0
    missing = np.flatnonzero(~present)
    first = 0 if missing.size == 0 else int(missing[-1]) + 1
    return float(dataset["strength_fine"].values[first]) if first < present.size else float("nan")


def _from_on(strength: float) -> str:
    return "at none of these strengths" if np.isnan(strength) else f"from {strength:.2g} on"


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset, with the strengths from which on theory has an outlier."""
    theory = dataset["outliers_theory"].sel(adapted=_METHODS[0])
    falls = bool((theory.diff("strength_fine") < 0).any())
    wavers = ", and LoRA's line rises and falls before it stays" if falls else ""
    lora, full = (_from_on(onset(dataset, method)) for method in (_METHODS[0], "FFT"))
    weakest = dataset["by_cosine"].isel(strength=0)
    cosine = {name: float(weakest.sel(adapted=name)) for name in ("FFT", _METHODS[0])}
    return (
        "Intruder dimensions of A0 + D against the strength of a shift of rank one, in units of the threshold beside "
        f"A0. Left: singular values outside of the bulk. LoRA of rank 1 has one {lora}, by theory (lines), for its "
        f"update is stronger than the shift by the noise it fits; FFT, whose noise widens the bulk, {full}. Lines are "
        "pale where theory flags itself: finite size hides what is less than half beyond its threshold"
        f"{wavers}. Right: by cosine, of the {dataset.attrs['top']} leading left singular vectors. "
        f"There FFT has {cosine['FFT']:.1f} where nearly nothing "
        f"is to be learnt, and LoRA of rank 1 {cosine[_METHODS[0]]:.1f}: noise on all entries mixes the "
        "singular vectors of A0."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: outliers left, vectors by cosine right."""
    with style.applied():
        figure, (left, right) = style.panels(2, 3.0)
        x = dataset["strength"]
        for method, look in zip(_METHODS, _LOOKS, strict=True):
            found = dataset.sel(adapted=method)
            if method != _METHODS[1]:  # rank 4 has the same by theory
                _draw_theory(left, found, look)
                style.means(left, x, found["by_outlier"], found["by_outlier_stderr"], look)
            style.line(right, x, found["by_cosine"], look, method)
            style.means(right, x, found["by_cosine"], found["by_cosine_stderr"], look)
        left.set_ylabel("outliers of the bulk")
        right.set_ylabel(f"unlike A0's, of the {dataset.attrs['top']} leading")
        for axes in (left, right):
            axes.axvline(
                1.0, color=style.ANNOTATION, linestyle=":", linewidth=0.9, zorder=0.6, label="threshold beside A0"
            )
            axes.set_xlim(0, 1.02 * float(dataset["strength_fine"].max()))
            axes.set_ylim(bottom=-0.03)
            axes.set_xlabel("strength of the shift / threshold beside A0")
        figure.legend(*right.get_legend_handles_labels(), ncols=4, loc="outside upper center", frameon=False)
    return figure


def _draw_theory(axes: "Axes", found: "xr.Dataset", look: style.Series) -> None:
    """Outliers by theory, pale where flagged."""
    trusted = found["outliers_theory"].where(found["outliers_theory_flagged"] == 0)
    axes.plot(
        found["strength_fine"], found["outliers_theory"], color=look.color, linestyle=look.linestyle, alpha=_PALE,
        label="_flagged", zorder=1.9,
    )  # fmt: skip
    style.line(axes, found["strength_fine"], trusted, look, str(found["adapted"].values))
