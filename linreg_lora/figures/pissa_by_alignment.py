"""PiSSA and LoRA against how far the shift lies in the principal directions of A0.

Setting: n = 120, dx = 30, dy = 20, Sigma = I, sigma = 1, A0 iid N(0, 1) with singular vectors U and V, and

    Delta = sum_i s_i u_i v_i^T,   u_i = sqrt(a) U_i + sqrt(1 - a) U_{dy - 3 + i},   v_i the same of V,   i = 1, 2, 3,

whose share a of the output, and of the input, directions is principal: 0 is orthogonal to what PiSSA takes off the
base, 1 inside of it. Two ranks: that of the shift, and twice that. LoRA and FFT do not see A0.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.figures import methods_along, style
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.lora_ga import LoRAGA
from linreg_lora.methods.lora_xs import LoRAXS
from linreg_lora.methods.method import Method
from linreg_lora.methods.mica import MiCA
from linreg_lora.methods.pissa import PiSSA
from linreg_lora.problem import Problem

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ALIGNMENTS = tuple(np.linspace(0, 1, 21).round(6).tolist())
SIMULATED = (0.0, 0.25, 0.5, 0.75, 1.0)
RANKS = (3, 6)
CELLS = len(RANKS) * (len(ALIGNMENTS) + len(SIMULATED))

_STRENGTHS = (4.0, 3.0, 2.0)
_LOOKS: dict[str, style.Series] = dict(
    zip(
        ("FFT", "LoRA", "PiSSA", "LoRA-XS", "MiCA", "LoRA-GA (simulated)"),
        (style.REFERENCE, style.COMPARED[3], style.COMPARED[2], style.COMPARED[1], style.COMPARED[0],
         style.FIVE_COMPARED[4]),
        strict=True,
    )
)  # fmt: skip


def setting(alignment: float) -> Problem:
    """The figure's problem at an alignment a in 0..1."""
    pretrained = np.random.default_rng(0).standard_normal((20, 30))
    u, _, vt = np.linalg.svd(pretrained, full_matrices=False)
    turned = [np.sqrt(alignment) * side[:3] + np.sqrt(1 - alignment) * side[-3:] for side in (u.T, vt)]
    shift = turned[0].T @ np.diag(_STRENGTHS) @ turned[1]
    return Problem(n=120, dx=30, dy=20, task_shift=shift, noise_std=1.0, pretrained=pretrained)


def data(
    trials: int,
    seed: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    alignments: Sequence[float] = ALIGNMENTS,
    simulated: Sequence[float] = SIMULATED,
) -> "xr.Dataset":
    """The figure's numbers (`methods_along.along`) with a dimension more, the rank of the methods."""
    import xarray as xr

    each = []
    for rank in RANKS:
        made = (FullFineTuning(), LoRA(rank), PiSSA(rank), LoRAXS(rank), MiCA(rank), LoRAGA(rank))
        methods: dict[str, Method] = dict(zip(_LOOKS, made, strict=True))
        each.append(
            methods_along.along(
                setting, ("alignment", "share of the shift's directions that are principal"), alignments, simulated,
                methods, trials, seed, executor, progress, title="PiSSA against alignment",
            )
        )  # fmt: skip
    dataset = xr.concat(each, "rank", combine_attrs="override")
    return dataset.assign_coords(rank=("rank", list(RANKS), {"long_name": "rank of the methods"}))


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    ratio = (dataset["risk"].sel({"method": "PiSSA"}) / dataset["risk"].sel({"method": "LoRA"})).transpose(
        "rank", "alignment"
    )
    ends = [(float(one[0]), float(one[-1])) for one in ratio]
    (low, high), (first, last) = RANKS, ends
    return (
        "PiSSA and LoRA against the share of the shift's directions that are principal in A0, at the rank of the shift "
        f"({low}) and at {high}. LoRA does not see A0. PiSSA takes the principal directions off the base and has to "
        f"learn them again: with a shift orthogonal to them its risk is {first[0]:.0f} times LoRA's at rank {low} and "
        f"{last[0]:.0f} times at rank {high}, inside of them {first[1]:.2f} and {last[1]:.2f} times: above the rank of "
        "the shift LoRA's spare directions are free to fit noise. LoRA-XS, which trains a map between these directions "
        "alone, needs the shift inside of them, and MiCA, which trains the minor ones, outside. Lines are theory, "
        "markers simulation with standard errors; of LoRA-GA no theory is known."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a panel a rank, on one vertical scale."""
    with style.applied():
        figure, panels = style.panels(len(RANKS), 3.6)
        known = dataset[["risk", "mean"]].to_dataarray()
        for axes, rank in zip(panels, dataset["rank"].values, strict=True):
            axes.set(yscale="log", ylim=(float(known.min()) / 1.4, 1.4 * float(known.max())))
            methods_along.plot(axes, dataset.sel(rank=rank), "alignment", _LOOKS)
            words = "the rank of the shift" if rank == RANKS[0] else f"a shift of rank {RANKS[0]}"
            axes.set_title(f"r = {rank}, {words}", loc="left", fontsize=9)
            axes.set_xlabel("alignment a  (0: orthogonal, 1: inside)")
        panels[0].set_ylabel("expected excess risk")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=3, loc="outside upper center", frameon=False)
    return figure
