"""What a registered function must look like, and where it is written: checked when it is registered."""

import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from linreg_lora.errors import InvalidInput


class Shape(NamedTuple):
    """The signature of a kind of function. `arguments`: how many come by position; `settings`: more come by keyword."""

    what: str
    text: str
    arguments: int
    settings: bool = False


PREDICTION = Shape("prediction", "(case: CASE, sample: Sample)", 2)
EXPERIMENT = Shape("experiment", "(case: CASE, trials: int, seed: int, *, settings...) -> Sample", 3, settings=True)
PREDICATE = Shape("predicate", "(rows: int, columns: int) -> bool", 2)
_CASE = "CASE is the type of a domain's cases, such as Problem or MatrixSize"


def settings(function: Any, shape: Shape) -> tuple[str, ...]:
    """The names of a function's settings. Raises `InvalidInput` for a signature that is not of this shape."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise _wrong(shape, function, f"{_written(function)}, a coroutine or a generator")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise _wrong(shape, function, repr(function)) from None
    kinds = [parameter.kind for parameter in parameters]
    by_position = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) + kinds.count(inspect.Parameter.POSITIONAL_ONLY)
    by_name = kinds.count(inspect.Parameter.KEYWORD_ONLY)
    if by_position != shape.arguments or by_position + by_name != len(kinds) or (by_name and not shape.settings):
        raise _wrong(shape, function, _written(function), "settings come after a *" if shape.settings else "")
    return tuple(parameter.name for parameter in parameters[shape.arguments :])


def case_type(function: Callable, shape: Shape) -> type:
    """The type of the case, from the annotation of the first parameter, which may be a string."""
    function = inspect.unwrap(function)
    first = next(iter(inspect.signature(function).parameters))
    annotation = getattr(function, "__annotations__", {}).get(first)
    if annotation is None:
        raise _wrong(shape, function, _written(function), f"annotate {first}: {_CASE}")
    found = resolved(annotation, function)
    if not isinstance(found, type):
        raise _wrong(shape, function, f"{first}: {annotation!r}", _CASE)
    return found


def resolved(annotation: Any, function: Any, *, whole: bool = False) -> Any:
    """What an annotation of a function stands for; None where its names are not those of the function's module.

    `whole`: with what `Annotated` adds to a type.
    """
    holder = types.SimpleNamespace(__annotations__={"annotated": annotation})
    try:
        return typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=whole)["annotated"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return None


def place(made: Any) -> str:
    """Where a function or a class is written, as file:line."""
    made = inspect.unwrap(made)
    code = getattr(made, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        return f"{file(made)}:{inspect.getsourcelines(made)[1]}"
    except (OSError, TypeError):
        return file(made)


def file(made: Any) -> str:
    """The file in which a function or a class is written."""
    made = inspect.unwrap(made)
    if hasattr(made, "__code__"):
        return made.__code__.co_filename
    module = getattr(made, "__module__", type(made).__module__)
    return getattr(sys.modules.get(module), "__file__", None) or module


def same_definition(one: Any, other: Any) -> bool:
    """Whether one is the other defined again: by a reload of its file, or by a cell or a script run once more."""
    one, other = inspect.unwrap(one), inspect.unwrap(other)
    if getattr(one, "__qualname__", one) != getattr(other, "__qualname__", other):
        return False
    return file(one) == file(other) or one.__module__ == other.__module__ == "__main__"


def _wrong(shape: Shape, function: Any, received: str, remedy: str = "") -> InvalidInput:
    where = f"in {place(function)}"
    return InvalidInput(shape.what, shape.text, received, f"{remedy}, {where}" if remedy else where)


def _written(function: Any) -> str:
    return f"{getattr(function, '__name__', '')}{inspect.signature(function)}"
