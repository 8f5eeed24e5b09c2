"""Cases beside a case: the same problem with a size, a scale, or a matrix that is another.

`LARGER` counts units: it shows how far a prediction moves when a size does. `MOVES` are steps to a neighbour: each
changes one thing, by a factor or a number of its own, so that what is equal by chance parts. Covariances become
anisotropic, in a basis of their own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from linreg_lora import spectra
from linreg_lora.problem import Problem

#: Seeds of the matrices that a neighbour has, which no claim chooses.
_A0_SEED, _PADDING_SEED = 3, 3
#: How far a neighbour's numbers are from the case's.
_MORE_NOISE, _MORE_SHIFT, _MORE_MEAN, _A0 = 1.3, 1.6, 1.5, 1.7
#: Of Sigma and Sigma_eps: the mean variance, times; the condition number, times; the seed of the basis.
_INPUTS_VARY, _NOISE_VARIES = (1.4, 2.5, 4), (0.85, 2.0, 5)
#: Strengths of the directions more, beside the weakest; inputs and outputs more.
_FURTHER = (0.9, 0.8)
_INPUTS, _OUTPUTS = 4, 6
#: Steps that sizes are moved further at most, to part what is equal by chance.
_FURTHEST = 4


# -- units --------------------------------------------------------------------------------------------------------


def _more_samples(case: Problem, more: int) -> Problem:
    return case.replace(n=case.n + more)


def _more_inputs(case: Problem, more: int) -> Problem:
    covariance = case.input_covariance
    if covariance is not None:
        covariance = _extended(covariance, more)
    return case.replace(dx=case.dx + more, input_covariance=covariance, **_padded(case, (0, more)))


def _more_outputs(case: Problem, more: int) -> Problem:
    covariance = case.noise_covariance
    if covariance is not None:
        covariance = _extended(covariance, more)
    return case.replace(dy=case.dy + more, noise_covariance=covariance, **_padded(case, (more, 0)))


def _more_directions(case: Problem, more: int) -> Problem:
    """The shift with its weakest direction repeated, if it has fewer than it could."""
    values = _strengths(case)
    if case.task_shift is not None or not values or min(case.dx, case.dy) - len(values) < more:
        return case
    return case.replace(spectrum=(*values, *[values[-1]] * more))


#: Size -> the same case with so many more.
LARGER: dict[str, Callable[[Problem, int], Problem]] = {
    "n": _more_samples,
    "dx": _more_inputs,
    "dy": _more_outputs,
    "shift_rank": _more_directions,
}


# -- neighbours ---------------------------------------------------------------------------------------------------


def _louder(case: Problem) -> Problem:
    return case.replace(noise_std=_MORE_NOISE * case.noise_std)


def _pretrained_otherwise(case: Problem) -> Problem:
    return case.replace(pretrained=_A0 * np.random.default_rng(_A0_SEED).standard_normal((case.dy, case.dx)))


def _stronger(case: Problem) -> Problem:
    """The shift with every singular value larger, the first the most, so that equal ones part.

    By more than the noise is louder: what noise hid, it hides no better.
    """
    if case.task_shift is not None:
        return case.replace(task_shift=_MORE_SHIFT * case.task_shift, spectrum=None)
    values = np.array(case.spectrum or (0.0,))
    return case.replace(spectrum=tuple(values * np.linspace(_MORE_SHIFT, 1.4, len(values))))


def _of_higher_rank(case: Problem) -> Problem:
    """The shift with directions more that are little weaker, as many as there is room for."""
    values = _strengths(case)
    room = min(case.dx, case.dy) - len(values)
    if case.task_shift is not None or not values or not room:
        return case
    return case.replace(spectrum=(*values, *(values[-1] * np.array(_FURTHER))[:room]))


def _further(case: Problem) -> Problem:
    """More samples above the threshold and fewer below, so that all moments that existed do."""
    if case.n >= case.input_rank:
        return case.replace(n=case.n + case.n // 8 + _INPUTS)
    return case.replace(n=max(1, case.n - case.n // 8 - 1))


def _wider(case: Problem) -> Problem:
    return _more_inputs(case, _INPUTS)


def _with_more_outputs(case: Problem) -> Problem:
    return _more_outputs(case, _OUTPUTS)


def _inputs_otherwise(case: Problem) -> Problem:
    return case.replace(input_covariance=_another(case.input_covariance, case.dx, *_INPUTS_VARY))


def _noise_otherwise(case: Problem) -> Problem:
    return case.replace(noise_covariance=_another(case.noise_covariance, case.dy, *_NOISE_VARIES))


def _of_another_mean(case: Problem) -> Problem:
    """The mean of the inputs further from zero; none stays none."""
    if case.input_mean is None:
        return case
    return case.replace(input_mean=_MORE_MEAN * case.input_mean)


def _with_more_ridge(case: Problem) -> Problem:
    if case.ridge:
        return case.replace(ridge=1.5 * case.ridge)
    return case.replace(ridge=0.2 * case.n * float(np.trace(case.sigma)) / case.dx)


#: What a neighbour has otherwise -> the step, or the same case where there is none. Sizes come last: matrices grow.
MOVES: dict[str, Callable[[Problem], Problem]] = {
    "noise_std": _louder,
    "shift": _stronger,
    "shift_rank": _of_higher_rank,
    "input_covariance": _inputs_otherwise,
    "noise_covariance": _noise_otherwise,
    "input_mean": _of_another_mean,
    "ridge": _with_more_ridge,
    "pretrained": _pretrained_otherwise,
    "n": _further,
    "dx": _wider,
    "dy": _with_more_outputs,
}


def _stronger_alike(case: Problem) -> Problem:
    """The shift times a number: its spectrum keeps its family."""
    if case.task_shift is not None:
        return _stronger(case)
    return case.replace(spectrum=tuple(_MORE_SHIFT * value for value in case.spectrum or ()))


def _inputs_of_another_scale(case: Problem) -> Problem:
    return case.replace(input_covariance=_INPUTS_VARY[0] * case.sigma)


#: Field of a domain whose change is a condition -> what the statement then does not leave free, or how it moves within.
WITHIN: dict[str, dict[str, Callable[[Problem], Problem] | None]] = {
    "spectrum": {"shift": _stronger_alike, "shift_rank": None},
    "spectrum.rank": {"shift_rank": None},
    "spectrum.scale": {"shift": None},
    "input_scale": {"input_covariance": None},
    "input_condition": {"input_covariance": _inputs_of_another_scale},
    "noise_condition": {"noise_covariance": None},
}


def parted(case: Problem, moved: Problem) -> Problem:
    """The neighbour with sizes that keep no ratio and no difference that they had: one step further where they do."""
    for _ in range(_FURTHEST):
        if _alike(case, moved, "n", "dx") or _alike(case, moved, "n", "dy"):
            moved = moved.replace(n=moved.n + 1 if moved.n >= moved.input_rank else max(1, moved.n - 1))
        elif _alike(case, moved, "dy", "dx"):
            moved = _more_outputs(moved, 1)
        else:
            break
    return moved


def _alike(case: Problem, moved: Problem, one: str, other: str) -> bool:
    was, then = ((getattr(at, one), getattr(at, other)) for at in (case, moved))
    both_moved = was[0] != then[0] and was[1] != then[1]
    return both_moved and (was[0] * then[1] == then[0] * was[1] or was[0] - was[1] == then[0] - then[1])


# -- matrices -----------------------------------------------------------------------------------------------------


def is_isotropic(case: Problem, covariance: str) -> bool:
    """Whether `covariance` (input_covariance or noise_covariance) is a multiple of the identity."""
    matrix = case.sigma if covariance == "input_covariance" else case.sigma_eps
    return bool(np.allclose(matrix, matrix[0, 0] * np.eye(len(matrix)), rtol=1e-12, atol=0))


def _strengths(case: Problem) -> list[float]:
    return [value for value in case.spectrum or () if value > 0]


def _another(covariance: np.ndarray | None, size: int, mean: float, condition: float, seed: int) -> np.ndarray:
    """Other eigenvalues, of another mean, condition number and determinant, in another basis."""
    values = np.ones(size) if covariance is None else covariance
    values = values if values.ndim == 1 else np.linalg.eigvalsh(values)
    positive = values[values > 0]
    fresh = np.array(spectra.log_spaced(size, float(condition * np.max(positive) / np.min(positive)), 1.0))
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    return (basis * (mean * np.mean(values) / np.mean(fresh) * fresh)) @ basis.T


def _extended(covariance: np.ndarray, more: int) -> np.ndarray:
    """The covariance with `more` directions of its mean variance."""
    if covariance.ndim == 1:
        return np.append(covariance, np.full(more, np.mean(covariance)))
    size = len(covariance)
    out = np.trace(covariance) / size * np.eye(size + more)
    out[:size, :size] = covariance
    return out


def _padded(case: Problem, more: tuple[int, int]) -> dict[str, Any]:
    """A0 with random rows or columns more, so that none of them is special, and an explicit shift with none there.

    Inputs more have the mean of the others.
    """
    padded: dict[str, Any] = {}
    if case.input_mean is not None:
        padded["input_mean"] = np.append(case.input_mean, np.full(more[1], np.mean(case.input_mean)))
    if case.task_shift is not None:
        padded["task_shift"] = np.pad(case.task_shift, ((0, more[0]), (0, more[1])))
    if case.pretrained is not None:
        rows, columns = case.pretrained.shape
        out = np.random.default_rng(_PADDING_SEED).standard_normal((rows + more[0], columns + more[1]))
        out[:rows, :columns] = case.pretrained
        padded["pretrained"] = out
    return padded
