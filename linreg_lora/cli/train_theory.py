"""What theory says beside a run of training: where it ends on average, and its path."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.errors import LinregLoraError
from linreg_lora.problem import Problem
from linreg_lora.training.recipe import Optimiser, Schedule
from linreg_lora.training.result import TrainingRun
from linreg_lora.training.starts import Start

#: A value that may be off by more is flagged.
_ACCURATE = 0.01
#: Starts of a run, as the theory of its path calls them.
_STARTS: dict[str, Literal["kaiming", "gaussian", "normal", "random"]] = {
    "kaiming": "kaiming",
    "gaussian": "gaussian",
    "normal": "normal",
    "orthogonal": "random",
}
_NO_DECAYED_MEAN = "theory has no expected risk of the minimum with decay"


class End(NamedTuple):
    """The expected risk of the closed form: nan where it is not known, and `note` says why."""

    risk: float
    flagged: bool
    note: str


class Path(NamedTuple):
    """The expected risk at the recorded steps; `stderr` None: not a mean over draws; `flags`: off by more than 1 %?"""

    risk: Float[np.ndarray, "k"]
    stderr: Float[np.ndarray, "k"] | None
    flags: Bool[np.ndarray, "k"]
    formula: str
    notes: tuple[str, ...]


def ends(problem: Problem, runs: Sequence[TrainingRun]) -> list[End]:
    """Of each run. Decay in the loss is a ridge in full fine-tuning, and a nuclear norm of LoRA's product."""
    from linreg_lora.theory.curve import expected_risk

    lam = runs[0].recipe.decay_in_loss
    ranks = [run.rank for run in runs if run.rank is not None] if lam == 0 else [0]
    try:
        curve = expected_risk(problem.replace(ridge=problem.ridge + problem.n * lam) if lam > 0 else problem, ranks)
    except LinregLoraError as error:
        return [End(float("nan"), False, str(error)) for _ in runs]
    found = []
    for run in runs:
        if run.rank is None:
            found.append(End(curve.fft_risk, curve.fft_flagged, ""))
        elif lam > 0:
            found.append(End(float("nan"), False, _NO_DECAYED_MEAN))
        else:
            one = curve.at_rank(run.rank)
            found.append(End(one.risk, one.flagged, ""))
    return found


def path(run: TrainingRun) -> Path | None:
    """Of plain descent at a constant rate, from B = 0, without decay; None elsewhere, and where every draw overflows.

    The rate is the median of those of the draws.
    """
    recipe = run.recipe
    plain = recipe.optimiser is Optimiser.GD and recipe.used_schedule is Schedule.CONSTANT and recipe.ratio == 1
    if not plain or recipe.weight_decay > 0 or not np.any(np.isfinite(run.risk[:, -1])):
        return None
    try:
        return _filtered(run) if run.rank is None else _flowing(run, run.rank)
    except LinregLoraError:
        return None


def _filtered(run: TrainingRun) -> Path:
    """Full fine-tuning: the spectral filter of descent, at the rate and at the least and largest of the draws."""
    from linreg_lora.theory.training import stopped_risk

    rate, steps = float(np.median(run.learning_rate)), run.at.astype(int).tolist()
    found = [stopped_risk(run.problem, step * rate, rate) for step in steps]
    risk = np.array([each.risk for each in found])
    flags, notes = np.array([not each.exact and step > 0 for each, step in zip(found, steps, strict=True)]), ()
    if (spread := _spread(run)) > 0:
        notes = (f"theory: at the median learning rate; those of the draws are within {spread:.2g} of it, relatively",)
        for other in (np.min(run.learning_rate), np.max(run.learning_rate)):
            try:
                there = [stopped_risk(run.problem, step * float(other), float(other)).risk for step in steps]
            except LinregLoraError:
                there = np.where(run.at > 0, np.inf, risk)
            flags |= _off(np.array(there), risk)
    return Path(risk, None, flags, found[-1].formula, notes)


def _flowing(run: TrainingRun, rank: int) -> Path | None:
    """LoRA: gradient flow, which descent follows but for a share of the time.

    A mode of curvature h shrinks by 1 - eta h a step, as a flow does in a time eta (1 + eta h / 2 + ..): with the
    largest h of the minimum, c g^2 (||A||^2 + ||B||^2), that share is at most eta h / 2 to first order.
    """
    from linreg_lora.theory.training import risk_over_time

    start, scale = Start.parse(run.recipe.start), run.recipe.scale(rank)
    variance = run.problem.isotropic_scale
    if start.name not in _STARTS or variance is None or run.factors is None:
        return None
    rate = float(np.median(run.learning_rate))
    finite = np.isfinite(run.risk[:, -1])
    size = sum(np.linalg.norm(factor[finite], 2, axis=(-2, -1)) ** 2 for factor in run.factors)
    share = rate * variance * scale**2 * float(np.median(size)) / 2 + _spread(run)
    times = rate * run.at
    around = (times, max(1 - share, 0.0) * times, (1 + share) * times)
    found = risk_over_time(
        run.problem, rank, np.concatenate(around), start=_STARTS[start.name], scaling=scale, kappa=start.size or 1 / 3,
        seed=run.seed,
    )  # fmt: skip
    risk, early, late = np.split(found.risk, 3)
    flags = np.split(found.flags, 3)[0] | _off(early, risk) | _off(late, risk) | ((share >= 1) & (times > 0))
    stderr = None if found.stderr is None else np.where(times > 0, np.split(found.stderr, 3)[0], 0.0)
    notes = tuple(f"flow by theory: {note}" for note in found.notes)
    notes += (f"descent of this rate follows the flow but for a share of up to {share:.2g} of the time",)
    return Path(risk, stderr, flags, found.formula, notes)


def _spread(run: TrainingRun) -> float:
    """How far the learning rates of the draws are from their median, relatively."""
    return float(np.max(np.abs(run.learning_rate / np.median(run.learning_rate) - 1)))


def _off(other: np.ndarray, risk: np.ndarray) -> Bool[np.ndarray, "k"]:
    return np.abs(other - risk) > _ACCURATE * risk
