"""A figure's files: its data, pictures and provenance, and the page that shows all figures of a folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linreg_lora import provenance, validation
from linreg_lora.errors import InvalidInput
from linreg_lora.figures import catalogue, current, published
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
    said = current.provenance_of(name, out)
    return _load(name, out) if said is not None and _is_of_run(said, trials, seed) else None


def redraw(
    name: str, out: Path, *, trials: int, seed: int, formats: Sequence[str] = USUAL_FORMATS, width: float | None = None
) -> list[Path] | None:
    """The pictures of a figure in the folder `out`, of the data there; None where the same run would give others.

    Where none of them is missing, damaged, or would come out otherwise, nothing is written, and neither matplotlib nor
    the data are loaded. Else all are drawn: where things lie in one depends a little on those that were drawn before.
    """
    said = current.provenance_of(name, out)
    if said is None or not _is_of_run(said, trials, seed):
        return None
    if not current.are_drawn(name, out, said, formats, width):
        dataset = _load(name, out)
        if dataset is None:
            return None
        draw(name, dataset, out, formats=formats, width=width)
        _say(name, out, said, formats, width)
    return [out / f"{name}.{suffix}" for suffix in formats]


def _is_of_run(said: dict[str, Any], trials: int, seed: int) -> bool:
    return (said.get("trials"), said.get("seed")) == (trials, seed)


def _load(name: str, out: Path) -> "xr.Dataset | None":
    import xarray as xr

    try:
        return xr.load_dataset(out / f"{name}.nc", engine="h5netcdf")
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        return None


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
    said = sidecar(name, dataset, out) | {"data_sha256": current.sha256_of(data)}
    _say(name, out, said, formats, width)
    return [data, *pictures, beside]


def _say(name: str, out: Path, said: dict[str, Any], drawn: Sequence[str], width: float | None) -> None:
    """Write the provenance: what was `said`, and what the pictures of these types, just drawn, are."""
    data = said["data_sha256"]
    new = {suffix: current.of_picture(name, out / f"{name}.{suffix}", data, width) for suffix in drawn}
    known = said.get("pictures")
    content = said | {"pictures": (known if isinstance(known, dict) else {}) | new}
    write_atomically(out / f"{name}.json", (json.dumps(content, indent=2) + "\n").encode())


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
        "code_sha256": current.code_hash(name),
        "package_sha256": provenance.source_hash(),
        "versions": current.versions(name),
    }
    revision = provenance.revision(out) if out is not None else None
    return content | ({"revision": revision} if revision else {})


def index(out: Path) -> str:
    """The page that shows the figures whose data are in the folder `out`, with their captions, in Markdown."""
    content = [
        "# Figures",
        "",
        "Every figure comes as PDF and PNG, with the data it was drawn from (`.nc`, NetCDF) and how they were made",
        "(`.json`). `make figures` regenerates them and this page; the same seed, trials and library versions give the",
        "same bytes on the same kind of processor. One of them, with your seeds, in a journal's width or with a curve",
        "of your own: [reproduce a figure](../docs/how-to/reproduce-a-figure.md).",
    ]
    for name in catalogue.NAMES:
        data = out / f"{name}.nc"
        if not data.exists():
            continue
        redraws = "; ".join(f"{one.paper}, figure {one.number}" for one in published.of(name))
        content += [
            "",
            f"## {name}",
            "",
            f"![{name}]({name}.png)",
            "",
            *([f"{redraws}.", ""] if redraws else []),
            _caption(name, out),
        ]
    return "\n".join(content) + "\n"


def _caption(name: str, out: Path) -> str:
    """The caption of a figure in `out`: what its provenance says, where it is of these data and this code."""
    said = current.provenance_of(name, out)
    if said is not None and isinstance(said.get("caption"), str):
        return said["caption"]
    import xarray as xr

    return catalogue.module(name).caption(xr.load_dataset(out / f"{name}.nc", engine="h5netcdf"))


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
