"""Strict models of what a file may say, and one line for anything else.

Sweep files and claims files speak one dialect: every refusal says field, expected, received. Nothing in a file is ever
evaluated.
"""

import re
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Tag

from linreg_lora.errors import InvalidInput, OldName
from linreg_lora.validation import LARGEST

_Model = TypeVar("_Model", bound="Strict")
_Place = list[int | str]
#: Floats up to here are whole only if they were meant to be.
_EXACT = 2.0**53


def whole(value: Any) -> Any:
    """An integer where a file writes one as 1e3 or 100.0, which YAML takes for a real number; others as they are."""
    return int(value) if isinstance(value, float) and abs(value) <= _EXACT and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(whole), Field(strict=True)]


def _moderate(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"a number of at most {LARGEST:g} in magnitude")
    return value


#: Its bound is no `le`, which would take the place of the `le` of a field.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_moderate)]


class Strict(BaseModel):
    """A mapping that has these fields and no others. Tags of unions are in <>, so that no field is named so."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def validated(
    model: type[_Model],
    content: Any,
    *,
    what: str,
    prefix: str = "",
    named: Callable[[_Place], _Place] = lambda place: place,
) -> _Model:
    """The model that the content of a file makes.

    `what`: the file's name where no field is; `prefix`: what fields are named after; `named`: a place as users know it,
    as by the id of a claim instead of its number. Raises `InvalidInput` with the first thing wrong.
    """
    if not isinstance(content, Mapping):
        needed = [name for name, field in model.model_fields.items() if field.is_required()]
        raise InvalidInput(prefix or what, f"a mapping with {', '.join(needed)}", content)
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        raise _first_problem(model, error, what, prefix, named) from None


def renamed(content: Any, old: str, new: str, where: str) -> Any:
    """The content with its field `old` called `new`, and one line of notice; unchanged where it has no such field."""
    if not isinstance(content, Mapping) or old not in content:
        return content
    if new in content:
        raise InvalidInput(where, f"either {new} or its old name {old}", "both")
    warnings.warn(f"{where}.{old}: this field is called {new} now".lstrip("."), OldName, stacklevel=2)
    return {new if name == old else name: value for name, value in content.items()}


def _first_problem(
    model: type[Strict],
    error: pydantic.ValidationError,
    what: str,
    prefix: str,
    named: Callable[[_Place], _Place],
) -> InvalidInput:
    problem = error.errors()[0]
    location, kind, received = problem["loc"], problem["type"], problem["input"]
    path = named([part for part in location if not str(part).startswith(("<", "["))])
    context = problem.get("ctx", {}).get("error")
    if isinstance(context, InvalidInput):
        field = _joined(prefix, *path) if path else ""
        inner = context.field
        if field and not inner.startswith(field):
            inner = field if inner in ("", path[-1]) else f"{field}.{inner}"
        return InvalidInput(inner, context.expected, context.received, context.remedy)
    if kind == "extra_forbidden":
        *path, received = path
        expected = f"fields among {', '.join(_fields(model, location[:-1]))}"
    elif kind == "missing":
        expected, received = "a value", "nothing"
    elif kind == "list_type":
        expected = "a list, in brackets"
    else:
        expected = _said_briefly(problem["msg"])
    return InvalidInput(_joined(prefix, *path) or what, expected[:1].lower() + expected[1:], received)


def _said_briefly(message: str) -> str:
    """Pydantic's message as what was expected."""
    if found := re.search(r"should have (at (?:least|most) \d+ (?:items?|characters?))", message):
        return found[1]
    message = message.removeprefix("Value error, ").removeprefix("Input should be ")
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a mapping", message)
    return (
        message.replace("greater than or equal to", "at least")
        .replace("less than or equal to", "at most")
        .replace("a valid string", "text")
    )


def _fields(model: type[Strict], location: Sequence[int | str]) -> list[str]:
    """The fields of the mapping at a location."""
    kind: Any = model
    for part in location:
        kind = _inside(kind, part)
    (found,) = (one for one in _alternatives(kind) if isinstance(one, type) and issubclass(one, BaseModel))
    return list(found.model_fields)


def _inside(kind: Any, part: int | str) -> Any:
    """What an annotation holds at one step of a location: a field, an item, or the alternative of a tag."""
    for one in _alternatives(kind):
        if str(part).startswith("<"):
            if get_origin(one) is Annotated and Tag(str(part)) in one.__metadata__:
                return get_args(one)[0]
            continue
        one = get_args(one)[0] if get_origin(one) is Annotated else one
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one.model_fields[str(part)].annotation
        if get_origin(one) in (list, tuple, dict):
            return get_args(one)[-1] if get_origin(one) is dict else get_args(one)[0]
    return kind


def _alternatives(kind: Any) -> list[Any]:
    """The members of a union, themselves taken apart; what is no union alone. Tags stay."""
    if get_origin(kind) is Annotated and not any(isinstance(meta, Tag) for meta in kind.__metadata__):
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (typing.Union, types.UnionType):
        return [inner for one in get_args(kind) for inner in _alternatives(one)]
    return [kind]


def _joined(*parts: object) -> str:
    text = " ".join(".".join(str(part) for part in parts if part != "").split())
    return text if len(text) <= 80 else f"{text[:80]}..."
