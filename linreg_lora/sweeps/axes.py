"""The axes of a sweep file: their values, in a list or by rule."""

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import Integer, Number, Strict, whole
from linreg_lora.validation import LARGEST

#: More than a sweep needs on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_GRID = 1_000_000
#: Axes of integers, whose rules are rounded.
_INTEGERS = ("n", "dx", "dy", "rank", "seed")


class Rule(Strict):
    """Values of an axis by rule: exactly one of the three.

    `log`, `linear`: [first, last, count], spaced evenly in logarithm or not; rounded to distinct integers on axes of
    integers. `range`: [first, last, step], last included where a step meets it.
    """

    log: tuple[Number, Number, Integer] | None = None
    linear: tuple[Number, Number, Integer] | None = None
    range: tuple[Integer | Number, Integer | Number, Integer | Number] | None = None

    @model_validator(mode="after")
    def _is_one_that_ends(self) -> "Rule":
        given = [name for name in ("log", "linear", "range") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidInput("rule", "exactly one of log, linear, range", ", ".join(given) or "none")
        if any(abs(number) > LARGEST for number in getattr(self, given[0])):
            raise InvalidInput(given[0], f"numbers up to {LARGEST:g}", list(getattr(self, given[0])))
        for name in ("log", "linear"):
            rule = getattr(self, name)
            if rule is not None and not (1 <= rule[2] <= LARGEST_GRID):
                raise InvalidInput(name, f"[first, last, count], 1 <= count <= {LARGEST_GRID}", list(rule))
        if self.log is not None and min(self.log[:2]) <= 0:
            raise InvalidInput("log", "[first, last, count] with first and last > 0", list(self.log))
        if self.range is not None:
            first, last, step = self.range
            if step <= 0 or last < first or not (last - first) / step < LARGEST_GRID:
                expected = f"[first, last, step], first <= last, step > 0, at most {LARGEST_GRID} values"
                raise InvalidInput("range", expected, list(self.range))
        return self

    def values(self, integers: bool) -> list:
        """The values, rounded to distinct integers if asked for."""
        if self.range is not None:
            first, last, step = self.range
            if all(isinstance(x, int) for x in self.range):
                return list(range(int(first), int(last) + 1, int(step)))
            return [first + i * step for i in range(math.floor((last - first) / step + 1e-9) + 1)]
        rule, spaced = (self.log, np.geomspace) if self.log is not None else (self.linear, np.linspace)
        assert rule is not None
        values = spaced(rule[0], rule[1], int(rule[2])).tolist()
        return list(dict.fromkeys(round(value) for value in values)) if integers else values


def _kind_of_axis(value: Any) -> str:
    if isinstance(value, Together) or (isinstance(value, dict) and "zip" in value):
        return "<zip>"
    return "<rule>" if isinstance(value, (dict, Rule)) else "<values>"


def _kind_of_values(value: Any) -> str:
    return "<rule>" if isinstance(value, (dict, Rule)) else "<values>"


_Values = Annotated[list[Any], Field(min_length=1), Tag("<values>")]
_Plain = Annotated[Annotated[Rule, Tag("<rule>")] | _Values, Discriminator(_kind_of_values)]


class Point(dict[str, Any]):
    """The values of fields that vary together, by their paths, at one point of their axis."""


class Together(Strict):
    """An axis along which several fields of the problem vary together: `zip`, their values, equally many of each."""

    zip: Annotated[dict[str, _Plain], Field(min_length=1)]

    @model_validator(mode="after")
    def _are_equally_many(self) -> "Together":
        lengths = {path: len(values_of(path, axis)) for path, axis in self.zip.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{path} {length}" for path, length in lengths.items())
            raise InvalidInput("zip", "equally many values of each field", said)
        return self

    @property
    def points(self) -> list[Point]:
        """The values of all fields at each point, by their paths."""
        columns = [values_of(path, axis) for path, axis in self.zip.items()]
        return [Point(zip(self.zip, point, strict=True)) for point in zip(*columns, strict=True)]


Axis = Annotated[
    Annotated[Rule, Tag("<rule>")] | _Values | Annotated[Together, Tag("<zip>")], Discriminator(_kind_of_axis)
]
Ranks = Annotated[
    Annotated[Rule, Tag("<rule>")] | Annotated[list[Integer], Field(min_length=1), Tag("<values>")],
    Discriminator(_kind_of_values),
]


def values_of(path: str, axis: Rule | list) -> list:
    """The values of the axis at `path`, as in n or spectrum.rank: integers, or floats where they are numbers."""
    integers = path.rpartition(".")[2] in _INTEGERS
    values = axis.values(integers) if isinstance(axis, Rule) else axis
    return [whole(value) if integers else _as_real(value) for value in values]


def dimension(path: str) -> str:
    """The name of the axis in a dataset: spectrum.rank is spectrum_rank."""
    return path.replace(".", "_")


def _as_real(value: Any) -> Any:
    """A float where it is an integer."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    return value
