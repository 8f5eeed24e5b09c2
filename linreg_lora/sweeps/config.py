"""The sweep file: a problem, the axes along which it varies, and how each cell is computed."""

import io
import json
import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from linreg_lora.errors import InvalidInput
from linreg_lora.files import yaml
from linreg_lora.files.models import Integer, Strict, renamed, validated
from linreg_lora.files.problems import Family, ProblemSpec
from linreg_lora.methods import registry
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import ComputedBy
from linreg_lora.sweeps.axes import LARGEST_GRID, Axis, Point, Ranks, Rule, Together, dimension, values_of

#: More than a sweep needs on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_FILE = 4_000_000


class SweepConfig(Strict):
    """A whole sweep file. `problem` may leave out what an axis gives; `axes` as in n, spectrum or spectrum.rank.

    An axis of any other name has fields that vary together: `size: {zip: {n: [40, 80], dx: [12, 24]}}`.

    >>> import linreg_lora as ll
    >>> problem = {"n": 60, "dx": 24, "dy": 20, "spectrum": {"family": "low-rank", "rank": 3}}
    >>> content = {"problem": problem, "axes": {"noise_std": {"log": [0.1, 10, 3]}}, "ranks": [2]}
    >>> config = ll.sweeps.SweepConfig.model_validate(content)
    >>> config.grid_axes
    {'noise_std': [0.1, 1.0, 10.0]}
    >>> config.make(noise_std=1.0).pretrained_risk
    3.0
    """

    problem: dict[str, Any]
    axes: Annotated[dict[str, Axis], Field(min_length=1)]
    ranks: Ranks | None = None
    adapt: Annotated[list[str], Field(min_length=1)] | None = None
    trials: Integer = Field(default=400, ge=2)
    seed: Integer = Field(default=0, ge=0, lt=2**63)
    computed_by: list[ComputedBy] = Field(default=["monte-carlo", "theory"], min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_old_names(cls, content: Any) -> Any:
        return renamed(content, "methods", "computed_by", "")

    @model_validator(mode="after")
    def _makes_a_grid(self) -> "SweepConfig":
        if len(set(self.computed_by)) < len(self.computed_by):
            raise InvalidInput("computed_by", "each of them once", self.computed_by)
        if self.ranks is None and self.adapt is None:
            raise InvalidInput("ranks", "LoRA ranks, or methods by adapt", "neither")
        if self.adapt is not None:
            registry.each(self.adapt)
        self._require_known_axes()
        size = math.prod(len(values) for values in self.points.values())
        if size > LARGEST_GRID:
            raise InvalidInput("axes", f"at most {LARGEST_GRID} cells", f"{size} cells")
        for path, values in self.points.items():
            if len({json.dumps(value, sort_keys=True, default=repr) for value in values}) < len(values):
                raise InvalidInput(f"axes.{path}", "distinct values", values)
        self.make(**{dimension(path): values[0] for path, values in self.points.items()})
        return self

    def _require_known_axes(self) -> None:
        fields = [path for name, axis in self.axes.items() for path in _fields(name, axis)]
        for path in fields:
            field, _, parameter = path.partition(".")
            base = self.problem.get(field)
            known = list(ProblemSpec.model_fields)
            if isinstance(base, dict):
                names = list(base) if field == "input_law" else list(Family.model_fields)
                known += [f"{field}.{name}" for name in names]
            if path not in known or (parameter and field in fields):
                expected = "fields of the problem, or as in spectrum.rank parameters of a family that the problem names"
                raise InvalidInput("axes", expected, path)
            if fields.count(path) > 1:
                raise InvalidInput("axes", "each field of the problem on one axis", path)
        for name, axis in self.axes.items():
            if isinstance(axis, Together) and (not name.isidentifier() or name in ProblemSpec.model_fields):
                expected = "a word of letters, digits and _ that is no field of the problem, as a name for zip"
                raise InvalidInput("axes", expected, name)

    @property
    def points(self) -> dict[str, list]:
        """The axes' values, by their paths in the file."""
        return {
            path: axis.points if isinstance(axis, Together) else values_of(path, axis)
            for path, axis in self.axes.items()
        }

    @property
    def grid_axes(self) -> dict[str, list]:
        """The axes as `sweep` takes them, by the names of their dimensions: spectrum.rank is spectrum_rank."""
        return {dimension(path): values for path, values in self.points.items()}

    @property
    def rank_values(self) -> list | None:
        """The LoRA ranks, if there are any."""
        return self.ranks.values(integers=True) if isinstance(self.ranks, Rule) else self.ranks

    @property
    def text(self) -> str:
        """The canonical text: YAML without comments, the same for every way to write the same file."""
        from ruamel.yaml import YAML

        writer = YAML(typ="safe", pure=True)
        writer.default_flow_style = None
        writer.width = 2**31
        text = io.StringIO()
        writer.dump(self.model_dump(exclude_none=True), text)
        return text.getvalue()

    def make(self, **point: Any) -> Problem:
        """The problem of one cell. Raises `InvalidInput`, naming the cell."""
        paths = {dimension(path): path for path in self.axes}
        content = dict(self.problem)
        for name, values in point.items():
            for path, value in (values if isinstance(values, Point) else {paths[name]: values}).items():
                field, _, parameter = path.partition(".")
                content[field] = {**content[field], parameter: value} if parameter else value
        try:
            return validated(ProblemSpec, content, what="problem", prefix="problem").problem()
        except InvalidInput as error:
            where = ", ".join(f"{paths[name]} = {json.dumps(value, default=repr)}" for name, value in point.items())
            field = error.field if error.field.startswith("problem") else f"problem.{error.field}"
            remedy = f"{error.remedy}; " if error.remedy else ""
            where = where if len(where) <= 120 else f"{where[:120]}..."
            raise InvalidInput(field, error.expected, error.received, f"{remedy}in the cell {where}") from None


def _fields(name: str, axis: Rule | list | Together) -> list[str]:
    """The fields of the problem that an axis gives."""
    return list(axis.zip) if isinstance(axis, Together) else [name]


def load_sweep(path: Path | str) -> SweepConfig:
    """Read and validate a sweep file. Raises `InvalidInput` in one line for anything that is not one.

    >>> import linreg_lora as ll
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sweep.yaml")
    ...     _ = path.write_text("{problem: {n: 9, dx: 4, dy: 3, spectrum: [1]}, axes: {noise_std: [1, 2]}, ranks: [1]}")
    ...     ll.sweeps.load_sweep(path).grid_axes
    {'noise_std': [1.0, 2.0]}
    """
    return parse_sweep(yaml.read(Path(path), "sweep file", largest=LARGEST_FILE))


def parse_sweep(content: Any) -> SweepConfig:
    """Validate the content of a sweep file.

    >>> import linreg_lora as ll
    >>> problem = {"n": 60, "dx": 24, "dy": 20, "spectrum": [3.0, 2.0, 1.0]}
    >>> ll.sweeps.parse_sweep({"problem": problem, "axes": {"noise_std": [1, 2]}, "ranks": [2]}).grid_axes
    {'noise_std': [1.0, 2.0]}
    """
    return validated(SweepConfig, content, what="sweep file")
