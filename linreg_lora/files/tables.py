"""Tables of numbers with named columns: csv and parquet, columns chosen by name, pattern or range."""

import csv
import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

#: Bytes of a table file, and of its numbers.
LARGEST_TABLE = 2 * 2**30
_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
_DELIMITERS = ",;\t|"
#: Lines that are looked at before a large file is read.
_LOOKED_AT = 100


def is_table(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def read_table(path: Path) -> "pd.DataFrame":
    """A table, each column as it is read. Raises `InvalidInput` for a file that cannot be."""
    if not path.is_file():
        raise InvalidInput("path", "a file", str(path))
    if path.stat().st_size > LARGEST_TABLE:
        limit = f"{LARGEST_TABLE / 2**30:g} GiB at most"
        raise InvalidInput(path.name, limit, f"{path.stat().st_size / 2**30:.3g} GiB", "take a sample of the rows")
    frame = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    if not frame.shape[0] or not frame.shape[1]:
        raise InvalidInput(path.name, "rows and columns", f"{frame.shape[0]} rows, {frame.shape[1]} columns")
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(path.name, "columns of different names", f"{twice[0]} twice", "rename one")
    return frame.set_axis(names, axis=1)


def numbers(frame: "pd.DataFrame", name: str) -> np.ndarray:
    """The columns as numbers, (rows, columns); missing values are nan. Refuses text, with row and column."""
    found = np.empty(frame.shape)
    for place, column in enumerate(frame.columns):
        values = frame[column]
        try:
            found[:, place] = values.to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError):
            row = next(i for i, value in enumerate(values) if not _is_number(value))
            raise InvalidInput(
                name, "columns of numbers", f"{values.iloc[row]} in column {column}, row {row}", "leave the column out"
            ) from None
    return found


def matrix(path: Path, names: Sequence[str]) -> np.ndarray:
    """A matrix of numbers in text or parquet. A first line that is no numbers names columns: these are taken in the
    order of `names` where all of them are there. Raises `InvalidInput` for rows that have names."""
    if path.suffix.lower() != ".parquet" and _is_headless(path):
        return numbers(_text(path, named=False), path.name)
    frame = read_table(path)
    first = frame.iloc[:, 0]
    if not (set(names) <= set(frame.columns)) and not all(_is_number(value) for value in first):
        raise InvalidInput(path.name, "numbers alone", f"a first column of names, {first.iloc[0]}", "leave it out")
    if set(names) <= set(frame.columns):
        rest = [name for name in frame.columns if name not in names]
        if rest and not all(_is_number(value) for value in frame[rest[0]]):
            raise InvalidInput(
                path.name, "numbers alone", f"names of rows in {rest[0]}", "order the rows, leave it out"
            )
        frame = frame.loc[:, list(names)]
    return numbers(frame, path.name)


def columns(frame: "pd.DataFrame", field: str, wanted: str) -> list[str]:
    """The columns that a text names: names, patterns as in x*, and ranges as in x1:x9 (by place), with commas between.

    Raises `InvalidInput` for one that is not there, listing those that are.
    """
    names, found = list(frame.columns), []
    for part in (part.strip() for part in wanted.split(",")):
        if part in names:
            found.append(part)
            continue
        first, colon, last = part.partition(":")
        if colon and first in names and last in names:
            ends = names.index(first), names.index(last)
            found += names[ends[0] : ends[1] + 1]
            if ends[0] > ends[1]:
                raise InvalidInput(field, f"a range in the order of the columns, {last}:{first}", part)
            continue
        matched = fnmatch.filter(names, part) if part else []
        if not matched:
            raise InvalidInput(field, f"columns among {_listed(names)}", part or "nothing")
        found += matched
    return list(dict.fromkeys(found))


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def _text(path: Path, *, named: bool = True) -> "pd.DataFrame":
    import pandas as pd

    with path.open("rb") as file:
        head = file.read(2**16)
    try:
        first = head.decode("utf-8-sig", errors="strict" if len(head) < 2**16 else "ignore")
    except UnicodeDecodeError:
        raise InvalidInput(path.name, "text in UTF-8", "other bytes", "save it as UTF-8") from None
    lines = [line for line in first.splitlines() if line.strip()] or [""]
    delimiter = max(_DELIMITERS, key=lambda mark: (lines[0].count(mark), _DELIMITERS.index(mark)))
    names, *rows = csv.reader(lines[: _LOOKED_AT if len(head) == 2**16 else None], delimiter=delimiter)
    if named:
        _require_names(path, [name.strip() for name in names], rows)
    cells = [cell for row in ([] if named else [names]) + rows for cell in row]
    commas = delimiter != "," and any("," in cell for cell in cells)
    if commas and any("." in cell for cell in cells):
        received = "commas and points in numbers"
        raise InvalidInput(path.name, "decimal points, or decimal commas", received, "write thousands without marks")
    try:
        return pd.read_csv(
            path, sep=delimiter, decimal="," if commas else ".", encoding="utf-8-sig", skipinitialspace=True,
            index_col=False, header=0 if named else None,
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput(path.name, "a table with a line of column names", str(error)) from None


def _require_names(path: Path, names: list[str], rows: list[list[str]]) -> None:
    """Refuses a first line that does not name the columns, each once."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and not all(_is_number(name) for name in names):
        raise InvalidInput(path.name, "columns of different names", f"{twice[0]} twice", "rename one")
    for place, row in enumerate(rows, start=2):
        if len(row) > len(names):
            received = f"{len(row)} numbers in line {place}"
            raise InvalidInput(path.name, f"as many columns as names, {len(names)}", received, "name every column")


def _is_headless(path: Path) -> bool:
    """Whether the first line is one of numbers."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline(2**20).decode("utf-8-sig", errors="replace").strip()
    for delimiter in _DELIMITERS:
        cells = [cell.strip() for cell in line.split(delimiter)]
        cells = [cell if delimiter == "," else cell.replace(",", ".") for cell in cells]
        if (len(cells) > 1 or delimiter == _DELIMITERS[-1]) and all(_is_number(cell) for cell in cells):
            return True
    return False


def _parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        import pyarrow
    except ImportError:
        raise InvalidInput(path.name, "csv, or parquet with pyarrow", "parquet without it",
                           "pip install 'linreg-lora[parquet]'") from None  # fmt: skip
    try:
        import pyarrow.parquet

        size = sum(
            pyarrow.parquet.ParquetFile(path).metadata.row_group(i).total_byte_size
            for i in range(pyarrow.parquet.ParquetFile(path).metadata.num_row_groups)
        )
        if size > LARGEST_TABLE:
            raise InvalidInput(path.name, f"{LARGEST_TABLE / 2**30:g} GiB at most", f"{size / 2**30:.3g} GiB")
        return pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidInput(path.name, "a parquet file", str(error)) from None


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value is None
    return True
