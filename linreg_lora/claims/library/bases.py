"""Bases that are not A0: what starts in A0's singular directions and what quantisation leave to learn. Plain NumPy."""

from typing import Literal

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced
from linreg_lora.claims.registry import MatrixSize, Sample, register_experiment
from linreg_lora.claims.settings import NonNegative, Positive, Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps
#: How much stronger one of two matrices is where a limit of strength is meant, whose error falls like its inverse.
_STRONG = 1e5


def _parts(matrices: np.ndarray, rank: int, *, leading: bool = True) -> np.ndarray:
    """The leading, or trailing, singular components."""
    u, s, vt = np.linalg.svd(matrices, full_matrices=False)
    kept = slice(None, rank) if leading else slice(s.shape[1] - rank, None)
    return (u[:, :, kept] * s[:, None, kept]) @ vt[:, kept]


def _tail(matrices: np.ndarray, rank: int) -> np.ndarray:
    """sum_{i > r} s_i^2: what no matrix of rank r reaches."""
    return np.sum(np.linalg.svd(matrices, compute_uv=False)[:, rank:] ** 2, axis=1)


def _pretrained(size: MatrixSize, trials: int, seed: int) -> tuple[np.random.Generator, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng, rng.standard_normal((trials, *size))


@register_experiment("principal-start-floor", bounded=True)
def principal_start_floor(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """sum_{i > r} s_i(Delta + trunc_r(A0))^2 / ||Delta||_F^2 for A0 much larger than Delta, both of iid entries."""
    rng, a0 = _pretrained(size, trials, seed)
    shift = rng.standard_normal(a0.shape)
    floor = _tail(shift + _STRONG * _parts(a0, int(rank)), int(rank)) / np.sum(shift**2, axis=(1, 2))
    return Sample(floor[:, None], {"rank": np.asarray(int(rank))})


@register_experiment("aligned-start-floor", pathwise=True)
def aligned_start_floor(
    size: MatrixSize, trials: int, seed: int, *, rank: Rank, side: Literal["rows", "columns", "both"]
) -> Sample:
    """The same for a shift whose rows (`side` rows) or columns (columns) are in the span of A0's r leading ones, or
    for a shift that has a part of each (both); any size of A0."""
    rng, a0 = _pretrained(size, trials, seed)
    r = int(rank)
    u, _, vt = np.linalg.svd(a0, full_matrices=False)
    rows = rng.standard_normal((trials, size.rows, r)) @ vt[:, :r]
    columns = u[:, :, :r] @ rng.standard_normal((trials, r, size.columns))
    shift = {"rows": rows, "columns": columns, "both": rows + columns}[side]
    energy = np.sum(shift**2, axis=(1, 2))
    context = {"rank": np.asarray(r), "tail": _tail(shift, r) / energy}
    found = _tail(shift + _parts(a0, r), r) / energy
    return Sample(found, context, tolerance=np.full(trials, 1e-12), scale=np.ones(trials))


@register_experiment("minor-start-floor", pathwise=True)
def minor_start_floor(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """sum_{i > r} s_i(Delta + M)^2, M the r trailing components of A0, for a Delta of rank r; context: ||M||_F^2."""
    rng, a0 = _pretrained(size, trials, seed)
    r = int(rank)
    shift = rng.standard_normal((trials, size.rows, r)) @ rng.standard_normal((trials, r, size.columns))
    minor = _parts(a0, r, leading=False)
    context = {"rank": np.asarray(r), "minor": _tail(a0, min(size) - r)}
    scale = np.sum(shift**2, axis=(1, 2))
    return Sample(_tail(shift + minor, r), context, tolerance=np.full(trials, 1e2 * _EPS), scale=scale)


@register_experiment("first-step-of-lora-less-principal", bounded=True)
def first_step_of_lora_less_principal(size: MatrixSize, trials: int, seed: int, *, rank: Rank) -> Sample:
    """Of ||H||_F^2 / 2, what the best first step gains: LoRA from Gaussian A and B = 0, less PiSSA; context: PiSSA, and
    LoRA less PiSSA with a frozen A.

    The gradient H has iid entries, which know nothing of A0; PiSSA's factors are A0's singular vectors times the roots
    of its singular values, and both move.
    """
    rng, a0 = _pretrained(size, trials, seed)
    r, h = int(rank), rng.standard_normal(a0.shape)
    u, s, vt = np.linalg.svd(a0, full_matrices=False)
    a = rng.standard_normal((trials, r, size.columns))
    weights = s[:, None, :r]
    both = h @ (vt[:, :r].mT * weights) @ vt[:, :r] + (u[:, :, :r] * weights) @ u[:, :, :r].mT @ h
    lora, principal, of_b = (
        np.sum(h * d, axis=(1, 2)) ** 2 / np.sum(d**2, axis=(1, 2)) / np.sum(h**2, axis=(1, 2))
        for d in (h @ a.mT @ a, both, h @ (vt[:, :r].mT * s[:, None, :r]) @ vt[:, :r])
    )
    return Sample((lora - principal)[:, None], {"fft": principal, "of-b": lora - of_b})


@register_experiment("residual-quantisation", bounded=True)
def residual_quantisation(size: MatrixSize, trials: int, seed: int, *, rank: Rank, outliers: NonNegative) -> Sample:
    """||E(A0 - trunc_r(A0))||_F^2 over ||E(A0)||_F^2, E the error of NF4; A0 iid, and r directions of that strength.

    `outliers`: their singular values over sqrt(dx) + sqrt(dy). Context: s_{r+1}^2 / s_1^2 of A0.
    """
    from linreg_lora.methods.pissa import QPiSSA
    from linreg_lora.methods.qlora import QLoRA

    rng, a0 = _pretrained(size, trials, seed)
    r = int(rank)
    u, v = (np.linalg.qr(rng.standard_normal((trials, each, r)))[0] for each in size)
    a0 = a0 + outliers * (np.sqrt(size.rows) + np.sqrt(size.columns)) * u @ v.mT
    residual, stored = a0 - _parts(a0, r), QPiSSA(r).stored
    left = np.array([np.sum((one - stored(one)) ** 2) for one in residual])
    whole = np.array([np.sum(QLoRA(r).displacement(one) ** 2) for one in a0])
    s = np.linalg.svd(a0, compute_uv=False)
    return Sample((left / whole)[:, None], {"largest": (s[:, r] / s[:, 0]) ** 2})


@register_experiment("quantised-floor", bounded=True)
def quantised_floor(size: MatrixSize, trials: int, seed: int, *, rank: Rank, width: Positive) -> Sample:
    """sum_{i > r} s_i(Delta + A0 - Q)^2, Q = A0 rounded to multiples of `width`, Delta of rank r and strong."""
    rng, a0 = _pretrained(size, trials, seed)
    r = int(rank)
    shift = rng.standard_normal((trials, size.rows, r)) @ rng.standard_normal((trials, r, size.columns))
    floor = _tail(_STRONG * shift + a0 - width * np.round(a0 / width), r)
    return Sample(floor[:, None], {"rank": np.asarray(r), "width": np.asarray(width)})


def _bases(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    from linreg_lora.methods.qlora import QLoRA

    if problem.pretrained is None:
        raise InvalidInput("pretrained", "an A0 to quantise", "none", "set pretrained: true")
    return problem.pretrained, np.asarray(QLoRA(1).stored(problem.pretrained))


@register_experiment("full-tuning-of-a-quantised-base", pathwise=True)
def full_tuning_of_a_quantised_base(problem: Problem, trials: int, seed: int) -> Sample:
    """Q(A0) + D_FFT, fitted from there; context: A0 + D_FFT, and the projector P on the samples."""
    a0, base = _bases(problem)
    x, residual = reduced(problem, trials, seed)
    found = base + full_and_truncated(x, residual + (a0 - base) @ x, 1)[0]
    wanted = a0 + full_and_truncated(x, residual, 1)[0]
    context = {"from-a0": wanted, "error": np.broadcast_to(base - a0, wanted.shape), "seen": x @ np.linalg.pinv(x)}
    return Sample(found, context, tolerance=1e2 * _EPS * np.linalg.cond(x), scale=np.linalg.norm(wanted, axis=(1, 2)))


#: Of alternating least squares; each shrinks what is left by the square of a ratio of singular values.
_ROUNDS = 400


def _loftq(a0: np.ndarray, rank: int, alternations: int) -> tuple[np.ndarray, np.ndarray]:
    """LoftQ's base Q and the start L of its factors: Q = Q(A0 - L), then L = trunc_r(A0 - Q), from L = 0."""
    from linreg_lora.methods.qlora import QLoRA

    low, base = np.zeros_like(a0), a0
    for _ in range(alternations):
        base = np.asarray(QLoRA(rank).stored(a0 - low))
        low = _parts((a0 - base)[None], rank)[0]
    return base, low


def _trained(x: np.ndarray, residual: np.ndarray, low: np.ndarray, rank: int) -> np.ndarray:
    """Where alternating least squares on B A ends from A's rows in those of `low`; for as many samples as inputs.

    B is fitted given A, then A given B; X = T^T Q^T by a QR decomposition, and no singular value of the data is used.
    """
    q, t = np.linalg.qr(x.mT)
    seen = residual @ q
    rows = np.linalg.svd(low, full_matrices=False)[2][:rank] @ t.mT
    left = np.linalg.qr(seen @ rows.mT).Q
    for _ in range(_ROUNDS):
        rows = left.mT @ seen
        left = np.linalg.qr(seen @ rows.mT).Q
    return np.linalg.solve(t, (left @ (left.mT @ seen)).mT).mT


@register_experiment("lora-from-loftq", pathwise=True)
def lora_from_loftq(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The map where LoRA's training ends from LoftQ's base and factors after one alternation; n >= dx.

    Context: on QLoRA's base in closed form, on LoftQ's after five, and on A0 itself.
    """
    if problem.n < problem.dx:
        raise InvalidInput("experiment", "a domain with n >= dx", f"n = {problem.n}, dx = {problem.dx}")
    a0, stored = _bases(problem)
    r = int(rank)
    x, residual = reduced(problem, trials, seed)
    base, low = _loftq(a0, r, 1)
    found = base + _trained(x, residual + (a0 - base) @ x, low, r)
    qlora, five, unchanged = (
        at + full_and_truncated(x, residual + (a0 - at) @ x, r)[1] for at in (stored, _loftq(a0, r, 5)[0], a0)
    )
    values = np.linalg.svd(residual + (a0 - stored) @ x, compute_uv=False)
    gap = values[:, 0] / (values[:, r - 1] - values[:, r])
    return Sample(
        found,
        {"qlora": qlora, "five": five, "a0": unchanged},
        tolerance=1e2 * _EPS * np.linalg.cond(x) * gap + (values[:, r] / values[:, r - 1]) ** _ROUNDS,
        scale=np.linalg.norm(qlora, axis=(1, 2)),
    )
