"""Chains of blocks: each trains B beside an A that is frozen, is merged, and hands on what is left. Plain NumPy."""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.library.training import Factors, _full_updates
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count, Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps


def _factors(rng: np.random.Generator, trials: int, rank: int, size: int) -> np.ndarray:
    return rng.standard_normal((trials, rank, size))


def _chain(
    rng: np.random.Generator, x: np.ndarray, residual: np.ndarray, rank: int, blocks: int, *, fresh: bool = True
) -> np.ndarray:
    """The sum of `blocks` updates B A, each the least-squares fit of B to what is left; one A unless `fresh`."""
    update = np.zeros((len(x), residual.shape[1], x.shape[1]))
    a = _factors(rng, len(x), rank, x.shape[1])
    for _ in range(blocks):
        seen = a @ x
        b = np.linalg.solve(seen @ seen.mT, seen @ (residual - update @ x).mT).mT
        update = update + b @ a
        a = _factors(rng, len(x), rank, x.shape[1]) if fresh else a
    return update


@register_experiment("random-chain-error", bounded=True)
def random_chain_error(case: Factors, trials: int, seed: int, *, steps: Count) -> Sample:
    """||D_T - F||_F^2 / ||F||_F^2 after T = `steps` blocks, each with a new random A of `rank` rows; S = c I."""
    rng = np.random.default_rng(seed)
    left, f, right = _full_updates(case, trials, rng)
    full = (left * f[:, None, :]) @ right.mT
    x = np.broadcast_to(np.eye(case.dx), (trials, case.dx, case.dx))
    update = _chain(rng, x, full, case.rank, int(steps))
    share = np.sum((update - full) ** 2, axis=(1, 2)) / np.sum(full**2, axis=(1, 2))
    return Sample(share[:, None], {"steps": np.asarray(int(steps)), "rank": np.asarray(case.rank)})


@register_experiment("chain-of-one-factor", pathwise=True)
def chain_of_one_factor(problem: Problem, trials: int, seed: int, *, rank: Rank, steps: Count) -> Sample:
    """The training loss after `steps` blocks with one A for all, over that of A0; context: of one block, and of FFT."""
    rng, r = np.random.default_rng([seed, 1]), int(rank)
    x, residual = reduced(problem, trials, seed)
    update = _chain(rng, x, residual, r, int(steps), fresh=False)
    a = np.linalg.qr((_factors(np.random.default_rng([seed, 1]), trials, r, problem.dx) @ x).mT)[0]
    energy = np.sum(residual**2, axis=(1, 2))
    full = residual - full_and_truncated(x, residual, r)[0] @ x
    context = {
        "frozen": 1 - np.sum((residual @ a) ** 2, axis=(1, 2)) / energy,
        "full": np.sum(full**2, axis=(1, 2)) / energy,
    }
    loss = np.sum((residual - update @ x) ** 2, axis=(1, 2)) / energy
    rounding = 1e2 * _EPS * np.linalg.cond(x) ** 2 * int(steps)
    return Sample(loss, context, tolerance=rounding, scale=np.ones(trials))


@register_experiment("random-chain-gradient-loss", bounded=True)
def random_chain_gradient_loss(problem: Problem, trials: int, seed: int, *, rank: Rank, steps: Count) -> Sample:
    """The loss above its minimum after `steps` blocks of one gradient step each, over that of A0.

    D <- D + (H - D S) P / lmax(S), P the projector on the rows of a new A. Columns: from A0, and from an A0 whose error
    is that along the eigenvector of lmin alone. Context: lmin / lmax of S, n > dx.
    """
    rng, r = np.random.default_rng([seed, 1]), int(rank)
    x, residual = reduced(problem, trials, seed)
    s, h = x @ x.mT / problem.n, residual @ x.mT / problem.n
    values, vectors = np.linalg.eigh(s)
    full = np.linalg.solve(s, h.mT).mT
    slowest = full @ vectors[:, :, :1] @ vectors[:, :, :1].mT
    start = left = np.stack([full, slowest], axis=1)
    s = s[:, None]
    for _ in range(int(steps)):
        rows = np.linalg.qr(_factors(rng, trials, r, problem.dx).mT)[0]
        left = left - left @ s @ (rows @ rows.mT / values[:, -1, None, None])[:, None]
    gap, before = (np.sum((d @ s) * d, axis=(2, 3)) for d in (left, start))
    context = {"least": values[:, 0] / values[:, -1], "rank": np.asarray(r), "steps": np.asarray(int(steps))}
    return Sample(gap / before, context, columns=("from A0", "along the slowest"))


@register_experiment("random-chain-risk-of-orthogonal-inputs", bounded=True)
def random_chain_risk(problem: Problem, trials: int, seed: int, *, rank: Rank, steps: Count) -> Sample:
    """Excess risk after `steps` blocks on a design with X X^T = n c I, Sigma = c I: D_FFT is Delta and iid noise."""
    if (c := problem.isotropic_scale) is None or problem.n < problem.dx:
        raise InvalidInput("input_covariance", "c I, and n >= dx", "another", "orthogonal inputs have S = c I")
    rng, r = np.random.default_rng(seed), int(rank)
    noise = problem.sigma_eps_sqrt @ rng.standard_normal((trials, problem.dy, problem.dx)) / np.sqrt(problem.n * c)
    x = np.broadcast_to(np.eye(problem.dx), (trials, problem.dx, problem.dx))
    update = _chain(rng, x, problem.shift + noise, r, int(steps))
    context = {"rank": np.asarray(r), "steps": np.asarray(int(steps))}
    return Sample(risks(problem, update)[:, None], context)


@register_experiment("random-chain-minus-lora")
def random_chain_minus_lora(problem: Problem, trials: int, seed: int, *, rank: Rank, steps: Count) -> Sample:
    """Excess risk after `steps` blocks of rank r less that of LoRA of rank r, same data; context: the latter, and r."""
    rng, r = np.random.default_rng([seed, 1]), int(rank)
    x, residual = reduced(problem, trials, seed)
    lora = risks(problem, full_and_truncated(x, residual, r)[1])
    chain = risks(problem, _chain(rng, x, residual, r, int(steps)))
    return Sample((chain - lora)[:, None], {"fft": lora, "kept": np.asarray(r)})
