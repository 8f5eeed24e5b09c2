"""What a frozen A shows of a matrix that is not known: frames, random rows, and rows from a preheated update.

Plain NumPy, S = I. Frames are the equiangular tight ones of dx vectors in dx / 2 dimensions that a symmetric conference
matrix C of order dx makes: A^T A = (I + C / sqrt(dx - 1)) / 2.
"""

from typing import Literal

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_predicate, register_prediction
from linreg_lora.claims.settings import Count

_EPS = np.finfo(float).eps
#: Steps of descent on B, and their size over the largest that does not diverge.
_STEPS, _SHARE = 4000, 0.9


@register_predicate("with-a-paley-frame")
def with_a_paley_frame(rows: int, columns: int) -> bool:
    """columns - 1 is a prime of the form 4 k + 1, so that there is a conference matrix by quadratic residues."""
    q = columns - 1
    return rows >= 1 and q >= 5 and q % 4 == 1 and all(q % k for k in range(2, int(q**0.5) + 1))


def _frame(size: int) -> np.ndarray:
    """size / 2 orthonormal rows whose columns have one length and one angle."""
    q = size - 1
    residues = {k * k % q for k in range(1, q)}
    conference = np.ones((size, size)) - np.eye(size)
    for i in range(q):
        for j in range(q):
            if i != j:
                conference[i + 1, j + 1] = 1.0 if (i - j) % q in residues else -1.0
    projector = (np.eye(size) + conference / np.sqrt(q)) / 2
    return np.linalg.eigh(projector)[1][:, size // 2 :].T


_Rows = Literal["frame", "orthonormal", "gaussian"]


def _rows(rng: np.random.Generator, trials: int, size: int, rows: str) -> np.ndarray:
    """A of size / 2 rows: frame; orthonormal, of the Haar law; gaussian, entries of variance 1 / size."""
    gaussian = rng.standard_normal((trials, size // 2, size)) / np.sqrt(size)
    made = {
        "frame": np.broadcast_to(_frame(size), gaussian.shape),
        "orthonormal": np.linalg.qr(gaussian.mT).Q.mT,
        "gaussian": gaussian,
    }
    return made[rows]


def _missed(full: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """1 - ||F P||^2 / ||F||^2, P on the rows."""
    basis = np.linalg.qr(rows.mT).Q
    return 1 - np.sum((full @ basis) ** 2, axis=(1, 2)) / np.sum(full**2, axis=(1, 2))


@register_experiment("frozen-rows-end", pathwise=True)
def frozen_rows_end(size: MatrixSize, trials: int, seed: int) -> Sample:
    """B A where descent on B ends, A random and frozen; context: F A^T A, and F P with P on the rows of A."""
    rng, rank = np.random.default_rng(seed), min(3, size.columns - 1)
    full = rng.standard_normal((trials, *size))
    rows = np.linalg.qr(rng.standard_normal((trials, size.columns, rank))).Q.mT
    a = rng.uniform(0.6, 1.6, (trials, rank, 1)) * rows
    mixed = np.linalg.qr(rng.standard_normal((trials, rank, rank))).Q @ a
    step = _SHARE / np.linalg.norm(mixed, 2, axis=(1, 2))[:, None, None] ** 2
    b = np.zeros((trials, size.rows, rank))
    for _ in range(_STEPS):
        b = b + step * (full - b @ mixed) @ mixed.mT
    context = {"through": full @ mixed.mT @ mixed, "projected": full @ rows.mT @ rows}
    return Sample(b @ mixed, context, tolerance=np.full(trials, 1e-10), scale=np.linalg.norm(full, axis=(1, 2)))


@register_experiment("lost-through-rows", pathwise=True)
def lost_through_rows(size: MatrixSize, trials: int, seed: int, *, rows: _Rows) -> Sample:
    """||I - A^T A||_F^2 / dx, A of dx / 2 rows: the mean share of a random G that G A^T A loses.

    Of Gaussian rows each draw has a scale of its own."""
    rng = np.random.default_rng(seed)
    a = _rows(rng, trials, size.columns, rows)
    if rows == "gaussian":
        a = rng.uniform(0.3, 1.5, (trials, 1, 1)) * a
    lost = np.sum((np.eye(size.columns) - a.mT @ a) ** 2, axis=(1, 2)) / size.columns
    return Sample(lost, tolerance=np.full(trials, 1e3 * _EPS), scale=np.ones(trials))


@register_experiment("seen-through-rows", bounded=True)
def seen_through_rows(size: MatrixSize, trials: int, seed: int, *, rows: _Rows) -> Sample:
    """||G - G A^T A||_F^2 / ||G||_F^2, G of iid entries, A of dx / 2 rows."""
    rng = np.random.default_rng(seed)
    g, a = rng.standard_normal((trials, *size)), _rows(rng, trials, size.columns, rows)
    lost = np.sum((g - g @ a.mT @ a) ** 2, axis=(1, 2)) / np.sum(g**2, axis=(1, 2))
    return Sample(lost[:, None])


@register_experiment("frame-less-gaussian", bounded=True)
def frame_less_gaussian(size: MatrixSize, trials: int, seed: int) -> Sample:
    """The share of a random F that B A misses where training of B ends: A a frame, less A Gaussian. Context: the
    latter."""
    rng = np.random.default_rng(seed)
    full = rng.standard_normal((trials, *size))
    frame, gaussian = (_missed(full, _rows(rng, trials, size.columns, rows)) for rows in ("frame", "gaussian"))
    return Sample((frame - gaussian)[:, None], {"beside": gaussian})


@register_experiment("preheated-less-random", bounded=True)
def preheated_less_random(size: MatrixSize, trials: int, seed: int, *, preheat: Count, beside: Count) -> Sample:
    """The share that a frozen A of two rows misses of F = diag(3, 2, 1, 1/2, 1/4, ...), rotated.

    A: the two leading right singular vectors of F A0^T A0, the first step of LoRA of rank `preheat`, less the same with
    rank `beside`. Context: the latter, and the share that the best two rows miss.
    """
    rng, k = np.random.default_rng(seed), min(size)
    values = np.array([3.0, 2.0, *(2.0 ** -np.arange(k - 2))])
    u, v = (np.linalg.qr(rng.standard_normal((trials, m, k))).Q for m in size)
    full = (u * values) @ v.mT
    missed = []
    for rank in (int(preheat), int(beside)):
        start = rng.standard_normal((trials, rank, size.columns))
        missed.append(_missed(full, np.linalg.svd(full @ start.mT @ start)[2][:, :2]))
    best = np.full(trials, np.sum(values[2:] ** 2) / np.sum(values**2))
    return Sample((missed[0] - missed[1])[:, None], {"beside": missed[1], "best": best})


def _share(size: MatrixSize) -> float:
    """r / dx, which is one half."""
    return (size.columns // 2) / size.columns


@register_prediction("frozen-rows-end.projected")
def projected(size: MatrixSize, sample: Sample) -> np.ndarray:
    """F A^T (A A^T)^+ A."""
    return sample.context["projected"]


@register_prediction("frozen-rows-end.through-a")
def through_a(size: MatrixSize, sample: Sample) -> np.ndarray:
    """F A^T A: the rows of A are taken to be orthonormal."""
    return sample.context["through"]


@register_prediction("rows.share")
def share(size: MatrixSize, sample: Sample) -> float:
    """1 - r/dx."""
    return 1 - _share(size)


@register_prediction("rows.more-than-a-share")
def more_than_a_share(size: MatrixSize, sample: Sample) -> float:
    """1.2 (1 - r/dx)."""
    return 1.2 * (1 - _share(size))


@register_prediction("rows.gaussian")
def gaussian_rows(size: MatrixSize, sample: Sample) -> float:
    """1 - r/dx + r (r + 1) / dx^2: the second moment of a Gaussian A with as much energy."""
    r = size.columns // 2
    return 1 - _share(size) + r * (r + 1) / size.columns**2


def _less(sample: Sample, share: float) -> float:
    return -share * float(np.mean(sample.context["beside"]))


@register_prediction("missed-share.twentieth-less")
def twentieth_less(size: MatrixSize, sample: Sample) -> float:
    """A twentieth less of what is missed."""
    return _less(sample, 0.05)


@register_prediction("missed-share.tenth-less")
def tenth_less(size: MatrixSize, sample: Sample) -> float:
    """A tenth less of what is missed."""
    return _less(sample, 0.1)


@register_prediction("missed-share.equal")
def equal(size: MatrixSize, sample: Sample) -> float:
    """0: as much is missed."""
    return 0.0


@register_prediction("missed-share.best")
def best(size: MatrixSize, sample: Sample) -> float:
    """What the best rows miss: the update is taken to show them."""
    return float(np.mean(sample.context["best"] - sample.context["beside"]))
