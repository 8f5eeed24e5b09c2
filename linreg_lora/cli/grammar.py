"""How problems, ranks and files are written on the command line: one grammar for every command."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from linreg_lora.cli.matrices import Matrices, sizes
from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from linreg_lora.problem import Problem

#: Endings of the pictures that can be drawn.
PICTURES = (".png", ".pdf", ".svg")
#: The best ridge of every method, instead of a number.
AUTO = "auto"


def same_letter(word: str) -> str:
    """- and _ are one letter in options and choices."""
    return word.replace("_", "-")


def problem(
    *,
    n: int,
    dx: int | None,
    dy: int | None,
    noise_std: float,
    spectrum: str | None,
    ridge: float,
    input_spectrum: str | None,
    noise_spectrum: str | None,
    input_law: str | None = None,
    input_mean: str | None = None,
    pretrained_seed: int | None = None,
    matrices: Matrices | None = None,
) -> "Problem":
    """The Problem that a command's options describe; with `pretrained_seed` A0 is drawn from it, iid N(0, 1).

    `matrices` of a file stand for the options of their fields, and tell the sizes that are not given.
    """
    from linreg_lora.input_law import GAUSSIAN, parse
    from linreg_lora.problem import Problem
    from linreg_lora.sampling.pretrained import drawn_pretrained

    if matrices is not None:
        dx, dy = sizes(matrices, dx, dy)
    elif spectrum is None:
        raise _nothing("spectrum")
    if dx is None or dy is None:
        raise _nothing("dx" if dx is None else "dy")
    Problem(n=n, dx=dx, dy=dy, noise_std=noise_std, ridge=ridge, spectrum=())  # sizes that are none are refused first
    fields = {
        "spectrum": None if spectrum is None else tuple(map(float, values("spectrum", spectrum, min(dx, dy)))),
        "input_covariance": variances("input-spectrum", input_spectrum, dx),
        "noise_covariance": variances("noise-spectrum", noise_spectrum, dy),
        "pretrained": None if pretrained_seed is None else drawn_pretrained(pretrained_seed, dy, dx),
        "input_law": GAUSSIAN if input_law is None else parse(input_law),
        "input_mean": None if input_mean is None else mean(input_mean, dx),
    }
    if matrices is None:
        return Problem(n=n, dx=dx, dy=dy, noise_std=noise_std, ridge=ridge, **fields)
    try:
        return Problem(n=n, dx=dx, dy=dy, noise_std=noise_std, ridge=ridge, **{**fields, **matrices.fields()})
    except InvalidInput as error:
        field = matrices.named(error.field)
        raise InvalidInput(field, error.expected, error.received, error.remedy) from None


def _nothing(name: str) -> InvalidInput:
    return InvalidInput(name, f"--{name}, or --matrices that tell it", "nothing")


class Start(NamedTuple):
    """What a problem needs besides what is varied."""

    n: int
    noise_std: float


def where_to_start(over: str, low: float, *, n: int | None, noise_std: float | None) -> Start:
    """n and sigma of a problem of which `over` is varied, from `low` on: its own option may be left out."""
    if over not in ("n", "noise_std"):
        raise InvalidInput("over", "noise_std or n", over)
    if over == "n" and n is None:
        n = max(1, math.ceil(low)) if math.isfinite(low) else 1
    if over == "noise_std" and noise_std is None:
        noise_std = low
    if n is None:
        raise InvalidInput("n", "the number of samples, which is not varied", "nothing")
    if noise_std is None:
        raise InvalidInput("noise_std", "the noise, which is not varied", "nothing")
    return Start(n, noise_std)


def values(field: str, text: str, size: int) -> "Sequence[float] | np.ndarray":
    """Numbers as in 3,2,1, or `size` values of family:shape:scale, as in power-law:1:10."""
    if ":" not in text:
        return numbers(field, text, "comma-separated numbers, as in 3,2,1, or family:shape:scale")
    from linreg_lora.files.problems import Family, family_values

    return family_values(field, Family.of_text(field, text), size)


def variances(field: str, text: str | None, size: int) -> "np.ndarray | None":
    """`values` as an array; None where no text is."""
    import numpy as np

    return None if text is None else np.array(values(field, text, size))


def mean(text: str, size: int) -> "np.ndarray":
    """The mean of each input: one number for all, the first few as in 3,-2,1, the others 0, or a .npz or .npy file.

    Of an archive it is the array input_mean, or the only one.
    """
    import numpy as np

    if text.endswith((".npz", ".npy")):
        from linreg_lora.files import arrays

        path = Path(text)
        named = path.is_file() and path.suffix == ".npz" and "input_mean" in arrays.keys(path)
        return arrays.read_array(path, "input_mean" if named else None)
    given = numbers("input-mean", text, "a number, comma-separated numbers as in 3,-2,1, or a .npz file")
    if len(given) == 1:
        return np.full(size, given[0])
    if not 1 <= len(given) <= size:
        raise InvalidInput("input-mean", f"a number, or up to dx = {size} of them", f"{len(given)} numbers")
    return np.array([*given, *[0.0] * (size - len(given))])


def said_mean(problem: "Problem") -> str:
    """What titles say of the mean of the inputs: nothing where there is none."""
    if problem.input_mean is None:
        return ""
    return f"inputs with a mean of norm {float((problem.input_mean**2).sum()) ** 0.5:.3g}, "


def ridge(text: str) -> float | str:
    """A ridge: a number, or auto."""
    if text == AUTO:
        return AUTO
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected a number >= 0 or auto, received {text!r}") from None


def ranks(text: str | None) -> list[int] | None:
    """Ranks as in 1-8,16; None where no text is, which is all of them."""
    if text is None:
        return None
    expected = "integers and ranges of them, as in 1-8,16"
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(-?\d{1,8})(?:\s*-\s*(\d{1,8}))?\s*", part)
        if ends is None:
            raise InvalidInput("ranks", expected, text)
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first:
            raise InvalidInput("ranks", expected, text, "a range begins with its least")
        found += range(first, last + 1)
    return found


def numbers(field: str, text: str, expected: str = "comma-separated numbers, as in 3,2,1") -> list[float]:
    """Numbers separated by commas; none in an empty text."""
    try:
        return [float(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        raise InvalidInput(field, expected, text) from None


#: Units of a width, in inches.
_UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}


def inches(field: str, text: str | None) -> float | None:
    """A width as in 3.25in, 8.8cm, 88mm or 252pt (points of TeX), in inches; a bare number is inches."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,6}(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt)?\s*", text)
    if found is None:
        raise InvalidInput(field, "a number and in, cm, mm or pt, as in 3.25in", text)
    return float(found[1]) * _UNITS[found[2] or "in"]


def picture_path(path: Path | None) -> Path | None:
    """The path of a picture, whose ending says its type and whose folder exists; found out before the work."""
    if path is None:
        return None
    if path.suffix.lower() not in PICTURES:
        raise InvalidInput("picture", f"a file that ends in {', '.join(PICTURES)}", str(path))
    if not path.parent.is_dir() or path.is_dir():
        raise InvalidInput("picture", "the path of a file in a folder that exists", str(path))
    return path
