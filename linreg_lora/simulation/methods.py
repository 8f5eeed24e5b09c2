"""Simulated risk of any method: LoRA and FFT as their curve is, every other one fitted to explicit data.

A fit is that of the method itself, so its mean is independent of what theory makes of it. Draw i is a function of the
seed and of i alone, so that methods with one seed and one problem are fitted to the same data.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.estimators.risk import excess_risk
from linreg_lora.input_law import InputLaw
from linreg_lora.methods import registry, result
from linreg_lora.methods.expected import answered, require_problem
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.lora import LoRA
from linreg_lora.methods.method import Method, Reduction, Update, in_size, moments_note
from linreg_lora.methods.result import MethodRisk
from linreg_lora.methods.with_bias import WithBias
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.sampling import gaussian, laws
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import curve as curves
from linreg_lora.simulation import draws
from linreg_lora.simulation.running_moments import RunningMoments
from linreg_lora.theory import heavy_tails
from linreg_lora.theory.offsets import without_mean

Progress = Callable[[int], None]

#: Numbers of one draw that fits are made to.
_MOST_FLOATS = 10**8


@overload
def monte_carlo(
    problem: Problem,
    *,
    trials: int,
    seed: int,
    ranks: object = None,
    sampler: str = "auto",
    batch_size: int = 1024,
    progress: Progress | None = None,
) -> RiskCurve: ...


@overload
def monte_carlo(
    problem: Problem,
    *,
    trials: int,
    seed: int,
    method: Method | str,
    batch_size: int = 1024,
    progress: Progress | None = None,
) -> MethodRisk: ...


def monte_carlo(
    problem: Problem,
    *,
    trials: int,
    seed: int,
    ranks: object = None,
    sampler: str = "auto",
    batch_size: int = 1024,
    progress: Progress | None = None,
    method: Method | str | None = None,
) -> RiskCurve | MethodRisk:
    """Expected excess risk by simulation, with standard errors: of LoRA and FFT; or, with `method`, of one method.

    `trials` draws (at least 2) from `seed`. Without `method`: LoRA at `ranks`, by default all of 0..min(n, dx, dy).
    FFT, and LoRA at full rank, are averaged over the noise exactly; rank 0 is exact. `difference` pairs LoRA and FFT on
    the same draws. `progress` is called with the number of draws just done.

    | `sampler`   | what is drawn                                                                                   |
    |-------------|-------------------------------------------------------------------------------------------------|
    | explicit    | all data                                                                                        |
    | sufficient  | statistics that carry all of the risk (`sampling.sufficient`)                                   |
    | conditional | what decides LoRA's directions; the rest is averaged in closed form (`simulation.conditional`)  |
    | auto        | the last of these that exists                                                                   |

    With `method`, a `Method` or its name, as in bitfit, lora:4, frozen-a:4: LoRA and FFT are those of the curve, any
    other method is fitted to explicit data by its own `fit`, and the result is a `MethodRisk`. Raises `InvalidInput`
    where the method does not fit the problem.

    Where the mean is infinite nothing is drawn: the risk is inf. Where only the variance is infinite whole draws give
    the mean without a standard error (nan); conditional means mostly have one. Nor is there one where rare draws carry
    a variance that these cannot have seen (`theory.heavy_tails`). Where noise is so small against the shift that
    rounding loses its directions (`sampling.rounding`), the ranks that depend on them are nan, and the others are not
    touched. `moments` and `notes` say so. Raises `NumericalFailure` if a draw is not finite.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=12, dx=6, dy=5, spectrum=(2.0,), noise_std=0.5)
    >>> drawn = ll.monte_carlo(problem, trials=64, seed=0)
    >>> abs(drawn.fft_risk - 0.5**2 * 5 * 6 / (12 - 6 - 1)) < 5 * drawn.fft_stderr
    True
    >>> drawn = ll.monte_carlo(problem, trials=64, seed=0, method="bitfit")
    >>> abs(drawn.risk - ll.theory.bitfit_risk(problem).risk) < 5 * drawn.stderr
    True
    """
    require_problem(problem)
    if method is None:
        return curves.monte_carlo(
            problem, trials=trials, seed=seed, ranks=ranks, sampler=sampler, batch_size=batch_size, progress=progress
        )
    if ranks is not None or sampler != "auto":
        raise InvalidInput("method", "no ranks or sampler beside it", method, "LoRA of rank 4 is lora:4")
    chosen = registry.of(method)
    trials, seed = validation.enough_draws("trials", trials), valid_seed(seed)
    if not by_curve(chosen):
        return _fitted(problem, chosen, trials, seed, batch_size, progress)
    reduced = chosen.reduce(problem)
    assert reduced is not None
    curve = curves.monte_carlo(
        problem, trials=trials, seed=seed, ranks=[reduced.rank or 0], batch_size=batch_size, progress=progress
    )
    return _on_curve(curve, problem, chosen)


def simulated_risks(
    problem: Problem,
    methods: Sequence[Method],
    *,
    trials: int,
    seed: int,
    curve: RiskCurve | None = None,
    progress: Progress | None = None,
    pretraining_covariance: np.ndarray | None = None,
) -> list[MethodRisk]:
    """The simulated risk of each method; nan, with the reason in `notes`, where it has none.

    LoRA of all ranks and FFT are read off one curve, if it has their ranks off `curve`. What the others forget, by
    `pretraining_covariance` (None: the identity), is measured on the same fits.
    """
    ranks = curve_ranks(problem, methods)
    if ranks is not None and (curve is None or not set(ranks) <= set(curve.ranks.tolist())):
        curve = curves.monte_carlo(problem, trials=trials, seed=seed, ranks=ranks or [0], progress=progress)

    def one(method: Method) -> MethodRisk:
        if not by_curve(method):
            return _fitted(problem, method, trials, seed, 1024, progress, pretraining_covariance)
        method.reduce(problem)
        assert curve is not None
        return _on_curve(curve, problem, method)

    return [
        dataclasses.replace(
            answered(method, problem, "monte-carlo", lambda method=method: one(method)), trials=trials, seed=seed
        )
        for method in methods
    ]


def fitted_risks(
    problem: Problem, method: Method, *, trials: int, seed: int, first: int = 0
) -> Float[np.ndarray, "draws"]:
    """The excess risk of a method fitted to each of `trials` explicit data sets, draws `first`, ... of the seed.

    Holds them all in memory.
    """
    trials = validation.positive_integer("trials", trials)
    parts = list(_chunks(Fits(problem, method), trials, seed, 1024, first))
    return np.concatenate(parts)[:, 0]


def by_curve(method: Method) -> bool:
    """Whether a method is simulated as its risk curve is: LoRA and FFT."""
    return type(method) in (LoRA, FullFineTuning)


def curve_ranks(problem: Problem, methods: Sequence[Method]) -> list[int] | None:
    """The ranks that a risk curve needs so that LoRA and FFT among `methods` can be read off it; None: no curve."""
    ranks = sorted({method.rank for method in methods if type(method) is LoRA and method.rank <= problem.max_rank})
    return ranks if ranks or any(type(method) is FullFineTuning for method in methods) else None


def _on_curve(curve: RiskCurve, problem: Problem, method: Method) -> MethodRisk:
    rank = method.rank if isinstance(method, LoRA) else None
    return result.of_curve(curve, rank, problem, method.name, registry.parameters(method, problem), 0.0)


def fitted(
    problem: Problem, method: Method, *, trials: int, seed: int, pretraining_covariance: np.ndarray | None = None
) -> MethodRisk:
    """The simulated risk, and `forgetting`, of a method by its own fits, LoRA and FFT too; arguments as elsewhere."""
    trials, seed = validation.enough_draws("trials", trials), valid_seed(seed)
    return _fitted(problem, method, trials, seed, 1024, None, pretraining_covariance)


def _fitted(
    problem: Problem,
    method: Method,
    trials: int,
    seed: int,
    batch_size: int,
    progress: Progress | None,
    pretraining_covariance: np.ndarray | None = None,
) -> MethodRisk:
    """The mean risk, and the mean forgetting, of the method's own fits."""
    moments, note = method.moments(problem), moments_note(method, problem)
    found = MethodRisk(
        problem=problem,
        method=method.name,
        parameters=registry.parameters(method, problem),
        computed_by="monte-carlo",
        risk=math.inf,
        stderr=math.nan,
        moments=moments,
        formula="none: no draw was made",
        notes=(note,),
        trials=trials,
        seed=seed,
        forgetting=math.inf,
        forgetting_stderr=math.nan,
    )
    if moments is Moments.NO_MEAN:
        return found
    total: RunningMoments | None = None
    for rows in _chunks(Fits(problem, method, pretraining_covariance), trials, seed, batch_size):
        part = RunningMoments.of(rows)
        total = part if total is None else total.merge(part)
        if progress is not None:
            progress(len(rows))
    assert total is not None
    missing = doubt_of_stderr(problem, method, trials)
    (risk, forgetting), errors = total.mean.tolist(), [math.nan] * 2 if missing else total.stderr.tolist()
    return dataclasses.replace(
        found,
        risk=risk,
        stderr=errors[0],
        forgetting=forgetting,
        forgetting_stderr=errors[1],
        formula="mean over fits to explicit data",
        notes=(missing,) if missing else (),
    )


def doubt_of_stderr(problem: Problem, method: Method, trials: int) -> str:
    """Why the mean of so many fits has no standard error that can be trusted; empty where it has."""
    note = moments_note(method, problem)
    if note:
        return f"no standard error exists: {note}"
    reduced = _decided_by(method, in_size(problem))
    return "" if reduced is None or reduced.rank == 0 else heavy_tails.unfelt_floor(reduced.problem, trials)


def _decided_by(method: Method, problem: Problem) -> Reduction | None:
    """The reduction whose rare draws are the method's; that of a method with a bias has one sample less."""
    if isinstance(method, WithBias):
        return method.method.reduce(without_mean(problem))
    return method.reduce(problem)


def _chunks(
    program: "Fits", trials: int, seed: int, batch_size: int, first: int = 0
) -> Iterator[Float[np.ndarray, "draws 2"]]:
    for start, rows in draws.chunks(program, seed, trials, first=first, batch_size=batch_size):
        draws.require_finite(f"risk of {program.method.name}", program.problem, rows, start)
        yield rows


class Fits(draws.Draws[Float[np.ndarray, "draws 2"]]):
    """Draws explicit data, fits a method to them and measures its excess risk, and what it forgets.

    Drawing is compiled for all methods. `pretraining_covariance` is that of forgetting; None: the identity.
    """

    def __init__(
        self, problem: Problem, method: Method, pretraining_covariance: Float[np.ndarray, "..."] | None = None
    ) -> None:
        floats = (problem.dx + problem.dy) * problem.n + 2 * problem.dy * problem.dx
        if floats > _MOST_FLOATS:
            expected = f"data and updates of at most {_MOST_FLOATS:.0e} numbers for fits"
            raise InvalidInput("n, dx, dy", expected, f"{floats:.3g}", "use theory, or smaller sizes")
        size = draws.size_for(floats)
        super().__init__(_sample, (problem.input_law, problem.n), _arrays(problem), size)
        self.problem, self.method = problem, method
        self._before = _root_before(pretraining_covariance, problem.dx)

    def start(self, key: Key[Array, ""], first: int) -> Float[Array, "draws 2"]:
        """Begin the chunk whose first draw has number `first`."""
        return _measured(self.method, self._arrays, self._before, super().start(key, first))


def _arrays(problem: Problem) -> dict[str, Any]:
    scale = problem.isotropic_noise_scale
    noise = problem.sigma_eps_sqrt if scale is None else problem.noise_std * np.sqrt(scale)
    pretrained = problem.pretrained
    return {
        "shift": jnp.asarray(problem.shift),
        "pretrained": None if pretrained is None else jnp.asarray(pretrained),
        "root": None if problem.input_covariance is None else jnp.asarray(_root(problem)),
        "noise": jnp.asarray(noise),
        "mean": None if problem.input_mean is None else jnp.asarray(problem.input_mean),
        "ridge": jnp.asarray(problem.ridge) if problem.ridge > 0 else None,
    }


def _root_before(covariance: Float[np.ndarray, "..."] | None, dx: int) -> Float[Array, "dx dx"] | None:
    """A square root of Sigma_pre, C C^T."""
    given = validation.covariance("pretraining_covariance", covariance, dx)
    if given is None:
        return None
    if given.ndim == 1:
        return jnp.asarray(np.diag(np.sqrt(given)))
    values, vectors = np.linalg.eigh(given)
    return jnp.asarray(vectors * np.sqrt(np.clip(values, 0, None)))


def _root(problem: Problem) -> np.ndarray:
    """Sigma^{1/2}, of the rank that `Problem` counts: the root of a rounding error is none."""
    if problem.input_rank == problem.dx or np.array_equal(problem.sigma, np.diag(np.diagonal(problem.sigma))):
        return problem.sigma_sqrt
    values, vectors = np.linalg.eigh(problem.sigma)
    kept = vectors[:, -problem.input_rank :]
    return (kept * np.sqrt(values[-problem.input_rank :])) @ kept.T


def _sample(law: InputLaw, n: int, arrays: dict[str, Any], key: Key[Array, ""]) -> gaussian.Dataset:
    target = arrays["shift"] if arrays["pretrained"] is None else arrays["pretrained"] + arrays["shift"]
    return laws.sample(law, key, n, target, arrays["root"], arrays["noise"], arrays["mean"])


@functools.partial(jax.jit, static_argnums=0)
def _measured(
    method: Method, arrays: dict[str, Any], before: Float[Array, "dx dx"] | None, data: gaussian.Dataset
) -> Float[Array, "draws 2"]:
    """The excess risk, and what is forgotten, of each data set.

        ||(D - Delta) Sigma^{1/2}||_F^2 + ||(D - Delta) mu + b||^2,      ||D Sigma_pre^{1/2}||_F^2 + ||b||^2

    Raises `InvalidInput` where a fit returns no update.
    """

    def fitted(inputs: Array, outputs: Array) -> Update:
        update = method.fit(inputs, outputs, arrays["pretrained"], arrays["ridge"])
        _require_update(method, update, (*inputs.shape[:-2], *arrays["shift"].shape))
        return update

    update = (fitted if method.broadcasts else jax.vmap(fitted))(data.inputs, data.outputs)
    shift = jnp.broadcast_to(arrays["shift"], update.map.shape)
    offset = update.offset if arrays["mean"] is None else update.offset + (update.map - shift) @ arrays["mean"]
    risk = excess_risk(update.map, shift, arrays["root"]) + jnp.sum(offset**2, axis=-1)
    moved = excess_risk(update.map, jnp.zeros_like(shift), before) + jnp.sum(update.offset**2, axis=-1)
    return jnp.stack([risk, moved], axis=-1)


def _require_update(method: Method, update: object, shape: tuple[int, ...]) -> None:
    field, wanted = f"{method.name}.fit", f"an Update(map, offset) of shapes {shape} and {shape[:-1]}"
    if not isinstance(update, Update):
        raise InvalidInput(field, wanted, type(update).__name__, "Update.linear(map) has no offset")
    shapes = jnp.shape(update.map), jnp.shape(update.offset)
    if shapes != (shape, shape[:-1]):
        raise InvalidInput(field, wanted, f"shapes {shapes[0]} and {shapes[1]}")
