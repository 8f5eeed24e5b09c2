"""What a setting of an experiment may be, said by its annotation: named types, and values checked against any type.

    def run(case: Problem, trials: int, seed: int, *, rank: Rank, noise: NonNegative, side: Literal["left", "right"])

A claims file gives numbers and texts. A plain `float` is any number, `str` any text, `int` a whole number; any other
type is what pydantic takes it for. What is no type for pydantic, or has no annotation, admits everything.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import pydantic
from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError, SchemaError

from linreg_lora.claims import signatures
from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import whole


def _whole(value: float) -> float:
    if not value.is_integer():
        raise PydanticCustomError("fraction", "an integer")
    return value


class _BelowSizes:
    """Marks ranks, which lie below all sizes of the domain (`schema.Claim`)."""


_INTEGER: dict[str, Any] = {"type": "integer"}

Whole = Annotated[float, Field(ge=0, json_schema_extra=_INTEGER), AfterValidator(_whole)]
Count = Annotated[float, Field(ge=1, json_schema_extra=_INTEGER), AfterValidator(_whole)]
Several = Annotated[float, Field(ge=2, json_schema_extra=_INTEGER), AfterValidator(_whole)]
Rank = Annotated[Count, _BelowSizes()]

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
#: A ratio of a largest to a least value.
Condition = Annotated[float, Field(ge=1)]

#: Names that count something where an annotation says no more than that they are numbers.
COUNTED = {"rank": Rank, "steps": Count, "more": Count}
_NUMBERS = (None, Any, float, int, float | int)


class Setting(NamedTuple):
    """What a setting may be. `said`: in words, empty where nothing is known; `counts`: whole numbers of something."""

    name: str
    said: str
    counts: bool
    is_rank: bool
    adapter: TypeAdapter | None

    def objection(self, value: float | str) -> str:
        """What is expected in place of this value; empty where it may be."""
        if self.adapter is None:
            return ""
        refusals = []
        for written in _as_written(value):
            try:
                self.adapter.validate_json(written, strict=True)
                return ""
            except pydantic.ValidationError as error:
                refusals.append(error)
        return _reason(refusals[0]) or self.said or "another value"


@functools.lru_cache(maxsize=1024)
def of(run: Callable[..., Any]) -> Mapping[str, Setting]:
    """The settings of an experiment's function, by name."""
    function = inspect.unwrap(run)
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            stated = parameter.annotation
            annotation = None if stated is parameter.empty else signatures.resolved(stated, function, whole=True)
            found[parameter.name] = _setting(parameter.name, annotation)
    return found


def _setting(name: str, annotation: Any) -> Setting:
    if name in COUNTED and annotation in _NUMBERS:
        annotation = COUNTED[name]
    adapter, schema = _checked(annotation)
    is_rank = any(isinstance(meta, _BelowSizes) for meta in getattr(annotation, "__metadata__", ()))
    counts = schema.get("type") == "integer" and "enum" not in schema
    return Setting(name, _in_words(schema), counts, is_rank, adapter)


def _checked(annotation: Any) -> tuple[TypeAdapter | None, dict[str, Any]]:
    """What checks values of a type, and its JSON schema; none where pydantic knows it as no type."""
    if annotation is None:
        return None, {}
    try:
        adapter = TypeAdapter(annotation)
    except (pydantic.PydanticUserError, SchemaError, TypeError, NameError):
        return None, {}
    try:
        return adapter, adapter.json_schema()
    except pydantic.PydanticUserError:
        return adapter, {}


def _as_written(value: float | str) -> list[str]:
    """The value as JSON; a whole number also without a point, and 0 and 1 as what they switch."""
    written = [json.dumps(value)]
    if isinstance(value, float | int):
        if isinstance(short := whole(value), int):
            written.append(json.dumps(short))
        if value in (0, 1):
            written.append(json.dumps(bool(value)))
    return written


def _reason(error: pydantic.ValidationError) -> str:
    """What a validator of the type's own asks for; empty where the type itself says it."""
    problem = error.errors()[0]
    raised = problem.get("ctx", {}).get("error")
    if isinstance(raised, InvalidInput):
        return raised.expected
    return str(raised) if isinstance(raised, Exception) else ""


def _in_words(schema: Mapping[str, Any]) -> str:
    """A JSON schema in the words of refusals: "an integer >= 1", "a number in [0, 1]", "'gd' or 'sign'"."""
    if "description" in schema:
        return str(schema["description"])
    if "$ref" in schema:
        return _in_words(schema.get("$defs", {}).get(schema["$ref"].rsplit("/", 1)[-1], {}))
    if "anyOf" in schema:
        parts = [_in_words({**part, "$defs": schema.get("$defs", {})}) for part in schema["anyOf"]]
        return " or ".join(dict.fromkeys(part for part in parts if part))
    if "enum" in schema or "const" in schema:
        *names, last = map(repr, schema.get("enum", [schema.get("const")]))
        return f"{', '.join(names)} or {last}" if names else last
    kinds = {"integer": "an integer", "number": "a number", "string": "text", "boolean": "0 or 1"}
    kind = kinds.get(str(schema.get("type")), "")
    return f"{kind}{_bounds(schema)}" if kind else ""


def _bounds(schema: Mapping[str, Any]) -> str:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if (least, above) != (None, None) and (most, below) != (None, None):
        low = f"[{least:g}" if above is None else f"({above:g}"
        return f" in {low}, {most:g}]" if below is None else f" in {low}, {below:g})"
    signs = ((">=", least), (">", above), ("<=", most), ("<", below))
    return "".join(f" {sign} {bound:g}" for sign, bound in signs if bound is not None)
