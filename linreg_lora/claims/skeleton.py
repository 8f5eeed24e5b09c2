"""The beginning of a claim of one's own: a claims file and a plug-in, which can be judged as they stand."""

import importlib.resources
import re
from pathlib import Path

from linreg_lora.errors import InvalidInput

_NAMES = r"[a-z][a-z0-9_-]{0,60}"


def write(name: str, folder: Path = Path()) -> tuple[Path, Path]:
    """Write NAME.yaml and NAME.py into a folder, both or neither; returns their paths.

    Raises `InvalidInput` for a name that is none, and where a file of either name exists.
    """
    if not re.fullmatch(_NAMES, name):
        raise InvalidInput("name", "lowercase letters, digits, - and _, the first a letter", name)
    texts = {folder / f"{name}{suffix}": _text(suffix, name) for suffix in (".yaml", ".py")}
    for path in texts:
        if path.exists():
            raise InvalidInput("name", "one of which no file exists", name, f"there is a {path}")
    written: list[Path] = []
    try:
        for path, text in texts.items():
            with path.open("x", encoding="utf-8", newline="\n") as file:
                written.append(path)
                file.write(text)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InvalidInput("name", "files that can be written", name, error.strerror or str(error)) from None
        raise
    claims, plugin = texts
    return claims, plugin


def _text(suffix: str, name: str) -> str:
    template = importlib.resources.files("linreg_lora.claims").joinpath(f"skeleton{suffix}.txt").read_text("utf-8")
    return template.replace("NAME", name)
