"""A figure's files: its data, pictures and provenance, and the page that shows all figures of a folder."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linreg_lora import provenance, validation
from linreg_lora.errors import InvalidInput
from linreg_lora.figures import catalogue, published
from linreg_lora.files.atomic import atomic_path, write_atomically, write_dataset

if TYPE_CHECKING:
    import xarray as xr

#: Inches that a picture must be wide at least, so that nothing overlaps; panels in a square or a row need more.
_LEAST_WIDTH, _LEAST_WIDTHS = 3.0, {"real-tasks": 6.5, "phase-diagram-best-ridge": 7.0, "hybrids-against-parts": 6.5}
#: And at most, which only another unit is.
_LARGEST_WIDTH = 40.0
#: Types of pictures, and those that are drawn unless others are named.
IMAGE_FORMATS, USUAL_FORMATS = ("pdf", "png", "svg"), ("pdf", "png")


def valid_width(names: Sequence[str], width: float | None) -> float | None:
    """A width in inches that holds these figures. Raises `InvalidInput` for one that does not."""
    if width is None:
        return None
    width = validation.nonnegative_number("width", width)
    for name in names:
        if width < (least := _LEAST_WIDTHS.get(name, _LEAST_WIDTH)):
            raise InvalidInput("width", f"at least {least:g}in for {name}", f"{width:g}in")
    if width > _LARGEST_WIDTH:
        raise InvalidInput("width", f"at most {_LARGEST_WIDTH:g}in", f"{width:g}in", "is the unit right?")
    return width


def valid_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Types of pictures without repetition. Raises `InvalidInput` for one that is none."""
    for one in formats:
        if one not in IMAGE_FORMATS:
            raise InvalidInput("image-format", f"one of {', '.join(IMAGE_FORMATS)}", one)
    return tuple(dict.fromkeys(formats)) or USUAL_FORMATS


def stored(name: str, out: Path, *, trials: int, seed: int) -> "xr.Dataset | None":
    """The data of a figure in the folder `out` if the same run would give them again, else None."""
    import xarray as xr

    if name in catalogue.registered:
        return None
    data, beside = out / f"{name}.nc", out / f"{name}.json"
    try:
        found = json.loads(beside.read_text())
        if hashlib.sha256(data.read_bytes()).hexdigest() != found["data_sha256"]:
            return None
        dataset = xr.load_dataset(data, engine="h5netcdf")
        wanted = {"trials": trials, "seed": seed, "code_sha256": code_hash(name), "versions": _versions(name)}
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        return None
    return dataset if all(found.get(key) == value for key, value in wanted.items()) else None


def write(
    name: str,
    dataset: "xr.Dataset",
    out: Path,
    *,
    formats: Sequence[str] = USUAL_FORMATS,
    width: float | None = None,
) -> list[Path]:
    """Write the data of a figure, its pictures and its provenance into `out`; returns the paths."""
    data, beside = out / f"{name}.nc", out / f"{name}.json"
    write_dataset(dataset, data)
    pictures = draw(name, dataset, out, formats=formats, width=width)
    content = sidecar(name, dataset, out) | {"data_sha256": hashlib.sha256(data.read_bytes()).hexdigest()}
    write_atomically(beside, (json.dumps(content, indent=2) + "\n").encode())
    return [data, *pictures, beside]


def draw(
    name: str,
    dataset: "xr.Dataset",
    out: Path,
    *,
    formats: Sequence[str] = USUAL_FORMATS,
    width: float | None = None,
) -> list[Path]:
    """Draw a figure from its data as name.pdf, name.png, ... in `out`, `width` inches wide; returns the paths."""
    from linreg_lora.figures import style

    with style.of_width(width):
        picture = catalogue.module(name).draw(dataset)
        if width is not None:
            with style.applied():
                style.fit(picture, width)
        paths = [out / f"{name}.{suffix}" for suffix in formats]
        for path in paths:
            with atomic_path(path) as temporary:
                style.save(picture, temporary)
    return paths


def sidecar(name: str, dataset: "xr.Dataset", out: Path | None = None) -> dict[str, Any]:
    """What a figure was made from: command, draws, seed, problems, code and versions.

    With the revision of the repository, where there is one, and `out` lies outside of it.
    """
    trials, seed = int(dataset.attrs["trials"]), int(dataset.attrs["seed"])
    content = {
        "figure": name,
        "caption": catalogue.module(name).caption(dataset),
        "command": f"linreg-lora figures {name} --trials {trials} --seed {seed}",
        "trials": trials,
        "seed": seed,
        "axes": {str(axis): dataset[axis].values.tolist() for axis in dataset.coords if dataset[axis].ndim == 1},
        "one_problem": json.loads(dataset.attrs.get("problem", "null")),
        "problems_sha256": dataset.attrs.get("problems_sha256"),
        "code_sha256": code_hash(name),
        "versions": _versions(name),
    }
    revision = provenance.revision(out) if out is not None else None
    return content | ({"revision": revision} if revision else {})


def code_hash(name: str) -> str:
    """SHA-256 of the code that a figure's data depend on: the import closure of its module, but for how it is drawn.

    Of a plug-in's figure, that of its file.
    """
    if name in catalogue.registered:
        return hashlib.sha256(Path(catalogue.file_of(catalogue.registered[name])).read_bytes()).hexdigest()
    return provenance.code_hash(catalogue.home(name), without=("linreg_lora.figures.style",))


def _versions(name: str) -> dict[str, str]:
    return provenance.versions_of("jax", "jaxlib", "numpy", "scipy", "matplotlib", *catalogue.needs(name))


def index(out: Path) -> str:
    """The page that shows the figures whose data are in the folder `out`, with their captions, in Markdown."""
    import xarray as xr

    content = [
        "# Figures",
        "",
        "Every figure comes as PDF and PNG, with the data it was drawn from (`.nc`, NetCDF) and how they were made",
        "(`.json`). `make figures` regenerates them and this page; the same seed, trials and library versions give the",
        "same bytes.",
    ]
    for name in catalogue.NAMES:
        data = out / f"{name}.nc"
        if not data.exists():
            continue
        caption = catalogue.module(name).caption(xr.load_dataset(data, engine="h5netcdf"))
        redraws = "; ".join(f"{one.paper}, figure {one.number}" for one in published.of(name))
        content += [
            "",
            f"## {name}",
            "",
            f"![{name}]({name}.png)",
            "",
            *([f"{redraws}.", ""] if redraws else []),
            caption,
        ]
    return "\n".join(content) + "\n"


def refuse_other_runs(names: Sequence[str], out: Path, *, trials: int, seed: int) -> None:
    """Raises `InvalidInput` where a folder has data of one of the figures from other trials or another seed."""
    for name in names:
        try:
            found = json.loads((out / f"{name}.json").read_text())
            there = (found["trials"], found["seed"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if there != (trials, seed) and (out / f"{name}.nc").exists():
            run = f"{name} of {there[0]} trials, seed {there[1]}, in {out}"
            raise InvalidInput(
                "out", f"a folder for {trials} trials, seed {seed}", run, "another --out, or --overwrite"
            )
