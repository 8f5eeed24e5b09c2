"""What B and what A contribute to a step of LoRA's output, on one sample, and the two starts. Plain NumPy."""

import numpy as np

from linreg_lora.claims.library.factor_steps import trained
from linreg_lora.claims.library.training import Factors, _full_updates
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count
from linreg_lora.errors import InvalidInput

#: Learning rates so small that residuals and features stay what they were, up to this much.
_SMALL = 1e-6


def _second_step(
    case: Factors, rng: np.random.Generator, trials: int, optimiser: str
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Of the second step from B = 0 on one sample: ||g dB A x|| and ||g B dA x||, and what predictions may use."""
    if optimiser not in ("gd", "sign"):
        raise InvalidInput("optimiser", "gd or sign", optimiser)
    g, r = case.scaling, case.rank
    x, target = (rng.standard_normal((trials, size, 1)) for size in (case.dx, case.dy))
    a = np.sqrt(case.kappa / case.dx) * rng.standard_normal((trials, r, case.dx))
    rates = _SMALL * 10 ** rng.uniform(-1, 0, (2, trials, 1, 1))
    b = np.zeros((trials, case.dy, r))

    def moves(b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left = target - g * b @ (a @ x)
        slopes = g * left @ (a @ x).mT, g * b.mT @ left @ x.mT
        along = slopes if optimiser == "gd" else [np.sign(slope) for slope in slopes]
        return rates[0] * along[0], rates[1] * along[1]

    b = moves(b, a)[0]
    of_b, of_a = moves(b, a)
    parts = (np.linalg.norm(g * part, axis=(1, 2)) for part in (of_b @ (a @ x), b @ (of_a @ x)))
    context = {
        "eta_b": rates[0, :, 0, 0],
        "eta_a": rates[1, :, 0, 0],
        "energy": np.sum(x**2, axis=(1, 2)),
        "sum": np.sum(np.abs(x), axis=(1, 2)),
        "target": np.sum(target**2, axis=(1, 2)),
    }
    return *parts, context


@register_experiment("b-part-over-a-part", bounded=True)
def b_part_over_a_part(case: Factors, trials: int, seed: int) -> Sample:
    """eta_A ||g dB A x|| / ||g B dA x|| in the second step by signs: of A's step size, what balances the two parts."""
    of_b, of_a, context = _second_step(case, np.random.default_rng(seed), trials, "sign")
    return Sample((context["eta_a"] * of_b / of_a)[:, None], context)


@register_experiment("a-part-over-b-part", pathwise=True)
def a_part_over_b_part(case: Factors, trials: int, seed: int) -> Sample:
    """||g B dA x|| / ||g dB A x|| in the second step of gradient descent."""
    of_b, of_a, context = _second_step(case, np.random.default_rng(seed), trials, "gd")
    found = of_a / of_b
    moved = _SMALL * case.scaling**2 * (case.dx * case.kappa + case.rank * case.dx)
    return Sample(found, context, tolerance=np.full(trials, 10 * moved), scale=found)


@register_experiment("starts-of-either-factor", pathwise=True)
def starts_of_either_factor(case: Factors, trials: int, seed: int, *, steps: Count) -> Sample:
    """D after `steps` from B = 0 and a random A, S = I; context: from A = 0 and a random B, of the transpose.

    Or of the same target, with B drawn anew; or with the variance of PEFT's fan-in, dx / r times as large.
    """
    rng = np.random.default_rng(seed)
    left, f, right = _full_updates(case, trials, rng)
    full = (left * f[:, None, :]) @ right.mT
    a = np.sqrt(case.kappa / case.dx) * rng.standard_normal((trials, case.rank, case.dx))
    fresh = np.sqrt(case.kappa / case.dx) * rng.standard_normal((trials, case.dy, case.rank))
    wider = np.sqrt(case.dx / case.rank)
    pace = 0.2 / (case.scaling * (np.linalg.norm(full, axis=(1, 2)) + case.scaling * case.kappa * case.dx))
    rates = (pace[:, None, None],) * 2

    def ends(b: np.ndarray, a: np.ndarray, target: np.ndarray) -> np.ndarray:
        s = np.broadcast_to(np.eye(target.shape[2]), (trials, target.shape[2], target.shape[2]))
        scaling = np.full((trials, 1, 1), case.scaling)
        return trained(b, a, full=target, s=s, scaling=scaling, rates=rates, optimiser="gd", steps=int(steps))

    of_a = ends(np.zeros_like(fresh), a, full)
    none = np.zeros((trials, case.rank, case.dy))
    context = {
        "transpose": ends(a.mT, none, full.mT).mT,
        "fan-in": ends(wider * a.mT, none, full.mT).mT,
        "same target": ends(fresh, np.zeros_like(a), full),
    }
    scale = np.linalg.norm(of_a, axis=(1, 2))
    return Sample(of_a, context, tolerance=np.full(trials, 1e-11), scale=scale)
