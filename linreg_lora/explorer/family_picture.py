"""How other methods are drawn beside LoRA: the look of each, its values, and both in matplotlib and as data."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.explorer.family import COMMON, MOST, Along, Member, at_ranks, written
from linreg_lora.explorer.setting import Setting
from linreg_lora.explorer.simulate import Drawn
from linreg_lora.figures.style import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours apart from those of LoRA, FFT and the floor: first with full lines, then, in another order, with dashes.
_COLORS = ("#009E73", "#E69F00", "#CC79A7", "#882255", "#56B4E9", "#8A6D1D")
_MARKERS = ("^", "D", "v")
LOOKS = tuple(
    Series(_COLORS[(i + i // 6 * 2) % 6], _MARKERS[i % 3], "-" if i < len(_COLORS) else (0, (4.0, 2.0)))
    for i in range(MOST)
)


class Shown(NamedTuple):
    """A method, its look, its curve (None: it has no rank, or theory knows none), and what draws say of it."""

    member: Member
    look: Series
    along: Along | None = None
    drawn: Drawn | None = None

    @property
    def rank(self) -> int | None:
        """Its rank; None where it has no place on an axis of ranks."""
        return next(iter(at_ranks(self.member.method, [])), None)

    @property
    def values(self) -> Float[np.ndarray, "k"]:
        """Every risk that an axis should show."""
        drawn = [] if self.drawn is None else [self.drawn.risk]
        known = np.concatenate([[] if self.along is None else self.along.risk, [self.member.risk], drawn])
        return known[np.isfinite(known)]


def looks(names: Sequence[str], setting: Setting) -> dict[str, Series]:
    """A look for each method: those that are a click away keep theirs whatever else is shown."""
    common = {written(text, setting): look for text, look in zip(COMMON, LOOKS, strict=True)}
    own = {name: common[name] for name in names if name in common}
    left = iter(look for look in LOOKS if look not in own.values())
    return {name: own.get(name) or next(left) for name in names}


def places(methods: Sequence[Shown], end: float) -> dict[str, float]:
    """Where the mark of each method without a rank stands on an axis that ends there: apart from one another."""
    levels = [one.member.method for one in methods if one.rank is None]
    return {name: end * (i + 1) / (len(levels) + 1) for i, name in enumerate(levels)}


def draw(axes: "Axes", methods: Sequence[Shown], position: Any, end: float) -> None:
    """Curves and levels, and means of draws with two standard errors; `position` is where a rank is drawn."""
    shown = [one for one in methods if len(one.values)]
    at = places(shown, end)
    for one in shown:
        name, color = one.member.method, one.look.color
        line: dict[str, Any] = {"color": color, "linestyle": one.look.linestyle, "linewidth": 0.9}
        label = f"{name}, {one.member.kind}"
        x = at[name] if one.rank is None else float(position(one.rank))
        if one.along is not None:
            axes.plot(position(one.along.ranks), one.along.risk, label=label, **line)
        elif one.rank is None and np.isfinite(one.member.risk):
            axes.axhline(one.member.risk, label=label, **line)
        known = one.along is not None or bool(np.isfinite(one.member.risk))
        axes.plot([x], [one.member.risk], marker=one.look.marker, color=color, markersize=3.4)
        if one.drawn is not None and np.isfinite(one.drawn.risk):
            bar, label = 2 * np.nan_to_num(one.drawn.stderr), f"{name}, {one.drawn.trials} draws"
            means: dict[str, Any] = {"fmt": "s", "color": color, "markerfacecolor": "white", "markersize": 4.2}
            axes.errorbar([x], [one.drawn.risk], [bar], label="" if known else label, **means)


def variables(methods: Sequence[Shown], ranks: np.ndarray) -> dict[str, Any]:
    """Variables of a Dataset over `rank`: a method's risk at its ranks, or its only one; then what draws say."""
    found: dict[str, Any] = {}
    for one in methods:
        member, units = one.member, {"units": "squared units of y"}
        known = {"parameters": member.parameters, "dimension": member.dimension, "kind": member.kind}
        about = {**units, **{name: value for name, value in known.items() if value is not None}}
        said = {"long_name": f"expected excess risk of {member.method}, theory", **about}
        if one.along is not None:
            risk = dict(zip(one.along.ranks.tolist(), one.along.risk.tolist(), strict=True))
            values = np.array([risk.get(int(rank), np.nan) for rank in ranks])
            family = f"{member.method} with this rank for its own"
            found[f"risk_{member.method}"] = ("rank", values, {**said, "comment": family})
        elif np.isfinite(member.risk):
            found[f"risk_{member.method}"] = ((), member.risk, said)
        if one.drawn is not None and np.isfinite(one.drawn.risk):
            text = {"long_name": f"mean over {one.drawn.trials} draws of {member.method}", **about}
            found[f"simulated_{member.method}"] = ((), one.drawn.risk, text)
            found[f"stderr_{member.method}"] = ((), one.drawn.stderr, {"long_name": "its standard error", **units})
    return found
