"""Where descent of both factors ends, by its start, and how it slows down on the way. Plain NumPy, designs with S = I.

F = Delta + sigma N, Delta of rank two with `_STRENGTHS`; B and A minimise (1/2) ||F - B A||_F^2. Steps contract what is
left by a tenth of the gap between the second and the third singular value of F, which draws have by `_GAP` at least.
"""

from typing import Literal

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Count, NonNegative, Positive

_EPS = np.finfo(float).eps
_STRENGTHS, _RANK, _GAP, _STEP, _STEPS = (2.0, 1.5), 2, 0.6, 0.1, 1200
_Start = Literal["random", "lora", "missing", "spectral"]


def _targets(rng: np.random.Generator, trials: int, size: MatrixSize, noise: float) -> tuple[np.ndarray, ...]:
    """Delta and F, whose second and third singular values are `_GAP` apart: others are drawn again."""
    shifts, fits = [], []
    while len(fits) < trials:
        u, v = (np.linalg.qr(rng.standard_normal((k, _RANK))).Q for k in size)
        shift = (u * np.array(_STRENGTHS)) @ v.T
        full = shift + noise * rng.standard_normal(size)
        values = np.linalg.svd(full, compute_uv=False)
        if len(values) == _RANK or values[_RANK - 1] - values[_RANK] > _GAP:
            shifts.append(shift)
            fits.append(full)
    return np.array(shifts), np.array(fits)


def _trained(full: np.ndarray, b: np.ndarray, a: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(steps):
        left = full - b @ a
        b, a = b + _STEP * left @ a.mT, a + _STEP * b.mT @ left
    return b, a


def _start(
    rng: np.random.Generator, full: np.ndarray, start: str, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B and A, and the rows of a random A of their size.

    random: both random; lora: B = 0; missing: B = 0, and no row of A sees the first input; spectral: the leading
    singular vectors of F.
    """
    trials, dy, dx = full.shape
    rows = rng.standard_normal((trials, _RANK, dx)) / np.sqrt(dx)
    u, _, vt = np.linalg.svd(full, full_matrices=False)
    none = np.zeros((trials, dy, _RANK))
    starts = {
        "random": (rng.standard_normal(none.shape) / np.sqrt(dy), rows),
        "lora": (none, rows),
        "missing": (none, rows * (np.arange(dx) > 0)),
        "spectral": (u[:, :, :_RANK], vt[:, :_RANK]),
    }
    b, a = starts[start]
    return scale * b, scale * a, np.linalg.qr(rows.mT).Q.mT


@register_experiment("end-of-descent", pathwise=True)
def end_of_descent(
    size: MatrixSize, trials: int, seed: int, *, start: _Start, scale: Positive, noise: NonNegative
) -> Sample:
    """||F - B A||_F^2 / ||F||_F^2 where descent ends; context: the same of the best update of rank 1, 2 and 3, and of
    the best one with a random A frozen, and the scale of the start.

    For the start that misses the leading direction F is diagonal: zeros stay zeros, whatever rounding does."""
    rng = np.random.default_rng(seed)
    full = _targets(rng, trials, size, noise)[1]
    if start == "missing":
        full = np.linalg.svd(full, compute_uv=False)[:, :, None] * np.eye(*size)[: min(size)]
        full = np.concatenate([full, np.zeros((trials, size.rows - min(size), size.columns))], axis=1)
    b, a, rows = _start(rng, full, start, scale)
    b, a = _trained(full, b, a, _STEPS)
    energy = np.sum(full**2, axis=(1, 2))
    values = np.linalg.svd(full, compute_uv=False)
    context = {f"best {k}": np.sum(values[:, k:] ** 2, axis=1) / energy for k in (1, 2, 3)}
    context["frozen"] = 1 - np.sum((full @ rows.mT) ** 2, axis=(1, 2)) / energy
    context["scale"] = np.full(trials, scale)
    loss = np.sum((full - b @ a) ** 2, axis=(1, 2)) / energy
    return Sample(loss, context, tolerance=np.full(trials, 1e-9), scale=np.ones(trials))


@register_experiment("end-by-scale", pathwise=True)
def end_by_scale(
    size: MatrixSize,
    trials: int,
    seed: int,
    *,
    scale: Positive,
    times: Positive,
    noise: NonNegative,
    measured: Literal["loss", "risk"],
) -> Sample:
    """The error at the end from a random start of scale / `times` over that from the same start of `scale`.

    `measured`: loss, ||F - B A||_F^2, or risk, ||Delta - B A||_F^2.
    """
    rng = np.random.default_rng(seed)
    shift, full = _targets(rng, trials, size, noise)
    b, a, _ = _start(rng, full, "random", scale)
    errors = []
    for divisor in (times, 1.0):
        end = np.matmul(*_trained(full, b / divisor, a / divisor, _STEPS))
        errors.append(np.sum(((full if measured == "loss" else shift) - end) ** 2, axis=(1, 2)))
    context = {"times": np.asarray(times)}
    return Sample(errors[0] / errors[1], context, tolerance=np.full(trials, 1e-8), scale=np.ones(trials))


@register_experiment("slowing-descent", pathwise=True)
def slowing_descent(size: MatrixSize, trials: int, seed: int, *, steps: Count, times: Positive) -> Sample:
    """The norm of the factors' gradient after `times` as many steps over that after `steps`, where ranks are to spare.

    F = Delta has rank two, the factors four, from a balanced start: A = B^T U V^T. Context: both numbers.
    """
    rng, norms = np.random.default_rng(seed), []
    full = _targets(rng, trials, size, 0.0)[0]
    u, _, vt = np.linalg.svd(full, full_matrices=False)
    b = u @ (0.7 * np.linalg.qr(rng.standard_normal((trials, u.shape[2], 2 * _RANK))).Q)
    a = b.mT @ u @ vt
    for more in (int(steps), int(times * steps) - int(steps)):
        b, a = _trained(full, b, a, more)
        left = full - b @ a
        norms.append(np.sqrt(np.sum((left @ a.mT) ** 2, axis=(1, 2)) + np.sum((b.mT @ left) ** 2, axis=(1, 2))))
    context = {"steps": np.asarray(steps), "times": np.asarray(times)}
    return Sample(norms[1] / norms[0], context, tolerance=np.full(trials, 1e3 * _EPS), scale=np.ones(trials))


@register_prediction("end-of-descent.best")
def best(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What the best update of rank two leaves, the tail of F."""
    return sample.context["best 2"]


@register_prediction("end-of-descent.best-of-less")
def best_of_less(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What the best update of one rank less leaves: a column is taken to be lost."""
    return sample.context["best 1"]


@register_prediction("end-of-descent.best-of-more")
def best_of_more(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What the best update of one rank more leaves."""
    return sample.context["best 3"]


@register_prediction("end-of-descent.frozen")
def frozen(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What a random A that is frozen leaves at least."""
    return sample.context["frozen"]


@register_prediction("end-of-descent.a-twentieth-more")
def a_twentieth_more(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What the best update leaves, and a twentieth of the whole."""
    return sample.context["best 2"] + 0.05


@register_prediction("end-of-descent.as-far-as-the-start")
def as_far_as_the_start(size: MatrixSize, sample: Sample) -> np.ndarray:
    """What the best update leaves, and the square of the start's scale."""
    return sample.context["best 2"] + sample.context["scale"] ** 2


@register_prediction("end-by-scale.equal")
def equal(size: MatrixSize, sample: Sample) -> float:
    """1: the scale of the start does not matter."""
    return 1.0


@register_prediction("end-by-scale.a-twentieth-less")
def a_twentieth_less(size: MatrixSize, sample: Sample) -> float:
    """0.95."""
    return 0.95


@register_prediction("end-by-scale.in-proportion")
def in_proportion(size: MatrixSize, sample: Sample) -> float:
    """The quotient of the scales."""
    return 1 / float(sample.context["times"])


@register_prediction("slowing-descent.logarithm")
def logarithm(size: MatrixSize, sample: Sample) -> float:
    """ln T / ln(m T), of `steps` T and `times` m."""
    steps, times = float(sample.context["steps"]), float(sample.context["times"])
    return float(np.log(steps) / np.log(times * steps))


@register_prediction("slowing-descent.square")
def square(size: MatrixSize, sample: Sample) -> float:
    """m^-2."""
    return float(sample.context["times"]) ** -2


@register_prediction("slowing-descent.linear-rate")
def linear_rate(size: MatrixSize, sample: Sample) -> float:
    """0: at a linear rate nothing is left."""
    return 0.0
