"""How fast the deterministic equivalent becomes exact: its relative error against the dimension, raw and corrected.

Setting: dx = dy = d, n = 2 d, Sigma = I, sigma = 1, a shift of rank 3 with singular values 3, 2.5, 2; LoRA of rank 3,
which keeps the shift alone, and of rank d/4, most of which is noise. Simulation: means of the risk given LoRA's
directions, with FFT's risk given the inputs, whose mean is known exactly, as control variate.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

DIMENSIONS = (12, 24, 48, 96)
CELLS = len(DIMENSIONS)
_SHIFT = (3.0, 2.5, 2.0)
_KINDS = ("shift", "bulk")
#: Draws of the largest dimension, in units of `trials`.
_DRAWS = 4


def setting(dimension: int) -> Problem:
    """The figure's problem with dx = dy = d and n = 2 d."""
    return Problem(n=2 * dimension, dx=dimension, dy=dimension, spectrum=_SHIFT, noise_std=1.0)


def ranks_of(dimension: int) -> tuple[int, int]:
    """LoRA's ranks: that of the shift, and d/4."""
    return len(_SHIFT), dimension // 4


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    dimensions: Sequence[int] = DIMENSIONS,
) -> "xr.Dataset":
    """The figure's numbers over (d, kind of rank): `risk` and `stderr`, simulated, `raw` and `corrected` by theory.

    The largest d has 4 `trials` draws, half of it four times as many: larger problems spread less.
    """
    import xarray as xr

    problems = [setting(d) for d in dimensions]
    attributes = datasets.provenance("Error of the deterministic equivalent", problems, trials, seed)
    table = np.array(map_cells(_cell, problems, (trials, max(dimensions), seed), executor, progress))
    texts = (
        "simulated expected excess risk", "standard error of risk", "risk by theory, without correction",
        "risk by theory, with finite-size correction",
    )  # fmt: skip
    variables = {
        name: datasets.variable(("d", "kind"), table[:, i], text, datasets.RISK)
        for i, (name, text) in enumerate(zip(("risk", "stderr", "raw", "corrected"), texts, strict=True))
    }
    coordinates = {
        "d": datasets.variable("d", list(dimensions), "dx = dy = n / 2"),
        "kind": ("kind", list(_KINDS), {"long_name": "rank of LoRA: that of the shift, or d/4"}),
    }
    return xr.Dataset(variables, coordinates, attributes)


def _cell(problem: Problem, trials: int, largest: int, seed: int) -> np.ndarray:
    """`risk`, `stderr`, `raw`, `corrected` at both ranks."""
    from linreg_lora.theory.equivalent import lora_equivalent

    ranks = ranks_of(problem.dx)
    draws = _DRAWS * trials * (largest // problem.dx) ** 2
    mean, stderr = simulate(problem, ranks, draws, derived_seed(seed, problem.fingerprint))
    found = lora_equivalent(problem, ranks)
    return np.stack([mean, stderr, found.raw, found.risk])


def simulate(problem: Problem, ranks: Sequence[int], draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean risks and standard errors at `ranks`, by regression on FFT's risk given the inputs, of exact mean mu.

    mean = m_r - b (m_FFT - mu), b the regression coefficient of the draws; the bias from estimating b is O(1/draws).
    """
    from linreg_lora.simulation.curve import draw_risks
    from linreg_lora.theory.fft import fft_risk

    drawn = draw_risks(problem, trials=draws, seed=seed, sampler="conditional")
    risks, control = drawn.lora[:, list(ranks)], drawn.fft_given_design - fft_risk(problem).risk
    centred = control - np.mean(control)
    slope = centred @ risks / (centred @ centred)
    adjusted = risks - slope * control[:, None]
    return np.mean(adjusted, axis=0), np.std(adjusted, axis=0, ddof=2) / np.sqrt(draws)


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    return (
        "Relative error of the formula for LoRA's expected excess risk against the dimension d, with n in proportion. "
        "Without the finite-size correction it falls like 1/d; with it the error is several times smaller and falls "
        "faster, until it drowns in the standard error of the simulation (grey)."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a panel a rank, relative errors in per cent, with guides of slopes -1 and -2."""
    d = dataset["d"].values.astype(float)
    titles = (f"rank {len(_SHIFT)}: the shift alone", "rank d/4: mostly noise")
    with style.applied():
        figure, panels = style.panels(2, 3.0)
        for axes, kind, title in zip(panels, _KINDS, titles, strict=True):
            points = dataset.sel(kind=kind)
            relative = 100 / points["risk"].values
            floor = points["stderr"].values * relative
            axes.set(xscale="log", yscale="log")
            least = float(np.min(floor))
            for name, look, label in (
                ("raw", style.COMPARED[2], "first order"),
                ("corrected", style.COMPARED[3], "with finite-size correction"),
            ):
                error = np.abs(points[name].values - points["risk"].values) * relative
                axes.errorbar(
                    d, error, yerr=floor, color=look.color, linestyle=look.linestyle, marker=look.marker, label=label
                )
                power = 1 if name == "raw" else 2
                axes.plot(
                    d, 1.7 * error[0] * (d[0] / d) ** power, color=style.ANNOTATION, linewidth=0.8,
                    linestyle=":" if power == 1 else "--", label=f"slope of 1/d{'²' if power == 2 else ''}",
                )  # fmt: skip
                least = min(least, float(np.min(error)))
            axes.fill_between(d, 1e-6, floor, color="0.88", linewidth=0, label="one standard error")
            axes.set_xticks(d, [f"{int(value)}" for value in d])
            axes.minorticks_off()
            axes.set_ylim(bottom=max(0.6 * least, 0.05 * float(np.min(floor))))
            axes.set_title(title, fontsize=9, loc="left")
            axes.set_xlabel("dimension d = dx = dy = n / 2")
        panels[0].set_ylabel("error of the formula (%)")
        handles, labels = panels[0].get_legend_handles_labels()
        texts = [str(label) for label in labels]
        order = sorted(range(len(texts)), key=lambda i: texts[i].startswith(("slope", "one")))
        figure.legend(
            [handles[i] for i in order],
            [texts[i] for i in order],
            loc="outside upper center",
            ncols=3,
            frameon=False,
        )
    return figure
