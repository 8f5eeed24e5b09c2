"""Training as a table for people, as JSON for programs, and as a picture."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linreg_lora.cli import grammar
from linreg_lora.cli.numbers import MARK, marked, number, value
from linreg_lora.console import print_table
from linreg_lora.errors import LinregLoraError
from linreg_lora.problem import Problem
from linreg_lora.training.recipe import Optimiser, Recipe, Schedule
from linreg_lora.training.result import TrainingRun
from linreg_lora.training.starts import Start

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from linreg_lora.theory.training import RiskOverTime


#: Risks above so many times that at the first step are left out of pictures: they have diverged.
_HIGHEST = 1e3


class Trained(NamedTuple):
    """A run beside theory: the expected risk of its closed form, nan where it is not known and `note` says why."""

    run: TrainingRun
    expected: float
    flagged: bool
    note: str
    path: "RiskOverTime | None" = None
    """Gradient flow by theory at the times of the recorded steps, where it is known."""

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
        return [note for note in (run.note, off, self.note) if note]


def steps_of(text: str | None, steps: int) -> list[int]:
    """The steps to show: those that are listed, or 0 and the powers of two."""
    if text is not None:
        listed = grammar.numbers("at", text, "comma-separated steps, as in 0,10,100")
        return [int(step) if float(step).is_integer() else step for step in listed]  # type: ignore[misc]
    return [0, *(2**k for k in range(steps.bit_length()) if 2**k <= steps)]


def beside_theory(problem: Problem, runs: Sequence[TrainingRun]) -> list[Trained]:
    """Each run with the expected risk of the closed form that it is compared with."""
    from linreg_lora.theory.curve import expected_risk

    ranks = [run.rank for run in runs if run.rank is not None]
    try:
        curve = expected_risk(problem, ranks)
    except LinregLoraError as error:
        return [Trained(run, float("nan"), False, str(error), _path(run)) for run in runs]
    found = []
    for run in runs:
        if run.rank is None:
            found.append(Trained(run, curve.fft_risk, curve.fft_flagged, ""))
        else:
            one = curve.at_rank(run.rank)
            found.append(Trained(run, one.risk, one.flagged, "", _path(run)))
    return found


def _path(run: TrainingRun) -> "RiskOverTime | None":
    """The risk of gradient flow at learning rate (its median over draws) x steps, where descent follows a flow that
    theory knows: plain, from B = 0 and rows of A of one length, in white designs."""
    from linreg_lora.theory.training import risk_over_time

    recipe, start = run.recipe, Start.parse(run.recipe.start)
    plain = recipe.optimiser is Optimiser.GD and recipe.used_schedule is Schedule.CONSTANT and recipe.ratio == 1
    if run.rank is None or not plain or recipe.weight_decay > 0 or start.name not in ("kaiming", "orthogonal"):
        return None
    times = float(np.median(run.learning_rate)) * run.at
    try:
        return risk_over_time(
            run.problem, run.rank, times, scaling=recipe.scale(run.rank), kappa=start.size or 1 / 3, seed=run.seed
        )
    except LinregLoraError:
        return None


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
            "theory": value(each.expected),
            "flagged": each.flagged,
        },
        "flow": None if each.path is None else _flow_json(each.path),
        "reached": int(run.median_reached) if np.isfinite(run.median_reached) else None,
        "draws_that_reached": int(np.sum(run.reached >= 0)),
        "draws_that_converged": int(np.sum(run.converged)),
        "note": "; ".join(each.notes),
    }


def _flow_json(path: "RiskOverTime") -> dict[str, Any]:
    return {
        "risk": _values(path.risk),
        "stderr": None if path.stderr is None else _values(path.stderr),
        "flagged": path.flagged,
        "formula": path.formula,
        "note": "; ".join(path.notes),
    }


def train_table(problem: Problem, recipe: Recipe, found: Sequence[Trained]) -> None:
    """Print mean risks, a line a step, and under them the closed forms and when they are reached."""
    from rich.table import Table

    first = found[0].run
    decay = "" if recipe.weight_decay == 0 else f", decay {recipe.weight_decay:g}"
    coupling = "" if recipe.weight_decay == 0 else " decoupled" if recipe.is_decoupled else " coupled"
    table = Table(
        title=f"Mean excess risk of {first.trials} draws while training, {problem.regime}: n = {problem.n}, "
        f"dx = {problem.dx}, dy = {problem.dy}, noise std {problem.noise_std:g}, {grammar.said_mean(problem)}"
        f"{recipe.optimiser}, {recipe.used_schedule} learning rate, start {recipe.start_text}{decay}{coupling}",
        title_justify="left",
    )
    table.add_column("step", justify="right")
    for each in found:
        table.add_column("FFT" if each.run.rank is None else f"LoRA, rank {each.run.rank}", justify="right")
        table.add_column("+-", justify="right")
        if each.path is not None:
            table.add_column("flow, theory", justify="right")
    paths = [_means(each.run) for each in found]
    for place, step in enumerate(first.at):
        row = [f"{step:.0f}"]
        for each, (mean, stderr) in zip(found, paths, strict=True):
            row += [number(mean[place]), number(stderr[place])]
            row += [] if each.path is None else [marked(each.path.risk[place], each.path.flagged)]
        table.add_row(*row)
    table.add_section()
    for name, said in _SUMMARY.items():
        row = [name]
        for each in found:
            row += [said(each), "", *([] if each.path is None else [""])]
        table.add_row(*row)
    print_table(table)
    if any(each.flagged or (each.path is not None and each.path.flagged) for each in found):
        print(f"{MARK} by theory, and may be off by more than 1 %")
    said = [f"{each.name}: {note}" for each in found for note in each.notes]
    for line in dict.fromkeys([*said, *([problem.moments_note] if problem.moments_note else [])]):
        print(line)


def picture(found: Sequence[Trained]) -> "Figure":
    """Risk against steps, medians over draws, with the closed forms by theory as dashed lines."""
    from linreg_lora.figures import style

    with style.applied():
        figure, axes = style.single_panel()
        for place, each in enumerate(found):
            look = style.REFERENCE if each.run.rank is None else style.FIVE_COMPARED[place % 5]
            label = "FFT" if each.run.rank is None else f"LoRA, rank {each.run.rank}"
            shown = each.run.at > 0
            risk = np.median(each.run.risk, axis=0)[shown]
            seen = risk < _HIGHEST * float(np.max(each.run.risk[:, 0]))
            axes.plot(each.run.at[shown][seen], risk[seen], color=look.color, marker=look.marker, label=label)
            if np.isfinite(each.expected):
                axes.axhline(each.expected, color=look.color, linestyle="--", linewidth=0.8)
        axes.set(xlabel="step", ylabel="excess risk, median over draws", xlim=(0.9, 1.1 * found[0].run.at[-1]))
        axes.set(xscale="log", yscale="log")
        axes.set_title("dashed: expected risk of the closed forms", fontsize="small", color=style.ANNOTATION)
        axes.legend(loc="best")
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
    "closed form, theory": lambda each: marked(each.expected, each.flagged),
    "within 1 % from step": lambda each: _reached(each.run),
    "||D - closed form||/||closed form||": lambda each: number(float(np.median(each.run.distance[:, -1]))),
    "converged": lambda each: f"{np.sum(each.run.converged)} of {each.run.trials}",
    "learning rate": lambda each: number(float(np.median(each.run.learning_rate))),
}


def _values(array: np.ndarray) -> list[float | None]:
    return [value(float(x)) for x in array]
