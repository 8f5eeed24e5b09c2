"""A random frozen factor, a new one for every data set: which factor to train, and how far training errors mislead.

A has orthonormal rows and B orthonormal columns of the Haar law. All by plain NumPy.
"""

import numpy as np

from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


def _haar_rows(rng: np.random.Generator, trials: int, rank: int, size: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((trials, size, rank))).Q.mT


def _data(problem: Problem, rng: np.random.Generator, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """X and the residual R of the pretrained map."""
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, problem.n))
    return x, problem.shift @ x + problem.sigma_eps_sqrt @ rng.standard_normal((trials, problem.dy, problem.n))


def _least_squares(x: np.ndarray, residual: np.ndarray, ridge: float) -> np.ndarray:
    return np.linalg.solve(x @ x.mT + ridge * np.eye(x.shape[1]), x @ residual.mT).mT


def _risks(problem: Problem, updates: np.ndarray) -> np.ndarray:
    return np.sum(((updates - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(1, 2))


def _tuned_a(problem: Problem, rng: np.random.Generator, x: np.ndarray, residual: np.ndarray, rank: int) -> np.ndarray:
    """Risks of B B^T D_FFT, B random: A is trained."""
    b = _haar_rows(rng, len(x), rank, problem.dy).mT
    return _risks(problem, b @ (b.mT @ _least_squares(x, residual, problem.ridge)))


@register_experiment("random-frozen-b-risk")
def random_frozen_b_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risk of frozen B with a new B for every data set, n >= dx."""
    rng, r = np.random.default_rng(seed), int(rank)
    x, residual = _data(problem, rng, trials)
    return Sample(_tuned_a(problem, rng, x, residual, r)[:, None], {"rank": np.asarray(r)})


@register_experiment("random-factor-gain")
def random_factor_gain(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Risk with B trained and A random less that with A trained and B random, on the same data, n >= dx.

    Context: the latter, to measure by.
    """
    rng, r = np.random.default_rng(seed), int(rank)
    x, residual = _data(problem, rng, trials)
    a = _haar_rows(rng, trials, r, problem.dx)
    tuned_b = _risks(problem, _least_squares(a @ x, residual, problem.ridge) @ a)
    tuned_a = _tuned_a(problem, rng, x, residual, r)
    return Sample((tuned_b - tuned_a)[:, None], {"fft": tuned_a, "rank": np.asarray(r)})


def _gap(problem: Problem, trials: int, seed: int, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected loss on new data, mean loss on the training data, and V = Sigma_eps + M, each for every draw.

    M = Delta (Sigma - Sigma A^T (A Sigma A^T)^{-1} A Sigma) Delta^T: the covariance of what A misses.
    """
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge, "the gap is that of least squares")
    rng = np.random.default_rng(seed)
    x, residual = _data(problem, rng, trials)
    a = _haar_rows(rng, trials, rank, problem.dx)
    update = _least_squares(a @ x, residual, 0.0) @ a
    train = np.mean(np.sum((residual - update @ x) ** 2, axis=1), axis=1)
    seen = a @ problem.sigma
    missed = problem.sigma - seen.mT @ np.linalg.solve(seen @ a.mT, seen)
    return (
        _risks(problem, update) + problem.noise_trace,
        train,
        problem.sigma_eps + problem.shift @ missed @ problem.shift.T,
    )


@register_experiment("random-frozen-a-gap")
def random_frozen_a_gap(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Expected loss on new data less the mean loss on the training data, A random and frozen."""
    test, train, _ = _gap(problem, trials, seed, int(rank))
    return Sample((test - train)[:, None], {"rank": np.asarray(int(rank))})


@register_experiment("random-frozen-a-gap-of-twice")
def random_frozen_a_gap_of_twice(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The gap with n samples over sqrt(2) less that with 2 n, independent draws; context: the former."""
    few = np.subtract(*_gap(problem, trials, seed, int(rank))[:2]) / np.sqrt(2)
    many = np.subtract(*_gap(problem.replace(n=2 * problem.n), trials, seed + 1, int(rank))[:2])
    return Sample((few - many)[:, None], {"fft": few, "rank": np.asarray(int(rank))})


@register_experiment("random-frozen-a-train-spread")
def random_frozen_a_train_spread(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Squared deviation of the training loss from its mean given A; context: Tr V^2 of every draw."""
    _, train, v = _gap(problem, trials, seed, int(rank))
    mean = (problem.n - int(rank)) / problem.n * np.trace(v, axis1=1, axis2=2)
    context = {"squares": np.sum(v**2, axis=(1, 2)), "rank": np.asarray(int(rank))}
    return Sample(((train - mean) ** 2)[:, None], context)


@register_experiment("seen-share-spread", bounded=True)
def seen_share_spread(size: MatrixSize, trials: int, seed: int) -> Sample:
    """(||A u||^2 - r/dx)^2 for a unit vector u in dx = rows dimensions, A of r = columns random rows, r < dx."""
    if size.columns >= size.rows:
        raise InvalidInput("experiment", "sizes with fewer columns than rows, r < dx", size.description)
    a = _haar_rows(np.random.default_rng(seed), trials, size.columns, size.rows)
    return Sample(((np.sum(a[:, :, 0] ** 2, axis=1) - size.columns / size.rows) ** 2)[:, None])
