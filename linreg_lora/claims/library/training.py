"""Training LoRA's two factors: gradient flow on explicit matrices, and the landscape that it runs on. In plain NumPy.

The flow of (1 / 2n) ||R - g B A X||_F^2 with X X^T = n I, by Runge-Kutta steps, once with half of the steps: what they
differ by bounds the error that a draw is allowed.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from linreg_lora.claims.domains import LARGEST_SIZE, Domain, register_domain
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count, Rank
from linreg_lora.files.models import Integer, Number
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps
_Size = Annotated[Integer, Field(ge=2, le=LARGEST_SIZE)]
_Positive = Annotated[Number, Field(gt=0)]
#: Where modes start: below the least singular value there is (`_full_updates`), to which they rise.
Start = Annotated[float, Field(gt=0, lt=0.4)]


class Factors(NamedTuple):
    """A case: sizes of the update, the rank of its factors, g, and the squared norm of the rows of A(0)."""

    dy: int
    dx: int
    rank: int
    scaling: float
    kappa: float

    @property
    def description(self) -> str:
        return f"{self.dy} x {self.dx} of rank {self.rank}, g = {self.scaling:g}, kappa = {self.kappa:g}"

    @property
    def fingerprint(self) -> str:
        return repr(self)


@register_domain("whitened-factors")
class WhitenedFactors(Domain):
    """Factors of each size [dy, dx], at one rank, scaling and start, in designs with S = c I."""

    sizes: list[tuple[_Size, _Size]] = Field(min_length=1)
    rank: Annotated[Integer, Field(ge=1)]
    scaling: _Positive = 2.0
    kappa: _Positive = 0.3

    @model_validator(mode="after")
    def _rank_fits(self) -> "WhitenedFactors":
        if self.rank > min(min(size) for size in self.sizes):
            raise ValueError("rank: at most the least of dx and dy")
        return self

    def cases(self) -> list[Factors]:
        return [Factors(dy, dx, self.rank, self.scaling, self.kappa) for dy, dx in self.sizes]

    def neighbours(self) -> list[Factors]:
        dy, dx = self.sizes[0]
        return [Factors(dy + 1, dx + 2, self.rank + 1, self.scaling, 0.9 * self.kappa)]


def _full_updates(case: Factors, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """U, f and V of F = U diag(f) V^T: singular values between 0.4 and 3, whose neighbours differ by 15 % at least."""
    q = min(case.dy, case.dx)
    ratios = rng.uniform(1.15, 1.15 * (7.5 / 1.15 ** (q - 1)) ** (1 / (q - 1)), (trials, q - 1))
    f = 0.4 * np.cumprod(np.concatenate([np.ones((trials, 1)), ratios], axis=1), axis=1)[:, ::-1]
    left, right = (np.linalg.qr(rng.standard_normal((trials, size, q)))[0] for size in (case.dy, case.dx))
    return left, f, right


def _steps(
    full: np.ndarray, b: np.ndarray, a: np.ndarray, g: float, times: np.ndarray, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """B and A after each of `count` equal Runge-Kutta steps up to the times of the draws; S = I."""
    step = (times / count)[:, None, None]

    def slopes(b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left = full - g * b @ a
        return g * left @ a.mT, g * b.mT @ left

    for _ in range(count):
        k1 = slopes(b, a)
        k2 = slopes(b + step / 2 * k1[0], a + step / 2 * k1[1])
        k3 = slopes(b + step / 2 * k2[0], a + step / 2 * k2[1])
        k4 = slopes(b + step * k3[0], a + step * k3[1])
        b = b + step / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
        a = a + step / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
        yield b, a


def _flow(
    full: np.ndarray, b: np.ndarray, a: np.ndarray, g: float, times: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """D(times) and the error of its steps: a fourth-order method loses 15/16 of it by halving them."""
    fine, coarse = (g * np.matmul(*list(_steps(full, b, a, g, times, n))[-1]) for n in (count, count // 2))
    return fine, np.linalg.norm(fine - coarse, axis=(1, 2)) + 1e3 * _EPS * np.linalg.norm(full, axis=(1, 2))


def _path_sample(statistic: np.ndarray, error: np.ndarray, size: np.ndarray, context: dict[str, np.ndarray]) -> Sample:
    return Sample(statistic, context, tolerance=error / size, scale=size)


@register_experiment("balanced-modes", pathwise=True)
def balanced_modes(case: Factors, trials: int, seed: int, *, start: Start) -> Sample:
    """u_i^T D(t) v_i on the leading modes, from factors along them with d(0) = `start`, at times around their rise."""
    rng, g = np.random.default_rng(seed), case.scaling
    left, f, right = _full_updates(case, trials, rng)
    full, r = (left * f[:, None, :]) @ right.mT, case.rank
    times = np.log(f[:, r // 2] / start) / (2 * g * f[:, r // 2]) * rng.uniform(0.5, 1.5, trials)
    b, a = np.sqrt(start / g) * left[:, :, :r], np.sqrt(start / g) * right[:, :, :r].mT
    found, error = _flow(full, b, a, g, times, 400)
    modes = np.einsum("tia,tij,tja->ta", left[:, :, :r], found, right[:, :, :r])
    context = {"values": f[:, :r], "times": times, "start": np.asarray(start)}
    return _path_sample(modes, error, np.linalg.norm(f, axis=1), context)


@register_experiment("factor-path", pathwise=True)
def factor_path(case: Factors, trials: int, seed: int) -> Sample:
    """D(t) from B = 0 and random orthogonal rows of A with squared norm kappa, at times up to where it ends."""
    rng, g = np.random.default_rng(seed), case.scaling
    left, f, right = _full_updates(case, trials, rng)
    full = (left * f[:, None, :]) @ right.mT
    a = np.sqrt(case.kappa) * np.linalg.qr(rng.standard_normal((trials, case.dx, case.rank)))[0].mT
    times = rng.uniform(0.2, 3, trials) / (g * np.hypot(f[:, case.rank - 1], g * case.kappa / 2))
    found, error = _flow(full, np.zeros((trials, case.dy, case.rank)), a, g, times, 200)
    return _path_sample(found, error, np.linalg.norm(full, axis=(1, 2)), {"full": full, "a": a, "times": times})


@register_experiment("distance-to-frozen", pathwise=True)
def distance_to_frozen(case: Factors, trials: int, seed: int) -> Sample:
    """The least ||D(t) - D_frozen|| for t up to 8 / (c g^2 kappa), over ||D_r - D_frozen||; D_frozen trains B alone."""
    rng, g = np.random.default_rng(seed), case.scaling
    left, f, right = _full_updates(case, trials, rng)
    full, r = (left * f[:, None, :]) @ right.mT, case.rank
    basis = np.linalg.qr(rng.standard_normal((trials, case.dx, r)))[0]
    frozen = full @ basis @ basis.mT
    end = (left[:, :, :r] * f[:, None, :r]) @ right[:, :, :r].mT
    b, a = np.zeros((trials, case.dy, r)), np.sqrt(case.kappa) * basis.mT
    times = np.full(trials, 8 / (g**2 * case.kappa))
    near, coarse = (
        np.min(
            [np.linalg.norm(g * b @ a - frozen, axis=(1, 2)) for b, a in _steps(full, b, a, g, times, count)], axis=0
        )
        for count in (400, 200)
    )
    unit = np.linalg.norm(end - frozen, axis=(1, 2))
    return _path_sample(near / unit, np.abs(near - coarse) / unit + 1e3 * _EPS, np.ones(trials), {})


@register_experiment("early-stopped-rank", pathwise=True)
def early_stopped_rank(case: Factors, trials: int, seed: int, *, start: Start) -> Sample:
    """||D(t) - D_q|| of factors along all their modes from d(0) = `start`, stopped at t = ln(1 / d0) / (2 c g f*).

    f* lies between the modes q and q + 1, each draw its own q.
    """
    rng, g, r = np.random.default_rng(seed), case.scaling, case.rank
    left, f, right = _full_updates(case, trials, rng)
    full, left, right = (left * f[:, None, :]) @ right.mT, left[:, :, :r], right[:, :, :r]
    kept, place = rng.integers(1, r, trials), rng.uniform(0.3, 0.7, trials)
    draws = np.arange(trials)
    level = f[draws, kept - 1] ** place * f[draws, kept] ** (1 - place)
    times = np.log(1 / start) / (2 * g * level)
    found, error = _flow(full, np.sqrt(start / g) * left, np.sqrt(start / g) * right.mT, g, times, 800)
    chosen = (left * (f[:, :r] * (np.arange(r) < kept[:, None]))[:, None, :]) @ right.mT
    context = {"values": f[:, :r], "level": level, "start": np.asarray(start)}
    size = np.linalg.norm(f, axis=1)
    return _path_sample(np.linalg.norm(found - chosen, axis=(1, 2)), error, size, context)


# -- the landscape ------------------------------------------------------------------------------------------------


def _designs(case: Factors, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Square roots of S with eigenvalues over a decade, in two of three draws of rank dx and in one of rank dx - 1."""
    basis = np.linalg.qr(rng.standard_normal((trials, case.dx, case.dx)))[0]
    root = 10 ** rng.uniform(-0.25, 0.25, (trials, case.dx))
    root[::3, 0] = 0
    with np.errstate(divide="ignore"):
        inverse = np.where(root > 0, 1 / root, 0.0)
    return (basis * root[:, None, :]) @ basis.mT, (basis * inverse[:, None, :]) @ basis.mT


@register_experiment("saddle-index", pathwise=True)
def saddle_index(case: Factors, trials: int, seed: int) -> Sample:
    """The number of negative Hessian eigenvalues at a critical point of random modes, in any metric, n < dx too."""
    rng, g = np.random.default_rng(seed), case.scaling
    root, inverse = _designs(case, trials, rng)
    left, f, right = np.linalg.svd(
        rng.standard_normal((trials, case.dy, case.dx)) @ inverse @ root, full_matrices=False
    )
    full = (left * f[:, None, :]) @ right @ inverse
    indices, kept = [], np.zeros((trials, f.shape[1]))
    modes = np.sum(f > 1e-10 * f[:, :1], axis=1)
    for i in range(trials):
        k = int(rng.integers(0, min(case.rank, modes[i]) + 1))
        chosen = rng.choice(modes[i], k, replace=False)
        b, a = np.zeros((case.dy, case.rank)), np.zeros((case.rank, case.dx))
        b[:, :k], a[:k] = left[i][:, chosen], left[i][:, chosen].T @ full[i] / g
        found = np.linalg.eigvalsh(_hessian(b, a, full[i], root[i] @ root[i], g))
        indices.append(float(np.sum(found < -1e-10 * np.max(np.abs(found)))))
        kept[i, chosen] = 1
    context = {"kept": kept, "modes": modes}
    return Sample(np.array(indices), context, tolerance=np.zeros(trials), scale=np.ones(trials))


def _slopes(b: np.ndarray, a: np.ndarray, full: np.ndarray, s: np.ndarray, g: float) -> np.ndarray:
    """The gradient of the loss in both factors, as vectors; batches along leading axes."""
    slope = (g * b @ a - full) @ s
    of_b, of_a = g * slope @ a.mT, g * b.mT @ slope
    lead = of_b.shape[:-2]
    return np.concatenate([of_b.reshape(*lead, -1), of_a.reshape(*lead, -1)], axis=-1)


def _hessian(b: np.ndarray, a: np.ndarray, full: np.ndarray, s: np.ndarray, g: float) -> np.ndarray:
    """Derivative of the gradient by complex steps: exact, and no formula of the Hessian."""
    (dy, r), dx, columns = b.shape[-2:], a.shape[-1], []
    for step in 1e-30j * np.eye(r * (dy + dx)):
        moved = b + step[: dy * r].reshape(dy, r), a + step[dy * r :].reshape(r, dx)
        columns.append(np.imag(_slopes(*moved, full, s, g)) / 1e-30)
    hessian = np.stack(columns, axis=-1)
    return (hessian + hessian.mT) / 2


@register_experiment("critical-update", pathwise=True)
def critical_update(case: Factors, trials: int, seed: int) -> Sample:
    """D S^{1/2} at critical points that Newton's method finds from random factors, in any metric, n < dx included.

    Of twice as many starts the first whose gradient vanishes count. Context: D_FFT S^{1/2}, and how much of each of its
    left singular vectors lies in the range of D S^{1/2}.
    """
    rng, g, r = np.random.default_rng(seed), case.scaling, case.rank
    root, inverse = _designs(case, 2 * trials, rng)
    seen = rng.standard_normal((2 * trials, case.dy, case.dx)) @ inverse @ root
    full, s = seen @ inverse, root @ root
    size = 10 ** rng.uniform(-1, 0.3, (2, 2 * trials, 1, 1))
    b = size[0] * rng.standard_normal((2 * trials, case.dy, r))
    a = size[1] * rng.standard_normal((2 * trials, r, case.dx))
    for _ in range(60):
        slope = _slopes(b, a, full, s, g)
        step = (np.linalg.pinv(_hessian(b, a, full, s, g), rcond=1e-9, hermitian=True) @ slope[:, :, None])[:, :, 0]
        step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1)
        b = b - step[:, : b[0].size].reshape(b.shape)
        a = a - step[:, b[0].size :].reshape(a.shape)
    flat = np.linalg.norm(_slopes(b, a, full, s, g), axis=1)
    chosen = np.flatnonzero(flat < 1e-12)[:trials]
    full, found = seen[chosen], (g * b @ a @ root)[chosen]
    size = np.linalg.norm(full, axis=(1, 2))
    left = np.linalg.svd(full, full_matrices=False)[0]
    basis, values, _ = np.linalg.svd(found)
    within = basis[:, :, : values.shape[1]] * (values > 1e-6 * size[:, None])[:, None, :]
    context = {"full": full, "reach": np.sum((left.mT @ within) ** 2, axis=2)}
    return Sample(found, context, tolerance=np.full(len(chosen), 1e-7), scale=size)


# -- on explicit data of a problem --------------------------------------------------------------------------------


def _explicit_data(problem: Problem, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = problem.sigma_sqrt @ rng.standard_normal((trials, problem.dx, problem.n))
    noise = problem.sigma_eps_sqrt @ rng.standard_normal((trials, problem.dy, problem.n))
    return x, problem.shift @ x + noise


def _risk(problem: Problem, update: np.ndarray) -> np.ndarray:
    return np.sum(((update - problem.shift) @ problem.sigma_sqrt) ** 2, axis=(1, 2))


@register_experiment("first-step-gain", bounded=True)
def first_step_gain(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """How much of the risk one step of GD on Gaussian factors takes away, at the rate that theory calls best."""
    from linreg_lora.theory.training import best_first_step

    rng, r = np.random.default_rng(seed), int(rank)
    x, residual = _explicit_data(problem, trials, rng)
    a = rng.standard_normal((trials, r, problem.dx))
    rate = best_first_step(problem, r, scaling=1.0, entry_variance=1.0, entries="gaussian").learning_rate
    update = rate * (residual @ x.mT / problem.n) @ a.mT @ a
    gain = _risk(problem, np.zeros_like(update)) - _risk(problem, update)
    return Sample(gain[:, None], {"rank": np.asarray(r)})


@register_experiment("start-residue", bounded=True)
def start_residue(problem: Problem, trials: int, seed: int, *, rank: Rank, steps: Count) -> Sample:
    """What A(0) outside of the range of X adds to the risk, over g^2 ||B||_F^2, after GD from B = 0 with n < dx.

    g = 2, entries of variance 1 / (3 dx). Each draw is the mean over a start and the one with the opposite sign there,
    which trains the same B; the quotient is at most a norm of A(0), so that all moments exist.
    """
    rng, r, g = np.random.default_rng(seed), int(rank), 2.0
    x, residual = _explicit_data(problem, trials, rng)
    a = rng.standard_normal((trials, r, problem.dx)) / np.sqrt(3 * problem.dx)
    basis = np.linalg.qr(x)[0]
    seen, x = a @ basis, basis.mT @ x
    unseen = a - seen @ basis.mT
    slope, gram, b = residual @ x.mT / problem.n, x @ x.mT / problem.n, np.zeros((trials, problem.dy, r))
    step = 1 / (g * np.linalg.norm(slope, axis=(1, 2)) + g**2 * np.linalg.norm(gram, axis=(1, 2)))[:, None, None]
    for _ in range(int(steps)):
        left = slope - g * b @ (seen @ gram)
        b, seen = b + step * g * left @ seen.mT, seen + step * g * b.mT @ left
    update, rest = g * b @ seen @ basis.mT, g * b @ unseen
    both = (_risk(problem, update + rest) + _risk(problem, update - rest)) / 2
    energy = g**2 * np.sum(b**2, axis=(1, 2))
    nuclear = g * np.sum(np.linalg.svd(b @ seen, compute_uv=False), axis=1) * g
    return Sample(((both - _risk(problem, update)) / energy)[:, None], {"nuclear": nuclear / energy})


@register_experiment("first-fall", bounded=True)
def first_fall(case: Factors, trials: int, seed: int, *, optimiser: Literal["gd", "sign"], power: float) -> Sample:
    """The fall of the loss by a first step at rank 4 r, to first order, over its mean at rank r and the same gradient.

    g = r^-`power`, Gaussian A(0) whose variance no rank changes; `optimiser`: gd, or sign, which is Adam's first step.
    """
    from linreg_lora.theory.training import first_fall as mean_fall

    rng, r = np.random.default_rng(seed), case.rank
    h = rng.standard_normal((trials, case.dy, case.dx))
    a = np.sqrt(case.kappa / case.dx) * rng.standard_normal((trials, 4 * r, case.dx))
    slope = (4 * r) ** -power * h @ a.mT
    fall = np.sum(slope**2 if optimiser == "gd" else np.abs(slope), axis=(1, 2))
    settings = {"scaling": r**-power, "entry_variance": case.kappa / case.dx, "learning_rate": 1.0}
    before = np.array([mean_fall(one, r, **settings, optimiser=optimiser) for one in h])
    return Sample((fall / before)[:, None], {"power": np.asarray(power)})
