"""The sweep file: a problem, the axes along which it varies, and how each cell is computed.

A sweep file is data; nothing in it is ever evaluated. Anything else than a well-formed file is refused in one line:
field, expected, received.
"""

import functools
import io
import json
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from linreg_lora import spectra
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import Method
from linreg_lora.validation import LARGEST

#: Limits that no sweep meets on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_FILE = 4_000_000
LARGEST_GRID = 1_000_000
LARGEST_FAMILY = 10_000_000
_DEEPEST = 10

_Model = TypeVar("_Model", bound=BaseModel)
_Integer = Annotated[int, Field(strict=True)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Vector = list[_Number]
_Matrix = Annotated[list[_Vector], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Family(_Strict):
    """Singular values, or variances, by family (`spectra`), times `scale`.

    | family      | parameters   | values                                                          |
    |-------------|--------------|-----------------------------------------------------------------|
    | low-rank    | `rank`       | 1, ..., 1, then zeros                                           |
    | power-law   | `exponent`   | i^(-exponent), i = 1, 2, ...                                    |
    | exponential | `rate`       | exp(-rate i), i = 0, 1, ...                                     |
    | gaussian    | `rank, seed` | U V / sqrt(rank), U and V iid N(0, 1); for the task shift alone |
    """

    family: Literal["low-rank", "power-law", "exponential", "gaussian"]
    rank: _Integer | None = Field(default=None, ge=1)
    exponent: _Number | None = Field(default=None, ge=0)
    rate: _Number | None = Field(default=None, ge=0)
    seed: _Integer | None = Field(default=None, ge=0)
    scale: _Number = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _has_its_parameters(self) -> "Family":
        own = _PARAMETERS[self.family]
        given = tuple(name for name in ("rank", "exponent", "rate", "seed") if getattr(self, name) is not None)
        if given != own:
            raise InvalidInput(
                "parameters", f"{' and '.join(own)} with family {self.family}", ", ".join(given) or "none"
            )
        return self

    def values(self, size: int) -> np.ndarray:
        """The first `size` values; not for gaussian."""
        if size > LARGEST_FAMILY:
            raise InvalidInput("family", f"at most {LARGEST_FAMILY} values", size)
        if self.family == "low-rank":
            assert self.rank is not None
            if self.rank > size:
                raise InvalidInput("rank", f"an integer in 1..{size}", self.rank)
            return np.concatenate([np.full(self.rank, self.scale), np.zeros(size - self.rank)])
        if self.family == "power-law":
            return np.array(spectra.power_law(size, self.exponent or 0.0, self.scale))
        return np.array(spectra.exponential(size, self.rate or 0.0, self.scale))


_PARAMETERS = {
    "low-rank": ("rank",),
    "power-law": ("exponent",),
    "exponential": ("rate",),
    "gaussian": ("rank", "seed"),
}
_WITH_FAMILY = ("spectrum", "input_covariance", "noise_covariance")
#: Axes of integers, whose rules are rounded.
_INTEGERS = ("n", "dx", "dy", "rank", "seed")


def _kind(value: Any) -> str:
    if isinstance(value, (dict, Family)):
        return "<family>"
    if isinstance(value, list):
        return "<matrix>" if any(isinstance(row, list) for row in value) else "<vector>"
    return "<number>"


def _kind_of_spectrum(value: Any) -> str:
    return "<family>" if isinstance(value, (dict, Family)) else "<vector>"


_Spectrum = Annotated[
    Annotated[Family, Tag("<family>")] | Annotated[_Vector, Tag("<vector>")], Discriminator(_kind_of_spectrum)
]
_Covariance = Annotated[
    Annotated[Family, Tag("<family>")]
    | Annotated[_Number, Tag("<number>")]
    | Annotated[_Vector, Tag("<vector>")]
    | Annotated[_Matrix, Tag("<matrix>")],
    Discriminator(_kind),
]


class ProblemSpec(_Strict):
    """The fields of a `Problem`. A covariance is c for c I, a list for a diagonal, a matrix, or a family's diagonal."""

    n: _Integer
    dx: _Integer
    dy: _Integer
    noise_std: _Number
    spectrum: _Spectrum | None = None
    input_covariance: _Covariance | None = None
    noise_covariance: _Covariance | None = None
    ridge: _Number = 0.0
    task_shift: _Matrix | None = None
    pretrained: _Matrix | None = None

    def problem(self) -> Problem:
        """The Problem. Raises `InvalidInput` for one that makes no sense."""
        sizes = {"n": self.n, "dx": self.dx, "dy": self.dy, "noise_std": self.noise_std, "ridge": self.ridge}
        Problem(**sizes, spectrum=())
        covariances = {
            "input_covariance": _covariance("input_covariance", self.input_covariance, self.dx),
            "noise_covariance": _covariance("noise_covariance", self.noise_covariance, self.dy),
        }
        isotropic = self.input_covariance is None and self.noise_covariance is None
        return Problem(**sizes, **covariances, **self._shift(isotropic), pretrained=_rows(self.pretrained))  # type: ignore[arg-type]

    def _shift(self, isotropic: bool) -> dict[str, Any]:
        given = self.spectrum
        if not isinstance(given, Family):
            return {"spectrum": None if given is None else tuple(given), "task_shift": _rows(self.task_shift)}
        if self.task_shift is not None:
            raise InvalidInput("spectrum", "either spectrum or task_shift", "both")
        if given.family != "gaussian":
            return {"spectrum": tuple(_family("spectrum", given, min(self.dx, self.dy)).tolist())}
        assert given.rank is not None
        assert given.seed is not None
        matrix, values = _gaussian(self.dx, self.dy, given.rank, given.seed)
        # Where both covariances are multiples of the identity no risk depends on more than the singular values.
        if isotropic:
            return {"spectrum": tuple((given.scale * values).tolist())}
        return {"task_shift": given.scale * matrix}


class Rule(_Strict):
    """Values of an axis by rule: exactly one of the three.

    `log`, `linear`: [first, last, count], spaced evenly in logarithm or not; rounded to distinct integers on axes of
    integers. `range`: [first, last, step], last included where a step meets it.
    """

    log: tuple[_Number, _Number, _Integer] | None = None
    linear: tuple[_Number, _Number, _Integer] | None = None
    range: tuple[_Integer | _Number, _Integer | _Number, _Integer | _Number] | None = None

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
    return "<rule>" if isinstance(value, (dict, Rule)) else "<values>"


_Axis = Annotated[
    Annotated[Rule, Tag("<rule>")] | Annotated[list[Any], Field(min_length=1), Tag("<values>")],
    Discriminator(_kind_of_axis),
]
_Ranks = Annotated[
    Annotated[Rule, Tag("<rule>")] | Annotated[list[_Integer], Field(min_length=1), Tag("<values>")],
    Discriminator(_kind_of_axis),
]


class SweepConfig(_Strict):
    """A whole sweep file. `problem` may leave out what an axis gives; `axes` as in n, spectrum or spectrum.rank."""

    problem: dict[str, Any]
    axes: Annotated[dict[str, _Axis], Field(min_length=1)]
    ranks: _Ranks
    trials: _Integer = Field(default=400, ge=2)
    seed: _Integer = Field(default=0, ge=0, lt=2**63)
    methods: list[Method] = Field(default=["monte-carlo", "theory"], min_length=1)

    @model_validator(mode="after")
    def _makes_a_grid(self) -> "SweepConfig":
        if len(set(self.methods)) < len(self.methods):
            raise InvalidInput("methods", "distinct methods", self.methods)
        self._require_known_axes()
        size = math.prod(len(values) for values in self.points.values())
        if size > LARGEST_GRID:
            raise InvalidInput("axes", f"at most {LARGEST_GRID} cells", f"{size} cells")
        for path, values in self.points.items():
            if len({json.dumps(value, sort_keys=True, default=repr) for value in values}) < len(values):
                raise InvalidInput(f"axes.{path}", "distinct values", values)
        self.make(**{_dimension(path): values[0] for path, values in self.points.items()})
        return self

    def _require_known_axes(self) -> None:
        for path in self.axes:
            field, _, parameter = path.partition(".")
            base = self.problem.get(field)
            known = list(ProblemSpec.model_fields)
            if isinstance(base, dict):
                known += [f"{field}.{name}" for name in Family.model_fields]
            if path not in known or (parameter and field in self.axes):
                expected = "fields of the problem, or as in spectrum.rank parameters of a family that the problem names"
                raise InvalidInput("axes", expected, path)

    @property
    def points(self) -> dict[str, list]:
        """The axes' values, by their paths in the file."""
        found = {}
        for path, axis in self.axes.items():
            integers = path.rpartition(".")[2] in _INTEGERS
            values = axis.values(integers) if isinstance(axis, Rule) else axis
            found[path] = values if integers else [_as_real(value) for value in values]
        return found

    @property
    def grid_axes(self) -> dict[str, list]:
        """The axes as `sweep` takes them, by the names of their dimensions: spectrum.rank is spectrum_rank."""
        return {_dimension(path): values for path, values in self.points.items()}

    @property
    def rank_values(self) -> list:
        """The LoRA ranks."""
        return self.ranks.values(integers=True) if isinstance(self.ranks, Rule) else self.ranks

    @property
    def text(self) -> str:
        """The canonical text: YAML without comments, the same for every way to write the same file."""
        from ruamel.yaml import YAML

        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = None
        yaml.width = 2**31
        text = io.StringIO()
        yaml.dump(self.model_dump(exclude_none=True), text)
        return text.getvalue()

    def make(self, **point: Any) -> Problem:
        """The problem of one cell. Raises `InvalidInput`, naming the cell."""
        paths = {_dimension(path): path for path in self.axes}
        content = dict(self.problem)
        for name, value in point.items():
            field, _, parameter = paths[name].partition(".")
            content[field] = {**content[field], parameter: value} if parameter else value
        try:
            return _validated(ProblemSpec, content, "problem").problem()
        except InvalidInput as error:
            where = ", ".join(f"{paths[name]} = {json.dumps(value, default=repr)}" for name, value in point.items())
            field = error.field if error.field.startswith("problem") else f"problem.{error.field}"
            remedy = f"{error.remedy}; " if error.remedy else ""
            where = where if len(where) <= 120 else f"{where[:120]}..."
            raise InvalidInput(field, error.expected, error.received, f"{remedy}in the cell {where}") from None


def load(path: Path) -> SweepConfig:
    """Read and validate a sweep file. Raises `InvalidInput` in one line for anything that is not one."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("sweep file", "a readable UTF-8 file", str(path), str(error)) from None
    if len(text) > LARGEST_FILE:
        raise InvalidInput("sweep file", f"at most {LARGEST_FILE} bytes", str(path))
    return parse(_content(text, str(path)))


def parse(content: Any) -> SweepConfig:
    """Validate the content of a sweep file."""
    if not isinstance(content, dict):
        raise InvalidInput("sweep file", "a mapping with problem, axes and ranks", content)
    return _validated(SweepConfig, content, "")


def _content(text: str, name: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    expected = "YAML, without duplicate keys, tags or aliases"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            depth = 0
            for event in YAML(typ="safe", pure=True).parse(text):
                where = f"line {event.start_mark.line + 1}"
                depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
                if depth > _DEEPEST:
                    raise InvalidInput("sweep file", f"mappings and lists at most {_DEEPEST} deep", name, where)
                if isinstance(event, AliasEvent) or getattr(event, "tag", None) is not None:
                    raise InvalidInput("sweep file", expected, name, f"{where}: a tag or an alias")
            return YAML(typ="safe", pure=True).load(text)
    except InvalidInput:
        raise
    # A scalar that looks like a number or a date and is none fails in whatever way its conversion does.
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise InvalidInput("sweep file", expected, name, _where(error)) from None


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"line {mark.line + 1}: {text}" if mark is not None else str(text)


def _validated(model: type[_Model], content: Mapping[str, Any], prefix: str) -> _Model:
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        raise _first_problem(model, error, prefix) from None


def _first_problem(model: type[BaseModel], error: pydantic.ValidationError, prefix: str) -> InvalidInput:
    problem = error.errors()[0]
    path = [part for part in problem["loc"] if not str(part).startswith(("<", "["))]
    kind, received = problem["type"], problem["input"]
    context = problem.get("ctx", {}).get("error")
    if isinstance(context, InvalidInput):
        field = _joined(prefix, *path) if path else ""
        inner = context.field if not field or context.field.startswith(field) else f"{field}.{context.field}"
        return InvalidInput(inner, context.expected, context.received, context.remedy)
    if kind == "extra_forbidden":
        *path, received = path
        expected = f"fields among {', '.join(_fields(model, problem['loc']))}"
    elif kind == "missing":
        expected, received = "a value", "nothing"
    else:
        expected = _said_briefly(problem["msg"])
    return InvalidInput(_joined(prefix, *path) or "sweep file", expected[:1].lower() + expected[1:], received)


def _said_briefly(message: str) -> str:
    """Pydantic's message as what was expected."""
    if found := re.search(r"should have (at least \d+ items?)", message):
        return found[1]
    return (
        message.removeprefix("Value error, ")
        .removeprefix("Input should be ")
        .replace("greater than or equal to", "at least")
        .replace("less than or equal to", "at most")
        .replace("a valid dictionary", "a mapping")
        .replace("a valid string", "text")
    )


def _fields(model: type[BaseModel], location: tuple) -> list[str]:
    """The fields of the mapping at `location`."""
    inner = {"<family>": Family, "<rule>": Rule}
    models = [inner[part] for part in location if part in inner]
    return list((models[-1] if models else model).model_fields)


def _joined(*parts: object) -> str:
    text = " ".join(".".join(str(part) for part in parts if part != "").split())
    return text if len(text) <= 80 else f"{text[:80]}..."


def _dimension(path: str) -> str:
    return path.replace(".", "_")


def _as_real(value: Any) -> Any:
    """A float where it is an integer, so that a coordinate has one type."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    return value


def _covariance(field: str, given: Any, size: int) -> np.ndarray | None:
    if given is None:
        return None
    if isinstance(given, Family):
        if given.family == "gaussian":
            raise InvalidInput(f"{field}.family", "low-rank, power-law or exponential", given.family)
        return _family(field, given, size)
    if isinstance(given, list):
        return _rows(given)
    if size > LARGEST_FAMILY:
        raise InvalidInput(field, f"at most {LARGEST_FAMILY} variances", size)
    return np.full(size, given)


def _family(field: str, family: Family, size: int) -> np.ndarray:
    try:
        return family.values(size)
    except InvalidInput as error:
        raise InvalidInput(f"{field}.{error.field}", error.expected, error.received, error.remedy) from None


def _rows(given: list | None) -> Any:
    """The list as an array where it is one, else as it is, for Problem to refuse."""
    if given is None:
        return None
    try:
        return np.array(given, dtype=float)
    except ValueError:
        return given


@functools.lru_cache(maxsize=16)
def _gaussian(dx: int, dy: int, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The Gaussian task shift and its nonzero singular values."""
    matrix = spectra.gaussian_factors(dx, dy, rank, seed)
    return matrix, np.array(spectra.from_matrix(matrix, rank))
