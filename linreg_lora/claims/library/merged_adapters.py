"""Two adapters merged into one: by concatenation, by summed factors, and truncated to the rank of each. Plain NumPy."""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

_EPS = np.finfo(float).eps


def _truncated(matrices: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrices, full_matrices=False)
    return (u[:, :, :rank] * s[:, None, :rank]) @ vt[:, :rank]


@register_experiment("merged-factors", pathwise=True)
def merged_factors(size: MatrixSize, trials: int, seed: int) -> Sample:
    """[B_1 B_2] [A_1; A_2], two adapters of rank two; context: the sum of updates, and of factors."""
    rng, rank = np.random.default_rng(seed), 2
    b = rng.standard_normal((2, trials, size.rows, rank))
    a = rng.standard_normal((2, trials, rank, size.columns))
    found = np.concatenate(list(b), axis=2) @ np.concatenate(list(a), axis=1)
    updates = b @ a
    context = {"sum": updates[0] + updates[1], "factors": (b[0] + b[1]) @ (a[0] + a[1])}
    context["truncated"] = _truncated(context["sum"], rank)
    return Sample(found, context, tolerance=np.full(trials, 1e2 * _EPS), scale=np.linalg.norm(found, axis=(1, 2)))


@register_experiment("truncated-less-sum")
def truncated_less_sum(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Risk of trunc_r(D_1 + D_2) less that of D_1 + D_2, LoRA's updates of rank r for Delta and for Q Delta P.

    Each has data of its own, and Delta + Q Delta P is wanted; Q and P are random rotations. Context: the latter risk.
    """
    r, rng = int(rank), np.random.default_rng(derived_seed(seed, "rotations"))
    q, p = (np.linalg.qr(rng.standard_normal((trials, k, k))).Q for k in (problem.dy, problem.dx))
    other = q @ problem.shift @ p
    x, residual = reduced(problem, trials, derived_seed(seed, "first"))
    first = full_and_truncated(x, residual, r)[1]
    x, residual = reduced(problem, trials, derived_seed(seed, "second"))
    second = full_and_truncated(x, residual + (other - problem.shift) @ x, r)[1]
    # Risks are to Delta: what the second task adds to it is taken off.
    cut, whole = (risks(problem, merged - other) for merged in (_truncated(first + second, r), first + second))
    return Sample((cut - whole)[:, None], {"fft": whole})


@register_prediction("merged-factors.sum")
def sum_of_updates(size: MatrixSize, sample: Sample) -> np.ndarray:
    """B_1 A_1 + B_2 A_2."""
    return sample.context["sum"]


@register_prediction("merged-factors.of-factors")
def of_factors(size: MatrixSize, sample: Sample) -> np.ndarray:
    """(B_1 + B_2)(A_1 + A_2)."""
    return sample.context["factors"]


@register_prediction("merged-factors.truncated")
def truncated(size: MatrixSize, sample: Sample) -> np.ndarray:
    """The sum, truncated to the rank of each."""
    return sample.context["truncated"]


@register_prediction("truncated-less-sum.a-tenth")
def a_tenth(problem: Problem, sample: Sample) -> float:
    """A tenth of the risk of the sum."""
    return 0.1 * float(np.mean(sample.context["fft"]))


@register_prediction("truncated-less-sum.nothing")
def nothing(problem: Problem, sample: Sample) -> float:
    """0."""
    return 0.0
