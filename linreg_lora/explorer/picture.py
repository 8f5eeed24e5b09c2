"""A setting's curves as a matplotlib Figure for papers, and as a Dataset."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from linreg_lora.explorer import family_picture
from linreg_lora.explorer.curves import AgainstRank, AgainstSamples
from linreg_lora.explorer.family_picture import Shown
from linreg_lora.figures import style
from linreg_lora.risk_curve import RiskCurve

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from numpy.typing import ArrayLike

_TICKS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
#: An axis that spans more than this has ticks at powers of ten only.
_MANY_POWERS = 2e3
#: The floor is shown down to this much below the least risk.
_FLOOR_BELOW = 5.0
_LORA, _FLOOR = style.COMPARED[3], style.COMPARED[2]


def position(rank: np.ndarray | int) -> np.ndarray:
    """Where a rank is drawn: log2(1 + r), so that rank 0 has a place and the first ranks have room."""
    return np.log2(1.0 + np.asarray(rank))


def rank_ticks(largest: int) -> list[int]:
    """Ranks that are labelled on an axis up to `largest`."""
    return [rank for rank in _TICKS if rank < largest / 1.35] + [largest]


def limits(values: np.ndarray) -> tuple[float, float]:
    """What a logarithmic axis shows of risks: all that are positive, with room above and below."""
    finite = values[np.isfinite(values) & (values > 0)]
    return (float(np.min(finite)) / 1.5, float(np.max(finite)) * 1.5) if len(finite) else (0.1, 10.0)


def risk_limits(found: AgainstRank, beside: "ArrayLike" = ()) -> tuple[float, float]:
    """`limits` of the curves against rank and of risks beside them; of the floor only what lies near them."""
    risk = np.append(found.curve.risk, found.curve.fft_risk)
    known = risk[np.isfinite(risk)]
    near = found.floor[found.floor > np.min(known, initial=np.inf) / _FLOOR_BELOW]
    return limits(np.concatenate([known, near, np.asarray(beside, dtype=float)]))


def ticks_between(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: powers of ten, or 1, 2 and 5 times them where there are few."""
    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    steps = (1.0,) if high / low > _MANY_POWERS else (1.0, 2.0, 5.0)
    return [tick for power in powers for tick in (step * 10.0**power for step in steps) if low <= tick <= high]


def draw(found: AgainstRank, simulated: RiskCurve | None = None, methods: Sequence[Shown] = ()) -> Figure:
    """Risk against rank: LoRA, FFT and the floor by theory; simulated means with two standard errors, if given.

    `methods`: others, drawn beside.
    """
    with style.applied():
        figure, axes = style.single_panel(*([4.6] if methods else []))
        draw_ranks(axes, found, simulated, methods)
        if (inside := axes.get_legend()) is not None and methods:
            inside.remove()
            figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_ranks(
    axes: "Axes", found: AgainstRank, simulated: RiskCurve | None = None, methods: Sequence[Shown] = ()
) -> None:
    """`draw`, on given axes.

    >>> import linreg_lora as ll
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> ll.explorer.draw_ranks(axes, ll.explorer.against_rank(ll.explorer.Setting(n=60, dx=24, dy=20)))
    >>> f"{axes.get_ylabel()} against {axes.get_xlabel()}"
    'expected excess risk against LoRA rank r'
    """
    curve, problem, x = found.curve, found.setting.problem(), position(found.curve.ranks)
    full = curve.fft_risk if np.isfinite(curve.fft_risk) else np.nan
    lora = np.where(np.isfinite(curve.risk), curve.risk, np.nan)
    floor = np.where(found.floor > 0, found.floor, np.nan)
    axes.plot(x, floor, color=_FLOOR.color, linestyle=":", label="least of any update of rank r")
    axes.plot(x[[0, -1]], [full, full], color=style.REFERENCE.color, linestyle="--", label="FFT, theory")
    axes.plot(x, lora, color=_LORA.color, marker="o", markersize=2.5, label="LoRA, theory")
    if curve.flagged is not None and np.any(shown := curve.flagged & np.isfinite(lora)):
        look = {"marker": "o", "markersize": 3.2, "markerfacecolor": "white", "linestyle": "none"}
        axes.plot(x[shown], lora[shown], color=_LORA.color, label="may be off by more than 1 %", **look)
    if simulated is not None:
        assert simulated.stderr is not None
        look = {"fmt": "s", "color": "0.15", "markerfacecolor": "white", "markersize": 4.2}
        known = np.isfinite(simulated.risk)
        bars = 2 * np.nan_to_num(simulated.stderr[known])
        label = f"simulated, {simulated.trials} draws"
        axes.errorbar(position(simulated.ranks[known]), simulated.risk[known], yerr=bars, label=label, **look)
    family_picture.draw(axes, methods, position, float(x[-1]))
    ticks = rank_ticks(int(curve.ranks[-1]))
    ends = risk_limits(found, np.concatenate([[], *(one.values for one in methods)]))
    axes.set(yscale="log", ylim=ends, xlabel="LoRA rank r", ylabel="expected excess risk")
    axes.xaxis.set_major_locator(FixedLocator(position(np.array(ticks)).tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(tick) for tick in ticks])
    _round_ticks(axes.yaxis, *ends)
    axes.set_title(
        f"n = {problem.n}, dx = {problem.dx}, dy = {problem.dy}, noise {problem.noise_std:g}, ridge {problem.ridge:g}\n"
        f"shift: {found.setting.shift_in_words}",
        fontsize="small",
        color=style.ANNOTATION,
    )
    axes.legend(loc="best")


def draw_samples(axes: "Axes", found: AgainstSamples, lora: dict[int, float], dx: int, rank: int) -> None:
    """Risk against n, with the band where no mean exists.

    >>> import linreg_lora as ll
    >>> from matplotlib.figure import Figure
    >>> axes, setting = Figure().subplots(), ll.explorer.Setting(n=60, dx=24, dy=20, lora=4)
    >>> lora = {n: ll.explorer.lora_at(setting, n) for n in (60, 120)}
    >>> ll.explorer.draw_samples(axes, ll.explorer.against_samples(setting), lora, dx=24, rank=4)
    >>> f"{axes.get_ylabel()} against {axes.get_xlabel()}"
    'expected excess risk against samples n'
    """
    n = np.array(sorted(lora))
    bands = ((found.doubtful, "#f1efe6", "may be off by more than 1 %"), (found.no_mean, "0.85", "no mean exists"))
    for band, color, label in bands:
        if band is not None:
            axes.axvspan(band[0] - 0.5, band[1] + 0.5, color=color, linewidth=0, label=label)
    axes.axvline(dx, color=style.ANNOTATION, linestyle=":", linewidth=0.7)
    axes.plot(found.n, found.fft, color=style.REFERENCE.color, linestyle="--", label="FFT, theory")
    axes.plot(n, [lora[int(value)] for value in n], color=_LORA.color, label=f"LoRA of rank {rank}, theory")
    ends = limits(np.concatenate([found.fft, list(lora.values())]))
    axes.set(xscale="log", yscale="log", ylim=ends, xlabel="samples n", ylabel="expected excess risk")
    _round_ticks(axes.yaxis, *ends)
    _round_ticks(axes.xaxis, *axes.get_xlim())
    axes.legend(loc="best")


def _round_ticks(axis: "Axis", low: float, high: float) -> None:
    axis.set_major_locator(FixedLocator(ticks_between(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def dataset(
    found: AgainstRank, simulated: RiskCurve | None = None, methods: Sequence[Shown] = (), seed: int = 0
) -> "xr.Dataset":
    """The curves as a Dataset over `rank`: theory, and the simulation if there is one; then other methods.

    `seed`: of the A0 that these have.
    """
    import xarray as xr

    curve = found.curve
    units = {"units": "squared units of y"}
    variables = {
        "risk": ("rank", curve.risk, {"long_name": "expected excess risk of LoRA, theory", **units}),
        "least_risk": ("rank", found.floor, {"long_name": "least excess risk of any update of this rank", **units}),
        "fft_risk": ((), curve.fft_risk, {"long_name": "expected excess risk of FFT, theory", **units}),
        "flagged": ("rank", _flagged(curve), {"long_name": "whether risk may be off by more than 1 %"}),
        "fft_flagged": ((), curve.fft_flagged, {"long_name": "whether fft_risk may be off by more than 1 %"}),
    }
    attributes = {
        "setting": json.dumps(found.setting.query()),
        "formula": curve.formula,
        "notes": "; ".join(curve.notes),
    }
    if simulated is not None:
        assert simulated.stderr is not None
        variables["simulated"] = ("rank", simulated.risk, {"long_name": "mean over draws", **units})
        variables["stderr"] = ("rank", simulated.stderr, {"long_name": "its standard error", **units})
        attributes |= {"trials": simulated.trials, "seed": simulated.seed}
    data = xr.Dataset(variables, {"rank": ("rank", curve.ranks, {"long_name": "LoRA rank"})}, attributes)
    if not methods:
        return data
    ranks = sorted({*curve.ranks.tolist(), *(one.rank for one in methods if one.rank is not None)})
    data = data.reindex(rank=ranks, fill_value={"flagged": False}).assign_attrs(pretrained_seed=seed)
    return data.assign(family_picture.variables(methods, np.array(ranks)))


def _flagged(curve: RiskCurve) -> np.ndarray:
    return np.zeros(len(curve.ranks), dtype=bool) if curve.flagged is None else curve.flagged
