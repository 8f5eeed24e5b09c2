"""Risk against rank, with FFT beside it: what theory and simulation both return."""

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

ComputedBy = Literal["monte-carlo", "theory"]

#: Fields with one number a rank, in the order of exports.
_BY_RANK = ("risk", "stderr", "difference", "difference_stderr", "flagged", "ridge")
_WHOLE = ("fft_risk", "fft_stderr", "fft_flagged", "fft_ridge")
_MEANINGS = {
    "risk": "expected excess risk of LoRA",
    "stderr": "its standard error",
    "difference": "expected excess risk of LoRA minus that of FFT",
    "difference_stderr": "its standard error",
    "flagged": "whether the risk may be off by more than 1 %",
    "ridge": "the best ridge of the rank",
    "fft_risk": "expected excess risk of FFT",
    "fft_stderr": "its standard error",
    "fft_flagged": "whether FFT's risk may be off by more than 1 %",
    "fft_ridge": "the best ridge of FFT",
}
_UNITLESS = ("flagged", "fft_flagged", "ridge", "fft_ridge")


class RankRisk(NamedTuple):
    """One rank of a `RiskCurve`; the fields are as there."""

    rank: int
    risk: float
    stderr: float | None
    difference: float
    difference_stderr: float | None
    flagged: bool
    ridge: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class RiskCurve:
    """Expected excess risk of LoRA at each rank, and of FFT on the same problem.

    | field                 | meaning                                                                              |
    |-----------------------|--------------------------------------------------------------------------------------|
    | `computed_by`         | theory or monte-carlo                                                                |
    | `ranks`               | LoRA ranks r; rank 0 is the pretrained map, rank min(n, dx, dy) is FFT               |
    | `risk`                | E risk(D_r), in squared units of y; inf where the mean does not exist, nan: unknown  |
    | `stderr`              | its standard error; 0 for exact values, nan where none exists; None for theory       |
    | `fft_risk`            | E risk(D_FFT)                                                                        |
    | `fft_stderr`          | its standard error (None for theory)                                                 |
    | `difference`          | E [risk(D_r) - risk(D_FFT)], paired on the same draws; negative: LoRA wins           |
    | `difference_stderr`   | its standard error (None for theory)                                                 |
    | `moments`             | which moments exist at ranks >= 1 (rank 0 is exact)                                  |
    | `formula`             | how the values were obtained                                                         |
    | `notes`               | what is missing or in doubt, and why; empty when nothing is                          |
    | `flagged`             | theory: which risks may be off by more than 1 %; None for simulation                 |
    | `fft_flagged`         | theory: whether FFT's may be                                                         |
    | `fft_formula`         | theory: which result `fft_risk` is                                                   |
    | `ridge`               | the best ridge of each rank, where each has its own; inf: no update; None: problem's |
    | `fft_ridge`           | that of FFT                                                                          |

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> curve = ll.expected_risk(problem)
    >>> f"rank {curve.best_rank}: {curve.at_rank(curve.best_rank).risk:.3f}, FFT: {curve.fft_risk:.3f}"
    'rank 2: 3.263, FFT: 13.714'
    >>> curve
    RiskCurve(theory, n=60, dx=24, dy=20; 21 ranks, best 2: 3.263; FFT 13.71)
    """

    problem: Problem
    computed_by: ComputedBy
    ranks: Int[np.ndarray, "k"]
    risk: Float[np.ndarray, "k"]
    stderr: Float[np.ndarray, "k"] | None
    fft_risk: float
    fft_stderr: float | None
    difference: Float[np.ndarray, "k"]
    difference_stderr: Float[np.ndarray, "k"] | None
    moments: Moments
    formula: str
    notes: tuple[str, ...] = ()
    trials: int | None = None
    seed: int | None = None
    flagged: Bool[np.ndarray, "k"] | None = None
    fft_flagged: bool = False
    fft_formula: str = ""
    ridge: Float[np.ndarray, "k"] | None = None
    fft_ridge: float | None = None

    def __repr__(self) -> str:
        problem, best = self.problem, "no best"
        with contextlib.suppress(InvalidInput, NumericalFailure):
            best = f"best {self.best_rank}: {self.at_rank(self.best_rank).risk:.4g}"
        sizes = f"n={problem.n}, dx={problem.dx}, dy={problem.dy}"
        ranks = "1 rank" if len(self.ranks) == 1 else f"{len(self.ranks)} ranks"
        return f"RiskCurve({self.computed_by}, {sizes}; {ranks}, {best}; FFT {self.fft_risk:.4g})"

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a rank, columns as the fields that are known; what is of the whole curve in `attrs`.

        >>> import linreg_lora as ll
        >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
        >>> table = ll.expected_risk(problem, [1, 2]).to_dataframe()
        >>> table.risk.round(3).to_dict(), round(table.attrs["fft_risk"], 3)
        ({1: 6.265, 2: 3.263}, 13.714)
        """
        import pandas as pd

        columns = {name: values for name in _BY_RANK if (values := getattr(self, name)) is not None}
        table = pd.DataFrame(columns, index=pd.Index(self.ranks, name="rank"))
        table.attrs.update(self._said())
        return table

    def to_xarray(self) -> "xr.Dataset":
        """The curve over `rank`, FFT's numbers beside it, and what else is of the whole curve in its attributes.

        >>> import linreg_lora as ll
        >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
        >>> dataset = ll.expected_risk(problem, [1, 2]).to_xarray()
        >>> dataset.risk.dims, float(dataset.risk.sel(rank=2).round(3)), dataset.attrs["computed_by"]
        (('rank',), 3.263, 'theory')
        """
        import xarray as xr

        def described(name: str) -> dict[str, str]:
            units = "1" if name in _UNITLESS else "squared units of y"
            return {"long_name": _MEANINGS[name], "units": units}

        by_rank = {name: ("rank", getattr(self, name), described(name)) for name in _BY_RANK}
        whole = {name: ((), getattr(self, name), described(name)) for name in _WHOLE}
        variables = {name: found for name, found in {**by_rank, **whole}.items() if found[1] is not None}
        attributes = {name: value for name, value in self._said().items() if name not in _WHOLE}
        ranks = {"rank": ("rank", self.ranks, {"long_name": "LoRA rank", "units": "1"})}
        return xr.Dataset(variables, ranks, attributes)

    def plot(self, axes: "Axes | None" = None, **line: Any) -> "Axes":
        """Draw risk against rank and FFT as a dashed line: theory as a line, simulation as points with error bars.

        `axes`: Matplotlib's, or None for those of a new figure; `line`: how LoRA looks, as for `Axes.errorbar`. Bars
        are two standard errors; risks that may be off by more than 1 % are drawn as open circles.
        """
        from matplotlib.ticker import MaxNLocator

        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(layout="constrained")[1]
        bars = None if self.stderr is None else 2 * self.stderr
        style = {"linestyle": "-" if bars is None else "none", "marker": "o", "markersize": 4, "capsize": 2}
        drawn = axes.errorbar(
            self.ranks, self.risk, bars, **{**style, "label": f"LoRA ({self.computed_by})", **line}
        ).lines[0]
        if self.flagged is not None and np.any(self.flagged):
            doubted = self.ranks[self.flagged], self.risk[self.flagged]
            look = {"color": drawn.get_color(), "markerfacecolor": "white", "linestyle": "none", "zorder": 3}
            axes.plot(*doubted, marker="o", markersize=4, label="may be off by more than 1 %", **look)
        if np.isfinite(self.fft_risk):
            axes.axhline(self.fft_risk, color="0.3", linestyle="--", linewidth=1, label=f"FFT ({self.computed_by})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("rank r")
        axes.set_ylabel("expected excess risk")
        axes.legend()
        return axes

    def _said(self) -> dict[str, Any]:
        """What is of the whole curve, as numbers and text."""
        problem = self.problem
        known = {name: getattr(self, name) for name in (*_WHOLE, "trials", "seed")}
        return {
            **{"computed_by": self.computed_by, "n": problem.n, "dx": problem.dx, "dy": problem.dy},
            **{name: value for name, value in known.items() if value is not None},
            **{"formula": self.formula, "fft_formula": self.fft_formula, "moments": self.moments.value},
            "notes": "; ".join(self.notes),
            "problem_sha256": problem.fingerprint,
        }

    @property
    def best_rank(self) -> int:
        """The rank of least risk among those listed; ties go to the smaller rank.

        By `difference`, where it is known: it is the more accurate comparison, also of LoRA with LoRA at full rank.
        Raises `NumericalFailure` where a rank without a number could be better: no update of its rank need do worse.
        """
        if not np.any(np.isfinite(self.risk)):
            raise InvalidInput("risk", "at least one finite value", "none", "; ".join(self.notes))
        known = np.array_equal(np.isfinite(self.difference), np.isfinite(self.risk))
        best = int(np.nanargmin(self.difference if known else self.risk))
        for rank in self.ranks[np.isnan(self.risk)].tolist():
            if np.sum(self.problem.whitened_spectrum[rank:] ** 2) < self.risk[best]:
                reason = "; ".join(self.notes)
                raise NumericalFailure(f"best_rank: rank {rank} has no number and could be the best; {reason}")
        return int(self.ranks[best])

    def at(self, ranks: Any) -> "RiskCurve":
        """The same curve at some of its ranks, in the order given."""
        chosen = valid_ranks(ranks, self.problem)
        place = {int(rank): i for i, rank in enumerate(self.ranks)}
        missing = [int(r) for r in chosen if int(r) not in place]
        if missing:
            raise InvalidInput("ranks", f"ranks of this curve ({self.ranks.tolist()})", missing)
        index = np.array([place[int(r)] for r in chosen], dtype=int)
        return dataclasses.replace(
            self,
            ranks=self.ranks[index],
            risk=self.risk[index],
            stderr=None if self.stderr is None else self.stderr[index],
            difference=self.difference[index],
            difference_stderr=None if self.difference_stderr is None else self.difference_stderr[index],
            flagged=None if self.flagged is None else self.flagged[index],
            ridge=None if self.ridge is None else self.ridge[index],
        )

    def at_rank(self, rank: int) -> RankRisk:
        """What the curve says at one of its ranks.

        >>> import linreg_lora as ll
        >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
        >>> found = ll.expected_risk(problem).at_rank(2)
        >>> f"{found.risk:.3f}, {found.difference:.3f} against FFT"
        '3.263, -10.451 against FFT'
        """
        one = self.at([rank])
        return RankRisk(
            rank=int(one.ranks[0]),
            risk=float(one.risk[0]),
            stderr=None if one.stderr is None else float(one.stderr[0]),
            difference=float(one.difference[0]),
            difference_stderr=None if one.difference_stderr is None else float(one.difference_stderr[0]),
            flagged=bool(one.flagged is not None and one.flagged[0]),
            ridge=None if one.ridge is None else float(one.ridge[0]),
        )


def valid_ranks(ranks: Any, problem: Problem) -> Int[np.ndarray, "k"]:
    """`ranks` as an integer array, every one in 0..min(n, dx, dy); None means all of them."""
    if ranks is None:
        return np.arange(problem.max_rank + 1)
    expected = f"integers in 0..{problem.max_rank} (the largest is min(n, dx, dy), where LoRA is FFT)"
    array = np.atleast_1d(np.asarray(ranks))
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InvalidInput("ranks", expected, ranks)
    outside = array[(array < 0) | (array > problem.max_rank)]
    if outside.size:
        raise InvalidInput("ranks", expected, outside.tolist())
    return array.astype(int)
