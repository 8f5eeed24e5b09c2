"""Modes of LoRA that start along singular directions: how they rise from B = 0, and how long half of one takes.

Gradient flow of (1/2) ||F - g B A||_F^2, S = I, from B = 0 and A = sqrt(kappa) V_r^T, in plain NumPy.
"""

import numpy as np

from linreg_lora.claims.library.training import Factors, _flow, _full_updates, _path_sample, _steps
from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.claims.settings import Positive

_EPS = np.finfo(float).eps
_STEPS = 2000


@register_experiment("aligned-modes", pathwise=True)
def aligned_modes(case: Factors, trials: int, seed: int) -> Sample:
    """u_i^T D(t) v_i of the r leading modes, at times around their rise; context: f_i and the times."""
    rng, g, r = np.random.default_rng(seed), case.scaling, case.rank
    left, f, right = _full_updates(case, trials, rng)
    full = (left * f[:, None, :]) @ right.mT
    times = rng.uniform(0.3, 2, trials) / (g * np.hypot(f[:, 0], g * case.kappa / 2))
    a = np.sqrt(case.kappa) * right[:, :, :r].mT
    found, error = _flow(full, np.zeros((trials, case.dy, r)), a, g, times, 200)
    modes = np.einsum("tia,tij,tja->ta", left[:, :, :r], found, right[:, :, :r])
    return _path_sample(modes, error, np.linalg.norm(f, axis=1), {"values": f[:, :r], "times": times})


def _half_times(case: Factors, full: np.ndarray, f: np.ndarray, u: np.ndarray, v: np.ndarray, count: int) -> np.ndarray:
    """When u^T D v = f / 2, linear between two of `count` steps."""
    trials, g = len(f), case.scaling
    most = 4 * (1 + np.log1p(f / (g * case.kappa))) / (g * np.hypot(f, g * case.kappa))
    a = np.concatenate([v[:, None], np.zeros((trials, case.rank - 1, case.dx))], axis=1) * np.sqrt(case.kappa)
    path = _steps(full, np.zeros((trials, case.dy, case.rank)), a, g, most, count)
    modes = np.array([np.zeros(trials), *(np.einsum("ti,tij,tj->t", u, g * b @ a, v) for b, a in path)]) / f
    after, draws = np.argmax(modes >= 0.5, axis=0), np.arange(trials)
    low, high = modes[after - 1, draws], modes[after, draws]
    return np.where(after > 0, (after - 1 + (0.5 - low) / (high - low)) / count * most, np.nan)


@register_experiment("half-times", pathwise=True)
def half_times(case: Factors, trials: int, seed: int, *, times: Positive) -> Sample:
    """When half of the leading mode is learnt of F / `times`, over when it is of F, from the same start along it.

    With half of the steps too: what that changes bounds the error of a draw. Context: f_1 and `times`.
    """
    left, f, right = _full_updates(case, trials, np.random.default_rng(seed))
    full, u, v = (left * f[:, None, :]) @ right.mT, left[:, :, 0], right[:, :, 0]
    fine, coarse = (
        _half_times(case, full / times, f[:, 0] / times, u, v, n) / _half_times(case, full, f[:, 0], u, v, n)
        for n in (_STEPS, _STEPS // 2)
    )
    context = {"value": f[:, 0], "times": np.asarray(times)}
    return Sample(fine, context, tolerance=2 * np.abs(fine - coarse) / fine + 1e-5, scale=fine)


def _roots(case: Factors, f: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rate, and the roots of w' = 2 g f w - (g^2 kappa / 2)(w^2 - 1): w = e^u, D's mode (g kappa / 2) sinh u."""
    g, start = case.scaling, case.scaling**2 * case.kappa
    rate = np.sqrt(4 * (g * f) ** 2 + start**2)
    return rate, (2 * g * f + rate) / start, (2 * g * f - rate) / start


@register_prediction("aligned-modes.sinh")
def sinh(case: Factors, sample: Sample) -> np.ndarray:
    """(g kappa / 2) sinh u, with e^u a quotient of two linear functions of e^{-rho t}."""
    rate, high, low = _roots(case, sample.context["values"])
    left = (1 - high) / (1 - low) * np.exp(-rate * sample.context["times"][:, None])
    w = (high - low * left) / (1 - left)
    return case.scaling * case.kappa * (w - 1 / w) / 4


@register_prediction("aligned-modes.tanh-squared")
def tanh_squared(case: Factors, sample: Sample) -> np.ndarray:
    """f tanh^2(g f t / sqrt 2)."""
    f = sample.context["values"]
    return f * np.tanh(case.scaling * f * sample.context["times"][:, None] / np.sqrt(2)) ** 2


@register_prediction("aligned-modes.b-alone")
def b_alone(case: Factors, sample: Sample) -> np.ndarray:
    """f (1 - e^{-g^2 kappa t}): A is taken not to move."""
    f, rate = sample.context["values"], case.scaling**2 * case.kappa
    return f * -np.expm1(-rate * sample.context["times"][:, None])


@register_prediction("half-times.sinh")
def half_time_quotient(case: Factors, sample: Sample) -> np.ndarray:
    """The quotient of ln[ (1 - w_+)(w - w_-) / ((1 - w_-)(w - w_+)) ] / rho at w = e^{asinh(f / (g kappa))}."""
    found = []
    for f in (sample.context["value"] / sample.context["times"], sample.context["value"]):
        rate, high, low = _roots(case, f)
        w = np.exp(np.arcsinh(f / (case.scaling * case.kappa)))
        found.append(np.log((1 - high) * (w - low) / ((1 - low) * (w - high))) / rate)
    return found[0] / found[1]


@register_prediction("half-times.equal")
def equal(case: Factors, sample: Sample) -> float:
    """1: half of a mode takes as long, as in full fine-tuning."""
    return 1.0


@register_prediction("half-times.inverse")
def inverse(case: Factors, sample: Sample) -> float:
    """As many times longer as the shift is smaller."""
    return float(sample.context["times"])
