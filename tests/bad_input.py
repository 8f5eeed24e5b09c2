"""Generated bad input: ways to spoil a good file, and the command line in this process."""

import contextlib
import copy
import datetime
import io
import json
import math
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import typer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from linreg_lora import cli

#: What typer makes of `cli.app`, made once instead of for every line.
_COMMAND = typer.main.get_command(cli.app)


class Good(BaseException):
    """The input is good after all: it reached the work."""


class Ended(NamedTuple):
    """How a command ended, and the names of the files that it left in its folder."""

    code: object
    out: str
    err: str
    left: list[str]


def run_cli(*arguments: str) -> tuple[object, str, str]:
    """The command line in this process: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["linreg-lora", *arguments]),
        mock.patch.object(cli, "app", _COMMAND),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as caught,
    ):
        cli.main()
    return caught.value.code, out.getvalue(), err.getvalue()


def run_in_folder(files: dict[str, bytes], *arguments: str) -> Ended:
    """The command in a new folder that holds `files`, for temporary files too."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.object(tempfile, "tempdir", folder),
    ):
        for name, content in files.items():
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(content)
        before = set(Path().rglob("*"))
        code, out, err = run_cli(*arguments)
        left = sorted(str(path) for path in set(Path().rglob("*")) - before)
        assert all(Path(name).read_bytes() == content for name, content in files.items())
    return Ended(code, out, err, left)


def assert_one_clear_line(ended: Ended) -> None:
    """Exit code 2, one printable line of bearable length, nothing on standard output and no file."""
    assert (ended.code, ended.out, ended.left) == (2, "", [])
    assert re.fullmatch(r"linreg-lora: \S.*\n", ended.err)
    assert ended.err[:-1].isprintable()
    assert len(ended.err) < 2100
    assert "Traceback" not in ended.err


#: How many of a thousand examples are tried: a fifth with the tests, all of them with the heavy ones.
EXAMPLES = pytest.mark.parametrize("examples", [200, pytest.param(1000, marks=pytest.mark.heavy)])


def tries(count: int) -> settings:
    """So many examples, the same ones in every run."""
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


# -- spoiling a file --------------------------------------------------------------------------------------------

JUNK = st.one_of(
    st.none(), st.booleans(), st.text(max_size=6), st.floats(), st.integers(-5, 10),
    st.sampled_from([10**15, 2**63, 10**20, 10**400, -(10**20), 1e300, -1e-300, math.nan, math.inf, -math.inf]),
    st.lists(st.integers(-2, 2), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.dates(), st.binary(max_size=3), st.just([[1.0, 2.0], [3.0]]),
    st.sampled_from(["x" * 10**5, "a\nb\x1b[2J\u202e"]),
)  # fmt: skip
UNKNOWN = st.text("abcdefghijklmnopqrstuvwxyz._ \n:*&!", min_size=1, max_size=8)


def places(content: Any, way: tuple = ()) -> list[tuple]:
    """The path to every value."""
    found = []
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        found += [(*way, key), *places(value, (*way, key))]
    return found


@st.composite
def mutated(draw: st.DrawFn, content: Any, junk: st.SearchStrategy = JUNK) -> Any:
    """The content with one or two values replaced, removed, wrapped, repeated or joined by one that nobody knows."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(content)))
        place = content
        for step in way:
            place = place[step]
        value = place[last]
        what = draw(st.sampled_from(["junk", "remove", "unknown", "wrap", "repeat", "number", "number"]))
        if what == "number" and isinstance(value, (int, float)):
            place[last] = draw(st.sampled_from([-value, 0, 2.5, 10**9 * value, math.inf, math.nan, str(value)]))
        elif what == "remove":
            del place[last]
        elif what == "wrap":
            place[last] = draw(st.sampled_from([[value], {"value": value}, str(value)]))
        elif what == "repeat" and isinstance(place, list):
            place.append(copy.deepcopy(value))
        elif what == "unknown" and isinstance(place, dict):
            place[draw(UNKNOWN)] = copy.deepcopy(draw(junk))
        else:
            place[last] = copy.deepcopy(draw(junk))
        if not content:
            break
    return content


@st.composite
def torn(draw: st.DrawFn, text: bytes) -> bytes:
    """The bytes with some of them changed."""
    content = bytearray(text)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content) - 1))
        content[place : place + draw(st.integers(0, 8))] = draw(
            st.binary(max_size=4) | st.sampled_from([b"!!", b"*", b"{"])
        )
    return bytes(content)


def as_yaml(value: Any) -> str:
    """One line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"? {as_yaml(key)} : {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_yaml(item) for item in value) + "]"
    if isinstance(value, bytes):
        return f"!!binary {json.dumps(value.hex())}"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return value.isoformat() if isinstance(value, datetime.date) else json.dumps(value)
