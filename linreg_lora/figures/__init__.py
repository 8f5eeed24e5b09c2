"""The figures: one module each, data in, matplotlib Figure out, and their regeneration to files.

Each module, or object of a module that makes several, has `data(trials, seed, executor, progress)`, which simulates;
`draw(dataset)`, which only draws; `caption(dataset)`, what to see, with the numbers measured; and `CELLS`, how
often `data` calls `progress`. Importing this package imports neither JAX nor matplotlib.

Data that were computed by the same code, of the same versions, with the same trials and seed, are drawn again and not
computed again: the provenance beside them says so. "The same code" is that of the figure's module and of all that it
imports (`provenance.code_hash`).
"""

import ast
import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from linreg_lora import provenance, validation
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.figures import published
from linreg_lora.files.atomic import atomic_path, writable_folder, write_atomically, write_dataset
from linreg_lora.seeds import valid_seed
from linreg_lora.sweeps.grid import local_processes

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

#: Figure -> module, or module:object. In the order of the index.
_MODULES = {
    "phase-diagram": "phase_diagram",
    "phase-diagram-best-ridge": "phase_diagram_best_ridge",
    "risk-vs-sample-size-strong-noise": "risk_vs_sample_size:strong_noise",
    "risk-vs-sample-size-weak-noise": "risk_vs_sample_size:weak_noise",
    "risk-vs-noise-underdetermined": "risk_along:noise_underdetermined",
    "risk-vs-noise-overdetermined": "risk_along:noise_overdetermined",
    "risk-vs-true-rank": "risk_along:true_rank",
    "risk-vs-spectral-decay": "risk_along:spectral_decay",
    "risk-vs-rank": "risk_vs_rank",
    "double-descent-by-rank": "double_descent_by_rank",
    "bounds": "bounds",
    "detectability": "detectability",
    "data-benefit": "data_benefit",
    "hessian-gap": "hessian_gap",
    "forgetting-vs-learning": "forgetting_vs_learning",
    "formula-error-vs-dimension": "formula_error_vs_dimension",
    "real-tasks": "real_tasks",
    "family-winner": "family_winner",
    "family-vs-sample-size": "family_vs_sample_size",
    "hybrids-against-parts": "hybrids_against_parts",
    "qlora-floor": "qlora_floor",
    "pissa-by-alignment": "pissa_by_alignment",
    "robustness-gap": "robustness_gap",
    "intruders-by-strength": "intruders_by_strength",
    "poisoning": "poisoning",
    "training-time": "training_time",
    "training-steps": "training_steps",
}
#: What a figure needs beyond this package's dependencies: module, distribution, extra.
_NEEDS = {
    "real-tasks": ("sklearn", "scikit-learn", "sklearn"),
    "training-time": ("optax", "optax", "train"),
    "training-steps": ("optax", "optax", "train"),
}
#: Inches that a picture must be wide at least, so that nothing overlaps; panels in a square or a row need more.
_LEAST_WIDTH, _LEAST_WIDTHS = 3.0, {"real-tasks": 6.5, "phase-diagram-best-ridge": 7.0, "hybrids-against-parts": 6.5}
#: And at most, which only another unit is.
_LARGEST_WIDTH = 40.0
#: Types of pictures, and those that are drawn unless others are named.
IMAGE_FORMATS, USUAL_FORMATS = ("pdf", "png", "svg"), ("pdf", "png")
#: Every figure of this package, by the name of its files.
NAMES = tuple(_MODULES)


class FigureModule(Protocol):
    """What makes a figure."""

    @property
    def CELLS(self) -> int: ...

    def data(
        self,
        trials: int,
        seed: int,
        executor: Executor | None = None,
        progress: Callable[[int], None] = ...,
    ) -> "xr.Dataset": ...

    def draw(self, dataset: "xr.Dataset") -> "Figure": ...

    def caption(self, dataset: "xr.Dataset") -> str: ...


#: Figures of plug-ins.
_registered: dict[str, FigureModule] = {}


def register_figure(name: str, figure: FigureModule) -> None:
    """Make a figure of a plug-in known to `linreg-lora figures`, by the name of its files.

    `figure`: a module or an object with `data`, `draw`, `caption` and `CELLS`. Its data are computed whenever it is
    asked for: what its code depends on is not known here. Raises `InvalidInput` for a name that is taken.
    """
    from linreg_lora.claims import registry

    missing = [part for part in ("data", "draw", "caption", "CELLS") if not hasattr(figure, part)]
    if missing:
        raise InvalidInput("figure", "data, draw, caption and CELLS", f"{name} without {', '.join(missing)}")
    known = _registered.get(name)
    if name in NAMES or (known is not None and _file_of(known) != _file_of(figure)):
        where = f"linreg_lora.figures.{_MODULES[name]}" if known is None else _file_of(known)
        raise InvalidInput("figure", "a name that is free", name, f"{where} has it, {_file_of(figure)} wants it")
    registry.also_all_or_nothing(_registered)
    _registered[name] = figure


def _file_of(figure: FigureModule) -> str:
    """The file that a figure of a plug-in is written in."""
    module = figure if isinstance(figure, ModuleType) else sys.modules.get(type(figure).__module__)
    return getattr(module, "__file__", None) or type(figure).__module__


def select(names: Sequence[str]) -> list[str]:
    """`names` without repetition, all figures of this package when empty.

    A paper's own number names the figure that redraws it: figure-11, or 2605.19018:11. Raises `InvalidInput` for an
    unknown name.
    """
    known = [*NAMES, *_registered]
    names = [published.named(name) if name not in known else name for name in names]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput("figure", f"one of {', '.join(known)}", unknown[0])
    return list(dict.fromkeys(names)) or list(NAMES)


def module(name: str) -> FigureModule:
    """What makes a figure."""
    (name,) = select([name])
    if name in _registered:
        return _registered[name]
    where, _, variant = _MODULES[name].partition(":")
    made = importlib.import_module(f"{__name__}.{where}")
    return cast(FigureModule, getattr(made, variant) if variant else made)


def regenerate(
    names: Sequence[str],
    out: Path,
    *,
    trials: int,
    seed: int,
    workers: int = 1,
    fresh: bool = False,
    overwrite: bool = True,
    formats: Sequence[str] = USUAL_FORMATS,
    width: float | None = None,
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = lambda *_: nullcontext(
        lambda _: None
    ),
    skip: Callable[[str], None] | None = None,
) -> Iterator[list[Path]]:
    """Simulate and draw figures, and write name.nc, .pdf, .png and .json of each into the folder `out`.

    The same trials, seed and library versions give the same bytes, for any number of `workers` (processes; 1: this
    process). `out` is made if missing. Data in `out` that the same run would give are drawn again and not computed
    again, unless `fresh`. `progress(name, cells)` is entered for each figure that is computed, and gives what is called
    with the number of cells just done. Pictures are of these `formats`, and `width` inches wide, None: as wide as they
    were made to be. Without `overwrite` data in `out` of other trials or another seed are refused. Every file is
    written completely or not at all. Yields the paths of each figure when they are there. `skip` is called with the
    reason where a figure cannot be computed for want of an extra; None raises `LinregLoraError` there. Raises
    `InvalidInput`, before any work, for an unknown name, fewer than 2 `trials`,
    a bad `seed`, a width too narrow for one of the figures and a folder that cannot be written.
    """
    names, seed, trials = select(names), valid_seed(seed), validation.positive_integer("trials", trials)
    wide = valid_width(names, width)
    formats = valid_formats(formats)
    if not overwrite:
        _refuse_other_runs(names, out, trials=trials, seed=seed)
    if trials < 2:
        raise InvalidInput("trials", "at least 2, so that a standard error exists", trials)
    most = min(validation.positive_integer("workers", workers), max(module(name).CELLS for name in names))
    with writable_folder(out), ExitStack() as stack:
        executor: Executor | None = None
        for name in names:
            figure = module(name)
            dataset = None if fresh else stored(name, out, trials=trials, seed=seed)
            if dataset is not None:
                yield draw(name, dataset, out, formats=formats, width=wide)
                continue
            if (reason := _lacking(name)) is not None:
                if skip is None:
                    raise LinregLoraError(reason)
                skip(reason)
                continue
            if executor is None and most > 1:
                executor = stack.enter_context(local_processes(most))
            with progress(name, figure.CELLS) as advance, _asked_of(name):
                dataset = figure.data(trials, seed, executor, advance)
                dataset.attrs = {"trials": trials, "seed": seed, **dataset.attrs}
            with _asked_of(name):
                paths = write(name, dataset, out, formats=formats, width=wide)
            yield paths


def listed(names: Sequence[str] = ()) -> list[dict[str, str]]:
    """Each figure: its name, the papers' figures that it redraws, and what it shows. Nothing of it is imported."""
    rows = []
    for name in select(names) if names else [*NAMES, *_registered]:
        redraws = "; ".join(f"{one.paper} figure {one.number}" for one in published.of(name))
        rows.append({"figure": name, "redraws": redraws, "shows": _first_sentence(name)})
    return rows


def _first_sentence(name: str) -> str:
    """How the docstring of a figure's module begins, with the name of the object where the module makes several."""
    if name in _registered:
        return (_registered[name].__doc__ or "").strip().split("\n", 1)[0]
    where, _, variant = _MODULES[name].partition(":")
    written = ast.get_docstring(ast.parse((Path(__file__).parent / f"{where}.py").read_text())) or ""
    sentence = " ".join(written.split("\n\n", 1)[0].split()).rstrip(".:")
    return f"{sentence} ({variant.replace('_', ' ')})" if variant else sentence


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


def _refuse_other_runs(names: Sequence[str], out: Path, *, trials: int, seed: int) -> None:
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


@contextmanager
def _asked_of(name: str) -> Iterator[None]:
    """Whatever a plug-in's figure raises is one line."""
    try:
        yield
    except (LinregLoraError, OSError):
        raise
    except Exception as error:
        if name not in _registered:
            raise
        where = _file_of(_registered[name])
        raise InvalidInput(name, "a figure that can be made", type(error).__name__, f"{error}, in {where}") from error


def _lacking(name: str) -> str | None:
    """Why a figure's data cannot be computed here, or None."""
    module, distribution, extra = _NEEDS.get(name, ("linreg_lora", "", ""))
    if importlib.util.find_spec(module) is not None:
        return None
    return f"figure {name} needs {distribution}: pip install 'linreg-lora[{extra}]'"


def stored(name: str, out: Path, *, trials: int, seed: int) -> "xr.Dataset | None":
    """The data of a figure in the folder `out` if the same run would give them again, else None."""
    import xarray as xr

    if name in _registered:
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
        picture = module(name).draw(dataset)
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
        "caption": module(name).caption(dataset),
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
    if name in _registered:
        return hashlib.sha256(Path(_file_of(_registered[name])).read_bytes()).hexdigest()
    where = _MODULES[name].partition(":")[0]
    return provenance.code_hash(f"{__name__}.{where}", without=(f"{__name__}.style",))


def _versions(name: str) -> dict[str, str]:
    more = [_NEEDS[name][1]] if name in _NEEDS else []
    return provenance.versions_of("jax", "jaxlib", "numpy", "scipy", "matplotlib", *more)


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
    for name in NAMES:
        data = out / f"{name}.nc"
        if not data.exists():
            continue
        caption = module(name).caption(xr.load_dataset(data, engine="h5netcdf"))
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
