"""The figures: one module each, data in, matplotlib Figure out, and their regeneration to files.

Each module, or object of a module that makes several, has `data(trials, seed, executor, progress)`, which simulates;
`draw(dataset)`, which only draws; `caption(dataset)`, what to see, with the numbers measured; and `CELLS`, how
often `data` calls `progress`. Importing this package imports neither JAX nor matplotlib.

Data that were computed by the same code, of the same versions, with the same trials and seed, are not computed again,
and a picture that was drawn of them by the same code, of the same width, is not drawn again: the provenance beside them
says so (`figures.current`). "The same code" is that of the figure's module and of all that it imports
(`provenance.code_hash`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from linreg_lora import validation
from linreg_lora.errors import LinregLoraError
from linreg_lora.figures.catalogue import (
    NAMES,
    FigureModule,
    asked_of,
    lacking,
    listed,
    module,
    register_figure,
    select,
)
from linreg_lora.figures.current import code_hash
from linreg_lora.figures.files import (
    IMAGE_FORMATS,
    USUAL_FORMATS,
    draw,
    index,
    redraw,
    refuse_other_runs,
    sidecar,
    stored,
    valid_formats,
    valid_width,
    write,
)
from linreg_lora.files.atomic import writable_folder
from linreg_lora.seeds import valid_seed
from linreg_lora.sweeps.executors import local_processes

__all__ = [
    "IMAGE_FORMATS", "NAMES", "USUAL_FORMATS", "FigureModule", "code_hash", "draw", "index", "listed", "module",
    "regenerate", "register_figure", "select", "sidecar", "stored", "valid_formats", "valid_width", "write",
]  # fmt: skip


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
    process). `out` is made if missing. Unless `fresh`, data in `out` that the same run would give are not computed
    again, and pictures that are there, whole, of the same code and width are not drawn again. `progress(name, cells)`
    is entered for each figure that is computed, and gives what is called with the number of cells just done. Pictures
    are of these `formats`, and `width` inches wide, None: as wide as they were made to be. Without `overwrite` data in
    `out` of other trials or another seed are refused. Every file is written completely or not at all. Yields the paths
    of each figure when they are there. `skip` is called with the reason where a figure cannot be computed for want of
    an extra; None raises `LinregLoraError` there. Raises `InvalidInput`, before any work, for an unknown name, fewer
    than 2 `trials`, a bad `seed`, a width too narrow for one of the figures and a folder that cannot be written.
    """
    names, seed, trials = select(names), valid_seed(seed), validation.enough_draws("trials", trials)
    wide = valid_width(names, width)
    formats = valid_formats(formats)
    if not overwrite:
        refuse_other_runs(names, out, trials=trials, seed=seed)
    workers = validation.positive_integer("workers", workers)
    with writable_folder(out), ExitStack() as stack:
        executor: Executor | None = None
        for name in names:
            there = None if fresh else redraw(name, out, trials=trials, seed=seed, formats=formats, width=wide)
            if there is not None:
                yield there
                continue
            if (reason := lacking(name)) is not None:
                if skip is None:
                    raise LinregLoraError(reason)
                skip(reason)
                continue
            figure = module(name)
            if executor is None:
                most = min(workers, max(module(name).CELLS for name in names))
                executor = stack.enter_context(local_processes(most)) if most > 1 else None
            with progress(name, figure.CELLS) as advance, asked_of(name):
                dataset = figure.data(trials, seed, executor, advance)
                dataset.attrs = {"trials": trials, "seed": seed, **dataset.attrs}
            with asked_of(name):
                paths = write(name, dataset, out, formats=formats, width=wide)
            yield paths
