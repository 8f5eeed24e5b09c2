"""QLoRA's risk against n at several ranks: what quantising the base takes away is a floor that falls with the rank.

Setting: dx = 32, dy = 24, Sigma = I, sigma = 1, a shift of rank 3, and A0 iid N(0, 9), stored in NF4 in blocks of 64.
QLoRA is LoRA with the shift Delta + N, N = A0 - Q(A0), so that for n -> infinity

    risk of QLoRA of rank r -> sum_{i > r} sigma_i(Delta + N)^2,

which is above zero at every rank below full, while LoRA on the base in full precision, and FFT, learn all of the shift.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import datasets, methods_along, style
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.qlora import QLoRA
from linreg_lora.problem import Problem

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

RANKS = (3, 8, 16)
SAMPLE_SIZES = (
    *(6, 8, 10, 13, 16, 19, 22, 24, 26, 28, 29, 30, 31, 32, 33, 34, 35, 36, 38, 41, 45, 50, 57, 66, 80, 100, 130, 180),
    *(260, 400, 700, 1300, 2500, 5000, 10000),
)  # fmt: skip
SIMULATED_SIZES = (10, 22, 50, 130, 400, 1300)
CELLS = len(SAMPLE_SIZES) + len(SIMULATED_SIZES)

_FFT, _LORA = "FFT", "LoRA, r = 3, base in full precision"
_QLORA = {f"QLoRA, r = {rank}": rank for rank in RANKS}
_LOOKS = {
    _FFT: style.REFERENCE, _LORA: style.COMPARED[3],
    **dict(zip(_QLORA, (style.COMPARED[2], style.COMPARED[0], style.FIVE_COMPARED[4]), strict=True)),
}  # fmt: skip


def setting(n: float) -> Problem:
    """The figure's problem with n samples."""
    pretrained = 3.0 * np.random.default_rng(0).standard_normal((24, 32))
    return Problem(n=int(n), dx=32, dy=24, spectrum=(6.0, 4.0, 2.5), noise_std=1.0, pretrained=pretrained)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    simulated_sizes: Sequence[int] = SIMULATED_SIZES,
) -> "xr.Dataset":
    """The figure's numbers (`methods_along.along`), and the `floor` of each method, its limit for n -> infinity."""
    methods = {_FFT: FullFineTuning(), _LORA: LoRA(3), **{name: QLoRA(rank) for name, rank in _QLORA.items()}}
    dataset = methods_along.along(
        setting, ("n", "number of samples"), sample_sizes, simulated_sizes, methods, trials, seed, executor, progress,
        title="QLoRA's floor against n",
    )  # fmt: skip
    problem = setting(sample_sizes[-1])
    assert problem.pretrained is not None
    lost = QLoRA(1).displacement(problem.pretrained)
    energy = np.linalg.svd(problem.shift + lost, compute_uv=False) ** 2
    floor = [0.0, 0.0, *(float(np.sum(energy[rank:])) for rank in _QLORA.values())]
    dataset["floor"] = datasets.variable("method", floor, "limit of the risk for n -> infinity", datasets.RISK)
    return dataset.assign_attrs(dx=problem.dx, pretrained_risk=problem.pretrained_risk, lost=float(np.sum(lost**2)))


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    floor, risk = dataset["floor"], dataset["risk"]
    parts = [f"{float(floor.sel({'method': name})):.3g} at rank {rank}" for name, rank in _QLORA.items()]
    n = dataset["n"].values
    loses = [n[np.nonzero((risk.sel({"method": _FFT}) < risk.sel({"method": name})).values)[0]] for name in _QLORA]
    crossed = [f"{one[one > dataset.attrs['dx']].min()} at rank {rank}" for one, rank in zip(loses, RANKS, strict=True)]
    return (
        f"LoRA on a base in four bits: the shift has {dataset.attrs['pretrained_risk']:.3g} to learn, and quantisation "
        f"adds {dataset.attrs['lost']:.3g} that has full rank. QLoRA of rank r ends at the floor (dotted) of what rank "
        f"r cannot hold of both, {', '.join(parts)}, while LoRA on the base in full precision and FFT have none: "
        f"the more samples, the higher the best rank, and FFT is better by n = {', '.join(crossed)}. Lines are "
        "theory, markers simulation with standard errors; QLoRA starts at zero, so it has a risk for n < dx too."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: risks against n on logarithmic axes, and QLoRA's floors."""
    dx = dataset.attrs["dx"]
    with style.applied():
        figure, axes = style.single_panel(4.0)
        known = dataset["risk"].values
        axes.set(xscale="log", yscale="log", ylim=(np.nanmin(known) / 1.6, 6 * dataset.attrs["pretrained_risk"]))
        style.without_mean(axes, dx, 1.0)
        methods_along.plot(axes, dataset, "n", _LOOKS)
        for name in _QLORA:
            floor, look = float(dataset["floor"].sel({"method": name})), _LOOKS[name]
            axes.axhline(floor, color=look.color, linewidth=0.8, linestyle=":", zorder=1)
            axes.annotate(
                f"floor, {name.partition(', ')[2]}", (1.0, floor), xycoords=("axes fraction", "data"), xytext=(-3, -2),
                textcoords="offset points", ha="right", va="top", fontsize=7.5, color=look.color,
            )  # fmt: skip
        axes.set_xlabel(f"samples n  (dx = {dx})")
        axes.set_ylabel("expected excess risk")
        figure.legend(*axes.get_legend_handles_labels(), ncols=2, loc="outside upper center", frameon=False)
    return figure
