"""Forgetting by the angles between what a task moves and what pretraining inputs span, and of similar tasks."""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Cosine, Count, Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps


def _orthonormal(rng: np.random.Generator, trials: int, size: int, count: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((trials, size, count)))[0]


@register_experiment("forgetting-by-angles", pathwise=True)
def forgetting_by_angles(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||D P||_F^2 / ||D||_F^2 of full fine-tuning on a task without noise whose `rank` directions weigh the same.

    P: the projector on pretraining inputs, which span half of the dx = columns dimensions. Context: the cosines of the
    principal angles between both.
    """
    rng, r = np.random.default_rng(seed), int(rank)
    outputs, inputs = (_orthonormal(rng, trials, each, r) for each in size)
    pre = _orthonormal(rng, trials, size.columns, size.columns // 2)
    x = rng.standard_normal((trials, size.columns, 2 * size.columns))
    update = full_and_truncated(x, outputs @ inputs.mT @ x, r)[0]
    share = np.sum((update @ pre) ** 2, axis=(1, 2)) / np.sum(update**2, axis=(1, 2))
    cosines = np.linalg.svd(pre.mT @ inputs, compute_uv=False)
    return Sample(share, {"cosines": cosines}, tolerance=1e2 * _EPS * np.linalg.cond(x) ** 2, scale=np.ones(trials))


@register_experiment("forgetting-of-an-orthogonal-task", bounded=True)
def forgetting_of_an_orthogonal_task(problem: Problem, trials: int, seed: int, *, rank: Rank, inputs: Count) -> Sample:
    """||D_r P||_F^2, P on so many `inputs` that the shift does not move; context: their number, and that of FFT."""
    k, left = int(inputs), problem.dx - int(np.linalg.matrix_rank(problem.shift))
    if k > left:
        raise InvalidInput("inputs", f"at most the {left} that the shift does not move", inputs)
    full, lora = full_and_truncated(*reduced(problem, trials, seed), int(rank))
    pre = np.linalg.svd(problem.shift)[2][::-1][:k].T
    forgotten, by_full = (np.sum((update @ pre) ** 2, axis=(1, 2)) for update in (lora, full))
    context = {"inputs": np.asarray(k), "rank": np.asarray(int(rank)), "by full": by_full}
    return Sample(forgotten[:, None], context)


def _similar(size: MatrixSize, trials: int, seed: int, similarity: float) -> tuple[np.ndarray, np.ndarray]:
    """The first task's loss after a second, c W + sqrt(1 - c^2) Z, both learnt without noise; and ||W||_F^2."""
    rng = np.random.default_rng(seed)
    first, other = rng.standard_normal((2, trials, *size))
    second = similarity * first + np.sqrt(1 - similarity**2) * other
    x = rng.standard_normal((trials, size.columns, 2 * size.columns))
    learnt = first + full_and_truncated(x, (second - first) @ x, 1)[0]
    return np.sum((learnt - first) ** 2, axis=(1, 2)), np.sum(first**2, axis=(1, 2))


@register_experiment("interference", bounded=True)
def interference(size: MatrixSize, trials: int, seed: int, *, similarity: Cosine) -> Sample:
    """The first task's loss after a second one of that similarity, over dx dy."""
    lost, _ = _similar(size, trials, seed, similarity)
    return Sample(lost[:, None] / (size.rows * size.columns), {"similarity": np.asarray(similarity)})


@register_experiment("interference-of-strangers-less-similar", bounded=True)
def strangers_less_similar(size: MatrixSize, trials: int, seed: int, *, similarity: Cosine) -> Sample:
    """The same loss at similarity 0 less that at `similarity`; context: the latter, and the similarity."""
    strangers, similar = (_similar(size, trials, seed, c)[0] for c in (0.0, similarity))
    return Sample((strangers - similar)[:, None], {"fft": similar, "similarity": np.asarray(similarity)})
