"""A sweep file as plain data: strict YAML in, strict models out, and one line for anything else.

Nothing in a file is ever evaluated. A refusal says field, expected, received.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from linreg_lora.errors import InvalidInput
from linreg_lora.files import yaml

#: More than a sweep needs on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_FILE = 4_000_000

_Model = TypeVar("_Model", bound="Strict")
Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Strict(BaseModel):
    """A mapping that has these fields and no others.

    `tagged`: the mappings inside it that a union may hold, by their tags, which are in <> so that no field is named so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    tagged: ClassVar[Mapping[str, type["Strict"]]] = {}


def read(path: Path) -> Any:
    """The content of a sweep file. Raises `InvalidInput` where it cannot be read or is more than plain data."""
    return yaml.read(path, "sweep file", largest=LARGEST_FILE)


def validated(model: type[_Model], content: Mapping[str, Any], prefix: str) -> _Model:
    """The model that a mapping makes. Raises `InvalidInput` with the first thing wrong, its field after `prefix`."""
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        raise _first_problem(model, error, prefix) from None


def _first_problem(model: type[Strict], error: pydantic.ValidationError, prefix: str) -> InvalidInput:
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


def _fields(model: type[Strict], location: tuple) -> list[str]:
    """The fields of the mapping at `location`."""
    models = [model.tagged[part] for part in location if part in model.tagged]
    return list((models[-1] if models else model).model_fields)


def _joined(*parts: object) -> str:
    text = " ".join(".".join(str(part) for part in parts if part != "").split())
    return text if len(text) <= 80 else f"{text[:80]}..."
