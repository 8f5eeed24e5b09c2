"""Phase grids: the best rank and the winner against FFT, by theory, over a grid of problems."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.provenance import release
from linreg_lora.sweeps.grid import Make, flagged, grid, map_cells
from linreg_lora.theory.decisions import doubt_of_best
from linreg_lora.theory.rank_search import curve_near_best

if TYPE_CHECKING:
    import xarray as xr

_UNITS = "squared units of y"
_LONG_NAMES = {
    "best_rank": "rank of least expected excess risk; -1 where the theory was not solved",
    "best_risk": "expected excess risk at the best rank",
    "fft_risk": "expected excess risk of FFT",
    "winner": "what has the least expected excess risk",
    "flagged": "whether another rank may be the best, or its risk be off by more than 1 %",
    "note": "why the cell is flagged; empty where it is not",
}


class Winner(Enum):
    """What has the least expected excess risk: not adapting (rank 0), LoRA of some rank, or FFT."""

    PRETRAINED = 0
    LORA = 1
    FFT = 2
    UNKNOWN = 3


class Phase(NamedTuple):
    """One cell of a phase grid."""

    best_rank: int
    best_risk: float
    fft_risk: float
    winner: Winner
    flagged: bool = False
    note: str = ""


def phase(problem: Problem, correction: bool = True) -> Phase:
    """The rank in 0..min(n, dx, dy) of least risk and the winner; ties go to the smaller rank.

    Where no mean exists rank 0 wins. Where a rank that could not be solved might be the best the winner is unknown, and
    `note` says why. `flagged`: another rank or method may be the best, or its risk be off by more than 1 %.
    """
    if problem.moments is Moments.NO_MEAN:
        return Phase(0, problem.pretrained_risk, float("inf"), Winner.PRETRAINED)
    curve = curve_near_best(problem, correction=correction)
    try:
        best, note = curve.best_rank, doubt_of_best(curve)
    except (NumericalFailure, InvalidInput) as failure:
        return Phase(-1, float("nan"), curve.fft_risk, Winner.UNKNOWN, True, str(failure))
    winner = Winner.PRETRAINED if best == 0 else Winner.FFT if best == problem.max_rank else Winner.LORA
    return Phase(best, curve.at_rank(best).risk, curve.fft_risk, winner, bool(note), note)


def phase_grid(
    make: Make,
    axes: Mapping[str, Sequence[Any]],
    *,
    correction: bool = True,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> "xr.Dataset":
    """Best rank, its risk, FFT's risk and the winner over a grid, by theory alone.

    `make`, `axes`, `executor` and `progress` are as for `sweep`; `correction` as for `theory.equivalent`. Variables
    `best_rank`, `best_risk`, `fft_risk`, `winner`, `moments`, `flagged` (another rank may be the best, or its risk be
    off by more than 1 %) and `note` (why), with the axes as dimensions.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> ll.phase_grid(problem, {"noise_std": [0.1, 1.0, 10.0]})["best_rank"].values.tolist()
    [3, 2, 0]
    """
    import xarray as xr

    cells = grid(make, axes, reserved=(*_LONG_NAMES, "moments"))
    phases = map_cells(phase, cells.problems, (correction,), executor, progress)
    columns = {
        "best_rank": np.array([p.best_rank for p in phases]),
        "best_risk": np.array([p.best_risk for p in phases]),
        "fft_risk": np.array([p.fft_risk for p in phases]),
        "winner": np.array([p.winner.value for p in phases], dtype=np.int8),
        "flagged": np.array([p.flagged for p in phases], dtype=bool),
        "note": np.array([p.note for p in phases]),
    }
    attributes: dict[str, dict[str, Any]] = {name: {"long_name": text} for name, text in _LONG_NAMES.items()}
    for name in ("best_risk", "fft_risk"):
        attributes[name]["units"] = _UNITS
    attributes["winner"] = flagged(_LONG_NAMES["winner"], list(Winner))
    variables: dict[str, Any] = {
        name: (cells.names, values.reshape(cells.shape), attributes[name]) for name, values in columns.items()
    }
    provenance = {
        "Conventions": "CF-1.11",
        "title": "Best rank of LoRA and winner against FFT",
        "source": f"linreg-lora {release()}",
        "problems_sha256": cells.identity,
        "correction": int(correction),
    }
    return xr.Dataset(variables | {"moments": cells.moments}, cells.coordinates, provenance)
