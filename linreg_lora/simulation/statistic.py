"""The mean of any statistic of a data set, by simulation, with its standard error."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from linreg_lora import validation
from linreg_lora.input_law import InputLaw
from linreg_lora.problem import Problem
from linreg_lora.sampling import laws
from linreg_lora.simulation import draws
from linreg_lora.simulation.running_moments import RunningMoments

Statistic = Callable[[Array, Array], Array]


class Mean(NamedTuple):
    """The mean of a statistic over draws, and its standard error; both of the statistic's shape."""

    mean: Float[np.ndarray, "..."]
    stderr: Float[np.ndarray, "..."]


def mean_of(statistic: Statistic, problem: Problem, *, trials: int, seed: int) -> Mean:
    """The mean of `statistic(X, Y)` over `trials` data sets (at least 2) of a problem, X dx x n, Y dy x n.

    `statistic` is a function of JAX arrays to one array, compiled once for each function and problem sizes: a function
    defined inside a loop is compiled anew each time. Draw i is a function of the seed and of i alone. Raises
    `NumericalFailure` if a value is not finite. Whether a mean and a variance exist depends on the statistic:
    `problem.moments` says it of risks.

    >>> import jax.numpy as jnp
    >>> import linreg_lora as ll
    >>> from linreg_lora.simulation.statistic import mean_of
    >>> problem = ll.Problem(n=40, dx=6, dy=5, spectrum=(3.0,), noise_std=1.0)
    >>> found = mean_of(lambda x, y: jnp.sum(x**2) / 240, problem, trials=100, seed=0)
    >>> bool(abs(found.mean - 1) < 5 * found.stderr)
    True
    """
    trials = validation.enough_draws("trials", trials)
    size = draws.size_for(problem.dx * problem.n + problem.dy * problem.n + problem.dy * problem.dx)
    program: draws.Draws[np.ndarray] = draws.Draws(
        _of_data_set, (statistic, problem.input_law, problem.n), _arrays(problem), size
    )
    moments, shape = None, ()
    for first, values in draws.chunks(program, seed, trials):
        rows, shape = values.reshape(len(values), -1), values.shape[1:]
        draws.require_finite("statistic", problem, rows, first)
        part = RunningMoments.of(rows)
        moments = part if moments is None else moments.merge(part)
    assert moments is not None
    return Mean(moments.mean.reshape(shape), moments.stderr.reshape(shape))


def _arrays(problem: Problem) -> tuple[Array, Array | None, Array, Array | None]:
    """A0 + Delta, Sigma^{1/2} (None: identity), Sigma_eps^{1/2}, or sigma of isotropic noise, and mu (None: 0)."""
    target = problem.shift if problem.pretrained is None else problem.pretrained + problem.shift
    scale = problem.isotropic_noise_scale
    noise = problem.sigma_eps_sqrt if scale is None else problem.noise_std * np.sqrt(scale)
    root = None if problem.input_covariance is None else jnp.asarray(problem.sigma_sqrt)
    mean = None if problem.input_mean is None else jnp.asarray(problem.input_mean)
    return jnp.asarray(target), root, jnp.asarray(noise), mean


def _of_data_set(
    statistic: Statistic,
    law: InputLaw,
    n: int,
    arrays: tuple[Array, Array | None, Array, Array | None],
    key: Key[Array, ""],
) -> Array:
    drawn = laws.sample(law, key, n, *arrays)
    return statistic(drawn.inputs, drawn.outputs)
