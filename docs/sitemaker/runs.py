"""Commands and programs of a page are run when the site is built, and what they print is shown below them.

A code block whose language is followed by `run` is run, all of a page in one new folder:

    ```console run
    $ linreg-lora risk --n 200 --dx 40 --dy 40 --noise-std 1 --spectrum 3,2,1
    ```

`python run` is the same for Python, and a picture that the program saves as .png is shown too. The folder has the
checkout's docs/ and figures/. A block that ends with another exit code than 0 fails the build, unless it says so:
`console run exit=1`. Results are kept in .cache/site, by the block, what ran before it on its page, and the package's
source.
"""

import base64
import contextlib
import hashlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from unittest import mock

from sitemaker import ROOT

CACHE = ROOT / ".cache" / "site"
_BLOCK = re.compile(r"^```(console|python) run(?: exit=([12]))?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
#: Columns of help texts and messages. Tables are as wide as they need to be, and have the columns of a narrow terminal.
_WIDTH = "100"
_PROGRAM = (
    "from linreg_lora import console; console.is_narrow = lambda: True; from linreg_lora.__main__ import run; run()"
)
#: What lines of a table are drawn with, and what blocks of the page begin and end with.
_DRAWN, _FENCE = re.compile("[\u2500-\u257f]"), "~" * 6
#: What a terminal takes for a colour, or for bold.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def with_outputs(text: str) -> str:
    """The page with what its blocks print. Raises `RuntimeError` where one fails."""
    blocks: list[tuple[str, str, int]] = []
    folder: list[Path] = []
    with contextlib.ExitStack() as stack:

        def printed(block: tuple[str, str, int]) -> str:
            """Where the folder is new, what ran before is run again: this block may need what it left there."""
            if not folder:
                folder.append(Path(stack.enter_context(tempfile.TemporaryDirectory())))
                for name in ("docs", "figures"):
                    (folder[0] / name).symlink_to(ROOT / name)
                for earlier in blocks[:-1]:
                    run(*earlier, folder[0])
            before = set(folder[0].glob("*.png"))
            below = shown_output(run(*block, folder[0]))
            pictures = [_picture(path) for path in sorted(set(folder[0].glob("*.png")) - before)]
            return "\n\n".join(part for part in (below, *pictures) if part)

        def shown(found: re.Match) -> str:
            blocks.append((found[1], found[3], int(found[2] or 0)))
            kept = CACHE / f"{key(repr(blocks))}.md"
            if not kept.exists():
                CACHE.mkdir(parents=True, exist_ok=True)
                kept.write_text(printed(blocks[-1]))
            below = kept.read_text()
            return f"```{found[1]}\n{found[3]}```" + (f"\n\n{below}" if below else "")

        return _BLOCK.sub(shown, text)


def shown_output(text: str) -> str:
    """What is printed, as blocks without colours; tables drawn in it have a class, and are not wrapped."""
    lines = "\n".join(line.rstrip() for line in _COLOUR.sub("", text).splitlines()).rstrip().splitlines()
    blocks = []
    for drawn, part in itertools.groupby(lines, lambda line: bool(_DRAWN.search(line))):
        said = "\n".join(part).strip("\n")
        if said:
            blocks.append(f"{_FENCE}{{.text .output{' .drawn' if drawn else ''}}}\n{said}\n{_FENCE}")
    return "\n\n".join(blocks)


def _picture(path: Path) -> str:
    """In the page itself, which is all that its size asks for."""
    return f'<img alt="{path.name}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'


@cache
def _sources() -> str:
    digest = hashlib.sha256()
    for path in [*sorted((ROOT / "linreg_lora").rglob("*.py")), *sorted((ROOT / "linreg_lora").rglob("*.yaml"))]:
        digest.update(path.read_bytes())
    digest.update((ROOT / "paper_claims.yaml").read_bytes())
    return digest.hexdigest()


def key(text: str) -> str:
    """A name of what running this text with this package gives."""
    return hashlib.sha256(f"{_sources()}\n{text}".encode()).hexdigest()[:32]


def run(language: str, code: str, ends_with: int, folder: Path) -> str:
    """What a block prints, run in the folder, where it ends with this exit code."""
    if language == "python":
        return _printed(
            lambda: exec(compile(code, "<page>", "exec"), {"__name__": "__page__"}), folder, code, ends_with
        )
    printed = ""
    for line in code.replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line.removeprefix("$ "))
        if program != "linreg-lora":
            raise RuntimeError(f"a page may run linreg-lora and Python, it says {line!r}")
        printed += _printed(lambda words=words: _command(words), folder, line, ends_with)
    return printed


def _command(words: list[str]) -> None:
    if "--plugin" in words:  # what it registers stays in its process: pages have plug-ins of one name
        program = [sys.executable, "-c", _PROGRAM]
        done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
        print(done.stdout, end="")
        print(done.stderr, end="", file=sys.stderr)
        sys.exit(done.returncode)
    from linreg_lora import console
    from linreg_lora.cli import main

    with (
        mock.patch.object(sys, "argv", ["linreg-lora", *words]),
        mock.patch.object(console, "is_narrow", return_value=True),
    ):
        main()


def _printed(action, folder: Path, said: str, ends_with: int) -> str:
    out, err = io.StringIO(), io.StringIO()
    environment = mock.patch.dict(os.environ, {"COLUMNS": _WIDTH, "NO_COLOR": "1", "MPLBACKEND": "agg"})
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(folder), environment:
        try:
            action()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    if "matplotlib.pyplot" in sys.modules:  # what another page has drawn stays open
        sys.modules["matplotlib.pyplot"].close("all")
    if code != ends_with:
        raise RuntimeError(f"{said.strip()} ended with {code}: {err.getvalue().strip()}")
    return out.getvalue()
