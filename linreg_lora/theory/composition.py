"""Adapters that are added: task arithmetic, mixtures with fixed weights, and what a student of a teacher's map learns.

Updates D_i of independent data, fitted on one base with one Sigma, risks of A0 + sum_i a_i D_i on task j, exactly:

    ||Delta_j Sigma^{1/2}||^2 + sum_i a_i^2 T1_i + sum_{i != k} a_i a_k Tr(M_i Sigma M_k^T)
                              - 2 sum_i a_i Tr(M_i Sigma Delta_j^T)

with M_i = E D_i (`expected_update`) and T1_i = E ||D_i Sigma^{1/2}||^2. A mixture of adapters with fixed weights is
that sum.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.equivalent import rank_of_full_fit
from linreg_lora.theory.expected_update import mean_update
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.rescaled import without_negligible_ridge


class Composed(NamedTuple):
    """Expected risk of a sum of updates on each task, and the weights a_i in it.

    `flagged`: a risk may be off by more than 1 %; `note` says which part.
    """

    weights: Float[np.ndarray, "tasks"]
    risks: Float[np.ndarray, "tasks"]
    flagged: bool = False
    note: str = ""


class Moves(NamedTuple):
    """E D (dy x dx), E ||D Sigma^{1/2}||^2 and E <D, Delta> in the metric of Sigma, of one task's update.

    `mean` is scaled so that its overlap with Delta is `overlap`, which has its finite-size correction.
    """

    mean: Float[np.ndarray, "dy dx"]
    energy: float
    overlap: float
    flagged: bool
    note: str


def task_arithmetic(
    problems: Sequence[Problem], ranks: int | Sequence[int], weights: Sequence[float | int] | np.ndarray | None = None
) -> Composed:
    """Expected excess risk of A0 + sum_i a_i D_i on each task, D_i LoRA of rank r_i on data of task i alone.

    `problems`: one a task, with one Sigma and one A0, and data that are independent; n, Delta, Sigma_eps and ridge of
    each its own. `ranks`: r_i, or one for all, 0..min(n, dx, dy), where it is FFT. `weights` a_i; None: those of least
    sum of risks, which for tasks that do not overlap are T2_i / (tasks T1_i). Without noise and with every direction
    found these are 1/tasks. Raises `InvalidInput` where problems do not share their base or have no mean.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> one = ll.Problem(n=120, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> other = one.replace(task_shift=one.shift[::-1, ::-1])
    >>> best = ll.theory.task_arithmetic([one, other], 2)
    >>> best.weights.round(3).tolist(), best.risks.round(2).tolist()
    ([0.446, 0.446], [7.22, 7.22])
    >>> ll.theory.task_arithmetic([one, other], 2, weights=(1, 1)).risks.round(2).tolist()
    [16.15, 16.15]
    """
    tasks = related(problems)
    each = [ranks] * len(tasks) if isinstance(ranks, (int, np.integer)) else list(ranks)
    if len(each) != len(tasks):
        raise InvalidInput("ranks", f"one rank, or one for each of {len(tasks)} problems", each)
    moves = [moves_of(problem, rank) for problem, rank in zip(tasks, each, strict=True)]
    sigma = tasks[0].sigma
    cross = np.array([[np.sum((a.mean @ sigma) * b.mean) for b in moves] for a in moves])
    np.fill_diagonal(cross, [one.energy for one in moves])
    overlap = np.array([[np.sum((a.mean @ sigma) * task.shift) for a in moves] for task in tasks])
    np.fill_diagonal(overlap, [one.overlap for one in moves])
    if weights is None:
        a = np.linalg.lstsq(len(tasks) * cross, np.sum(overlap, axis=0), rcond=None)[0]
    else:
        a = validation.real_array("weights", weights, f"{len(tasks)} numbers")
        if a.shape != (len(tasks),):
            raise InvalidInput("weights", f"{len(tasks)} numbers", f"shape {a.shape}")
    risks = a @ cross @ a - 2 * overlap @ a + np.array([task.pretrained_risk for task in tasks])
    notes = dict.fromkeys(one.note for one in moves if one.note)
    return Composed(a, risks, any(one.flagged for one in moves), "; ".join(notes))


@functools.lru_cache(maxsize=64)
def moves_of(problem: Problem, rank: int) -> Moves:
    """What a sum of updates needs of one of them; LoRA's energy and overlap with their finite-size correction."""
    mean = mean_update(problem, rank)
    curve = expected_risk(problem, [rank])
    found = curve.at_rank(rank)
    if not np.isfinite(found.risk):
        raise NumericalFailure("; ".join(curve.notes))
    raw = overlap = float(np.sum((mean.update @ problem.sigma) * problem.shift))
    reduced = without_negligible_ridge(problem).without_null_inputs()
    if 0 < rank < rank_of_full_fit(reduced):
        parts = functionals(reduced, np.array([float(rank)]), correction=True)
        overlap = float(parts.raw[0, 2] + parts.correction[0, 2])
    energy = found.risk - problem.pretrained_risk + 2 * overlap
    notes = [mean.note] if mean.flagged else []
    scale = overlap / raw if raw > 0 else 1.0
    return Moves(scale * mean.update, energy, overlap, found.flagged or mean.flagged,
                 "; ".join([*notes, *(curve.notes if found.flagged else ())]))  # fmt: skip


def related(problems: Sequence[Problem]) -> list[Problem]:
    """Problems that differ in their task and data alone. Raises `InvalidInput` where Sigma, A0 or sizes differ too."""
    tasks = list(problems)
    if not tasks or not all(isinstance(problem, Problem) for problem in tasks):
        raise InvalidInput("problems", "a list of problems, one a task", problems)
    for problem in tasks:
        problem.require_gaussian("composed updates")
        if problem.moments is Moments.NO_MEAN:
            raise InvalidInput("problems", "tasks whose risk has a mean", problem.moments_note)
    first = tasks[0]
    for place, other in enumerate(tasks[1:], start=1):
        same = (first.dx, first.dy) == (other.dx, other.dy) and np.array_equal(first.sigma, other.sigma)
        bases = [0.0 if problem.pretrained is None else problem.pretrained for problem in (first, other)]
        if not same or bool(np.any(np.not_equal(bases[0], bases[1]))):
            raise InvalidInput("problems", "tasks with one Sigma and one A0", f"others at problem {place}")
    return tasks


def distilled_risk(problem: Problem, teacher_error: object, rank: int) -> Composed:
    """Expected risk of a student fitted to the outputs of a teacher, on the task: this model with the teacher's error.

    The teacher's map is A0 + Delta + E with E (`teacher_error`, dy x dx) given, and `problem` describes the student's
    data: n, Delta, Sigma and what noise its outputs have. The student's problem has the shift Delta + E, and

        risk = E risk(D_r; Delta + E) + 2 Tr((E D_r - Delta - E) Sigma E^T) + ||E Sigma^{1/2}||^2

    For n > dx + 1 FFT learns the teacher, error and all: the last term is what the teacher costs. LoRA leaves out what
    of the error it does not keep.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=120, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=0.5)
    >>> error = 0.02 * np.random.default_rng(0).standard_normal((30, 40))
    >>> each = [ll.theory.distilled_risk(problem, error, rank).risks[0] for rank in (2, 30)]
    >>> "{:.3f} for LoRA, {:.3f} for FFT".format(*each)
    '0.437 for LoRA, 4.257 for FFT'
    """
    error = validation.matrix("teacher_error", teacher_error, (problem.dy, problem.dx))
    if error is None:
        raise InvalidInput("teacher_error", f"a dy x dx = {problem.dy} x {problem.dx} matrix", "nothing")
    student = problem.replace(task_shift=problem.shift + error)
    r = int(valid_ranks([rank], student)[0])
    moves = moves_of(student, r)
    seen = moves.energy - 2 * moves.overlap + student.pretrained_risk
    metric = error @ problem.sigma
    risk = seen + 2 * float(np.sum((moves.mean - student.shift) * metric)) + float(np.sum(error * metric))
    return Composed(np.ones(1), np.array([risk]), moves.flagged, moves.note)
