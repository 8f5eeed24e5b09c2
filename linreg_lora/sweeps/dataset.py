"""The Dataset of a sweep: the numbers of a cell in a row, and the variables that rows of all cells make."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from linreg_lora.methods.method import Method
from linreg_lora.provenance import release
from linreg_lora.risk_curve import ComputedBy, RiskCurve
from linreg_lora.sweeps import adapted
from linreg_lora.sweeps.grid import Grid
from linreg_lora.sweeps.journal import Entry

if TYPE_CHECKING:
    import xarray as xr

_UNITS = "squared units of y"
_BY_RANK = {
    "risk": "expected excess risk of LoRA",
    "stderr": "standard error of risk; nan where none exists",
    "difference": "expected excess risk of LoRA minus that of FFT, paired",
    "difference_stderr": "standard error of difference; nan where none exists",
}
_FFT = {
    "fft_risk": "expected excess risk of FFT",
    "fft_stderr": "standard error of fft_risk; nan where none exists",
}
_FLAGS = {
    "flagged": "whether a risk by theory may be off by more than 1 %",
    "fft_flagged": "whether fft_risk by theory may be off by more than 1 %",
}
_RESERVED = ("rank", "computed_by", *_BY_RANK, *_FFT, *_FLAGS, "note", "moments", "failure")


def row(curve: RiskCurve, ranks: tuple[int, ...]) -> np.ndarray:
    """The curve's numbers at `ranks`, variable after variable, then those of FFT, then the flags as 0 and 1.

    nan where there is no number.
    """
    place = np.flatnonzero(np.isin(ranks, curve.ranks))
    known = np.isin(curve.ranks, ranks)
    by_rank = np.full((len(_BY_RANK), len(ranks)), np.nan)
    for values, name in zip(by_rank, _BY_RANK, strict=True):
        if (value := getattr(curve, name)) is not None:
            values[place] = value[known]
    fft = [np.nan if (value := getattr(curve, name)) is None else value for name in _FFT]
    flagged = np.zeros(len(ranks))
    if curve.flagged is not None:
        flagged[place] = curve.flagged[known]
    return np.concatenate([by_rank.ravel(), fft, flagged, [float(curve.fft_flagged)]])


def _curve_size(ranks: tuple[int, ...]) -> int:
    return (len(_BY_RANK) + 1) * len(ranks) + len(_FFT) + 1 if ranks else 0


def row_size(ranks: tuple[int, ...], methods: tuple[Method, ...]) -> int:
    """How many numbers a cell has for each way to compute them."""
    return _curve_size(ranks) + adapted.row_size(methods)


def dataset(
    cells: Grid,
    ranks: tuple[int, ...],
    methods: tuple[Method, ...],
    computed_by: tuple[ComputedBy, ...],
    entries: Mapping[int, Entry],
) -> "xr.Dataset":
    """The Dataset of all cells."""
    import xarray as xr

    size, count, curves = len(cells.problems), len(computed_by), _curve_size(ranks)
    table, notes = np.full((count, size, row_size(ranks, methods)), np.nan), np.full((count, size), "", dtype=object)
    said = np.full((count, size, len(methods)), "", dtype=object)
    for cell, entry in entries.items():
        if not entry.failure:
            table[:, cell] = np.frombuffer(entry.payload, "<f8").reshape(count, -1)
            found = json.loads(entry.notes)
            of_curves = found["curves"] if methods else found
            notes[:, cell] = ["; ".join(lines) for lines in of_curves]
            if methods:
                said[:, cell] = found["adapt"]
    lengths, dimensions = (count, *cells.shape), ("computed_by", *cells.names)
    variables: dict[str, Any] = {"moments": cells.moments}
    coordinates: dict[str, Any] = {"computed_by": list(computed_by)}
    if ranks:
        variables |= _curve_variables(ranks, lengths, dimensions, table[:, :, :curves], notes)
        coordinates["rank"] = ("rank", list(ranks), {"long_name": "LoRA rank", "units": "1"})
    if methods:
        variables |= adapted.variables(methods, cells.problems, lengths, dimensions, table[:, :, curves:], said)
        coordinates |= adapted.coordinate(methods)
    reasons = np.array([entries[cell].failure for cell in range(size)]).reshape(cells.shape)
    variables["failure"] = (cells.names, reasons, {"long_name": "why the cell has no numbers; empty where it has"})
    attributes = {
        "Conventions": "CF-1.11",
        "title": "Expected excess risk of fine-tuning methods" if methods else "Expected excess risk of LoRA and FFT",
        "source": f"linreg-lora {release()}",
        "problems_sha256": cells.identity,
    }
    return xr.Dataset(variables, coordinates | cells.coordinates, attributes)


def _curve_variables(
    ranks: tuple[int, ...],
    lengths: tuple[int, ...],
    dimensions: tuple[str, ...],
    table: np.ndarray,
    notes: np.ndarray,
) -> dict[str, Any]:
    """The variables of the risk curves: `table` (computed_by, cell, numbers of a row), `notes` (computed_by, cell)."""
    width = len(ranks)
    variables: dict[str, Any] = {}
    for i, (name, long_name) in enumerate(_BY_RANK.items()):
        values = table[:, :, i * width : (i + 1) * width].reshape(*lengths, width)
        variables[name] = ((*dimensions, "rank"), values, {"long_name": long_name, "units": _UNITS})
    for i, (name, long_name) in enumerate(_FFT.items(), len(_BY_RANK) * width):
        values = table[:, :, i].reshape(lengths)
        variables[name] = (dimensions, values, {"long_name": long_name, "units": _UNITS})
    flags = np.nan_to_num(table[:, :, len(_BY_RANK) * width + len(_FFT) :]) > 0
    by_rank, of_fft = flags[:, :, :width].reshape(*lengths, width), flags[:, :, width].reshape(lengths)
    variables["flagged"] = ((*dimensions, "rank"), by_rank, {"long_name": _FLAGS["flagged"]})
    variables["fft_flagged"] = (dimensions, of_fft, {"long_name": _FLAGS["fft_flagged"]})
    said = notes.reshape(lengths).astype(str)
    variables["note"] = (dimensions, said, {"long_name": "what is missing or in doubt, and why; empty when nothing is"})
    return variables


def reserved(methods: tuple[Method, ...]) -> tuple[str, ...]:
    """The names that no axis may have."""
    return (*_RESERVED, *adapted.RESERVED) if methods else _RESERVED
