"""The command line: parses, calls, prints. Exit codes: 0 as expected, 1 a claim or a proof is not, 2 could not run."""

import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import typer

from linreg_lora import runtime
from linreg_lora.cli import attack, cite, claims, compose, own_data, papers, problems, runs, samples, train, verdicts
from linreg_lora.cli.app import app
from linreg_lora.errors import InvalidInput, LinregLoraError, OldName, one_line

__all__ = [
    "app",
    "attack",
    "cite",
    "claims",
    "compose",
    "main",
    "own_data",
    "papers",
    "problems",
    "runs",
    "samples",
    "train",
    "verdicts",
]

#: The base of every complaint about the command line; typer keeps click in different places in different versions.
_ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


#: Fields of a problem that the command line calls otherwise.
_OPTIONS = {
    "along": "choose",
    "input_covariance": "input-spectrum",
    "input_law": "input-law",
    "input_mean": "input-mean",
    "noise_covariance": "noise-spectrum",
    "pretraining_covariance": "pretraining-spectrum",
}


#: What newer typer makes of Ctrl-C, without a word.
_INTERRUPTED = 130


def main() -> None:
    """The command line: every failure is one line on standard error and exit code 2."""
    runtime.keep_programs()
    _end_when_told()
    warnings.showwarning = _notices(warnings.showwarning)
    warnings.filterwarnings("always", category=OldName)
    try:
        code = app(standalone_mode=False)
    except _ClickException as error:
        _fail(_complaint(error))
    except InvalidInput as error:
        option = _OPTIONS.get(error.field, error.field)
        _fail(str(InvalidInput(option, error.expected, error.received, error.remedy)))
    except LinregLoraError as error:
        _fail(str(error))
    except OSError as error:
        path, reason = error.filename, error.strerror or str(error)
        _fail(reason if path is None else str(InvalidInput("path", "one that can be used", path, reason)))
    except MemoryError:
        _fail("out of memory: lower n, dx or dy")
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted")
    except Exception as error:
        plugins = sys.modules.get("linreg_lora.claims.plugins")
        blamed = plugins.blamed(error) if plugins is not None else None
        if blamed is None:
            raise
        _fail(str(blamed))
    else:
        if code == _INTERRUPTED:
            _fail("interrupted")
        sys.exit(code or 0)


def _end_when_told() -> None:
    """What asks the process to end, as `timeout` does, interrupts it as Ctrl-C does: files are whole, processes end."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def _notices(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Shows an old name as one line on standard error, once; any other warning as `otherwise` does."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if not issubclass(category, OldName):
            otherwise(message, category, *where)
        elif str(message) not in shown:
            shown.add(str(message))
            print(f"linreg-lora: {one_line(str(message))}", file=sys.stderr)

    return show


def _complaint(error: Exception) -> str:
    """The parser's message, with the value it received when it names only the option."""
    message = error.format_message()  # type: ignore[attr-defined]
    names = getattr(getattr(error, "param", None), "opts", [])
    words = sys.argv[1:]
    last = None
    for i, word in enumerate(words):
        if word in names and i + 1 < len(words):
            last = words[i + 1]
        elif "=" in word and word.split("=", 1)[0] in names:
            last = word.split("=", 1)[1]
    if last is not None and repr(last) not in message:
        return f"{message}, received {last!r}"
    return message


def _fail(message: str) -> None:
    if message.strip():
        print(f"linreg-lora: {one_line(message)}", file=sys.stderr)
    sys.exit(2)
