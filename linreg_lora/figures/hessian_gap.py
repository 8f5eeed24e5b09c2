"""Three readings of one claim: that the loss rises more under a perturbation at LoRA's solution than at FFT's.

(a) Random weights, no retraining: the gap between the two solutions has mean 0.
(b) Random weights, then retraining inside the method: LoRA is left with a gap, FFT with none.
(c) Random inputs: the gap depends on how the shift lies to the pretrained map; mostly FFT is the less robust method.

Setting: dx = dy = 20, Sigma = I, perturbations of standard deviation 1, loss E||y - A x||^2. In (a) and (b) the
solutions are those of the population: LoRA's is the truncation of Delta, FFT's is Delta. In (c) they are fitted to
n = 60 samples with noise sigma = 6 or 1. Source: arXiv 2505.22355 for the claim; `theory.hessian`,
`theory.input_perturbation`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora import spectra
from linreg_lora.figures import datasets, style
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed
from linreg_lora.sweeps.grid import map_cells
from linreg_lora.theory import hessian
from linreg_lora.theory.input_perturbation import expected_fft_rise

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS = 3

_DIMENSION = 20
_LOSS = hessian.Loss.SQUARED
#: Settings of (c): name, legend, noise sigma.
_INPUT_CASES = (("independent", "shift independent", 6.0), ("aligned", "shift −A0/2", 1.0))


def setting(dimension: int = _DIMENSION, noise_std: float = 1.0) -> Problem:
    """Panels (a) and (b): a shift of full rank with singular values exp(-0.15 (i - 1)); n and noise play no role."""
    return Problem(
        n=3 * dimension, dx=dimension, dy=dimension, spectrum=spectra.exponential(dimension, 0.15), noise_std=noise_std
    )


def input_setting(case: str, dimension: int = _DIMENSION) -> Problem:
    """Panel (c): A0 iid N(0, 1) from a fixed seed; the shift of rank 4 is drawn too, or is -A0/2."""
    noise = {name: sigma for name, _, sigma in _INPUT_CASES}[case]
    pretrained = np.random.default_rng(0).standard_normal((dimension, dimension))
    drawn = spectra.gaussian_factors(dimension, dimension, 4, 1)
    shift = drawn if case == "independent" else -pretrained / 2
    return Problem(
        n=3 * dimension, dx=dimension, dy=dimension, noise_std=noise, task_shift=shift, pretrained=pretrained
    )


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    dimension: int = _DIMENSION,
) -> "xr.Dataset":
    """The figure's numbers over rank 1..dimension - 1, all in units of the loss.

    `still`, `retrained`: simulated gaps of (a) and (b), with `_stderr`; `still_std`: the standard deviation of a single
    gap by theory; `retrained_theory`, at a point of rank r, and `start_theory`, at B = 0; `inputs` (case), simulated.
    """
    import xarray as xr

    base, cases = setting(dimension), [input_setting(name, dimension) for name, _, _ in _INPUT_CASES]
    attributes = datasets.provenance("Three readings of the Hessian gap", [base, *cases], trials, seed)
    ranks = np.arange(1, dimension)
    [weights] = map_cells(perturbed_weights, [base], (ranks.tolist(), trials, seed), executor, progress)
    inputs = map_cells(_perturbed_inputs, cases, (ranks.tolist(), trials, seed), executor, progress)
    std, at_rank, at_start = np.array([_theory(base, int(rank)) for rank in ranks]).T
    unit = "units of the loss"
    values = {
        "still": (weights[0], "rise at LoRA's solution minus FFT's, same weights perturbed"),
        "still_stderr": (weights[1], "standard error of still"),
        "still_std": (std, "standard deviation of a single gap, by theory"),
        "retrained": (weights[2], "rise left after retraining in LoRA's tangent space"),
        "retrained_stderr": (weights[3], "standard error of retrained"),
        "retrained_theory": (at_rank, "expected rise after retraining at a point of rank r"),
        "start_theory": (at_start, "expected rise after retraining from B = 0"),
    }
    variables = {name: datasets.variable("rank", column, text, unit) for name, (column, text) in values.items()}
    rise, stderr = np.array(inputs).transpose(1, 0, 2)
    variables["inputs"] = datasets.variable(("case", "rank"), rise, "rise of LoRA minus FFT, perturbed inputs", unit)
    variables["inputs_stderr"] = datasets.variable(("case", "rank"), stderr, "standard error of inputs", unit)
    scale = [expected_fft_rise(case) for case in cases]
    variables["fft_rise"] = datasets.variable("case", scale, "expected rise of FFT, perturbed inputs, exact", unit)
    coordinates = {
        "rank": datasets.variable("rank", ranks, "rank of LoRA"),
        "case": ("case", [name for name, _, _ in _INPUT_CASES], {"long_name": "setting of perturbed inputs"}),
    }
    return xr.Dataset(variables, coordinates, attributes)


def _truncated(problem: Problem, rank: int) -> np.ndarray:
    """LoRA's population solution: Delta is diagonal."""
    kept = np.zeros((problem.dy, problem.dx))
    kept[:rank] = problem.shift[:rank]
    return kept


def _theory(problem: Problem, rank: int) -> tuple[float, float, float]:
    update = _truncated(problem, rank)
    still = hessian.gap_without_retraining(problem, update, problem.shift, perturbation_std=1.0, loss=_LOSS).std
    at_rank = hessian.expected_gap(problem, hessian.tangent_space(update, rank), perturbation_std=1.0, loss=_LOSS)
    start = hessian.factor_tangent_space(np.zeros((problem.dy, rank)), np.eye(rank, problem.dx))
    return still, at_rank, hessian.expected_gap(problem, start, perturbation_std=1.0, loss=_LOSS)


def perturbed_weights(problem: Problem, ranks: Sequence[int], trials: int, seed: int) -> np.ndarray:
    """Rows: mean gap of (a), its standard error, mean gap of (b), its standard error; one column a rank.

    (a) from the losses themselves, excess risks of perturbed and unperturbed solutions; (b) from `hessian.hessian_gap`.
    """
    rng = np.random.default_rng(derived_seed(seed, problem.fingerprint))
    updates = [_truncated(problem, rank) for rank in ranks]
    spaces = [hessian.tangent_space(update, rank) for update, rank in zip(updates, ranks, strict=True)]

    def rise(update: np.ndarray, e: np.ndarray) -> float:
        return float(np.sum((update + e - problem.shift) ** 2) - np.sum((update - problem.shift) ** 2))

    draws = np.empty((trials, 2, len(ranks)))
    for row in draws:
        e = rng.standard_normal((problem.dy, problem.dx))
        full = rise(problem.shift, e)
        row[0] = [rise(update, e) - full for update in updates]
        row[1] = [hessian.hessian_gap(problem, space, e, loss=_LOSS) for space in spaces]
    mean, stderr = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1) / np.sqrt(trials)
    return np.stack([mean[0], stderr[0], mean[1], stderr[1]])


def _perturbed_inputs(problem: Problem, ranks: Sequence[int], trials: int, seed: int) -> np.ndarray:
    from linreg_lora.simulation.perturbed_inputs import simulate_rise

    own = derived_seed(seed, problem.fingerprint)
    found = simulate_rise(problem, trials=trials, seed=own, ranks=ranks, loss=_LOSS)
    return np.stack([found.difference, found.difference_stderr])


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    return (
        "Rise of LoRA's loss minus that of FFT under perturbations, three readings of one claim. (a) Weights, nothing "
        "retrained: 0 on average, and of either sign. (b) Weights, then retraining along the tangent space: positive "
        "below full rank. (c) Inputs: negative, LoRA is the more robust method, unless the shift is aligned with the "
        "negative of the pretrained map and the noise is low."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a panel a reading, all of them gaps of LoRA over FFT."""
    rank = dataset["rank"].values
    with style.applied():
        figure, (still, retrained, inputs) = style.panels(3, 2.9)
        look, other = style.COMPARED[3], style.COMPARED[2]
        spread = dataset["still_std"].values
        still.fill_between(rank, -spread, spread, color="0.87", linewidth=0, label="± 1 std of one draw")
        style.means(still, rank, dataset["still"], dataset["still_stderr"], look, "mean, simulated")
        still.set_ylim(-1.6 * float(spread.max()), 1.6 * float(spread.max()))
        style.means(retrained, rank, dataset["retrained"], dataset["retrained_stderr"], look, "simulated")
        for name, series, label in (
            ("start_theory", other, "at B = 0: dy (dx − r)"),
            ("retrained_theory", look, "at rank r: (dx − r)(dy − r)"),
        ):
            retrained.plot(rank, dataset[name], color=series.color, linestyle=series.linestyle, label=label)
        retrained.set_ylim(0, 1.55 * float(dataset["start_theory"].max()))
        for (name, label, noise), series in zip(_INPUT_CASES, (look, other), strict=True):
            points = dataset.sel(case=name)
            relative = float(points["fft_rise"])
            inputs.plot(rank, points["inputs"] / relative, color=series.color, linestyle=series.linestyle)
            style.means(
                inputs,
                rank,
                points["inputs"] / relative,
                points["inputs_stderr"] / relative,
                series,
                f"{label}, σ = {noise:g}",
            )
        for axes, title, label in (
            (still, "(a) weights, not retrained", "gap in loss, LoRA − FFT"),
            (retrained, "(b) weights, retrained", "gap in loss, LoRA − FFT"),
            (inputs, "(c) inputs", "gap / FFT's rise"),
        ):
            _finish(axes, title, label)
    return figure


def _finish(axes: "Axes", title: str, label: str) -> None:
    axes.axhline(0.0, color="black", linewidth=0.8, zorder=1)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel("rank of LoRA")
    axes.set_ylabel(label)
    axes.legend(loc="best", fontsize=7)
