"""Gradient flow, the limit of small steps: integrated to a tolerance, and checked by what it conserves.

    dB/dt = -rho dL/dB,   dA/dt = -dL/dA;     A A^T - B^T B / rho = exp(-2 lam t) (A A^T - B^T B / rho)(0) at rho = 1

Without decay the left side is constant for every rho. The flow of full fine-tuning is D(t) = D_FFT (I - e^{-S t}).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from linreg_lora import runtime
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.training import descent
from linreg_lora.training.recipe import Recipe
from linreg_lora.training.result import REACHED, TrainingRun
from linreg_lora.training.trained import Progress, finished, prepare

_RELATIVE, _ABSOLUTE = 1e-10, 1e-13
#: Drift of what is conserved, beside the size of its terms, from which the integration is not believed.
_DRIFT = 1e-6


def gradient_flow(
    problem: Problem,
    rank: int,
    times: Sequence[float],
    recipe: Recipe | None = None,
    *,
    trials: int,
    seed: int,
    progress: Progress | None = None,
) -> TrainingRun:
    """Gradient flow of both factors on `trials` draws of a problem, recorded at `times` (from 0 on, increasing).

    Of the `recipe` it takes start, scaling, `ratio` and `weight_decay`; the draws are those of `train`. Descent of
    learning rate eta follows it at t = eta x steps, up to O(eta). `progress` is called with 1 at the end of each draw.

    Raises `InvalidInput` where something does not fit, decay with a ratio other than 1 among it, and
    `NumericalFailure` where the integration loses what the flow conserves.

    >>> import linreg_lora as ll
    >>> from linreg_lora import training
    >>> problem = ll.Problem(n=40, dx=8, dy=6, spectrum=(3.0, 2.0), noise_std=0.5)
    >>> run = training.gradient_flow(problem, 2, [0.0, 1.0, 40.0], trials=1, seed=0)
    >>> bool(run.distance[0, -1] < 1e-8)
    True
    """
    recipe = Recipe() if recipe is None else recipe
    if recipe.weight_decay and recipe.ratio != 1:
        raise InvalidInput("ratio", "1 beside weight_decay, in a flow", recipe.ratio)
    at = np.asarray(times, dtype=float)
    if at.ndim != 1 or not at.size or not np.all(np.isfinite(at)) or at[0] < 0 or np.any(np.diff(at) <= 0):
        raise InvalidInput("times", "times from 0 on, increasing", times)
    prepared = prepare(problem, rank, recipe, trials=trials, seed=seed)
    paths = []
    for draw in range(trials):
        start = prepared.start["b"][draw], prepared.start["a"][draw]
        gram, moment = prepared.drawn.gram[draw], prepared.drawn.moment[draw]
        scale, ratio = recipe.scale(rank), recipe.ratio
        paths.append(integrate(start, gram, moment, at, scale=scale, ratio=ratio, weight_decay=recipe.weight_decay))
        if progress is not None:
            progress(1)
    states = [
        {"b": np.stack([path[place][0] for path in paths]), "a": np.stack([path[place][1] for path in paths])}
        for place in range(len(at))
    ]
    rows = [descent.measure(recipe, prepared.drawn, prepared.settings, state) for state in states]
    closed = prepared.settings.closed_risk
    inside = np.stack([np.abs(row.risk - closed) <= REACHED * closed for row in rows], axis=1)
    stays = np.logical_and.accumulate(inside[:, ::-1], axis=1)[:, ::-1]
    reached = np.where(stays[:, -1], at[np.argmax(stays, axis=1)], np.nan)
    return finished(problem, rank, recipe, prepared, rows, at, "time", reached=reached, end=states[-1], seed=seed)


def integrate(
    start: tuple[Float[np.ndarray, "dy r"], Float[np.ndarray, "r dx"]],
    gram: Float[np.ndarray, "dx dx"],
    moment: Float[np.ndarray, "dy dx"],
    times: Float[np.ndarray, "k"],
    *,
    scale: float,
    ratio: float = 1.0,
    weight_decay: float = 0.0,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """B and A at each time, from `start` (B, A); `gram` S, `moment` H, `scale` g, `ratio` rho, `weight_decay` lam.

    >>> import numpy as np
    >>> from linreg_lora.training.flow import integrate
    >>> start = (np.zeros((1, 1)), np.ones((1, 1)) / 3**0.5)
    >>> (b, a), = integrate(start, np.eye(1), 2 * np.eye(1), np.array([0.5]), scale=2.0)
    >>> round((2 * b @ a).item(), 8)
    1.69202195
    """
    b, a = start
    shapes, cut = (b.shape, a.shape), b.size

    def split(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return y[:cut].reshape(shapes[0]), y[cut:].reshape(shapes[1])

    def velocity(_: float, y: np.ndarray) -> np.ndarray:
        b, a = split(y)
        missed = scale * (b @ (a @ gram)) - moment
        down_b, down_a = scale * (missed @ a.T) + weight_decay * b, scale * (b.T @ missed) + weight_decay * a
        return -np.concatenate([(ratio * down_b).ravel(), down_a.ravel()])

    if times[-1] == 0:
        return [start]
    size = float(np.sqrt(np.mean(a**2)))
    with runtime.one_blas_thread():
        solved = solve_ivp(
            velocity, (0.0, times[-1]), np.concatenate([b.ravel(), a.ravel()]),
            method="DOP853", t_eval=times, rtol=_RELATIVE, atol=_ABSOLUTE * size,
        )  # fmt: skip
    if not solved.success:
        raise NumericalFailure(f"gradient flow: expected its end at time {times[-1]:g}, received {solved.message}")
    out = [split(y) for y in solved.y.T]
    kept = a @ a.T - b.T @ b / ratio
    for time, (b, a) in zip(times, out, strict=True):
        rows, columns = a @ a.T, b.T @ b / ratio
        drift = np.linalg.norm(rows - columns - np.exp(-2 * weight_decay * time) * kept)
        if not drift <= _DRIFT * (np.linalg.norm(rows) + np.linalg.norm(columns)):
            raise NumericalFailure(
                f"gradient flow: expected A A^T - B^T B / rho to be kept, received a drift of {drift:.2g} "
                f"at time {time:g}"
            )
    return out
