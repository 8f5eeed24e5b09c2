"""Writing for people: tables, and progress with the time left."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

#: A progress bar appears only for work that lasts longer than this many seconds.
_PROGRESS_DELAY = 2.0
#: Characters of a line where standard output is not a terminal.
_WIDTH = 200


#: Columns of a terminal below which tables leave out what is not needed, so that names stay whole.
_WIDE = 120


def is_narrow() -> bool:
    """Whether tables go to a terminal that is too narrow for all their columns."""
    from rich.console import Console

    console = Console()
    return console.is_terminal and console.width < _WIDE


def print_table(table: object) -> None:
    """Print a rich renderable to standard output; wide enough not to cut numbers when it is not a terminal."""
    from rich.console import Console

    Console(width=table_width()).print(table)


def table_width() -> int:
    """How many characters a line of a table may have."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else _WIDTH


@contextlib.contextmanager
def waiting(label: str) -> Iterator[None]:
    """The seconds gone, on standard error, after two seconds of work in one piece; nothing when that is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    shown.add_task(label, total=None)
    late = threading.Timer(_PROGRESS_DELAY, shown.start)
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()
        late.join()
        shown.stop()


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error after two seconds of work; nothing when that is not a terminal.

    Yields a function to call with the number of steps just done.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(label, total=total)
    began = time.monotonic()

    def advance(steps: int) -> None:
        bar.advance(task, steps)
        if time.monotonic() - began > _PROGRESS_DELAY:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
