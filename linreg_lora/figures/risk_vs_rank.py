"""Bias and variance of LoRA against its rank, below and above the interpolation threshold.

    E risk(D_r) = bias + variance,    bias = ||(E D_r - Delta) Sigma^{1/2}||_F^2,
                                      variance = E ||(D_r - E D_r) Sigma^{1/2}||_F^2,

expectations over all data, inputs included. Theory gives the sum (`theory.curve`), simulation all three.

Setting: dx = dy = 30, Sigma = I, sigma = 1, n = 20 and n = 90, and eight singular values
s_i = 3 exp(-0.3 (i - 1)).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from linreg_lora import spectra
from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLE_SIZES = (20, 90)
CELLS = len(SAMPLE_SIZES)

_DIMENSION, _NOISE_STD, _SHIFT_RANK = 30, 1.0, 8
_PARTS = ("bias", "variance", "risk")


def setting(n: int, dimension: int = _DIMENSION, shift_rank: int = _SHIFT_RANK) -> Problem:
    """The figure's problem with n samples; dx = dy = `dimension`."""
    spectrum = spectra.exponential(shift_rank, 0.3, 3.0)
    return Problem(n=n, dx=dimension, dy=dimension, spectrum=spectrum, noise_std=_NOISE_STD)


class Decomposition(NamedTuple):
    """Simulated means at every rank 0..min(n, dx, dy), and their standard errors."""

    bias: Float[np.ndarray, "ranks"]
    variance: Float[np.ndarray, "ranks"]
    risk: Float[np.ndarray, "ranks"]
    bias_stderr: Float[np.ndarray, "ranks"]
    variance_stderr: Float[np.ndarray, "ranks"]
    risk_stderr: Float[np.ndarray, "ranks"]


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    dimension: int = _DIMENSION,
    shift_rank: int = _SHIFT_RANK,
) -> "xr.Dataset":
    """The figure's numbers: the fields of `Decomposition` and `theory`, the risk by formula, over (n, rank).

    nan at ranks above min(n, dx, dy). `fft_best_ridge` and `best_weights`, over n: the risks of FFT with its
    best ridge, and of the best weights on the directions of its fit, by theory.
    """
    import xarray as xr

    from linreg_lora.theory.best_ridge import fft_best_ridge
    from linreg_lora.theory.spectral_weights import best_weights

    problems = [setting(n, dimension, shift_rank) for n in sample_sizes]
    attributes = datasets.provenance("Bias and variance against rank", problems, trials, seed)
    found = map_cells(_cell, problems, (trials, seed), executor, progress)
    table = np.full((len(problems), len(Decomposition._fields) + 1, dimension + 1), np.nan)
    for row, (parts, theory) in zip(table, found, strict=True):
        row[:, : len(theory)] = [*parts, theory]
    texts = [f"simulated {part}" for part in _PARTS] + [f"standard error of {part}" for part in _PARTS]
    names = (*Decomposition._fields, "theory")
    variables = {
        name: datasets.variable(("n", "rank"), table[:, i], text, datasets.RISK)
        for i, (name, text) in enumerate(zip(names, (*texts, "expected excess risk by theory"), strict=True))
    }
    text = "expected excess risk of FFT with its best ridge, theory"
    best = [fft_best_ridge(problem).risk for problem in problems]
    variables["fft_best_ridge"] = datasets.variable("n", best, text, datasets.RISK)
    weighted = [best_weights(problem).risk for problem in problems]
    text = "expected excess risk of the best weights on directions, by theory"
    variables["best_weights"] = datasets.variable("n", weighted, text, datasets.RISK)
    coordinates = {
        "n": datasets.variable("n", list(sample_sizes), "number of samples"),
        "rank": datasets.variable("rank", np.arange(dimension + 1), "rank of LoRA; min(n, dx, dy) is FFT"),
    }
    return xr.Dataset(variables, coordinates, {**attributes, "dx": dimension})


def _cell(problem: Problem, trials: int, seed: int) -> tuple[Decomposition, np.ndarray]:
    from linreg_lora.theory.curve import expected_risk

    return decompose(problem, trials, derived_seed(seed, problem.fingerprint)), expected_risk(problem).risk


def decompose(problem: Problem, trials: int, seed: int, sampler: str = "auto") -> Decomposition:
    """Bias and variance of LoRA at every rank; Delta diagonal, Sigma = I, isotropic noise.

    Changing the sign of input i and output i together, or of one that Delta does not see, leaves the law of the data as
    it is and changes that of the entries of D_r: so E D_r is diagonal, zero beyond the rank k of Delta, and

        bias = sum_{i<=k} (E (D_r)_ii - s_i)^2.

    Estimated from the means m_i over draws as sum (m_i - s_i)^2 minus its own noise, sum var((D_r)_ii) / trials;
    variance = mean risk - bias. Standard errors to first order in the m_i.
    """
    s = np.asarray(problem.spectrum)
    risks, diagonals = _draws(problem, trials, seed, sampler)
    excess = np.mean(diagonals, axis=0) - s
    noise = np.var(diagonals, axis=0, ddof=1) / trials
    bias = np.sum(excess**2 - noise, axis=-1)
    slope = 2 * np.sum(excess * diagonals, axis=-1)

    def stderr(values: np.ndarray) -> np.ndarray:
        return np.std(values, axis=0, ddof=1) / np.sqrt(trials)

    risk = np.mean(risks, axis=0)
    return Decomposition(bias, risk - bias, risk, stderr(slope), stderr(risks - slope), stderr(risks))


def _draws(problem: Problem, trials: int, seed: int, sampler: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each draw and rank: the risk, and the first k diagonal entries of the update."""
    from linreg_lora.sampling.plan import plan
    from linreg_lora.simulation.draws import Draws, collected
    from linreg_lora.simulation.programs import chunk_size

    layout, parameters = plan(problem, sampler)
    static = (layout, len(problem.spectrum or ()))
    program = Draws(_risks_and_diagonals, static, parameters, chunk_size(layout, parameters), (0, 0))
    return collected(program, seed, trials)


def _risks_and_diagonals(layout, count: int, parameters, key: Array) -> tuple[Array, Array]:
    import jax.numpy as jnp

    from linreg_lora.estimators import lora
    from linreg_lora.estimators.risk import excess_risk_path
    from linreg_lora.sampling.plan import draw

    drawn = draw(layout, parameters, key)
    path = lora.lora_path(drawn.inverse, drawn.whitened, squared=layout.squared)
    shift = parameters.shift if parameters.diagonal is None else parameters.diagonal
    kept = path.basis.mT @ path.update
    steps = path.basis[:count].mT * kept[:, :count]
    diagonal = jnp.concatenate([jnp.zeros((1, count)), jnp.cumsum(steps, axis=0)])
    return excess_risk_path(path.basis, path.update, shift, parameters.sigma_sqrt), diagonal


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    return (
        "Bias ||E D_r - Delta||^2 and variance E||D_r - E D_r||^2 of the LoRA update, and their sum, the expected "
        "excess risk, against the rank; lines are theory for the sum, markers simulation with standard errors. Bias "
        "falls and variance rises with the rank; the best rank (star) is smaller than that of the shift, and far "
        "below full rank. All of these are without ridge; dashed, full fine-tuning with its best ridge, "
        f"{_against_tuned(dataset)}. Dotted: the best weights on the directions of the fit in place of LoRA's ones and "
        f"zeros, {_beyond(dataset)}."
    )


def _beyond(dataset: "xr.Dataset") -> str:
    """What LoRA of best rank loses to the best weights, an n at a time."""
    share = (dataset["best_weights"] / dataset["theory"].min("rank")).values
    return ", ".join(
        f"{100 * (1 - x):.0f} % below it at n = {n}" for n, x in zip(dataset["n"].values, share, strict=True)
    )


def _against_tuned(dataset: "xr.Dataset") -> str:
    """What LoRA of best rank is worth against FFT with its best ridge, an n at a time."""
    ratio = (dataset["theory"].min("rank") / dataset["fft_best_ridge"]).values
    return ", ".join(
        f"{100 * abs(1 - 1 / share):.0f} % {'above' if share < 1 else 'below'} LoRA's best at n = {n}"
        for n, share in zip(dataset["n"].values, ratio, strict=True)
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: one panel an n, the best rank marked by a star."""
    with style.applied():
        figure, panels = style.panels(dataset.sizes["n"], 3.1)
        for axes, n in zip(panels, dataset["n"].values, strict=True):
            regime = "overdetermined" if n > dataset.attrs["dx"] else "underdetermined"
            _panel(axes, dataset.sel(n=n).dropna("rank"))
            axes.set_title(f"{regime}: n = {n}, dx = dy = {dataset.attrs['dx']}", fontsize=9, loc="left")
            axes.set_xlabel("rank of LoRA  (right end: FFT)")
        panels[0].set_ylabel("expected excess risk and its parts")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _panel(axes: "Axes", points: "xr.Dataset") -> None:
    rank = points["rank"].values
    looks = (style.COMPARED[3], style.COMPARED[2], style.REFERENCE)
    labels = ("bias, simulated", "variance, simulated", "risk: theory, simulated")
    for name, look, label in zip(_PARTS, looks, labels, strict=True):
        marks = {"color": look.color, "marker": look.marker, "markersize": 3.2}
        y = points["theory" if name == "risk" else name]
        axes.plot(rank, y, linestyle=look.linestyle, markevery=[], label=label, **marks)
        axes.plot(rank, points[name], linestyle="none", label="_simulated", **marks)
        axes.errorbar(rank, points[name], yerr=points[f"{name}_stderr"], fmt="none", ecolor=look.color)
    tuned = float(points["fft_best_ridge"])
    axes.axhline(tuned, color=style.TUNED.color, linestyle=style.TUNED.linestyle, linewidth=1, label="FFT, best ridge")
    weighted = float(points["best_weights"])
    axes.axhline(
        weighted, color=style.ANNOTATION, linestyle=(0, (1, 1.5)), linewidth=1.2, label="best weights on directions"
    )
    best = int(np.argmin(points["theory"].values))
    axes.axvline(rank[best], color=style.ANNOTATION, linewidth=0.8, linestyle=":")
    axes.plot(
        rank[best], points["theory"].values[best], marker="*", markersize=13, color="#F0E442", markeredgecolor="black",
        linestyle="none", zorder=5, label="best rank by theory",
    )  # fmt: skip
    axes.annotate(f"r = {rank[best]}", (rank[best], 1.0), xycoords=("data", "axes fraction"), xytext=(4, -10),
                  textcoords="offset points", color=style.ANNOTATION)  # fmt: skip
    axes.set_ylim(bottom=0)
