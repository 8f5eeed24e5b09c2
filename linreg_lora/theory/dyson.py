"""Solving self-consistent equations in the upper half plane, and reading ranks off them by contour integrals.

A resolvent trace g(z) carries a measure on the eigenvalues of F F^T; its share above a cut x is

    value(x) = -(1 / 2 pi i) contour integral of g around (x, x_max), counter-clockwise.

The contour is the circle through x and x_max. By symmetry its upper half suffices, and Gauss-Legendre nodes in t with
angle pi (1 - t^3) cluster where it crosses the spectrum, at x. The node nearest to x also gives the densities there,
d value / dx = -Im g(x + i0) / pi.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

_NODES = 48
_DAMPED_STEPS, _NEWTON_STEPS, _NEWTON_TOLERANCE = 60, 30, 1e-14
_GRID_POINTS, _SEARCH_STEPS = 64, 60

#: Damped steps at each node of the contour after the first.
_FOLLOWING_STEPS = 2
_ROUNDING = 1e-9

_t, _w = np.polynomial.legendre.leggauss(_NODES)
_T, _W = (_t + 1) / 2, _w / 2
#: Length of each step along the contour, in t, over that of the step before; 0 for the first two nodes.
_RATIOS = np.concatenate([[0.0, 0.0], np.diff(_T)[-2::-1] / np.diff(_T)[:0:-1]])


_Function = TypeVar("_Function", bound=Callable)


def relaxed(function: _Function) -> _Function:
    """Decorator: let real numbers meet complex ones, and small blocks broadcast, also where JAX is set to be strict."""
    return jax.numpy_dtype_promotion("standard")(jax.numpy_rank_promotion("allow")(function))


@dataclass(frozen=True)
class Equations:
    """A self-consistent equation.

    `start` at infinity; `damp` (parameters, z, state, steps); `solve` and `traces` (parameters, z, state). The first
    trace counts directions.
    """

    start: tuple[complex, ...]
    damp: Callable[[Any, Array, Array, int], Array]
    solve: Callable[[Any, Array, Array], tuple[Array, Array]]
    traces: Callable[[Any, Array, Array], Array]


class Cut(NamedTuple):
    """What lies above a cut x, one entry a rank.

    `values` of every trace; `density` = -d values / d log x; `residual`, the largest at its nodes;
    `branch`: whether every node has the sign of imaginary part that a resolvent must have.
    """

    x: Float[Array, "m"]
    values: Float[Array, "m traces"]
    density: Float[Array, "m traces"]
    residual: Float[Array, "m"]
    branch: Bool[Array, "m"]


def damped(step: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """Damped fixed-point steps: slow, but off the real axis they stay on the branch that continues from infinity."""
    return jax.lax.fori_loop(0, steps, lambda _, y: (y + step(y)) / 2, start)


def newton(
    excess: Callable[[Array], Array], start: Complex[Array, "s"]
) -> tuple[Complex[Array, "s"], Float[Array, ""]]:
    """A root of a holomorphic function by Newton's method, and its residual; never raises."""
    jacobian = jax.jacfwd(excess, holomorphic=True)

    def unfinished(carry: tuple) -> Array:
        steps, _, value = carry
        return (steps < _NEWTON_STEPS) & (jnp.max(jnp.abs(value)) > _NEWTON_TOLERANCE)

    def improve(carry: tuple) -> tuple:
        steps, y, value = carry
        y = y - _solve_small(jacobian(y), value)
        return steps + 1, y, excess(y)

    _, root, value = jax.lax.while_loop(unfinished, improve, (0, start, excess(start)))
    return root, jnp.max(jnp.abs(value))


def _solve_small(matrix: Complex[Array, "s s"], right: Complex[Array, "s"]) -> Complex[Array, "s"]:
    """One linear system of one or three unknowns by Cramer's rule: no LAPACK call for each node."""
    if right.shape[0] == 1:
        return right / matrix[0]
    a, b, c = matrix.T
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])
    return columns @ right / jnp.sum(a * columns[0])


@relaxed
def contour(x: Float[Array, ""], x_max: Float[Array, ""]) -> tuple[Array, Array]:
    """Nodes z on the upper half circle through x and x_max, and weights: value = -Im(weights . g(z)) / pi."""
    turn = jnp.exp(1j * jnp.pi * jnp.asarray(1 - _T**3))
    radius = (x_max - x) / 2
    return (x_max + x) / 2 + radius * turn, 3j * jnp.pi * jnp.asarray(_W * _T**2) * radius * turn


@relaxed
def integrate(weights: Complex[Array, "nodes"], g: Complex[Array, "nodes traces"]) -> Float[Array, "traces"]:
    """The contour integrals of traces given at the nodes."""
    return -jnp.imag(weights @ g) / jnp.pi


@relaxed
def solve_on_contour(equations: Equations, parameters: Any, z: Complex[Array, "nodes"]) -> tuple[Array, Array]:
    """States and residuals at the nodes of a contour.

    The node farthest from the spectrum is reached from infinity by damped steps. The solution is then followed along
    the contour, each node from the linear extrapolation of the two before it, so that it stays on its branch.
    """
    far = jnp.array(equations.start)

    def follow(carry: tuple, here: tuple) -> tuple:
        before, last = carry
        z, ratio = here
        start = equations.damp(parameters, z, last + ratio * (last - before), _FOLLOWING_STEPS)
        state, residual = equations.solve(parameters, z, start)
        return (last, state), (state, residual)

    first = equations.damp(parameters, z[-1], far, _DAMPED_STEPS)
    _, (states, residuals) = jax.lax.scan(follow, (first, first), (z[::-1], jnp.asarray(_RATIOS)))
    return states[::-1], residuals[::-1]


@relaxed
def evaluate(equations: Equations, parameters: Any, x: Float[Array, "m"], x_max: Float[Array, ""]) -> Cut:
    """Everything above each of the cuts `x`."""

    def one(x: Array) -> Cut:
        z, weights = contour(x, x_max)
        states, residual = solve_on_contour(equations, parameters, z)
        g = jax.vmap(functools.partial(equations.traces, parameters))(z, states)
        density = x * jnp.imag(g[0]) / jnp.pi
        branch = jnp.all(jnp.imag(g[:, 0]) > -_ROUNDING * jnp.abs(g[:, 0]))
        return Cut(x, integrate(weights, g), density, jnp.max(residual), branch)

    return jax.lax.map(one, x, batch_size=cuts_at_once(parameters))


@relaxed
@functools.partial(jax.jit, static_argnums=0)
def find_cuts(
    equations: Equations,
    parameters: Any,
    ranks: Float[Array, "m"],
    x_max: Float[Array, ""],
    x_min: Float[Array, ""],
    tolerance: Float[Array, ""],
) -> Cut:
    """The cuts that keep `ranks` directions: value_0(x) = rank within `tolerance`, all ranks at once.

    A logarithmic grid from `x_min` to `x_max` brackets every rank; Newton's method in log x, whose slope is the
    density, then closes in, falling back on bisection where it leaves the bracket. On a spectral gap any cut serves.
    """
    grid = jnp.exp(jnp.linspace(jnp.log(x_min), jnp.log(0.999 * x_max), _GRID_POINTS))
    at_grid = evaluate(equations, parameters, grid, x_max)
    above = at_grid.values[:, 0][None, :] > ranks[:, None]
    last_above = jnp.max(jnp.where(above, jnp.arange(_GRID_POINTS), 0), axis=1)
    low = jnp.clip(last_above, 0, _GRID_POINTS - 2)
    first = Cut(*(part[low + 1] for part in at_grid))

    def unfinished(carry: tuple) -> Array:
        steps, _, _, cut = carry
        return (steps < _SEARCH_STEPS) & jnp.any(jnp.abs(cut.values[:, 0] - ranks) > tolerance)

    def close_in(carry: tuple) -> tuple:
        steps, lower, upper, cut = carry
        excess, u = cut.values[:, 0] - ranks, jnp.log(cut.x)
        lower, upper = jnp.where(excess > 0, u, lower), jnp.where(excess > 0, upper, u)
        guess = u + excess / cut.density[:, 0]
        inside = (guess > lower) & (guess < upper)
        guess = jnp.where(inside, guess, (lower + upper) / 2)
        done = jnp.abs(excess) <= tolerance
        x = jnp.where(done, cut.x, jnp.exp(guess))
        return steps + 1, lower, upper, evaluate(equations, parameters, x, x_max)

    bracket = jnp.log(grid)
    return jax.lax.while_loop(unfinished, close_in, (0, bracket[low], bracket[low + 1], first))[3]


def cuts_at_once(parameters: Any) -> int:
    """Cuts that are worked on together: as many as keep a node's matrices within some 64 MB."""
    floats = max(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(parameters))
    return int(max(1, 2**21 // (_NODES * floats)))
