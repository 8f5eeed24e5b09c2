"""Is a hybrid of two methods ever better than each part alone? Five cases, each against the better of its parts.

(a), (b) LoRA and a bias, inputs of mean zero, so that the bias can represent nothing: n above, and below, dx.
(c) LoRA and a bias, inputs with a mean, against the rank.
(d) Frozen B and frozen A: some outputs see all inputs, the others see features.
(e) LoRA of rank 1 and IA3, together DoRA, on a shift that is a sum of both; of LoRA the rank of least risk.

Sigma = I and Sigma_eps = sigma^2 I. The question is the first open one of arXiv 2505.22355.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from linreg_lora.figures import datasets, method_lines, style
from linreg_lora.methods.bitfit import BitFit
from linreg_lora.methods.dora import DoRA
from linreg_lora.methods.frozen_a import FrozenA
from linreg_lora.methods.frozen_b import FrozenB
from linreg_lora.methods.ia3 import IA3
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method
from linreg_lora.methods.sums import FrozenSum
from linreg_lora.methods.with_bias import WithBias
from linreg_lora.problem import Problem
from linreg_lora.sweeps.grid import map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

PARTS = ("hybrid", "first", "second")
#: Of the hybrid and its parts.
_LOOKS = (style.COMPARED[3], style.COMPARED[2], style.COMPARED[0])
_LABELS = ("hybrid", "one part", "the other part")
#: On the vertical axes, by how much these span.
_TICKS = ((0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 2.5), (0.5, 1.0, 2.0, 3.0), (0.1, 0.3, 1.0, 3.0, 10.0))
_WINS, _TIE = "#E7F1E4", "0.35"


@dataclass(frozen=True)
class Case:
    """A panel: a hybrid and its parts along n, or along the rank on one problem.

    `name`; `title`, `verdict` and `label` of its axis, in words; `names` of the hybrid and its parts; `setting`: n ->
    the problem; `values`: n of the lines, and `dots` those of them that are simulated; `methods`: all that are
    evaluated on a problem, and `columns`: their risks by theory (problems methods) -> the places in these of hybrid
    and parts (points 3); `places`: where their names stand, in fractions of the panel; `ranks`: the axis, where it is
    not n.
    """

    name: str
    title: str
    verdict: str
    label: str
    names: tuple[str, str, str]
    setting: Callable[[int], Problem]
    values: tuple[int, ...]
    dots: tuple[int, ...]
    methods: tuple[Method, ...]
    columns: Callable[[Float[np.ndarray, "problems methods"]], Int[np.ndarray, "points 3"]]
    places: tuple[tuple[float, float], ...]
    limits: tuple[float, float]
    logarithmic: bool = False
    ranks: tuple[int, ...] = ()

    @property
    def axis(self) -> tuple[int, ...]:
        """Where the panel has points: `ranks`, or else `values`."""
        return self.ranks or self.values


def centred(n: int) -> Problem:
    """(a) and (b): dx = 30, dy = 12, a shift of rank 2, inputs of mean zero."""
    return Problem(n=n, dx=30, dy=12, spectrum=(6.0, 4.0), noise_std=1.0)


def with_mean(n: int) -> Problem:
    """(c): dx = 20, dy = 12, a shift of rank 5, and a mean of length 3 along all of its input directions alike."""
    mean = np.zeros(20)
    mean[:5] = 3.0 / np.sqrt(5)
    return Problem(n=n, dx=20, dy=12, spectrum=(3.5, 3.0, 2.5, 2.0, 1.5), noise_std=1.0, input_mean=mean)


def two_sided(n: int) -> Problem:
    """(d): dx = 20, dy = 16, much noise; 2 outputs depend on all inputs, the others on 4 of them."""
    rng = np.random.default_rng(0)
    shift = np.zeros((16, 20))
    shift[:2] = rng.standard_normal((2, 20))
    shift[2:, :4] = 0.6 * rng.standard_normal((14, 4))
    return Problem(n=n, dx=20, dy=16, task_shift=shift, noise_std=3.0)


def scaled_and_low_rank(n: int) -> Problem:
    """(e): dx = 12, dy = 10, A0 iid N(0, 1); the shift scales its rows by 1/2 or 3/2, beside a map of rank 1."""
    rng = np.random.default_rng(0)
    pretrained = rng.standard_normal((10, 12))
    scales = np.where(np.arange(10) % 2, 0.5, -0.5)
    low = np.outer(rng.standard_normal(10), rng.standard_normal(12)) / 2
    return Problem(
        n=n, dx=12, dy=10, task_shift=scales[:, None] * pretrained + low, noise_std=1.0, pretrained=pretrained
    )


def _each(risks: Float[np.ndarray, "problems methods"]) -> Int[np.ndarray, "points 3"]:
    """The methods are the hybrid and its parts."""
    return np.arange(risks.size).reshape(risks.shape)


def _by_rank(risks: Float[np.ndarray, "problems methods"]) -> Int[np.ndarray, "points 3"]:
    """Hybrids of every rank, LoRA of every rank, and a bias."""
    ranks = np.arange(risks.size // 2)
    return np.stack([ranks, ranks.size + ranks, np.full(ranks.size, risks.size - 1)], axis=1)


def _best_rank(risks: Float[np.ndarray, "problems methods"]) -> Int[np.ndarray, "points 3"]:
    """Hybrid, IA3, and LoRA of every rank from 1 on, of which that of least risk counts."""
    rows, methods = risks.shape
    best = 2 + np.nanargmin(risks[:, 2:], axis=1)
    return np.stack([np.zeros(rows, dtype=int), best, np.ones(rows, dtype=int)], axis=1) + (
        methods * np.arange(rows)[:, None]
    )


_RANKS = tuple(range(9))
_OUTPUTS, _FEATURES = FrozenB(factor=np.eye(16, 2)), FrozenA(factor=np.eye(4, 20))
_LORA_AND_BIAS = (WithBias(LoRA(2)), LoRA(2), BitFit())

CASES = (
    Case(
        "bias-above", "(a) LoRA + bias, mean 0, n > dx", "never", "n  (dx = 30)",
        ("LoRA + bias", "LoRA, r = 2", "bias"), centred,
        (33, 34, 36, 39, 43, 48, 55, 65, 80, 105, 140, 180, 240), (36, 48, 80, 140), _LORA_AND_BIAS, _each,
        ((0.45, 0.31), (0.45, 0.03), (0.12, 0.9)), (0.8, 4.0), logarithmic=True,
    ),
    Case(
        "bias-below", "(b) LoRA + bias, mean 0, n < dx", "yes, next to n = dx", "n  (dx = 30)",
        ("LoRA + bias", "LoRA, r = 2", "bias"), centred,
        (4, 6, 8, 10, 12, 14, 16, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28), (6, 14, 20, 24, 26, 27), _LORA_AND_BIAS,
        _each, ((0.4, 0.44), (0.15, 0.16), (0.1, 0.68)), (0.7, 2.6),
    ),
    Case(
        "bias-with-mean", "(c) LoRA + bias, mean not 0", "yes, for a rank too small",
        "rank r  (shift of rank 5, n = 60)",
        ("LoRA + bias", "LoRA", "bias"), with_mean,
        (60,), (60,), (*(WithBias(LoRA(r)) for r in _RANKS), *map(LoRA, _RANKS), BitFit()), _by_rank,
        ((0.55, 0.5), (0.6, 0.12), (0.26, 0.8)), (0.85, 1.6), ranks=_RANKS,
    ),
    Case(
        "two-sided", "(d) frozen B + frozen A", "yes, with enough samples", "n  (dx = 20)",
        ("both", "frozen A", "frozen B"), two_sided,
        (23, 24, 25, 26, 28, 30, 33, 37, 42, 50, 60, 80, 120, 180, 300), (24, 28, 37, 60, 120, 300),
        (FrozenSum((_OUTPUTS, _FEATURES)), _FEATURES, _OUTPUTS), _each,
        ((0.25, 0.34), (0.55, 0.7), (0.66, 0.56)), (0.08, 4.0), logarithmic=True,
    ),
    Case(
        "scaled-and-low-rank", "(e) LoRA + IA3 (DoRA)", "yes, at every n here", "n  (dx = 12)",
        ("DoRA, r = 1", "LoRA, best r", "IA3"), scaled_and_low_rank,
        (15, 16, 18, 20, 24, 30, 40, 55, 80, 120, 200, 320), (16, 20, 30, 55, 120, 320),
        (DoRA(1), IA3(), *map(LoRA, range(1, 11))), _best_rank,
        ((0.35, 0.2), (0.5, 0.31), (0.2, 0.75)), (0.1, 30.0), logarithmic=True,
    ),
)  # fmt: skip
CELLS = sum(len(case.values) + len(case.dots) for case in CASES)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    cases: Sequence[Case] = CASES,
) -> "xr.Dataset":
    """The figure's numbers: `risk` by theory, and `mean` with `stderr` by simulation, each (case, part, point).

    `place` (case, point) is the value of a panel's axis. nan where theory knows no risk, nothing is simulated, and
    past the last point of a panel.
    """
    import xarray as xr

    problems = [[case.setting(n) for n in case.values] for case in cases]
    attributes = datasets.provenance("Hybrids and their parts", itertools.chain(*problems), trials, seed)
    most = max(len(case.axis) for case in cases)
    place = np.full((len(cases), most), np.nan)
    risk, mean, stderr = (np.full((len(cases), len(PARTS), most), np.nan) for _ in range(3))
    for i, (case, each) in enumerate(zip(cases, problems, strict=True)):
        theory = np.array(map_cells(method_lines.by_theory, each, (case.methods,), executor, progress))[:, 0]
        drawn = np.full((2, *theory.shape), np.nan)
        rows = [case.values.index(n) for n in case.dots]
        found = map_cells(
            method_lines.by_simulation, [each[k] for k in rows], (case.methods, trials, seed), executor, progress
        )
        drawn[:, rows] = np.array(found).transpose(1, 0, 2)
        columns = case.columns(theory).T
        place[i, : len(case.axis)] = case.axis
        for values, whole in ((risk, theory), (mean, drawn[0]), (stderr, drawn[1])):
            values[i, :, : len(case.axis)] = whole.ravel()[columns]
    dimensions = ("case", "part", "point")
    variables = {
        "place": datasets.variable(("case", "point"), place, "n, or the rank of LoRA"),
        "risk": datasets.variable(dimensions, risk, "expected excess risk, theory", datasets.RISK),
        "mean": datasets.variable(dimensions, mean, "mean excess risk, simulated", datasets.RISK),
        "stderr": datasets.variable(dimensions, stderr, "standard error of mean", datasets.RISK),
    }
    coordinates = {
        "case": ("case", [case.name for case in cases], {"long_name": "panel"}),
        "part": ("part", list(PARTS), {"long_name": "the hybrid, or a part of it"}),
    }
    return xr.Dataset(variables, coordinates, attributes)


def better_part(dataset: "xr.Dataset") -> "xr.DataArray":
    """The risk by theory of the better of a hybrid's parts (case, point)."""
    return dataset["risk"].sel(part=["first", "second"]).min("part")


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    drawn = dataset["mean"].sel(part="hybrid")
    ratio = dataset["risk"].sel(part="hybrid").fillna(drawn) / better_part(dataset)
    least = [f"{float(ratio.sel(case=name).min()):.2f}" for name in ("bias-below", "two-sided", "scaled-and-low-rank")]
    rank = dataset["place"].sel(case="bias-with-mean").values
    wins = rank[ratio.sel(case="bias-with-mean").values < 1]
    return (
        "Is a hybrid ever better than each of its parts? Expected excess risk over that of the better part; below 1 "
        "the hybrid wins. A bias that can represent nothing (a, b) costs a sample: that never pays above n = dx, and "
        f"pays next to it from below, down to {least[0]} of the better part. Where the inputs have a mean (c) a bias "
        f"pays at ranks {wins.min():.0f} to {wins.max():.0f}, too small for the shift, and not from there on. Frozen "
        f"outputs beside frozen features (d) lose at few samples and win at many (least {least[1]}), and LoRA with IA3 "
        f"(e) wins on a shift that is a sum of both (least {least[2]}). Lines are theory, in (c) to first order in the "
        "mean, markers simulation with standard errors; of LoRA with IA3 no theory is known."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a panel a case, risks over that of the better part."""
    with style.applied():
        figure = style.figure(7.6, 4.9)
        panels = figure.subplots(2, 3).ravel()
        panels[-1].remove()
        base = better_part(dataset)
        for axes, case in zip(panels, CASES, strict=False):
            _panel(axes, case, dataset.sel(case=case.name), base.sel(case=case.name).values)
        for axes in panels[:4:3]:
            axes.set_ylabel("risk / risk of the better part")
        figure.suptitle("Is a hybrid ever better than each of its parts?", fontsize=11, fontweight="bold")
        _key(figure, panels[0])
    return figure


def _panel(axes: "Axes", case: Case, points: "xr.Dataset", base: Float[np.ndarray, "points"]) -> None:
    x, (low, high) = points["place"].values, case.limits
    axes.set(xscale="log" if case.logarithmic else "linear", yscale="log", ylim=case.limits)
    axes.axhspan(low, 1.0, color=_WINS, linewidth=0, zorder=0)
    axes.axhline(1.0, color=_TIE, linewidth=0.7, zorder=1)
    for part, look, name, label, at in zip(PARTS, _LOOKS, case.names, _LABELS, case.places, strict=True):
        one = points.sel(part=part)
        style.line(axes, x, one["risk"] / base, look, label)
        style.means(axes, x, one["mean"] / base, one["stderr"] / base, look)
        axes.text(*at, name, transform=axes.transAxes, color=look.color, fontsize=8, fontweight="bold")
    axes.set_title(f"{case.title}\n{case.verdict}", loc="left", fontsize=8.5)
    axes.set_xlabel(case.label)
    axes.yaxis.set_major_locator(FixedLocator(_TICKS[int(np.searchsorted((4.0, 20.0), high / low))]))
    if case.logarithmic:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(NullLocator())


def _key(figure: Figure, axes: "Axes") -> None:
    """The key, in the place of a sixth panel."""
    handles, labels = axes.get_legend_handles_labels()
    handles.append(Patch(facecolor=_WINS))
    figure.legend(
        handles, [*labels, "the hybrid beats both parts"], loc="center", bbox_to_anchor=(0.84, 0.26), frameon=False,
        title="lines: theory\nmarkers: simulation, ± se", handlelength=3.2, labelspacing=0.8,
    )  # fmt: skip
