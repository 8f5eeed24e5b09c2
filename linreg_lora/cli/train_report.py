"""Training as a table for people, as JSON for programs, and as a picture."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linreg_lora.cli import grammar
from linreg_lora.cli.numbers import MARK, marked, number, value
from linreg_lora.cli.train_theory import End, Path, ends, path
from linreg_lora.console import print_table, table_width
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.training.recipe import Recipe
from linreg_lora.training.result import TrainingRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Risks above so many times the largest of those at the start and at the end are left out of pictures: they diverge.
_HIGHEST = 1e3
#: As many ranks as a picture can tell apart.
MOST_DRAWN = 5


class Trained(NamedTuple):
    """A run beside theory: where it ends on average, and its path at the recorded steps where that is known."""

    run: TrainingRun
    end: End
    path: Path | None

    @property
    def name(self) -> str:
        """The method."""
        return "fft" if self.run.rank is None else f"lora:{self.run.rank}"

    @property
    def notes(self) -> list[str]:
        """What did not converge, what the inputs do not see, and what theory does not know."""
        run = self.run
        sees_all = run.problem.n >= run.problem.dx or run.problem.ridge > 0
        unseen = run.rank is not None or run.recipe.is_adaptive
        off = (
            ""
            if sees_all or not unseen
            else "n < dx: outside of the inputs' range D keeps what the start or Adam put there"
        )
        said = () if self.path is None else self.path.notes
        return [note for note in (run.note, off, self.end.note, *said) if note]


def steps_of(text: str | None, steps: int) -> list[int]:
    """The steps to show: those that are listed, or 0 and the powers of two."""
    if text is not None:
        listed = grammar.numbers("at", text, "comma-separated steps, as in 0,10,100")
        return [int(step) if float(step).is_integer() else step for step in listed]  # type: ignore[misc]
    return [0, *(2**k for k in range(steps.bit_length()) if 2**k <= steps)]


def beside_theory(
    problem: Problem, runs: Sequence[TrainingRun], progress: Callable[[int], None] = lambda _: None
) -> list[Trained]:
    """Each run with what theory says of it; `progress` is called with 1 after each."""
    found = []
    for run, end in zip(runs, ends(problem, runs), strict=True):
        found.append(Trained(run, end, path(run)))
        progress(1)
    return found


def train_json(problem: Problem, recipe: Recipe, found: Sequence[Trained]) -> None:
    """Print one JSON object. Values that do not exist or are unknown are null."""
    first = found[0].run
    out = {
        "problem": {**problem.to_dict(), "regime": str(problem.regime), "moments": str(problem.moments)},
        "recipe": {
            "optimiser": str(recipe.optimiser),
            "schedule": str(recipe.used_schedule),
            "start": recipe.start_text,
            "scaling": str(recipe.scaling),
            "alpha": recipe.alpha,
            "ratio": recipe.ratio,
            "weight_decay": recipe.weight_decay,
            "decoupled": recipe.is_decoupled,
        },
        "trials": first.trials,
        "seed": first.seed,
        "steps": first.at.astype(int).tolist(),
        "methods": [_one_json(each) for each in found],
        "note": problem.moments_note,
    }
    print(json.dumps(out, indent=2, allow_nan=False))


def _one_json(each: Trained) -> dict[str, Any]:
    run = each.run
    mean, stderr = _means(run)
    best, where = run.best
    return {
        "method": each.name,
        "rank": run.rank,
        "scale": None if run.rank is None else run.recipe.scale(run.rank),
        "learning_rate": float(np.median(run.learning_rate)),
        "risk": {"mean": _values(mean), "stderr": _values(stderr)},
        "distance": _values(np.median(run.distance, axis=0)),
        "best": {"risk": value(float(np.median(best))), "step": int(np.median(where))},
        "closed_form": {
            "mean": value(float(np.mean(run.closed_risk))),
            "theory": value(each.end.risk),
            "flagged": each.end.flagged,
        },
        "flow": None if each.path is None else _flow_json(each.path),
        "reached": int(run.median_reached) if np.isfinite(run.median_reached) else None,
        "draws_that_reached": int(np.sum(run.reached >= 0)),
        "draws_that_converged": int(np.sum(run.converged)),
        "note": "; ".join(each.notes),
    }


def _flow_json(path: Path) -> dict[str, Any]:
    return {
        "risk": _values(path.risk),
        "stderr": None if path.stderr is None else _values(path.stderr),
        "flagged": bool(np.any(path.flags)),
        "formula": path.formula,
        "note": "; ".join(path.notes),
    }


def train_table(problem: Problem, recipe: Recipe, found: Sequence[Trained]) -> None:
    """Print mean risks, a line a step, and under them the closed forms and when they are reached.

    Methods that do not fit beside one another are in tables one below the other.
    """
    from rich.table import Table

    first = found[0].run
    decay = "" if recipe.weight_decay == 0 else f", decay {recipe.weight_decay:g}"
    coupling = "" if recipe.weight_decay == 0 else " decoupled" if recipe.is_decoupled else " coupled"
    title = (
        f"Mean excess risk of {first.trials} draws while training, {problem.regime}: n = {problem.n}, "
        f"dx = {problem.dx}, dy = {problem.dy}, noise std {problem.noise_std:g}, {grammar.said_mean(problem)}"
        f"{recipe.optimiser}, {recipe.used_schedule} learning rate, start {recipe.start_text}{decay}{coupling}"
    )
    steps = ["step", *(f"{step:.0f}" for step in first.at), *_SUMMARY]
    for columns in _side_by_side(steps, [_columns(each) for each in found], table_width()):
        table = Table(title=title, title_justify="left")
        for head, *_ in columns:
            table.add_column(head, justify="right", no_wrap=True)
        for place in range(1, len(steps)):
            if place == len(first.at) + 1:
                table.add_section()
            table.add_row(*(column[place] for column in columns))
        print_table(table)
        title = None
    theory = [each.path for each in found if each.path is not None]
    if any(each.end.flagged for each in found) or any(np.any(path.flags) for path in theory):
        print(f"{MARK} by theory, and may be off by more than 1 %")
    said = [f"{each.name}: {note}" for each in found for note in each.notes]
    for line in dict.fromkeys([*said, *([problem.moments_note] if problem.moments_note else [])]):
        print(line)


def _columns(each: Trained) -> list[list[str]]:
    """The columns of one method: means and standard errors of descent, and of theory where it has them."""
    mean, stderr = _means(each.run)
    name, blank = "FFT" if each.run.rank is None else f"LoRA, rank {each.run.rank}", [""] * len(_SUMMARY)
    said = [summary(each) for summary in _SUMMARY.values()]
    columns = [[name, *map(number, mean), *said], ["+-", *map(number, stderr), *blank]]
    if each.path is not None:
        what = "descent, theory" if each.run.rank is None else "flow, theory"
        columns.append([what, *(marked(*pair) for pair in zip(each.path.risk, each.path.flags, strict=True)), *blank])
        if each.path.stderr is not None:
            columns.append(["+-", *map(number, each.path.stderr), *blank])
    return columns


def _side_by_side(first: list[str], groups: Sequence[list[list[str]]], width: int) -> list[list[list[str]]]:
    """Columns of tables at most so wide, each with the first column; a group of columns stays in one table."""

    def size(columns: Sequence[list[str]]) -> int:
        return sum(max(map(len, column)) + 3 for column in columns)

    tables = [[first]]
    for group in groups:
        if len(tables[-1]) > 1 and 1 + size(tables[-1]) + size(group) > width:
            tables.append([first])
        tables[-1] += group
    return tables


def picture(found: Sequence[Trained]) -> "Figure":
    """Mean risks of descent against steps as markers, theory's paths as lines, and the closed forms at the right edge.

    Raises `InvalidInput` for more ranks than look different, and where no risk has a place on a logarithmic axis.
    """
    from linreg_lora.figures import style

    if sum(each.run.rank is not None for each in found) > MOST_DRAWN:
        raise InvalidInput("ranks", f"at most {MOST_DRAWN} in a picture", f"{len(found) - 1}", "leave some out")
    means = [_means(each.run) for each in found]
    ends = np.array([each.end.risk for each in found])
    largest = max([float(mean[0]) for mean, _ in means] + ends[np.isfinite(ends)].tolist())
    if largest <= 0:
        raise InvalidInput("picture", "a risk above 0, for a logarithmic axis", "0 for every method", "leave it out")
    last = float(found[0].run.at[-1])
    with style.applied():
        figure, axes = style.single_panel(3.9)
        for place, (each, (mean, stderr)) in enumerate(zip(found, means, strict=True)):
            look = style.REFERENCE if each.run.rank is None else style.FIVE_COMPARED[place]
            label = "FFT" if each.run.rank is None else f"LoRA, rank {each.run.rank}"
            at, seen = each.run.at, (each.run.at > 0) & (mean < _HIGHEST * largest)
            axes.plot(at[seen], mean[seen], color=look.color, linewidth=0.5, alpha=0.4)
            if each.path is not None:
                drawn = (at > 0) & (each.path.risk > 0)
                style.line(axes, at[drawn], each.path.risk[drawn], look, label)
            style.means(axes, at[seen], mean[seen], stderr[seen], look, "_" if each.path is not None else label)
            style.end_level(axes, last, each.end.risk, look)
        axes.set(xlabel="step", ylabel="excess risk, mean over draws", xlim=(0.9, style.END_LEVEL[1] * last))
        axes.set(xscale="log", yscale="log")
        if all(each.path is None for each in found):
            said = "markers: descent, joined; bars at the right edge: expected risk of the closed forms"
        else:
            said = "markers: descent; lines: by theory; bars at the right edge: expected risk of the closed forms"
        axes.set_title(said, fontsize="x-small", color=style.ANNOTATION)
        figure.legend(*axes.get_legend_handles_labels(), ncols=3, loc="outside upper center", frameon=False)
    return figure


def _means(run: TrainingRun) -> tuple[np.ndarray, np.ndarray]:
    """Means of the risk over draws and their standard errors; nan where a draw has overflowed."""
    risk = np.where(np.all(np.isfinite(run.risk), axis=0), run.risk, np.nan)
    with np.errstate(over="ignore"):
        return np.mean(risk, axis=0), np.std(risk, axis=0, ddof=1) / run.trials**0.5


def _reached(run: TrainingRun) -> str:
    if np.isfinite(run.median_reached):
        return f"{run.median_reached:.0f}"
    return f"{np.sum(run.reached >= 0)} of {run.trials} do"


#: Lines under the steps.
_SUMMARY: dict[str, Callable[[Trained], str]] = {
    "closed form, same draws": lambda each: number(float(np.mean(each.run.closed_risk))),
    "closed form, theory": lambda each: marked(each.end.risk, each.end.flagged),
    "within 1 % from step": lambda each: _reached(each.run),
    "||D - closed form||/||closed form||": lambda each: number(float(np.median(each.run.distance[:, -1]))),
    "converged": lambda each: f"{np.sum(each.run.converged)} of {each.run.trials}",
    "learning rate": lambda each: number(float(np.median(each.run.learning_rate))),
}


def _values(array: np.ndarray) -> list[float | None]:
    return [value(float(x)) for x in array]
