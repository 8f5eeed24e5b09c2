"""Where the note looks for its numbers: tables and sentences of benchmarks/results, captions and data of figures.

What is not found is an error.
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS, FIGURES = ROOT / "benchmarks" / "results", ROOT / "figures"


class NotFound(LookupError):
    """A number is not where the note looks for it."""


def tables(name: str) -> list[list[dict[str, str]]]:
    """The tables of a page of benchmarks/results: their rows, by the heads of the columns.

    A head that stands twice has the column's number behind it.
    """
    found, head = [], None
    for line in (RESULTS / name).read_text().splitlines():
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if head is None:
            head = [cell if cells.index(cell) == i else f"{cell} [{i}]" for i, cell in enumerate(cells)]
            found.append([])
        elif not set("".join(cells)) <= set("-: "):
            found[-1].append(dict(zip(head, cells, strict=True)))
    return found


def row(name: str, first: str, column: str) -> dict[str, str]:
    """The row named `first`, but for what stands in brackets after it, of a page's tables that have `column`."""
    for table in tables(name):
        for found in table:
            name_of_row = next(iter(found.values()))
            if column in found and (name_of_row == first or name_of_row.startswith(f"{first} (")):
                return found
    raise NotFound(f"{name}: expected a row {first!r} with a column {column!r}, found none")


def said(path: Path, pattern: str) -> tuple[str, ...]:
    """The groups of `pattern` in a file's text, its lines joined."""
    text = " ".join(path.read_text().split())
    if (found := re.search(pattern, text)) is None:
        raise NotFound(f"{path.name}: expected {pattern!r}, found none")
    return found.groups()


def caption(name: str) -> str:
    """The caption of a committed figure, numbers included."""
    return str(json.loads((FIGURES / f"{name}.json").read_text())["caption"])


def dataset(name: str) -> Any:
    """The data of a committed figure."""
    import xarray as xr

    return xr.load_dataset(FIGURES / f"{name}.nc", engine="h5netcdf")
