"""Training by descent: draws of a problem, each trained from its own start, beside the closed forms."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.seeds import valid_seed
from linreg_lora.training import descent, ends
from linreg_lora.training.learning_rates import learning_rates
from linreg_lora.training.optimisers import require_optax
from linreg_lora.training.recipe import Recipe, Schedule
from linreg_lora.training.result import TrainingRun, why_not
from linreg_lora.training.starts import Start, factors
from linreg_lora.training.statistics import Statistics, drawn_statistics

Progress = Callable[[int], None]

#: Recorded steps unless they are named: 0, and so many at equal ratios.
_RECORDED = 40
#: What the statistics of all draws may take together, and the steps' copies of them.
_MOST_BYTES = 2**30


class Prepared(NamedTuple):
    """Draws of a problem, ready to be trained: statistics with draws along the first axis, and the numbers of a run."""

    drawn: Statistics
    start: dict[str, np.ndarray]
    settings: descent.Settings
    fft_risk: np.ndarray


def train(
    problem: Problem,
    rank: int | None,
    recipe: Recipe | None = None,
    *,
    trials: int,
    seed: int,
    at: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """Trains LoRA of one `rank`, or full fine-tuning (None, from D = 0), on `trials` draws of a problem.

        minimise (1/2n) ||R - g B A X||_F^2 + (eta/2n) ||g B A||_F^2,      the closed form is D_r (`estimators.lora`)

    `recipe` is how, by default plain descent from the start of Hugging Face peft. `at` are the steps to record, in
    0..recipe.steps; the last is always recorded. Draw i is the same for every rank and recipe: its data depend on the
    `seed` and i alone. `progress` is called with the number of steps just made, of recipe.steps.

    Raises `InvalidInput` where something does not fit, a Sigma without full rank among it, and without optax.

    >>> import linreg_lora as ll
    >>> from linreg_lora import training
    >>> problem = ll.Problem(n=40, dx=8, dy=6, spectrum=(3.0, 2.0), noise_std=0.5)
    >>> run = training.train(problem, 2, training.Recipe(steps=1000), trials=2, seed=0)
    >>> bool(run.converged.all()), bool((run.distance[:, -1] < 1e-8).all())
    (True, True)
    """
    recipe = Recipe() if recipe is None else recipe
    require_optax()
    prepared = prepare(problem, rank, recipe, trials=trials, seed=seed)
    return train_prepared(problem, rank, recipe, prepared, seed=seed, at=at, progress=progress)


def train_prepared(
    problem: Problem,
    rank: int | None,
    recipe: Recipe,
    prepared: Prepared,
    *,
    seed: int,
    at: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """`train` on draws that are there already; `seed` is noted only."""
    recorded = recorded_steps(recipe.steps, at)
    rows, end = descent.descend(
        recipe, prepared.drawn, prepared.settings, prepared.start, recorded, progress or (lambda _: None)
    )
    reached = np.where(np.isfinite(rows[-1].risk), np.asarray(end.outside) + 1, recipe.steps + 1)
    return finished(
        problem, rank, recipe, prepared, rows, np.asarray(recorded, dtype=float), "step",
        reached=np.where(reached > recipe.steps, -1, reached), end=end.parameters, seed=seed,
        peak=np.asarray(end.peak) if recipe.used_schedule is Schedule.CONSTANT else None,
    )  # fmt: skip


def prepare(
    problem: Problem, rank: int | None, recipe: Recipe, *, trials: int, seed: int, drawn: Statistics | None = None
) -> Prepared:
    """Draws (None: of the problem), starts and learning rates of a run."""
    trials, seed = validation.positive_integer("trials", trials), valid_seed(seed)
    if rank is not None:
        rank = validation.positive_integer("rank", rank)
        if rank > problem.max_rank:
            raise InvalidInput("rank", f"an integer in 1..min(n, dx, dy) = {problem.max_rank}", rank)
    most = _MOST_BYTES // (8 * (3 * problem.dx**2 + 12 * problem.dx * problem.dy))
    if most == 0:
        raise InvalidInput("dx", "sizes of which the statistics fit into memory", problem.dx)
    if trials > most:
        raise InvalidInput("trials", f"at most {most}: the statistics of more do not fit into memory", trials)
    scale = 1.0 if rank is None else recipe.scale(rank)
    if drawn is None:
        drawn = drawn_statistics(problem, rank, trials=trials, seed=seed)
    start = {"d": np.zeros_like(drawn.full)}
    if rank is not None:
        sources = [np.random.default_rng([seed, draw, 1]) for draw in range(trials)]
        pairs = [
            factors(Start.parse(recipe.start), source, rank, scale, gram, moment)
            for source, gram, moment in zip(sources, drawn.gram, drawn.moment, strict=True)
        ]
        start = {"a": np.stack([a for _, a in pairs]), "b": np.stack([b for b, _ in pairs])}
    settings = descent.Settings(
        scale=np.float64(scale),
        rate=learning_rates(recipe, scale, drawn, start.get("a")),
        ratio=np.float64(recipe.ratio),
        steps=np.float64(recipe.steps),
        shift=problem.shift,
        risk_root=_risk_root(problem),
        closed_risk=np.zeros(trials),
        goal=ends.goals(recipe, rank, drawn),
        projector=drawn.projector,
        unit=np.ones(trials),
    )
    closed_risk, fft_risk = (descent.risk_of(update, settings) for update in (settings.goal, drawn.full))
    size = descent.energy(drawn.full, settings) ** 0.5
    settings = settings._replace(closed_risk=closed_risk, unit=ends.units(drawn, closed_risk, size))
    return Prepared(drawn, start, settings, fft_risk)


def _risk_root(problem: Problem) -> np.ndarray | None:
    """C with risk(D) = ||(D - Delta) C||^2; its diagonal where it is diagonal, None where it is the identity."""
    if problem.input_mean is not None:
        return problem.risk_root
    covariance = problem.input_covariance
    if covariance is None:
        return None
    return np.sqrt(covariance) if covariance.ndim == 1 else problem.sigma_sqrt


def finished(
    problem: Problem,
    rank: int | None,
    recipe: Recipe,
    prepared: Prepared,
    rows: list[descent.Measured],
    at: np.ndarray,
    unit: str,
    *,
    reached: np.ndarray,
    end: dict[str, Any],
    seed: int,
    peak: np.ndarray | None = None,
) -> TrainingRun:
    """The result of measured `rows`, one for each of `at`; `peak`: the largest gradients and errors of late steps."""
    path = {name: np.stack([getattr(row, name) for row in rows], axis=1) for name in descent.Measured._fields}
    finite = np.isfinite(path["risk"][:, -1])
    last = np.stack([path["gradient"][:, -1], path["error"][:, -1]])
    last = last if peak is None else np.maximum(peak, last)
    leaves = np.zeros(len(finite), dtype=bool)
    if peak is not None and recipe.is_adaptive:
        held = {name: np.where(finite[:, None, None], value, 0.0) for name, value in end.items()}
        leaves = ends.leaves(recipe, prepared.settings.scale, prepared.settings.rate, prepared.drawn, held)
    reasons = tuple(
        why_not(
            bool(ok),
            float(gradient),
            float(error),
            float(at[-1]),
            unit,
            late=peak is not None,
            leaves=bool(gradient > 0 and off),
        )
        for ok, gradient, error, off in zip(finite, *last, leaves, strict=True)
    )
    return TrainingRun(
        problem=problem,
        rank=rank,
        recipe=recipe,
        unit="step" if unit == "step" else "time",
        at=at,
        closed_risk=prepared.settings.closed_risk,
        fft_risk=prepared.fft_risk,
        reached=reached,
        converged=np.array([not reason for reason in reasons]),
        reasons=reasons,
        learning_rate=prepared.settings.rate,
        final=np.asarray(descent.product(end, prepared.settings.scale)),
        factors=(np.asarray(end["b"]), np.asarray(end["a"])) if "b" in end else None,
        seed=seed,
        **path,
    )


def recorded_steps(steps: int, at: Sequence[int] | None) -> list[int]:
    """The steps to record, increasing, with the last; by default 0 and about 40 at equal ratios."""
    if at is None:
        chosen = np.unique(np.rint(np.geomspace(1, steps, _RECORDED)).astype(int)).tolist()
        return [0, *chosen]
    expected = f"steps in 0..{steps}, increasing"
    chosen = list(at)
    if any(isinstance(step, bool) or not isinstance(step, int | np.integer) for step in chosen):
        raise InvalidInput("at", expected, at)
    chosen = [int(step) for step in chosen]
    if any(b <= a for a, b in itertools.pairwise(chosen)) or any(not 0 <= s <= steps for s in chosen):
        raise InvalidInput("at", expected, at)
    return chosen if chosen and chosen[-1] == steps else [*chosen, steps]
