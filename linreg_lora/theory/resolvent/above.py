"""What lies above a cut, as functions that JAX compiles and differentiates: the door for those who compose.

    above(theta, x)                      N, T1, T2 and T3 (`functionals`) above a fixed cut x
    at_rank(theta, r, x)                 the same at the cut with N = r, which moves with theta
    with_noise(theta, problem, sigma)    theta with sigma traced, where noise is isotropic

theta: a `Pencil`, or the `Ridgeless` limit, whose leaves may be traced (of the limit, kappa and df2 go with n); not the
finite-size correction. Loops are not differentiated: at a solution of w = F(w; theta) a step of Newton's method that
keeps its matrix has the derivative of the implicit function, and so has one for the cut. It is the independent twin of
`theory.sensitivity`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from linreg_lora import runtime
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.contours.modes import Blocks, Pencil, Ridgeless, largest_eigenvalue_bound
from linreg_lora.theory.contours.traced import trace
from linreg_lora.theory.resolvent import dyson, modes, pencil, ridgeless

_RESIDUAL = 1e-9
#: Directions in a unit of log x below which a cut lies on a gap, and stays.
_GAP = 1e-6
#: Two standard deviations are the same up to this.
_ROUNDING = 1e-12

Theta = Pencil | Ridgeless


def theta(problem: Problem) -> Theta:
    """The parameters of a problem's equation, as JAX arrays."""
    problem.require_gaussian("the deterministic equivalent")
    reduced = problem.without_null_inputs()
    if reduced.ridge == 0 and reduced.regime is Regime.UNDERDETERMINED:
        return modes.ridgeless(reduced)
    return modes.pencil(reduced, reduced.ridge)


def cut(problem: Problem, rank: int) -> tuple[float, float]:
    """The cut that keeps `rank` directions, and a point above the spectrum; a rank strictly between 0 and FFT's."""
    reduced = problem.without_null_inputs()
    with runtime.one_numpy_thread(), np.errstate(all="ignore"):
        found = trace(reduced, np.array([float(rank)]), correction=False).found
    return float(found.cut.x[0]), largest_eigenvalue_bound(reduced)


def with_noise(theta: Theta, problem: Problem, noise_std: Float[Array, ""] | float) -> Theta:
    """theta with the noise's standard deviation in it, to be differentiated at that of the problem.

        V_11 = Delta Sigma Delta^T + c sigma^2 I,  so that V_11 gains c (noise_std^2 - sigma^2) on its diagonal

    | argument    | symbol   | meaning                                                                |
    |-------------|----------|------------------------------------------------------------------------|
    | `theta`     | theta    | the parameters of `problem`; n, ridge and others may have been changed |
    | `problem`   | sigma, c | whose noise theta has: `problem.noise_std`, and c of c sigma^2 I       |
    | `noise_std` |          | `problem.noise_std`, traced, in units of y; a scalar                   |

    Of isotropic noise only, which keeps the basis of V_11 and its multiplicities; kappa and df2 of the ridgeless limit
    know no noise. A cut is that of one noise: of a problem with another make theta and the cut anew. Raises
    `InvalidInput` for noise that is not isotropic, for inputs that are not Gaussian of mean zero, and for another
    `noise_std` than the problem's where its value is known, as inside `jax.grad`; inside `jax.jit` it is not.

    >>> import jax
    >>> import linreg_lora as ll
    >>> from linreg_lora.theory.resolvent.above import at_rank, cut, theta, with_noise
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> parameters, place = theta(problem), cut(problem, 2)
    >>> def risk(noise_std):
    ...     _, energy, overlap, _ = at_rank(with_noise(parameters, problem, noise_std), 2, *place)
    ...     return problem.pretrained_risk + energy - 2 * overlap
    >>> found = ll.sensitivity(problem, ranks=[2], to=["noise_std"], correction=False)
    >>> f"{jax.grad(risk)(1.0):.5f} {found.noise_std.risk[0]:.5f}"
    '4.69550 4.69550'
    """
    problem.require_gaussian("the deterministic equivalent")
    scale = problem.isotropic_noise_scale
    if scale is None:
        raise InvalidInput(
            "noise_covariance", "a multiple of the identity", "another one", "differentiate it by `ll.sensitivity`"
        )
    value = _known(noise_std)
    if value is not None and abs(value - problem.noise_std) > _ROUNDING * problem.noise_std:
        raise InvalidInput("noise_std", f"{problem.noise_std:g}, that of the problem", value, "make theta and cut anew")
    gain = scale * (noise_std**2 - problem.noise_std**2)
    if isinstance(theta, Ridgeless):
        return theta._replace(eigenvalues=theta.eigenvalues + jnp.where(theta.multiplicity > 0, gain, 0.0))
    return theta._replace(parts=tuple(_louder(part, gain) for part in theta.parts))


def _known(value: Float[Array, ""] | float) -> float | None:
    """The value of a number that may be traced; None where it has none yet."""
    try:
        return float(getattr(value, "primal", value))
    except jax.errors.ConcretizationTypeError:
        return None


def _louder(part: Blocks, gain: Float[Array, ""] | float) -> Blocks:
    """A part whose outputs, where there are any, have so much more noise."""
    more = jnp.where(part.absent[1], 0.0, gain)
    return part._replace(outputs=part.outputs + (more if part.copies is not None else jnp.diag(more)))


@dyson.relaxed
def above(theta: Theta, x: Float[Array, ""] | float, right: Float[Array, ""] | float) -> Float[Array, "4"]:
    """Directions N, energy T1, overlap T2 and forgetting T3 between a cut x and `right`, above the spectrum.

    Differentiable in theta and x, under `jax.jit` and `jax.vmap`; nan where the equation was not solved.
    """
    equations = ridgeless.EQUATIONS if isinstance(theta, Ridgeless) else pencil.EQUATIONS
    fixed = jax.lax.stop_gradient(theta)
    z, weights = dyson.contour(jnp.asarray(x), jnp.asarray(right))
    states, residual, branch = dyson.solve_on_contour(equations, fixed, jax.lax.stop_gradient(z))
    states = jax.vmap(functools.partial(_implicit, equations, theta))(z, jax.lax.stop_gradient(states))
    values = dyson.integrate(weights, jax.vmap(functools.partial(equations.traces, theta))(z, states))
    return jnp.where(branch & (residual <= _RESIDUAL), values, jnp.nan)


@dyson.relaxed
def at_rank(theta: Theta, rank: int, x: float, right: float) -> Float[Array, "4"]:
    """The same at the cut that keeps `rank` directions, which is x at the given theta (`cut`).

    >>> import jax
    >>> import linreg_lora as ll
    >>> from linreg_lora.theory.resolvent.above import at_rank, cut, theta
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=3.0)
    >>> parameters, place = theta(problem), cut(problem, 2)
    >>> def risk(n, ridge):
    ...     _, energy, overlap, _ = at_rank(parameters._replace(n=n, ridge=ridge), 2, *place)
    ...     return problem.pretrained_risk + energy - 2 * overlap
    >>> slopes = jax.jit(jax.grad(risk, argnums=(0, 1)))(60.0, 3.0)
    >>> found = ll.sensitivity(problem, ranks=[2], to=["n", "ridge"], correction=False)
    >>> [f"{float(ours):.5f} {theirs.risk[0]:.5f}" for ours, theirs in zip(slopes, (found.n, found.ridge))]
    ['-0.03979 -0.03979', '-0.04627 -0.04627']
    """
    fixed = jax.lax.stop_gradient(theta)
    slope = jax.grad(lambda at: above(fixed, at, right)[0])(jnp.asarray(x, dtype=float))
    on_gap = jnp.abs(x * slope) < _GAP
    step = (above(theta, x, right)[0] - rank) / jnp.where(on_gap, 1.0, slope)
    return above(theta, x - jnp.where(on_gap, 0.0, step), right)


def _implicit(
    equations: dyson.Equations, theta: Theta, z: Complex[Array, ""], state: Complex[Array, "s"]
) -> Complex[Array, "s"]:
    """The state, with the derivative of the implicit function."""
    value, jacobian = equations.linearise(theta, z, state)
    system = jax.lax.stop_gradient(jacobian) - jnp.eye(state.shape[0])
    return state - dyson.solve_small(system, value - state)
