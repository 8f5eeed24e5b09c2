"""LoRA's kernel at its start, that of inputs seen through a random A, beside that of full fine-tuning. Plain NumPy."""

import numpy as np

from linreg_lora.claims.library.factor_chains import _chain
from linreg_lora.claims.library.factor_steps import trained
from linreg_lora.claims.library.plain_data import full_and_truncated, reduced, risks
from linreg_lora.claims.library.training import Factors, _full_updates
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import Count, Rank
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps


@register_experiment("kernel-error", bounded=True)
def kernel_error(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||K_A - K||_F^2 / ||K||_F^2, K = X^T X of `columns` samples of `rows` inputs, K_A that of A X, A_ij ~ N(0, 1/r).

    Context: (Tr K)^2 / ||K||_F^2, and the number of samples.
    """
    rng, r = np.random.default_rng(seed), int(rank)
    x = rng.standard_normal((trials, *size))
    seen = rng.standard_normal((trials, r, size.rows)) @ x / np.sqrt(r)
    k, of_a = x.mT @ x, seen.mT @ seen
    energy = np.sum(k**2, axis=(1, 2))
    effective = np.trace(k, axis1=1, axis2=2) ** 2 / energy
    context = {"effective": effective, "rank": np.asarray(r), "samples": np.asarray(size.columns)}
    return Sample((np.sum((of_a - k) ** 2, axis=(1, 2)) / energy)[:, None], context)


@register_experiment("random-a-beside-full")
def random_a_beside_full(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Excess risk of LoRA with a random A that is frozen; context: of full fine-tuning, and the rank."""
    rng = np.random.default_rng([seed, 1])
    x, residual = reduced(problem, trials, seed)
    update = _chain(rng, x, residual, int(rank), 1)
    full = full_and_truncated(x, residual, 1)[0]
    return Sample(risks(problem, update)[:, None], {"fft": risks(problem, full), "rank": np.asarray(int(rank))})


@register_experiment("lora-and-projected-gradients", pathwise=True)
def lora_and_projected_gradients(case: Factors, trials: int, seed: int, *, steps: Count) -> Sample:
    """D after `steps` of gradient descent from B = 0; context: D of B alone, and eta g^2 H P of the first gradient.

    With B alone every step is - eta g^2 G A^T A, the gradient G seen through the random A.
    """
    rng, g = np.random.default_rng(seed), case.scaling
    left, f, right = _full_updates(case, trials, rng)
    full = (left * f[:, None, :]) @ right.mT
    s = np.broadcast_to(np.eye(case.dx), (trials, case.dx, case.dx))
    a = np.sqrt(case.kappa / case.dx) * rng.standard_normal((trials, case.rank, case.dx))
    pace = (0.2 / (g * np.linalg.norm(full, axis=(1, 2)) + g**2 * np.sum(a**2, axis=(1, 2))))[:, None, None]
    b = np.zeros((trials, case.dy, case.rank))
    how = {"full": full, "s": s, "scaling": np.full((trials, 1, 1), g), "optimiser": "gd", "steps": int(steps)}
    found, alone = (trained(b, a, rates=(pace, rate), **how) for rate in (pace, 0 * pace))
    rows = np.linalg.qr(a.mT)[0]
    context = {"alone": alone, "projector": int(steps) * pace * g**2 * full @ rows @ rows.mT}
    return Sample(found, context, tolerance=np.full(trials, 1e2 * _EPS), scale=np.linalg.norm(found, axis=(1, 2)))
