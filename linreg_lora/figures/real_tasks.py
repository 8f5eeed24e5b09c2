"""Real fine-tuning tasks: leave-one-out errors against test errors at every rank, and what a tuned ridge leaves of
LoRA's advantage.

Setting: the five tasks of `own_data.real_tasks`, on data that scikit-learn ships, each with n of about dx / 2, 3 dx / 2
and 3 dx rows to adapt to, chosen at random; all other rows are the test. One split for every `PER_SPLIT` trials.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from linreg_lora import validation
from linreg_lora.figures import datasets, style
from linreg_lora.own_data import real_tasks
from linreg_lora.own_data.real_tasks import LEVEL, METHODS, NAMES, Splits
from linreg_lora.sweeps.grid import map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Trials of other figures take as long as one split of this one.
PER_SPLIT = 10
#: Numbers of rows to adapt to, per task.
_SIZES = 3
CELLS = _SIZES * len(NAMES)
_TITLES = {
    "halves": "digits:\ntop half to bottom half",
    "denoising": "rotated digits:\ndenoising",
    "features": "rotated digits:\nclass from ReLU features",
    "patches": "photographs:\nthe next patch",
    "tumours": "malignant tumours:\nmeans to extremes",
}
_ROWS = (
    (style.COMPARED[0], "n = dx / 2"),
    (style.FIVE_COMPARED[4], "n = 3 dx / 2"),
    (style.Series("#009E73", "X", "-"), "n = 3 dx"),
)
_FITS = {
    "fft": (style.REFERENCE, "FFT"),
    "lora": (style.COMPARED[1], "LoRA, rank chosen"),
    "lora-ridge": (style.COMPARED[2], "LoRA, rank and ridge chosen"),
    "fft-ridge": (style.COMPARED[3], "FFT, ridge chosen"),
}
_QUARTILES = (0.25, 0.5, 0.75)
#: Markers along the ranks.
_MARKERS = 9
#: Errors that the rows show, over that of the pretrained map.
_SHOWN = ((0.2, 100.0), (0.2, 100.0))


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    tasks: Sequence[str] = NAMES,
) -> "xr.Dataset":
    """The figure's numbers: `predicted`, `measured` (task, size, rank) and their `difference`, means over splits with
    standard errors, and quartiles; the other fields of `Splits` split by split; `n` (task, size).

    Raises `LinregLoraError` where scikit-learn is missing.
    """
    import xarray as xr

    real_tasks.require_sklearn()
    attributes = datasets.provenance("Real tasks", [], trials, seed)
    count = max(2, validation.positive_integer("trials", trials) // PER_SPLIT)
    sizes = [real_tasks.task(name).sizes for name in tasks]
    cells = [(name, n) for name, those in zip(tasks, sizes, strict=True) for n in those]
    found = cast("list[Splits]", map_cells(_cell, cast(Any, cells), (count, seed), executor, progress))
    shape = (len(tasks), _SIZES)
    ranks = max(cell.predicted.shape[1] for cell in found)
    unit = datasets.RISK

    def over_ranks(values: Sequence[np.ndarray]) -> np.ndarray:
        padded = [np.append(row, np.full(ranks - len(row), np.nan)) for row in values]
        return np.reshape(padded, (*shape, ranks))

    variables: dict[str, Any] = {
        "n": datasets.variable(("task", "size"), sizes, "rows to adapt to"),
        "inputs": datasets.variable("task", [real_tasks.task(name).pool.inputs.shape[1] for name in tasks], "dx"),
        "outputs": datasets.variable("task", [real_tasks.task(name).pool.residual.shape[1] for name in tasks], "dy"),
    }
    texts = {
        "predicted": "leave-one-out error of LoRA without ridge",
        "measured": "test error of LoRA without ridge",
        "difference": "predicted - measured",
    }
    along = ("task", "size", "rank")
    for name, text in texts.items():
        per_split = [cell.predicted - cell.measured if name == "difference" else getattr(cell, name) for cell in found]
        mean = [np.mean(values, axis=0) for values in per_split]
        stderr = [np.std(values, axis=0, ddof=1) / np.sqrt(count) for values in per_split]
        variables[name] = datasets.variable(along, over_ranks(mean), f"{text}, mean over splits", unit)
        variables[f"{name}_stderr"] = datasets.variable(along, over_ranks(stderr), f"standard error of {name}", unit)
        parts = [over_ranks([np.quantile(values, q, axis=0) for values in per_split]) for q in _QUARTILES]
        variables[f"{name}_quartiles"] = datasets.variable(("quartile", *along), parts, f"{text}, over splits", unit)
    split_by_split = {
        "errors": (("fit",), "test error", unit),
        "promised": (("fit",), "leave-one-out error", unit),
        "best": (("hindsight",), "least test error of any rank, and of any rank and ridge", unit),
        "low": ((), "lower end of the interval of LoRA's test error, rank and ridge chosen", unit),
        "high": ((), "its upper end", unit),
        "stderr": ((), "standard error of the leave-one-out error there", unit),
        "probability": ((), "that LoRA with the chosen ridge beats FFT with it, as said", "1"),
        "beats": ((), "whether it does", "1"),
    }
    for name, (more, text, units) in split_by_split.items():
        values = np.stack([getattr(cell, name) for cell in found]).astype(float)
        along = ("task", "size", "split", *more)
        variables[name] = datasets.variable(along, values.reshape(*shape, *values.shape[1:]), text, units)
    coordinates = {
        "task": ("task", list(tasks)),
        "rank": datasets.variable("rank", np.arange(ranks), "LoRA rank"),
        "quartile": ("quartile", list(_QUARTILES)),
        "fit": ("fit", list(METHODS)),
        "hindsight": ("hindsight", ["rank", "rank and ridge"]),
    }
    hashes = "".join(real_tasks.task(name).sha256 for name in tasks)
    attributes["problems_sha256"] = hashlib.sha256(hashes.encode()).hexdigest()
    return xr.Dataset(variables, coordinates, {**attributes, "level": LEVEL})


def _cell(cell: tuple[str, int], count: int, seed: int) -> Splits:
    return real_tasks.splits(*cell, count, seed)


def ridge_share(dataset: "xr.Dataset") -> "xr.DataArray":
    """Of what LoRA wins over FFT without ridge, rank and ridge chosen, the share that FFT wins by its ridge alone, by
    task and size; nan where LoRA wins nothing. Errors are medians over splits."""
    middle = dataset["errors"].median("split")
    full, both, ridge = (middle.sel(fit=name) for name in ("fft", "lora-ridge", "fft-ridge"))
    return ((full - ridge) / (full - both)).where(both < full)


def coverage(dataset: "xr.Dataset") -> "tuple[xr.DataArray, xr.DataArray]":
    """How often intervals of nominal `LEVEL` hold the test error of LoRA with rank and ridge chosen, by task and size:
    those of `Advice.interval`, and those of standard errors alone."""
    from scipy.special import ndtri

    error, said = (dataset[name].sel(fit="lora-ridge") for name in ("errors", "promised"))
    half = float(ndtri((1 + dataset.attrs["level"]) / 2)) * dataset["stderr"]
    inside = (dataset["low"] <= error) & (error <= dataset["high"])
    return inside.mean("split"), (abs(error - said) <= half).mean("split")


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    middle = dataset["errors"].median("split")
    lora, full, ridge = (middle.sel(fit=name) for name in ("lora", "fft", "fft-ridge"))
    wins, beaten = int((lora < full).sum()), int(((ridge < lora) & (lora < full)).sum())
    share = ridge_share(dataset)
    regret = dataset["errors"].sel(fit="fft-ridge") / dataset["best"].sel(hindsight="rank and ridge")
    ratio = (dataset["promised"] / dataset["errors"]).sel(fit="lora-ridge").median("split")
    said, normal = coverage(dataset)
    return (
        f"Five real tasks on data of scikit-learn, medians over {dataset.sizes['split']} random splits. Top: test "
        "error at every rank without ridge (lines) and what leave-one-out predicts of it (markers, with quartiles), "
        "over the error of the pretrained map. Bottom: test error of the rank and the ridge of least leave-one-out "
        f"error. Without ridge LoRA is better than FFT in {wins} of {lora.size} settings; FFT with a ridge is better "
        f"than this LoRA in {beaten} of these. Of what LoRA with rank and ridge wins over FFT without, the ridge alone "
        f"wins {_percent(share.median())} (median over settings; least {_percent(share.min())}). FFT with its ridge is "
        f"within {_percent(regret.quantile(0.9) - 1)} of the best rank and ridge in hindsight in nine of ten splits. "
        f"Predicted over measured error, rank and ridge chosen, is {float(ratio.min()):.2f} to "
        f"{float(ratio.max()):.2f}. These data are not Gaussian: of intervals of nominal "
        f"{_percent(dataset.attrs['level'])} those of `Advice.interval` hold the test error in {_percent(said.mean())} "
        f"of splits, those of standard errors alone in {_percent(normal.mean())}."
    )


def _percent(share: Any) -> str:
    return f"{100 * float(share):.0f} %"


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a column a task; error against rank above, chosen ranks and ridges below."""
    with style.applied():
        figure = style.figure(2.1 * dataset.sizes["task"], 5.6)
        axes = figure.subplots(2, dataset.sizes["task"], sharey="row", squeeze=False)
        for column, name in enumerate(dataset["task"].values.tolist()):
            points = dataset.sel(task=name)
            _against_rank(axes[0, column], points)
            axes[0, column].set_title(_TITLES[name], fontsize="medium")
            _chosen(axes[1, column], points)
        explained: tuple[tuple[Any, str], ...] = (
            ("outside upper center", "No ridge. Lines: measured; markers: predicted by leave-one-out"),
            ("outside lower center", "Rank, ridge: chosen by leave-one-out"),
        )
        for row, (place, title) in enumerate(explained):
            first = axes[row, 0]
            first.set_ylabel("test error / pretrained map's")
            first.set(yscale="log", ylim=_SHOWN[row])
            first.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            first.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            first.yaxis.set_minor_formatter(NullFormatter())
            handles, labels = first.get_legend_handles_labels()
            key = figure.legend(handles, labels, loc=place, ncols=5, title=title)
            key.get_title().set_fontsize("medium")
    return figure


def _against_rank(axes: "Axes", points: "xr.Dataset") -> None:
    for size, (look, label) in enumerate(_ROWS):
        here = points.isel(size=size)
        unit = float(here["errors"].sel(fit="none").median())
        ranks = here["rank"].values[np.isfinite(here["measured"].values)]
        low, middle, high = here["predicted_quartiles"].values / unit
        style.line(axes, here["rank"], here["measured_quartiles"].sel(quartile=0.5) / unit, look, label)
        shown = np.unique(np.linspace(0, ranks[-1], _MARKERS).astype(int))
        bars = np.stack([middle - low, high - middle])[:, shown]
        axes.errorbar(
            ranks[shown], middle[shown], yerr=bars, color=look.color, marker=look.marker, linestyle="none", capsize=0,
            elinewidth=0.8, markersize=3.4,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel("LoRA rank r")


def _chosen(axes: "Axes", points: "xr.Dataset") -> None:
    over = points["errors"] / points["errors"].sel(fit="none", drop=True).median("split")
    n = points["n"].values
    axes.axhline(1.0, color=style.ANNOTATION, linewidth=0.9, linestyle=":")
    for name, (look, label) in _FITS.items():
        low, middle, high = (over.sel(fit=name).quantile(q, "split").values for q in _QUARTILES)
        style.line(axes, n, middle, look, label)
        axes.errorbar(
            n, middle, yerr=np.stack([middle - low, high - middle]), color=look.color, marker=look.marker,
            linestyle="none", capsize=0, elinewidth=0.8,
        )  # fmt: skip
    axes.set(xscale="log", xlabel="rows to adapt to, n")
    axes.set_xticks(n, [str(k) for k in n])
    axes.minorticks_off()
