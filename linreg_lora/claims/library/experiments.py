"""Experiments that claims name: each draws from a case and returns what was measured.

What a claim is about comes from this package's samplers and estimators; what it is compared with (`context`) comes from
plain NumPy on the same draws, so that a bug in one is not hidden by the other.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from linreg_lora import runtime
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Count, Rank
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

if TYPE_CHECKING:
    from linreg_lora.sampling.plan import Parameters

_EPS = np.finfo(float).eps
#: For which descent converges.
_RelativeStep = Annotated[float, Field(gt=0, lt=1)]
#: Draws of each run that monte-carlo-summary looks at.
_SUMMARISED = 100


# -- risks from sufficient statistics -----------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _risks(problem: Problem, trials: int, seed: int):
    from linreg_lora.simulation.curve import draw_risks

    return draw_risks(problem, trials=trials, seed=seed)


@register_experiment("fft-risk", any_inputs=True)
def fft_risk(problem: Problem, trials: int, seed: int) -> Sample:
    """Excess risk of FFT, raw and with the noise integrated exactly given the design."""
    risks = _risks(problem, trials, seed)
    return Sample(np.column_stack([risks.fft, risks.fft_given_design]), columns=("raw", "given the design"))


@register_experiment("lora-minus-fft", any_inputs=True)
def lora_minus_fft(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) - risk(D_FFT) on the same draws, r = `rank`."""
    risks = _risks(problem, trials, seed)
    context = {"fft": risks.fft, "rank": np.asarray(rank)}
    return Sample((risks.lora[:, int(rank)] - risks.fft)[:, None], context)


# -- explicit data ------------------------------------------------------------------------------------------------


class _Compiled(NamedTuple):
    fft: Callable[..., Any]
    lora: Callable[..., Any]


@functools.cache
def _compiled() -> _Compiled:
    """The functions that are compiled once for all seeds."""
    from linreg_lora.estimators import fft, lora
    from linreg_lora.simulation import lowered

    return _Compiled(lowered.jit(fft.fit_fft), lowered.jit(lora.fit_lora, static_argnums=(2, 4)))


def _data(problem: Problem, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (trials x dx x n) and Y (trials x dy x n), drawn by the explicit sampler as `simulation` draws them."""
    import jax.numpy as jnp

    from linreg_lora.sampling.gaussian import Dataset
    from linreg_lora.simulation.draws import Draws, collected

    target = problem.shift if problem.pretrained is None else problem.pretrained + problem.shift
    arrays = tuple(jnp.asarray(a) for a in (target, problem.sigma_sqrt, problem.sigma_eps_sqrt))
    structure = Dataset(jnp.empty((0, 0)), jnp.empty((0, 0)))
    program: Draws = Draws(_data_set, (problem.n,), arrays, trials, structure)
    drawn = collected(program, seed, trials)
    return drawn.inputs, drawn.outputs


def _data_set(n: int, arrays: tuple[Any, ...], key: Any) -> Any:
    from linreg_lora.sampling import gaussian

    return gaussian.sample(key, n, *arrays)


def _reduced_data(problem: Problem, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, "Parameters"]:
    """Sufficient designs and residuals as `simulation` draws them, and the parameters of these draws."""
    import jax.numpy as jnp

    from linreg_lora.sampling import plan
    from linreg_lora.simulation.draws import Draws, collected

    layout, parameters = plan.plan(problem, "sufficient")
    structure = plan.Reduced(jnp.empty((0, 0)), jnp.empty((0, 0)))
    drawn = collected(Draws(plan.sample, (layout,), parameters, trials, structure), seed, trials)
    return drawn.design, drawn.residual, parameters


def _fft_updates(problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    with runtime.exclusive_device():
        return np.asarray(_compiled().fft(x, y, _pretrained(problem)))


def _lora_updates(problem: Problem, x: np.ndarray, y: np.ndarray, rank: int) -> np.ndarray:
    with runtime.exclusive_device():
        return np.asarray(_compiled().lora(x, y, rank, _pretrained(problem), problem.ridge or None))


def _pretrained(problem: Problem):
    import jax.numpy as jnp

    return None if problem.pretrained is None else jnp.asarray(problem.pretrained)


def _residual(problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y if problem.pretrained is None else y - problem.pretrained @ x


def _rounding(x: np.ndarray, squared: bool = False) -> np.ndarray:
    """Relative rounding error that solving with X may leave: eps * size * cond(X), or cond(X)^2."""
    condition = np.linalg.cond(x)
    return _EPS * sum(x.shape[1:]) * (condition**2 if squared else condition)


def _truncation_rounding(x: np.ndarray, residual: np.ndarray, rank: int) -> np.ndarray:
    """Relative rounding error of D_r: that of solving with X, times (sigma_1^2 / gap of squares) of F at the rank."""
    s = np.linalg.svd(residual @ np.linalg.pinv(x) @ x, compute_uv=False)
    return _rounding(x, squared=True) * s[:, 0] ** 2 / (s[:, rank - 1] ** 2 - s[:, rank] ** 2)


def _norms(matrices: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(matrices**2, axis=(-2, -1)))


@register_experiment("fft-update", pathwise=True)
def fft_update(problem: Problem, trials: int, seed: int) -> Sample:
    """D_FFT of explicit data; context: the data and A0."""
    x, y = _data(problem, trials, seed)
    updates = _fft_updates(problem, x, y)
    context = {"x": x, "y": y, "residual": _residual(problem, x, y)}
    return Sample(updates, context, tolerance=_rounding(x, squared=True), scale=_norms(updates))


@register_experiment("lora-update", pathwise=True)
def lora_update(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """D_r of explicit data, r = `rank`; the tolerance grows with the inverse gap sigma_r - sigma_{r+1} of F."""
    x, y = _data(problem, trials, seed)
    r = int(rank)
    updates = _lora_updates(problem, x, y, r)
    residual = _residual(problem, x, y)
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(r)}
    return Sample(updates, context, tolerance=_truncation_rounding(x, residual, r), scale=_norms(updates))


@register_experiment("lora-training-loss", pathwise=True)
def lora_training_loss(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||R - D_r X||_F^2 of explicit data, r = `rank`."""
    x, y = _data(problem, trials, seed)
    r = int(rank)
    residual = _residual(problem, x, y)
    loss = _norms(residual - _lora_updates(problem, x, y, r) @ x) ** 2
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(r)}
    return Sample(loss, context, tolerance=_rounding(x, squared=True), scale=_norms(residual) ** 2)


@register_experiment("lora-risk-explicit", pathwise=True)
def lora_risk_explicit(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) of each draw as Monte Carlo computes it; context: the same draws' data, drawn again from their keys."""
    from linreg_lora.simulation.curve import draw_risks

    r = int(rank)
    risk = draw_risks(problem, trials=trials, seed=seed, sampler="explicit").lora[:, r]
    x, y = _data(problem, trials, seed)
    residual = _residual(problem, x, y)
    context = {"x": x, "y": y, "residual": residual, "rank": np.asarray(r)}
    return Sample(risk, context, tolerance=_truncation_rounding(x, residual, r), scale=risk)


@register_experiment("lora-risk-reduced", pathwise=True)
def lora_risk_reduced(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) of each draw from sufficient statistics; context: the same reduced designs and residuals."""
    from linreg_lora.simulation.curve import draw_risks

    r = int(rank)
    risk = draw_risks(problem, trials=trials, seed=seed, sampler="sufficient").lora[:, r]
    x, residual, parameters = _reduced_data(problem, trials, seed)
    root = np.eye(x.shape[1]) if parameters.sigma_sqrt is None else np.asarray(parameters.sigma_sqrt)
    context = {"x": x, "residual": residual, "rank": np.asarray(r), "sigma_sqrt": root}
    context |= {"shift": np.asarray(parameters.shift)}
    return Sample(risk, context, tolerance=_truncation_rounding(x, residual, r), scale=risk)


@register_experiment("lora-risk-scaled-inputs", pathwise=True)
def lora_risk_scaled_inputs(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) of each draw from sufficient statistics where Sigma = c I, n >= dx; context: the same designs L and
    residuals as data of the problem as it was posed, with inputs sqrt(c) L."""
    from linreg_lora.simulation.curve import draw_risks

    scale = problem.isotropic_scale
    if scale is None or problem.n < problem.dx:
        raise InvalidInput("experiment", "a domain with n >= dx and Sigma = c I", f"n = {problem.n}, dx = {problem.dx}")
    r = int(rank)
    risk = draw_risks(problem, trials=trials, seed=seed, sampler="sufficient").lora[:, r]
    design, residual, _ = _reduced_data(problem, trials, seed)
    x = np.sqrt(scale) * design
    context = {"x": x, "residual": residual, "rank": np.asarray(r)}
    return Sample(risk, context, tolerance=_truncation_rounding(x, residual, r), scale=risk)


@register_experiment("lora-risk-by-sampler")
def lora_risk_by_sampler(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) from sufficient statistics; context: explicit data of the same problem, drawn independently."""
    return _beside_explicit_data(problem, trials, seed, int(rank), "sufficient")


@register_experiment("lora-risk-conditional")
def lora_risk_conditional(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """E[risk(D_r) | LoRA's directions]; context: explicit data of the same problem, drawn independently."""
    return _beside_explicit_data(problem, trials, seed, int(rank), "conditional")


def _beside_explicit_data(problem: Problem, trials: int, seed: int, r: int, sampler: str) -> Sample:
    from linreg_lora.simulation.curve import draw_risks

    risk = draw_risks(problem, trials=trials, seed=seed, sampler=sampler).lora[:, r]
    x, y = _data(problem, trials, derived_seed(seed, "explicit"))
    context = {"x": x, "y": y, "residual": _residual(problem, x, y), "rank": np.asarray(r)}
    return Sample(risk[:, None], context)


@register_experiment("fft-risk-given-design", pathwise=True)
def fft_risk_given_design(problem: Problem, trials: int, seed: int) -> Sample:
    """E[risk(D_FFT) | X] of each draw as Monte Carlo computes it; context as in fft-risk-explicit, on the same X."""
    from linreg_lora.simulation.curve import draw_risks

    risk = draw_risks(problem, trials=trials, seed=seed, sampler="explicit").fft_given_design
    x, _ = _data(problem, trials, seed)
    return Sample(risk, _traces(problem, x), tolerance=_rounding(x, squared=True), scale=risk)


@register_experiment("monte-carlo-summary", pathwise=True)
def monte_carlo_summary(problem: Problem, trials: int, seed: int) -> Sample:
    """Means and standard errors that `monte_carlo` reports in each of `trials` runs; context: the draws behind them."""
    from linreg_lora.simulation.curve import draw_risks, monte_carlo

    seeds = [derived_seed(seed, str(run)) for run in range(trials)]
    ranks = np.arange(1, problem.max_rank)
    curves = [monte_carlo(problem, trials=_SUMMARISED, seed=s, ranks=ranks, sampler="sufficient") for s in seeds]
    summary = np.stack([np.concatenate([curve.risk, _known(curve.stderr)]) for curve in curves])
    draws = np.stack([draw_risks(problem, trials=_SUMMARISED, seed=s).lora[:, 1:-1] for s in seeds])
    tolerance = np.full(trials, _EPS * _SUMMARISED)
    return Sample(summary, {"draws": draws}, tolerance=tolerance, scale=np.linalg.norm(summary, axis=1))


def _known(values: np.ndarray | None) -> np.ndarray:
    assert values is not None
    return values


@register_experiment("fft-risk-explicit")
def fft_risk_explicit(problem: Problem, trials: int, seed: int) -> Sample:
    """Excess risk of FFT on explicit data; context: traces of the design, by the normal equations in NumPy."""
    x, y = _data(problem, trials, seed)
    error = (_fft_updates(problem, x, y) - problem.shift) @ problem.sigma_sqrt
    return Sample((_norms(error) ** 2)[:, None], _traces(problem, x))


def _traces(problem: Problem, x: np.ndarray) -> dict[str, np.ndarray]:
    """What the risk of FFT given the design is made of, by the normal equations."""
    if problem.n >= problem.dx:
        inverse = np.linalg.inv(x @ x.mT)
        unseen = np.zeros_like(inverse)
    else:
        gram = np.linalg.inv(x.mT @ x)
        inverse = x @ gram @ gram @ x.mT
        unseen = np.eye(problem.dx) - x @ gram @ x.mT
    return {
        "trace_sigma_inverse": np.einsum("ij,tji->t", problem.sigma, inverse),
        "trace_inverse": np.einsum("tii->t", inverse),
        "unseen_shift": _norms(problem.shift @ unseen @ problem.sigma_sqrt) ** 2,
        "unseen_shift_unweighted": _norms(problem.shift @ unseen) ** 2,
    }


@register_experiment("gradient-descent", pathwise=True)
def gradient_descent(problem: Problem, trials: int, seed: int, *, steps: Count, relative_step: _RelativeStep) -> Sample:
    """`steps` steps of gradient descent from A0 on (1/2)||Y - A X||_F^2, step size `relative_step` * 2 / lambda_max.

    The tolerance is the contraction that remains: max_i |1 - step lambda_i|^steps over nonzero lambda_i, plus rounding.
    """
    if not 0 < relative_step < 1:
        raise InvalidInput("relative_step", "a number in (0, 1), for which descent converges", relative_step)
    x, y = _data(problem, trials, seed)
    gram = x @ x.mT
    rank = min(problem.n, problem.dx)
    values = np.linalg.eigvalsh(gram)[:, -rank:]
    step = relative_step * 2 / values[:, -1]
    update = descend(problem, x, y, step, int(steps), slope=1.0)
    contraction = np.max(np.abs(1 - step[:, None] * values), axis=1) ** int(steps)
    residual = _residual(problem, x, y)
    context = {"x": x, "y": y, "residual": residual, "step": step, "steps": np.asarray(int(steps))}
    return Sample(update, context, tolerance=contraction + _rounding(x, squared=True), scale=_norms(update))


def descend(problem: Problem, x: np.ndarray, y: np.ndarray, step: np.ndarray, steps: int, slope: float) -> np.ndarray:
    """Iterate A - A0 after `steps` gradient steps on (slope/2) ||Y - A X||_F^2, from A = A0."""
    start = np.zeros((problem.dy, problem.dx)) if problem.pretrained is None else problem.pretrained
    a = np.broadcast_to(start, (len(x), *start.shape)).copy()
    rate = (slope * step)[:, None, None]
    for _ in range(steps):
        a -= rate * ((a @ x - y) @ x.mT)
    return a - start


@register_experiment("seen-share", bounded=True)
def seen_share(problem: Problem, trials: int, seed: int) -> Sample:
    """||Delta P||_F^2 / ||Delta||_F^2, P the projector on the column space of X (in input space)."""
    x, _ = _data(problem, trials, seed)
    basis = np.linalg.qr(x)[0]
    return Sample((_norms(problem.shift @ basis) ** 2 / np.sum(problem.shift**2))[:, None])


@register_experiment("rank-constrained-risk", pathwise=True)
def rank_constrained_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D) for updates D of rank r = `rank`: LoRA's, the best one there is, and perturbations of the best."""
    x, y = _data(problem, trials, seed)
    r = int(rank)
    fitted = _lora_updates(problem, x, y, r)
    root = problem.sigma_sqrt
    u, s, vt = np.linalg.svd(problem.shift @ root)
    left, right = u[:, :r] * s[:r], np.linalg.solve(root, vt[:r].T).T
    rng = np.random.default_rng(seed)
    size = np.geomspace(1e-6, 1, trials)[:, None, None]
    near = (left + size * rng.standard_normal((trials, *left.shape))) @ right
    updates = np.concatenate([fitted, (left @ right)[None], near])
    risk = _norms((updates - problem.shift) @ root) ** 2
    tolerance = np.full(len(risk), _EPS * problem.dx * np.linalg.cond(problem.sigma))
    context = {"rank": np.asarray(r)}
    return Sample(risk, context, tolerance=tolerance, scale=np.full(len(risk), problem.pretrained_risk))
