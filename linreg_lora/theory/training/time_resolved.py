"""The expected risk of LoRA while it trains, in a whitened design: against time, and where each mode should stop.

Inputs are Gaussian with Sigma = c I, S = X X^T / n, or of an orthogonal design, S = c I, where D_FFT = Delta + N with
iid entries of variance sigma^2 / (n c). Starts, with B(0) = 0 but for the last:

    kaiming    A(0) uniform on +-1/sqrt(dx), PEFT's default; gaussian: N(0, 1/r^2), PEFT's other; normal: N(0, 1/r)
    random     A(0) of orthogonal rows of squared norm kappa, turned at random
    aligned    A(0) along the top right singular vectors of D_FFT, a spectral start: then in closed form,
                   risk(t) = c { sum s_i^2 + sum_{i<=r} [ d_i(t)^2 - 2 d_i(t) s_i rho_u rho_v ] }
               where d_i(t) is the mode of f_i = lambda_i / sqrt(n c), with lambda_i and the overlaps those of the
               spiked model (`theory.spiked`, N = dx), and in noise a Marchenko-Pastur quantile with overlap 0
    balanced   the same directions in both factors, |B u|^2 = |A v|^2 = d0 / g: logistic modes

The first four are means over draws of the design, of the noise and of A(0) along the flow of each (`drawn_path`): by
the closed form in orthogonal designs from orthogonal rows or at rank one, else integrated. How long the rows of A(0)
are and how they lie matters: halfway, at dx = 12, the mean from PEFT's start is a fifth above that from orthogonal
rows, and far above it at dx = 1, where a short row leaves late.

The bracket is least at d_i = s_i rho_u rho_v, the shrinkage of Gavish and Donoho 2017, which each mode passes at a time
of its own (`optimal_stops`): no single time serves all.

*Error.* Means over draws have no other than their standard error, which is large against the risk where a few late
draws are all that is left of it: each time has its flag. The closed forms are limits: for Gaussian inputs S is c I up
to sqrt(dx / n), with a relative error of the risk of the order (dx + 1) / n that grows with the exponent of a mode on
its way; and dx and dy are large: within about 2 % of simulation at dx = 100, dy = 80. Source: derived here.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.marchenko_pastur import quantile
from linreg_lora.theory.training import checks
from linreg_lora.theory.training.drawn_path import drawn_risks
from linreg_lora.theory.training.trajectories import logistic_mode, time_to_reach, zero_start_mode

Start = Literal["random", "kaiming", "gaussian", "normal", "aligned", "balanced"]
_DRAWN = ("random", "kaiming", "gaussian", "normal")
#: A risk that may be off by more is flagged.
_ACCURATE = 0.01
#: More take hours, and ten thousand give the mean to a hundredth of the spread.
_MOST_DRAWS = 10_000


@dataclass(frozen=True, kw_only=True)
class RiskOverTime:
    """Expected excess risk of LoRA of one rank at each of `times`.

    | field       | meaning                                                                            |
    |-------------|------------------------------------------------------------------------------------|
    | `times`     | t: a learning rate times a number of steps, for the loss with 1 / 2n               |
    | `risk`      | E risk(D(t)), in squared units of y                                                |
    | `stderr`    | its standard error, where it is a mean over draws; None for the closed form        |
    | `end`       | the same mean at t = infinity: that of the minimiser D_r                           |
    | `formula`   | how the values were obtained                                                       |
    | `error`     | of a closed form for Gaussian inputs, the order (dx + 1) / n of its error; else 0  |
    | `flags`     | by time: whether the value may be off by more than 1 %, two standard errors        |
    | `flagged`   | whether any is                                                                     |
    | `notes`     | in words, what is a limit and what the error of sampling is                        |
    """

    problem: Problem
    rank: int
    start: Start
    times: Float[np.ndarray, "t"]
    risk: Float[np.ndarray, "t"]
    stderr: Float[np.ndarray, "t"] | None
    end: float
    formula: str
    error: float
    flags: Bool[np.ndarray, "t"]
    flagged: bool
    notes: tuple[str, ...]

    @property
    def best(self) -> int:
        """The index of the time of least risk among `times`."""
        return int(np.argmin(self.risk))


class Stops(NamedTuple):
    """Where each kept mode should stop: `values` f_i, `levels` s_i rho_u rho_v, `times` (inf: never; 0: at once)."""

    values: Float[np.ndarray, "r"]
    levels: Float[np.ndarray, "r"]
    times: Float[np.ndarray, "r"]


def risk_over_time(
    problem: Problem,
    rank: int,
    times: object,
    *,
    scaling: float = 2.0,
    start: Start = "random",
    kappa: float = 1 / 3,
    balanced: float = 1e-3,
    orthogonal: bool = False,
    draws: int = 32,
    seed: int = 0,
) -> RiskOverTime:
    """Risk against training time, by the result that `start` has (see the module), for Sigma = c I and n >= dx.

    | argument     | symbol | meaning                                                                              |
    |--------------|--------|--------------------------------------------------------------------------------------|
    | `rank`       | r      | 1..min(dx, dy)                                                                       |
    | `times`      | t      | >= 0                                                                                 |
    | `scaling`    | g      | alpha / r: 2 for PEFT's common alpha = 2 r                                           |
    | `start`      |        | kaiming, gaussian, normal, random, aligned or balanced                               |
    | `kappa`      | kappa  | squared norm of the rows of A(0), for random and aligned                             |
    | `balanced`   | d0     | size of the product along each mode, for balanced                                    |
    | `orthogonal` |        | the design has X X^T = n c I: no limit in n, and no draws of the design              |
    | `draws`      |        | of the design, the noise and A(0), for the first four; 2 or more                     |

    Raises `InvalidInput` with a ridge, for other inputs, for Sigma other than c I, for n < dx, for noise that is not
    isotropic where the start is aligned or balanced, and for times that an integration does not reach.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=20, dy=15, spectrum=(3.0, 2.0), noise_std=2.0)
    >>> found = ll.theory.training.risk_over_time(problem, 2, [0.0, 0.2, 0.5, 1.0, 2.0], start="aligned")
    >>> found.risk.round(2).tolist(), round(found.end, 2)
    ([13.0, 5.14, 0.7, 0.73, 0.73], 0.73)
    """
    c = _whitened(problem)
    if validation.positive_integer("rank", rank) > min(problem.dx, problem.dy):
        raise InvalidInput("rank", f"a rank in 1..min(dx, dy) = {min(problem.dx, problem.dy)}", rank)
    checks.one_of("start", start, (*_DRAWN, "aligned", "balanced"))
    t = checks.times(times)
    validation.zero_or_one("orthogonal", orthogonal)
    if start in _DRAWN:
        risk, stderr, end = _drawn(problem, rank, t, start, scaling, kappa, orthogonal, draws, seed)
        design = "the noise" if orthogonal else "the design, the noise"
        formula = f"path of gradient flow from the start as it is drawn, mean over {draws} draws of {design} and A(0)"
        error, flags = 0.0, 2 * stderr > _ACCURATE * risk
        share = float(np.max(np.divide(stderr, risk, out=np.zeros_like(risk), where=risk > 0), initial=0.0))
        notes = (f"standard errors of {draws} draws, up to {100 * share:.2g} % of the risk",) if flags.any() else ()
    else:
        values, overlaps = _modes(problem, c, rank)
        d = np.zeros((len(t), rank))
        alive = values > 0
        d[:, alive] = _mode(values[alive], t[:, None], start, scaling, c, kappa, balanced)
        risk, end = (c * (np.sum(problem.shift**2) + np.sum(x**2 - 2 * x * overlaps, -1)) for x in (d, values))
        stderr, flags = None, np.ones(len(t), dtype=bool)
        error = 0.0 if orthogonal else (problem.dx + 1) / problem.n
        notes = () if orthogonal else (f"the limit n >> dx: relative error of order (dx + 1)/n = {error:.2g}",)
        notes += ("a limit of large dx and dy: within about 2 % at a hundred",)
        formula = f"modes of gradient flow from a start that is {start}, overlaps of the spiked model"
    return RiskOverTime(
        problem=problem,
        rank=rank,
        start=start,
        times=t,
        risk=risk,
        stderr=stderr,
        end=float(end),
        formula=formula,
        error=error,
        flags=flags,
        flagged=bool(np.any(flags)),
        notes=notes,
    )


def optimal_stops(
    problem: Problem,
    rank: int,
    *,
    scaling: float = 2.0,
    start: Start = "balanced",
    kappa: float = 1 / 3,
    balanced: float = 1e-3,
) -> Stops:
    """The level at which each of the r leading modes has least risk, and when training passes it.

    Arguments and domain as `risk_over_time`; `start` is aligned or balanced. Modes of noise should never start.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=400, dx=20, dy=15, spectrum=(3.0, 1.0), noise_std=2.0)
    >>> stops = ll.theory.training.optimal_stops(problem, 3)
    >>> stops.levels.round(2).tolist(), stops.times.round(2).tolist()
    ([2.94, 0.83, 0.0], [0.92, 1.69, 0.0])
    """
    c = _whitened(problem)
    if validation.positive_integer("rank", rank) > min(problem.dx, problem.dy):
        raise InvalidInput("rank", f"a rank in 1..min(dx, dy) = {min(problem.dx, problem.dy)}", rank)
    checks.one_of("start", start, ("aligned", "balanced"), "modes of a random start do not separate")
    values, levels = _modes(problem, c, rank)
    size = {"balanced": balanced} if start == "balanced" else {"kappa": kappa}
    stops = [
        0.0 if d == 0 else np.inf if d >= f else float(time_to_reach(f, d, scaling=scaling, variance=c, **size))
        for f, d in zip(values, levels, strict=True)
    ]
    return Stops(values, levels, np.array(stops))


def _mode(
    f: np.ndarray, t: np.ndarray, start: Start, scaling: float, c: float, kappa: float, balanced: float
) -> np.ndarray:
    if start == "aligned":
        return zero_start_mode(f, kappa, t, scaling=scaling, variance=c)
    return logistic_mode(f, balanced, t, scaling=scaling, variance=c)


def _modes(problem: Problem, c: float, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """f_i and s_i rho_u rho_v of the r leading singular values of Delta + N."""
    scale = problem.isotropic_noise_scale
    if scale is None:
        raise InvalidInput("noise_covariance", "isotropic noise", "another", "use start='random'")
    unit = problem.noise_std * np.sqrt(scale / (problem.n * c))
    s = checks.strengths(problem)
    rows, columns = problem.dy, problem.dx
    detectable = s[s**4 > unit**4 * rows * columns]
    s2, v = detectable**2, unit**2
    values = np.sqrt((s2 + v * rows) * (s2 + v * columns) / s2)
    levels = (s2**2 - v**2 * rows * columns) / (s2 * values)
    rows, columns = rows - len(detectable), columns - len(detectable)
    noise = [unit * np.sqrt(quantile(rows, columns, i + 0.5)) for i in range(rank - len(detectable))]
    return np.concatenate([values, noise])[:rank], np.concatenate([levels, np.zeros(len(noise))])[:rank]


def _drawn(
    problem: Problem, rank: int, t: np.ndarray, start: Start, scaling: float, kappa: float, orthogonal: bool,
    draws: int, seed: int,
) -> tuple[np.ndarray, np.ndarray, float]:  # fmt: skip
    """Means and standard errors over draws, and the mean at the end."""
    if not 2 <= validation.positive_integer("draws", draws) <= _MOST_DRAWS:
        raise InvalidInput("draws", f"2 to {_MOST_DRAWS}", draws)
    checks.positive("kappa", kappa)
    checks.positive("scaling", scaling)
    validation.nonnegative_integer("seed", seed)
    found = drawn_risks(
        problem, rank, t, start, scaling=scaling, kappa=kappa, orthogonal=orthogonal, draws=draws, seed=seed
    )
    stderr = np.std(found.risks, axis=0, ddof=1) / np.sqrt(draws)
    return np.mean(found.risks, axis=0), stderr, float(np.mean(found.ends))


def _whitened(problem: Problem) -> float:
    """c, where the theory holds."""
    problem.require_gaussian("the path of training")
    if problem.isotropic_scale is None:
        raise InvalidInput("input_covariance", "a multiple of the identity", "another", "no other path is known")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge, "the path is that of the loss without a penalty")
    if problem.n < problem.dx:
        raise InvalidInput("n", f"n >= dx = {problem.dx}", problem.n, "no end is that of D_r alone below")
    return problem.isotropic_scale
