"""YAML as plain data: mappings, lists and scalars, or a refusal in one line. Nothing in a file is ever evaluated."""

import copy
import functools
import warnings
from pathlib import Path
from typing import Any

from linreg_lora.errors import InvalidInput

#: Deeper than any file of this package is on purpose.
_DEEPEST = 10


def read(path: Path, what: str, *, largest: int, aliases: bool = False) -> Any:
    """The content of a YAML file.

    `what`: the file's name in a refusal; `largest`: bytes; `aliases`: whether `&name` and `*name` are plain data. Merge
    keys never are: merges of merges take exponential time. Raises `InvalidInput` where the file cannot be read, or is
    more than plain data.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise InvalidInput(what, f"at most {largest} bytes", str(path))
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(what, "a readable UTF-8 file", str(path), reason) from None
    return parsed(text, what, name=str(path), aliases=aliases)


def parsed(text: str, what: str, *, name: str = "a text", aliases: bool = False) -> Any:
    """The content of a YAML text, as `read` has it; `name`: what a refusal says was received."""
    expected = "YAML, without duplicate keys, tags or " + ("merge keys" if aliases else "aliases")
    try:
        return copy.deepcopy(_data(text, aliases))
    # A scalar that looks like a number or a date and is none fails in whatever way its conversion does.
    except Exception as error:
        raise InvalidInput(what, expected, name, _where(error)) from None


@functools.lru_cache(maxsize=32)
def _data(text: str, aliases: bool) -> Any:
    """The content of a text. It is kept: the package's claims are read again by most of what asks of them.

    The parser in C is ten times as fast; that in Python says better what is wrong.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of anchors that are redefined
        try:
            return _plain(text, aliases, pure=False)
        except Exception:
            return _plain(text, aliases, pure=True)


def _plain(text: str, aliases: bool, *, pure: bool) -> Any:
    from ruamel.yaml import YAML

    if problem := _more_than_data(text, aliases, pure):
        raise ValueError(problem)
    return YAML(typ="safe", pure=pure).load(text)


def _more_than_data(text: str, aliases: bool, pure: bool) -> str:
    """The first thing in a text that is not plain data, with its line; empty if there is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

    depth = 0
    for event in YAML(typ="safe", pure=pure).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        problem = ""
        if depth > _DEEPEST:
            problem = f"mappings and lists more than {_DEEPEST} deep"
        elif getattr(event, "tag", None) is not None:
            problem = "a tag"
        elif isinstance(event, AliasEvent) and not aliases:
            problem = "an alias"
        elif isinstance(event, ScalarEvent) and event.value == "<<" and not event.style:
            problem = "a merge key"
        if problem:
            return f"line {event.start_mark.line + 1}: {problem}"
    return ""


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"line {mark.line + 1}: {text}" if mark is not None else str(text)
