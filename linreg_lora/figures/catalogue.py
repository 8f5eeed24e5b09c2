"""Which figures there are, of this package and of plug-ins, and what makes each."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.figures import published

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_PACKAGE = "linreg_lora.figures"
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
#: Every figure of this package, by the name of its files.
NAMES = tuple(_MODULES)


class FigureModule(Protocol):
    """What makes a figure: a module, or any object, with these four.

    | part | meaning |
    |------|---------|
    | `CELLS` | how many steps `data` tells `progress` of in all, and the most processes that are started for it |
    | `data` | (trials, seed, executor, progress) to an xarray Dataset; `executor`: where cells may run, None: here |
    | `draw` | the Dataset, and nothing else, to a matplotlib Figure |
    | `caption` | the Dataset to what stands below the figure, in plain text |

    `register_figure` makes it known by a name.

    >>> import types
    >>> import matplotlib.figure
    >>> import xarray as xr
    >>> import linreg_lora as ll
    >>> def data(trials, seed, executor=None, progress=lambda steps: None):
    ...     problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    ...     drawn = ll.monte_carlo(problem, trials=trials, seed=seed)
    ...     progress(1)
    ...     return xr.Dataset({"risk": ("rank", drawn.risk)}, {"rank": drawn.ranks})
    >>> def draw(dataset):
    ...     figure = matplotlib.figure.Figure()
    ...     figure.subplots().plot(dataset["rank"], dataset["risk"])
    ...     return figure
    >>> mine = types.SimpleNamespace(CELLS=1, data=data, draw=draw, caption=lambda dataset: "Risk against rank.")
    >>> len(mine.draw(mine.data(trials=20, seed=0)).axes[0].lines)
    1
    """

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
registered: dict[str, FigureModule] = {}


def register_figure(name: str, figure: FigureModule) -> None:
    """Make a figure of a plug-in known to `linreg-lora figures`, by the name of its files.

    `figure`: a module or an object with `data`, `draw`, `caption` and `CELLS`. Its data are computed whenever it is
    asked for: what its code depends on is not known here. Raises `InvalidInput` for a name that is taken.
    """
    from linreg_lora.claims import registry

    missing = [part for part in ("data", "draw", "caption", "CELLS") if not hasattr(figure, part)]
    if missing:
        raise InvalidInput("figure", "data, draw, caption and CELLS", f"{name} without {', '.join(missing)}")
    known = registered.get(name)
    if name in NAMES or (known is not None and file_of(known) != file_of(figure)):
        where = f"{_PACKAGE}.{_MODULES[name]}" if known is None else file_of(known)
        raise InvalidInput("figure", "a name that is free", name, f"{where} has it, {file_of(figure)} wants it")
    registry.also_all_or_nothing(registered)
    registered[name] = figure


def file_of(figure: FigureModule) -> str:
    """The file that a figure of a plug-in is written in."""
    module = figure if isinstance(figure, ModuleType) else sys.modules.get(type(figure).__module__)
    return getattr(module, "__file__", None) or type(figure).__module__


def select(names: Sequence[str]) -> list[str]:
    """`names` without repetition, all figures of this package when empty.

    A paper's own number names the figure that redraws it: figure-11, or 2605.19018:11. Raises `InvalidInput` for an
    unknown name.
    """
    known = [*NAMES, *registered]
    names = [published.named(name) if name not in known else name for name in names]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput("figure", f"one of {', '.join(known)}", unknown[0])
    return list(dict.fromkeys(names)) or list(NAMES)


def module(name: str) -> FigureModule:
    """What makes a figure."""
    (name,) = select([name])
    if name in registered:
        return registered[name]
    made, variant = importlib.import_module(home(name)), _MODULES[name].partition(":")[2]
    return cast(FigureModule, getattr(made, variant) if variant else made)


def home(name: str) -> str:
    """The module of a figure of this package."""
    return f"{_PACKAGE}.{_MODULES[name].partition(':')[0]}"


def needs(name: str) -> list[str]:
    """The distributions that a figure needs beyond this package's dependencies."""
    return [_NEEDS[name][1]] if name in _NEEDS else []


def listed(names: Sequence[str] = ()) -> list[dict[str, str]]:
    """Each figure: its name, the papers' figures that it redraws, and what it shows. Nothing of it is imported."""
    rows = []
    for name in select(names) if names else [*NAMES, *registered]:
        redraws = "; ".join(f"{one.paper} figure {one.number}" for one in published.of(name))
        rows.append({"figure": name, "redraws": redraws, "shows": _first_sentence(name)})
    return rows


def _first_sentence(name: str) -> str:
    """How the docstring of a figure's module begins, with the name of the object where the module makes several."""
    if name in registered:
        return (registered[name].__doc__ or "").strip().split("\n", 1)[0]
    where, _, variant = _MODULES[name].partition(":")
    written = ast.get_docstring(ast.parse((Path(__file__).parent / f"{where}.py").read_text())) or ""
    sentence = " ".join(written.split("\n\n", 1)[0].split()).rstrip(".:")
    return f"{sentence} ({variant.replace('_', ' ')})" if variant else sentence


def lacking(name: str) -> str | None:
    """Why a figure's data cannot be computed here, or None."""
    module, distribution, extra = _NEEDS.get(name, ("linreg_lora", "", ""))
    if importlib.util.find_spec(module) is not None:
        return None
    return f"figure {name} needs {distribution}: pip install 'linreg-lora[{extra}]'"


@contextmanager
def asked_of(name: str) -> Iterator[None]:
    """Whatever a plug-in's figure raises is one line."""
    try:
        yield
    except (LinregLoraError, OSError):
        raise
    except Exception as error:
        if name not in registered:
            raise
        where = file_of(registered[name])
        raise InvalidInput(name, "a figure that can be made", type(error).__name__, f"{error}, in {where}") from error
