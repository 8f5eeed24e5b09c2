"""What a source tells of a target of low rank: its singular subspaces, or all but a few directions. Plain NumPy.

The target's map is Delta, and the source is made from it.
"""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count, NonNegative, Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


def _subspaces(problem: Problem, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading `rank` left and right singular vectors of the target's map, as columns and rows."""
    if not 0 < rank <= min(problem.dx, problem.dy):
        raise InvalidInput("rank", f"1 to {min(problem.dx, problem.dy)}", rank)
    u, _, v = np.linalg.svd(problem.shift)
    return u[:, :rank], v[:rank]


def _within(problem: Problem, x: np.ndarray, residual: np.ndarray, rank: int) -> np.ndarray:
    """Risks of U C V with C by least squares."""
    left, right = _subspaces(problem, rank)
    return risks(problem, left @ ((left.T @ residual) @ np.linalg.pinv(right @ x)) @ right)


def _context(problem: Problem, rank: int) -> dict[str, np.ndarray]:
    left, _ = _subspaces(problem, rank)
    noise = float(np.trace(left.T @ problem.sigma_eps @ left))
    return {"rank": np.asarray(rank), "noise": np.asarray(noise)}


@register_experiment("subspace-risk")
def subspace_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risk of least squares within the singular subspaces of a source, which are the target's leading `rank`.

    Context: the rank, and the variance of the noise within these outputs.
    """
    found = _within(problem, *reduced(problem, trials, seed), int(rank))
    return Sample(found[:, None], _context(problem, int(rank)))


@register_experiment("subspace-gain")
def subspace_gain(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """That risk less that of a fit of the target's own rank, which is given; context: of both."""
    x, residual = reduced(problem, trials, seed)
    alone = risks(problem, full_and_truncated(x, residual, int(np.linalg.matrix_rank(problem.shift)))[1])
    context = _context(problem, int(rank)) | {"fft": alone}
    return Sample((_within(problem, x, residual, int(rank)) - alone)[:, None], context)


@register_experiment("low-rank-transfer-gain")
def low_rank_transfer_gain(problem: Problem, trials: int, seed: int, *, rank: Rank, distance: NonNegative) -> Sample:
    """Risk of LoRA of rank `rank` from a source, less that of a fit of the target's rank from 0; context: the latter.

    The source differs from the target by `rank` random directions, each of length `distance`; both ranks are known.
    """
    x, residual = reduced(problem, trials, seed)
    rng = np.random.default_rng([seed, 5])
    left, right = (np.linalg.qr(rng.standard_normal((trials, size, int(rank))))[0] for size in (problem.dy, problem.dx))
    source = problem.shift + distance * left @ right.mT
    own = full_and_truncated(x, residual, int(np.linalg.matrix_rank(problem.shift)))[1]
    transferred = source + full_and_truncated(x, residual - source @ x, int(rank))[1]
    alone = risks(problem, own)
    return Sample((risks(problem, transferred) - alone)[:, None], {"fft": alone})


@register_experiment("pretraining-samples-gain")
def pretraining_samples_gain(
    problem: Problem, trials: int, seed: int, *, rank: Rank, source_samples: Count, times: Count
) -> Sample:
    """LoRA's risk where A0 was estimated from `times` as many samples, less that from fewer; context: the latter.

    Pretraining is least squares with the target's noise, on samples of its own.
    """
    x, residual = reduced(problem, trials, seed)
    few, many = (
        risks(problem, _from_an_estimate(problem, x, residual, int(rank), int(n0), seed))
        for n0 in (source_samples, times * source_samples)
    )
    return Sample((many - few)[:, None], {"fft": few})


@register_experiment("samples-after-pretraining-gain")
def samples_after_pretraining_gain(
    problem: Problem, trials: int, seed: int, *, rank: Rank, source_samples: Count, times: Count
) -> Sample:
    """LoRA's risk with `times` as many samples of the target, less that with n, A0 estimated; context: the latter."""
    few, many = (
        risks(case, _from_an_estimate(case, *reduced(case, trials, seed), int(rank), int(source_samples), seed))
        for case in (problem, problem.replace(n=int(times * problem.n)))
    )
    return Sample((many - few)[:, None], {"fft": few})


def _from_an_estimate(
    problem: Problem, x: np.ndarray, residual: np.ndarray, rank: int, samples: int, seed: int
) -> np.ndarray:
    """LoRA's update of A0, pretraining's error included."""
    if samples <= problem.dx:
        raise InvalidInput("source_samples", f"more than the {problem.dx} inputs", samples)
    inputs, noise = reduced(problem.replace(n=samples), len(x), seed + 1)
    error = (noise - problem.shift @ inputs) @ np.linalg.pinv(inputs)
    return error + full_and_truncated(x, residual - error @ x, rank)[1]
