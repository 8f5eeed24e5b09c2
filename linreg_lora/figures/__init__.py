"""The figures: one module each, data in, matplotlib Figure out, and their regeneration to files.

Each module has `data(trials, seed, executor, progress)`, which simulates; `draw(dataset)`, which only draws; and
`CELLS`, how often `data` calls `progress`. Importing this package imports neither JAX nor matplotlib.
"""

import importlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import linreg_lora
from linreg_lora import validation
from linreg_lora.console import atomic_path, writable_folder, write_atomically, write_dataset
from linreg_lora.errors import InvalidInput
from linreg_lora.grid import local_processes

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_MODULES = {
    "risk-vs-sample-size-weak-noise": "risk_vs_sample_size",
    "phase-diagram": "phase_diagram",
    "risk-vs-rank": "risk_vs_rank",
    "double-descent-by-rank": "double_descent_by_rank",
    "bounds": "bounds",
    "detectability": "detectability",
    "data-benefit": "data_benefit",
    "hessian-gap": "hessian_gap",
    "forgetting-vs-learning": "forgetting_vs_learning",
    "formula-error-vs-dimension": "formula_error_vs_dimension",
}
#: Every figure, by the name of its files.
NAMES = tuple(_MODULES)


class FigureModule(Protocol):
    """What a module of this package offers."""

    CELLS: int

    def data(
        self,
        trials: int,
        seed: int,
        executor: Executor | None = None,
        progress: Callable[[int], None] = ...,
    ) -> "xr.Dataset": ...

    def draw(self, dataset: "xr.Dataset") -> "Figure": ...


def select(names: Sequence[str]) -> list[str]:
    """`names` without repetition, all figures when empty. Raises `InvalidInput` for an unknown one."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InvalidInput("figure", f"one of {', '.join(NAMES)}", unknown[0])
    return list(dict.fromkeys(names)) or list(NAMES)


def module(name: str) -> FigureModule:
    """The module that makes a figure."""
    (name,) = select([name])
    return cast(FigureModule, importlib.import_module(f"{__name__}.{_MODULES[name]}"))


def regenerate(
    name: str,
    out: Path,
    *,
    trials: int,
    seed: int,
    workers: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Path]:
    """Simulate and draw one figure, and write name.nc, .pdf, .png and .json into the folder `out`.

    The same trials, seed and library versions give the same bytes, for any number of `workers` (processes; 1: this
    process). `out` is made if missing. `progress` is called with the number of cells just done, of the module's
    `CELLS`. Every file is written completely or not at all. Returns the paths. Raises `InvalidInput` for an unknown
    name and a folder that cannot be written.
    """
    figure = module(name)
    processes = min(validation.positive_integer("workers", workers), figure.CELLS)
    with writable_folder(out):
        if processes == 1:
            dataset = figure.data(trials, seed, None, progress)
        else:
            with local_processes(processes) as executor:
                dataset = figure.data(trials, seed, executor, progress)
        return write(name, dataset, out)


def write(name: str, dataset: "xr.Dataset", out: Path) -> list[Path]:
    """Draw a figure from its data and write name.nc, .pdf, .png and .json into `out`; returns the paths."""
    from linreg_lora.figures import style

    paths = {suffix: out / f"{name}.{suffix}" for suffix in ("nc", "pdf", "png", "json")}
    picture = module(name).draw(dataset)
    write_dataset(dataset, paths["nc"])
    for suffix in ("pdf", "png"):
        with atomic_path(paths[suffix]) as temporary:
            style.save(picture, temporary)
    write_atomically(paths["json"], (json.dumps(provenance(name, dataset), indent=2) + "\n").encode())
    return list(paths.values())


def provenance(name: str, dataset: "xr.Dataset") -> dict[str, Any]:
    """What a figure was made from: command, draws, seed, problems and versions."""
    trials, seed = int(dataset.attrs["trials"]), int(dataset.attrs["seed"])
    return {
        "figure": name,
        "command": f"linreg-lora figures {name} --trials {trials} --seed {seed}",
        "trials": trials,
        "seed": seed,
        "problems_sha256": dataset.attrs["problems_sha256"],
        "versions": {
            "linreg-lora": linreg_lora.__version__,
            **{package: version(package) for package in ("jax", "jaxlib", "numpy", "matplotlib")},
        },
    }
