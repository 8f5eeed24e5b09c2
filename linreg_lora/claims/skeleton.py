"""The beginning of a claim of one's own: a claims file and a plug-in, which can be judged as they stand."""

import importlib.resources
import re
from pathlib import Path

from linreg_lora.errors import InvalidInput

_NAMES = r"[a-z][a-z0-9_-]{0,60}"
_FILES = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


def write(name: str, out: Path | None = None) -> tuple[Path, Path]:
    """Write a claims file and its plug-in, both or neither; returns their paths.

    `name`: what the ids begin with, and by default the files' name, NAME.yaml and NAME.py here. `out`: another claims
    file, as in folder/FILE.yaml; the plug-in is FILE.py beside it, and a folder is made if missing.

    Raises `InvalidInput` for a name or path that is none, and where one of the files exists or cannot be written.
    """
    if not re.fullmatch(_NAMES, name):
        raise InvalidInput(
            "name", "lowercase letters, digits, - and _, the first a letter", name, "--out says where the files go"
        )
    claims = Path(f"{name}.yaml") if out is None else out
    if claims.suffix != ".yaml" or not re.fullmatch(_FILES, claims.name):
        raise InvalidInput("out", "a file of letters, digits, -, _ and ., as in claims/mine.yaml", str(out))
    texts = {path: _text(name, claims.stem, path.suffix) for path in (claims, claims.with_suffix(".py"))}
    field, received = ("name", name) if out is None else ("out", str(out))
    written: list[Path] = []
    try:
        claims.parent.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("x", encoding="utf-8", newline="\n") as file:
                written.append(path)
                file.write(text)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise InvalidInput(field, "one of which no file exists", received, f"there is a {error.filename}") from None
        if isinstance(error, OSError):
            raise InvalidInput(field, "files that can be written", received, error.strerror or str(error)) from None
        raise
    return claims, claims.with_suffix(".py")


def _text(name: str, stem: str, suffix: str) -> str:
    template = importlib.resources.files("linreg_lora.claims").joinpath(f"skeleton{suffix}.txt").read_text("utf-8")
    return template.replace("NAME.yaml", f"{stem}.yaml").replace("NAME.py", f"{stem}.py").replace("NAME", name)
