"""Which member of the family has the least expected excess risk, over n / dx and the noise.

Setting: dx = 24, dy = 20, Sigma = I, Sigma_eps = sigma^2 I, A0 iid N(0, 1), and a task shift that is a mixture

    Delta = diag(g) A0 + L + U_3 M V_3^T,      g_j = 0.27 or -0.27,

of scales, which IA3 trains; of L, of rank 2 with singular values 7 and 5 in directions that are drawn; and of a map
between the three principal directions of A0, 2.5 times a rotation, which LoRA-XS trains. Colours are theory, a cell
each; markers are simulation. LoRA has the best of ten ranks; the others, sizes that are small against dx and dy.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.figures import datasets, method_lines, style
from linreg_lora.methods.adapter import SerialAdapter
from linreg_lora.methods.bitfit import BitFit
from linreg_lora.methods.frozen_a import FrozenA
from linreg_lora.methods.frozen_b import FrozenB
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.ia3 import IA3
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.lora_xs import LoRAXS
from linreg_lora.methods.mask import Mask
from linreg_lora.methods.method import Method
from linreg_lora.methods.mica import MiCA
from linreg_lora.methods.svf import SVF
from linreg_lora.methods.tangent import TangentLoRA
from linreg_lora.problem import Problem
from linreg_lora.sweeps.grid import grid, map_cells

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DX, _DY = 24, 20
SAMPLE_SIZES = (4, 6, 8, 11, 14, 17, 20, 22, 26, 28, 32, 38, 50, 70, 110, 180, 300, 500)
NOISE_STDS = tuple(np.geomspace(0.1, 12.8, 15).tolist())
SIMULATED_SIZES = (11, 38, 180)
SIMULATED_NOISE_STDS = tuple(NOISE_STDS[i] for i in (2, 6, 9, 12))
CELLS = len(SAMPLE_SIZES) * len(NOISE_STDS) + len(SIMULATED_SIZES) * len(SIMULATED_NOISE_STDS)

#: Two of them nearer than this are one winner; as far as theory is flagged, than that.
CLOSE, CLOSE_WHERE_FLAGGED = 0.01, 0.03
#: Those of LoRA.
_RANKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
_LORA, _FFT, _NOTHING = "LoRA", "FFT", "do not adapt"
#: Every member but LoRA and FFT.
_OTHERS: tuple[tuple[str, Method], ...] = (
    (_NOTHING, LoRA(0)), ("IA3", IA3()), ("LoRA-XS, r = 3", LoRAXS(3)), ("SVF", SVF()), ("BitFit", BitFit()),
    ("MiCA, r = 4", MiCA(4)), ("frozen A, r = 4", FrozenA(4)), ("frozen B, r = 4", FrozenB(4)), ("a mask", Mask(3)),
    ("tangent space, r = 3", TangentLoRA(3)), ("adapter", SerialAdapter(None)),
)  # fmt: skip
#: First rank of each group of LoRA.
_FIRST_RANKS = (1, 2, 4, 8)
_COLORS: dict[str | int, str] = {
    _NOTHING: "#F2F2F2", "IA3": "#CC79A7", "LoRA-XS, r = 3": "#6BBF9C", _FFT: "#E69F00",
    **dict(zip(_FIRST_RANKS, ("#C6DFF0", "#8CBFE3", "#3F8CC4", "#0B4A85"), strict=True)),
}  # fmt: skip
_ELSE = "#8C6D46"


def setting(n: int, noise_std: float, dx: int = _DX, dy: int = _DY) -> Problem:
    """The figure's problem with n samples and noise sigma."""
    rng = np.random.default_rng(0)
    pretrained = rng.standard_normal((dy, dx))
    u, _, vt = np.linalg.svd(pretrained)
    scaled = np.where(np.arange(dy) % 2, 0.27, -0.27)[:, None] * pretrained
    left, right = (np.linalg.qr(rng.standard_normal((size, 2)))[0] for size in (dy, dx))
    turned = 2.5 * np.linalg.qr(rng.standard_normal((3, 3)))[0]
    shift = scaled + left @ np.diag([7.0, 5.0]) @ right.T + u[:, :3] @ turned @ vt[:3]
    return Problem(n=n, dx=dx, dy=dy, task_shift=shift, pretrained=pretrained, noise_std=noise_std)


def members(dx: int = _DX, dy: int = _DY) -> tuple[tuple[str, Method], ...]:
    """Every method with the member of the family that it is; those of LoRA are `_RANKS` below full."""
    ranks = [(_LORA, LoRA(rank)) for rank in _RANKS if rank < min(dx, dy)]
    return (*_OTHERS, (_FFT, FullFineTuning()), *ranks)


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
) -> "xr.Dataset":
    """The figure's numbers: `risk` and `flagged` (n, noise_std, method) by theory; `mean` and `stderr` at the markers.

    `member` (method) is whose method it is. nan where no mean exists, or the method has no risk.
    """
    import xarray as xr

    cells = grid(setting, {"n": sample_sizes, "noise_std": noise_stds})
    dots = grid(setting, {"n": simulated_sizes, "noise_std": simulated_noise_stds})
    attributes = datasets.provenance("Best of the family over n and noise", cells.problems, trials, seed)
    names, methods = zip(*members(), strict=True)
    theory = np.array(map_cells(method_lines.by_theory, cells.problems, (methods,), executor, progress))
    drawn = np.array(map_cells(method_lines.by_simulation, dots.problems, (methods, trials, seed), executor, progress))
    risk, flagged = (theory[:, i].reshape(*cells.shape, -1) for i in (0, 1))
    mean, stderr = (drawn[:, i].reshape(*dots.shape, -1) for i in (0, 1))
    at, at_dots = ("n", "noise_std", "method"), ("n_simulated", "noise_std_simulated", "method")
    variables = {
        "risk": datasets.variable(at, risk, "expected excess risk, theory", datasets.RISK),
        "flagged": datasets.variable(at, flagged.astype(np.int8), "risk may be off by more than 1 %"),
        "mean": datasets.variable(at_dots, mean, "mean excess risk, simulated", datasets.RISK),
        "stderr": datasets.variable(at_dots, stderr, "standard error of mean", datasets.RISK),
    }
    coordinates = {
        "n": datasets.variable("n", list(sample_sizes), "number of samples"),
        "noise_std": datasets.variable("noise_std", list(noise_stds), "noise sigma", "units of y"),
        "n_simulated": datasets.variable("n_simulated", list(simulated_sizes), "number of samples"),
        "noise_std_simulated": datasets.variable(
            "noise_std_simulated", list(simulated_noise_stds), "noise sigma", "units of y"
        ),
        "method": ("method", [method.name for method in methods], {"long_name": "method"}),
        "member": ("method", list(names), {"long_name": "member of the family"}),
    }
    return xr.Dataset(variables, coordinates, {**attributes, "dx": _DX})


def winners(dataset: "xr.Dataset", name: str = "risk") -> Int[np.ndarray, "n noise_std"]:
    """The method of least risk, by number; `name`: risk, or mean."""
    return np.nanargmin(dataset[name].values, axis=-1)


def ambiguous(dataset: "xr.Dataset") -> Bool[np.ndarray, "n noise_std"]:
    """Where another member is within `CLOSE` of the least risk, or, one of them being flagged, the wider margin."""
    risk, flagged = dataset["risk"].values, dataset["flagged"].values.astype(bool)
    best, member = winners(dataset), dataset["member"].values
    least = np.take_along_axis(risk, best[..., None], axis=-1)
    others = np.where(member == member[best][..., None], np.inf, np.nan_to_num(risk, nan=np.inf))
    margin = others / least - 1
    doubtful = flagged | np.take_along_axis(flagged, best[..., None], axis=-1)
    return np.any(margin < np.where(doubtful, CLOSE_WHERE_FLAGGED, CLOSE), axis=-1)


def groups(dataset: "xr.Dataset") -> list[str | int]:
    """What is coloured alike, of each method: its member, of LoRA the first of a few ranks."""
    found: list[str | int] = []
    for name, member in zip(dataset["method"].values, dataset["member"].values, strict=True):
        rank = int(str(name).partition(":")[2]) if member == _LORA else 0
        found.append(max(r for r in _FIRST_RANKS if r <= rank) if rank else str(member))
    return found


def caption(dataset: "xr.Dataset") -> str:
    """What to see in the figure of `data`'s dataset."""
    member, best, unclear = dataset["member"].values, winners(dataset), ambiguous(dataset)
    won = list(dict.fromkeys(member[best].ravel().tolist()))
    never = [name for name in dict.fromkeys(member.tolist()) if name not in won]
    drawn, group = winners(dataset, "mean"), groups(dataset)
    theory = winners(dataset.sel(n=dataset["n_simulated"].values, noise_std=dataset["noise_std_simulated"].values))
    same = sum(group[a] == group[b] for a, b in zip(drawn.ravel(), theory.ravel(), strict=True))
    return (
        "Which member of the family has the least expected excess risk, by theory, for a shift that scales the outputs "
        "of A0, has a map of low rank beside that, and turns A0's principal directions. From many samples and little "
        "noise to the opposite: FFT, LoRA of ever lower rank, a member with few parameters that are tied to A0, none "
        f"at all. Of {len(won) + len(never)} members {len(won)} win somewhere; these nowhere here: {'; '.join(never)}. "
        f"Hatched: another member is within {CLOSE:.0%}, or {CLOSE_WHERE_FLAGGED:.0%} where theory may be off by more "
        f"than 1% ({np.sum(unclear)} of {unclear.size} cells); so are LoRA of high rank and FFT at few samples and "
        "little noise. Markers: the winner of a simulation, in the same colours; it is that of theory at "
        f"{same} of {drawn.size}."
    )


def draw(dataset: "xr.Dataset") -> "Figure":
    """The figure of `data`'s dataset: a cell for every n and noise in the colour of its winner, with its name."""
    from matplotlib.colors import ListedColormap

    n, noise, dx = dataset["n"].values, dataset["noise_std"].values, dataset.attrs["dx"]
    group = groups(dataset)
    order = list(dict.fromkeys([_NOTHING, *(one for one in group if isinstance(one, str)), *_FIRST_RANKS, _FFT]))
    number = np.array([order.index(one) for one in group])[winners(dataset)]
    colors = [_COLORS.get(one, _ELSE) for one in order]
    x, y = _edges(n / dx), _edges(noise)
    with style.applied():
        figure, axes = style.single_panel(4.4)
        axes.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
        axes.grid(False)
        axes.pcolormesh(x, y, number.T, cmap=ListedColormap(colors), vmin=-0.5, vmax=len(order) - 0.5, zorder=1)
        _outlines(axes, x, y, number)
        for i, j in np.argwhere(ambiguous(dataset)):
            axes.fill_between(x[i : i + 2], y[j], y[j + 1], facecolor="none", hatch="/////", edgecolor="0.25",
                              linewidth=0, zorder=1.5)  # fmt: skip
        axes.axvline(1.0, color="black", linestyle=":", linewidth=0.9, zorder=2)
        axes.text(1.0, 1.015, "n = dx", transform=axes.get_xaxis_transform(), ha="center", fontsize="small")
        _markers(axes, dataset, order, np.array(group, dtype=object), colors)
        _names(axes, np.sqrt(x[1:] * x[:-1]), np.sqrt(y[1:] * y[:-1]), number, ~ambiguous(dataset),
               _marked(dataset), order, colors)  # fmt: skip
        axes.set_xlabel("n / dx  (samples per input dimension)")
        axes.set_ylabel("noise σ")
        _keys(figure, axes, order, colors, number)
    return figure


def _edges(centres: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k+1"]:
    """Edges of cells half way between their centres, in ratio."""
    log = np.log(centres)
    inner = (log[1:] + log[:-1]) / 2
    return np.exp([2 * log[0] - inner[0], *inner, 2 * log[-1] - inner[-1]])


def _outlines(axes: "Axes", x: np.ndarray, y: np.ndarray, number: Int[np.ndarray, "n noise_std"]) -> None:
    """A line between cells of different groups."""
    for i, j in np.ndindex(*number.shape):
        look = {"color": "black", "linewidth": 0.8, "zorder": 2}
        if i + 1 < len(number) and number[i, j] != number[i + 1, j]:
            axes.plot([x[i + 1]] * 2, y[j : j + 2], **look)
        if j + 1 < number.shape[1] and number[i, j] != number[i, j + 1]:
            axes.plot(x[i : i + 2], [y[j + 1]] * 2, **look)


def _markers(axes: "Axes", dataset: "xr.Dataset", order: list, group: np.ndarray, colors: list[str]) -> None:
    """Simulated winners in the colours of the cells; squares where theory's is another."""
    n, noise = dataset["n_simulated"].values, dataset["noise_std_simulated"].values
    drawn, theory = group[winners(dataset, "mean")], group[winners(dataset.sel(n=n, noise_std=noise))]
    for same, marker, label in ((True, "o", "simulated: the same winner"), (False, "s", "simulated: another")):
        chosen = np.argwhere((drawn == theory) == same)
        if not len(chosen):
            continue
        for i, j in chosen:
            axes.scatter(n[i] / dataset.attrs["dx"], noise[j], s=26, marker=marker, linewidth=0.8, edgecolor="black",
                         c=colors[order.index(drawn[i, j])], zorder=4)  # fmt: skip
        look: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "markeredgecolor": "black"}
        axes.plot([], [], marker=marker, label=f"{label} ({len(chosen)})", **look)


def _names(
    axes: "Axes",
    x: np.ndarray,
    y: np.ndarray,
    number: np.ndarray,
    clear: np.ndarray,
    marked: list,
    order: list,
    colors: list[str],
) -> None:
    """Names of regions, each in a clear cell, off markers, edges and n = dx, wide, and far from other regions."""
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke
    from scipy.ndimage import distance_transform_cdt

    off = np.broadcast_to((np.abs(np.log(x)) > 0.3)[:, None], number.shape).copy()
    off[[0, 1, -1]] = False
    off[:, :2] = False
    for i, j in marked:
        off[max(i - 1, 0) : i + 2, j] = False
    for k in np.unique(number):
        inside = (number == k) & clear & off
        if np.sum(inside) < 3:
            continue
        depth = np.asarray(distance_transform_cdt(np.pad(number == k, 1, mode="edge"), metric="taxicab"), dtype=float)[
            1:-1, 1:-1
        ]
        depth += np.gradient(np.log(x)).clip(max=0.6)[:, None] * 2 - 0.05 * np.abs(np.log(x))[:, None]
        i, j = np.unravel_index(np.argmax(np.where(inside, depth, -np.inf)), depth.shape)
        dark = np.dot(to_rgb(colors[k]), (0.3, 0.6, 0.1)) < 0.5
        axes.text(x[i], y[j], _label(order[k]).replace("LoRA, ", ""), ha="center", va="center", fontsize=8.5,
                  fontweight="bold", color="white" if dark else "black", zorder=5,
                  path_effects=[withStroke(linewidth=2, foreground=colors[k])])  # fmt: skip


def _marked(dataset: "xr.Dataset") -> list[tuple[int, int]]:
    """The cells that have markers."""
    places = [np.flatnonzero(np.isin(dataset[name], dataset[f"{name}_simulated"])) for name in ("n", "noise_std")]
    return [(int(i), int(j)) for i, j in itertools.product(*places)]


def _label(group: str | int) -> str:
    if isinstance(group, str):
        return group
    later = [rank for rank in _FIRST_RANKS if rank > group]
    last = later[0] - 1 if later else None
    return f"LoRA, r = {group}" if last == group else f"LoRA, r = {group}–{last}" if last else f"LoRA, r ≥ {group}"


def _keys(figure: "Figure", axes: "Axes", order: list, colors: list[str], number: np.ndarray) -> None:
    """A key above the axes, of the colours that occur; one below, of hatching and markers."""
    from matplotlib.patches import Patch

    look = {"frameon": False, "handletextpad": 0.4, "columnspacing": 0.9}
    patches = [Patch(facecolor=colors[k], edgecolor="0.3", linewidth=0.5, label=_label(order[k])) for k in
               itertools.filterfalse(lambda k: k not in number, range(len(order)))]  # fmt: skip
    figure.legend(handles=patches, ncols=4, handlelength=1.2, loc="outside upper center",
                  title="least expected excess risk, by theory", **look)  # fmt: skip
    close = Patch(facecolor="white", edgecolor="0.25", hatch="/////", linewidth=0, label="another member is as good")
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=[close, *handles], ncols=2, loc="outside lower center", **look)
