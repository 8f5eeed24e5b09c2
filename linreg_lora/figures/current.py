"""Which files of a figure are those that the same run would write again: its data, and each of its pictures.

The provenance beside the data says what decides them. That of the data is trials, seed, code and versions; that of a
picture is its data, width, code and versions, and its bytes have the hash that was written down. The code is that of
the figure's module and of all that it imports, for pictures with `figures.style`; to parse it takes longer than to
read, so that the hash of the package's sources, where it is the same, stands for it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from linreg_lora import provenance
from linreg_lora.figures import catalogue

#: What draws, beside this package's code.
_DRAWING = ("numpy", "xarray", "matplotlib", "contourpy", "fonttools", "kiwisolver", "pillow")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_hash(name: str) -> str:
    """SHA-256 of the code that a figure's data depend on: the import closure of its module, but for how it is drawn.

    Of a plug-in's figure, that of its file.
    """
    if name in catalogue.registered:
        return sha256_of(Path(catalogue.file_of(catalogue.registered[name])))
    return provenance.code_hash(catalogue.home(name), without=("linreg_lora.figures.style",))


def drawing_hash(name: str) -> str:
    """SHA-256 of the code that a figure's pictures depend on, beside their data."""
    return code_hash(name) if name in catalogue.registered else provenance.code_hash(catalogue.home(name))


def versions(name: str) -> dict[str, str]:
    """The versions of what computes a figure's data."""
    return provenance.versions_of("jax", "jaxlib", "numpy", "scipy", "matplotlib", *catalogue.needs(name))


def provenance_of(name: str, out: Path) -> dict[str, Any] | None:
    """What the file beside the data of a figure in the folder `out` says of them; None where it is not of them, or
    they would not come out so by the code and the versions that are here."""
    if name in catalogue.registered:
        return None
    try:
        said = json.loads((out / f"{name}.json").read_text())
        if said["data_sha256"] != sha256_of(out / f"{name}.nc") or said["versions"] != versions(name):
            return None
        return said if _is_of_this_code(said, code_hash, name) else None
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        return None


def are_drawn(name: str, out: Path, said: dict[str, Any], formats: Sequence[str], width: float | None) -> bool:
    """Whether the pictures of these types are in `out`, whole, and as they would be drawn now of the data there,
    `width` inches wide; `said` is the provenance there."""
    return all(_is_drawn(name, out, said, suffix, width) for suffix in formats)


def of_picture(name: str, picture: Path, data_sha256: str, width: float | None) -> dict[str, Any]:
    """What a picture, just drawn, is and was drawn with."""
    return {
        "sha256": sha256_of(picture),
        "data_sha256": data_sha256,
        "width": width,
        "code_sha256": drawing_hash(name),
        "package_sha256": provenance.source_hash(),
        "versions": provenance.versions_of(*_DRAWING),
    }


def _is_drawn(name: str, out: Path, said: dict[str, Any], suffix: str, width: float | None) -> bool:
    wanted = {"data_sha256": said["data_sha256"], "width": width, "versions": provenance.versions_of(*_DRAWING)}
    try:
        picture = said["pictures"][suffix]
        alike = all(picture[field] == value for field, value in wanted.items())
        whole = alike and picture["sha256"] == sha256_of(out / f"{name}.{suffix}")
        return whole and _is_of_this_code(picture, drawing_hash, name)
    except (OSError, KeyError, TypeError, ImportError):
        return False


def _is_of_this_code(said: dict[str, Any], hashed: Callable[[str], str], name: str) -> bool:
    return said.get("package_sha256") == provenance.source_hash() or said["code_sha256"] == hashed(name)
