"""Risk of ten members of the family, and of FFT, against the number of samples.

The problem of `family_winner` with noise 0.8. On the left LoRA and its relatives, whose updates have a rank; on the
right methods whose few parameters are tied to A0 or to frozen factors. Lines are theory, dots are simulation.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter

from linreg_lora.figures import family_winner, methods_along, style
from linreg_lora.methods.adapter import SerialAdapter
from linreg_lora.methods.bitfit import BitFit
from linreg_lora.methods.frozen_a import FrozenA
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.ia3 import IA3
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.lora_xs import LoRAXS
from linreg_lora.methods.mica import MiCA
from linreg_lora.methods.pissa import PiSSA
from linreg_lora.methods.svf import SVF
from linreg_lora.methods.tangent import TangentLoRA
from linreg_lora.problem import Problem

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

NOISE_STD = 0.8
SAMPLE_SIZES = (
    *(4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 33, 37, 42, 48, 56, 66, 80, 100),
    *(130, 170, 230, 320, 450, 650, 1000),
)  # fmt: skip
SIMULATED_SIZES = (6, 14, 37, 100, 450)
CELLS = len(SAMPLE_SIZES) + len(SIMULATED_SIZES)

_FFT = "FFT"
#: The methods of each panel.
PANELS = (
    {
        "LoRA, r = 2": LoRA(2), "LoRA, r = 5": LoRA(5), "adapter, r = 2": SerialAdapter(2), "PiSSA, r = 5": PiSSA(5),
        "tangent space, r = 5": TangentLoRA(5),
    },
    {
        "IA3": IA3(), "LoRA-XS, r = 3": LoRAXS(3), "SVF": SVF(), "MiCA, r = 4": MiCA(4), "frozen A, r = 4": FrozenA(4),
    },
)  # fmt: skip
_BITFIT = "BitFit"
_TITLES = ("(a) updates of low rank", "(b) tied to A0, or to a frozen factor")


def setting(n: float) -> Problem:
    """The figure's problem with n samples."""
    return family_winner.setting(int(n), NOISE_STD)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    simulated_sizes: Sequence[int] = SIMULATED_SIZES,
) -> "xr.Dataset":
    """The figure's numbers (`methods_along.along`): risks of all methods along n."""
    methods = {_FFT: FullFineTuning(), **PANELS[0], **PANELS[1], _BITFIT: BitFit()}
    dataset = methods_along.along(
        setting, ("n", "number of samples"), sample_sizes, simulated_sizes, methods, trials, seed, executor, progress,
        title="Risk of the family against n",
    )  # fmt: skip
    problem = setting(sample_sizes[0])
    return dataset.assign_attrs(dx=problem.dx, pretrained_risk=problem.pretrained_risk)


def best_along(dataset: "xr.Dataset") -> list[tuple[str, int]]:
    """The method of least risk by theory, and the n from which on it is, in the order of n."""
    risk = dataset["risk"]
    best = risk["method"].values[np.nanargmin(risk.values, axis=1)]
    first = [i for i in range(len(best)) if i == 0 or best[i] != best[i - 1]]
    return [(str(best[i]), int(risk["n"].values[i])) for i in first]


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    turns = "; ".join(f"{name} from n = {n}" for name, n in best_along(dataset))
    return (
        "Expected excess risk against n of FFT and ten members of the family, on the shift of family-winner with noise "
        f"{NOISE_STD:g}. The best of these: {turns}. (a) Updates of low rank have a peak at n = dx and a floor, what "
        "their rank or the directions they are tied to cannot hold. (b) Of methods with few parameters only MiCA, "
        "which sees all inputs, has that peak; all have a floor near the risk of not adapting (dotted). Lines are "
        "theory, markers simulation with standard errors, hollow where none exists; theory knows PiSSA for n > dx."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: two panels with FFT in both; the second is closer at the risk of not adapting."""
    dx, nothing = dataset.attrs["dx"], float(dataset.attrs["pretrained_risk"])
    with style.applied():
        figure, panels = style.panels(2, 3.9)
        scales = (("log", float(dataset["risk"].min()) / 1.5, 5 * nothing), ("linear", 0.55 * nothing, 1.75 * nothing))
        for axes, methods, title, (scale, low, high) in zip(panels, PANELS, _TITLES, scales, strict=True):
            looks = {_FFT: style.REFERENCE, **dict(zip(methods, style.FIVE_COMPARED, strict=True))}
            axes.set(xscale="log", yscale=scale, ylim=(low, high))
            style.without_mean(axes, dx, dx, "no mean of FFT")
            axes.axhline(nothing, color=style.ANNOTATION, linestyle=":", linewidth=1, zorder=1)
            methods_along.plot(axes, dataset, "n", looks, dx)
            axes.annotate("do not adapt", (1.0, nothing), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                          textcoords="offset points", ha="right", fontsize=7.5, color=style.ANNOTATION)  # fmt: skip
            axes.set_title(title, loc="left", fontsize=9)
            axes.set_xlabel("n / dx  (samples per input dimension)")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.legend(
                loc="lower left" if scale == "log" else "upper right", fontsize=7.5, title_fontsize=7.5,
                title=None if scale == "log" else "lines: theory, markers: simulation",
            )  # fmt: skip
        panels[0].set_ylabel("expected excess risk")
    return figure
