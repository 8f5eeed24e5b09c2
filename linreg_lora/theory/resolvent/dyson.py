"""Solving self-consistent equations in the upper half plane, and reading ranks off them by contour integrals.

A resolvent trace g(z) carries a measure on the eigenvalues of F F^T; its share above a cut x is

    value(x) = -(1 / 2 pi i) contour integral of g around (x, infinity), counter-clockwise.

The contour is the circle through x and a point above the spectrum. By symmetry its upper half suffices, and
Gauss-Legendre nodes in t with angle pi (1 - t^p) cluster where it crosses the spectrum, at x, the more the smaller x is
against the circle. The node nearest to x also gives the densities there, d value / dx = -Im g(x + i0) / pi.
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
_DAMPED_STEPS, _NEWTON_STEPS, _NEWTON_TOLERANCE, _SETTLED = 60, 30, 1e-14, 1e-9
#: Damped steps before Newton's method at each node after the first; more at each of the further attempts.
_ATTEMPTS = np.array([1, 8, 64, 512])
#: Cuts that are worked on together where memory allows.
_LARGEST_CHUNK = 16
_CHUNK_FLOATS = 2**21

#: Nodes cluster at x like t^p: p at least 3, and such that t = 0.3 is as far from x as x from 0.
_LEAST_POWER, _LOG_SHARE = 3.0, -np.log(0.3)

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
    """A self-consistent equation state = step(state), with parameters and z.

    `start`: the state at z = infinity; `linearise`: the step and its Jacobian; `traces`: the resolvent traces, the
    first counts directions; `proper`: whether a state is on the branch that continues from infinity.
    """

    start: tuple[complex, ...]
    step: Callable[[Any, Array, Array], Array]
    linearise: Callable[[Any, Array, Array], tuple[Array, Array]]
    traces: Callable[[Any, Array, Array], Array]
    proper: Callable[[Array], Array]


class Cut(NamedTuple):
    """What lies above cuts x.

    `values` of every trace; `density` = -d values / d log x; `residual`, the largest at the nodes of the contour;
    `branch`: whether every node is on the branch of the resolvent.
    """

    x: Float[np.ndarray, "m"]
    values: Float[np.ndarray, "m traces"]
    density: Float[np.ndarray, "m traces"]
    residual: Float[np.ndarray, "m"]
    branch: Bool[np.ndarray, "m"]


def damped(
    equations: Equations, parameters: Any, z: Complex[Array, ""], start: Complex[Array, "s"], steps: int | Array
) -> Complex[Array, "s"]:
    """Damped fixed-point steps: slow, but off the real axis they stay on the branch that continues from infinity."""
    return jax.lax.fori_loop(0, steps, lambda _, y: (y + equations.step(parameters, z, y)) / 2, start)


def newton(
    equations: Equations, parameters: Any, z: Complex[Array, ""], start: Complex[Array, "s"]
) -> tuple[Complex[Array, "s"], Float[Array, ""]]:
    """A fixed point by Newton's method, and its residual |step(state) - state|; never raises."""
    unit = jnp.eye(start.shape[0])

    def unfinished(carry: tuple) -> Array:
        steps, _, excess, _ = carry
        return (steps < _NEWTON_STEPS) & (jnp.max(jnp.abs(excess)) > _NEWTON_TOLERANCE)

    def linearise(y: Array) -> tuple[Array, Array]:
        value, jacobian = equations.linearise(parameters, z, y)
        return value - y, jacobian - unit

    def improve(carry: tuple) -> tuple:
        steps, y, excess, jacobian = carry
        y = y - solve_small(jacobian, excess)
        return steps + 1, y, *linearise(y)

    _, root, excess, _ = jax.lax.while_loop(unfinished, improve, (0, start, *linearise(start)))
    return root, jnp.max(jnp.abs(excess))


def solve_small(matrix: Complex[Array, "s s"], right: Complex[Array, "s"]) -> Complex[Array, "s"]:
    """One linear system of one or three unknowns by Cramer's rule: no LAPACK call for each node."""
    if right.shape[0] == 1:
        return right / matrix[0]
    a, b, c = matrix.T
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])
    return jnp.sum(columns * right, axis=1) / jnp.sum(a * columns[0])


@relaxed
def contour(x: Float[Array, ""], right: Float[Array, ""]) -> tuple[Array, Array]:
    """Nodes z on the upper half circle from x to `right`, and weights: value = -Im(weights . g(z)) / pi."""
    power = jnp.maximum(_LEAST_POWER, jnp.log(right / jnp.abs(x)) / _LOG_SHARE)
    t, turned = jnp.asarray(_T), jnp.asarray(_T) ** power
    turn = jnp.exp(1j * jnp.pi * (1 - turned))
    radius = (right - x) / 2
    return (right + x) / 2 + radius * turn, 1j * jnp.pi * power * jnp.asarray(_W) * turned / t * radius * turn


@relaxed
def integrate(weights: Complex[Array, "nodes"], g: Complex[Array, "nodes traces"]) -> Float[Array, "traces"]:
    """The contour integrals of traces given at the nodes."""
    return -jnp.imag(weights @ g) / jnp.pi


@relaxed
def solve_on_contour(equations: Equations, parameters: Any, z: Complex[Array, "nodes"]) -> tuple[Array, Array, Array]:
    """States at the nodes of a contour, the largest residual, and whether all are on the branch of the resolvent.

    The node farthest from the spectrum is reached from infinity by damped steps. The solution is then followed along
    the contour, each node from the linear extrapolation of the two before it. Where that leaves the branch, the node is
    approached from the last one by ever more damped steps, which do not.
    """

    def settle(z: Array, guess: Array, last: Array) -> tuple[Array, Array]:
        def unsettled(carry: tuple) -> Array:
            attempt, state, residual = carry
            return (attempt < len(_ATTEMPTS)) & ~(equations.proper(state) & (residual < _SETTLED))

        def attempt_again(carry: tuple) -> tuple:
            attempt = carry[0]
            start = jnp.where((attempt == 0) & equations.proper(guess), guess, last)
            start = damped(equations, parameters, z, start, jnp.asarray(_ATTEMPTS)[attempt])
            return attempt + 1, *newton(equations, parameters, z, start)

        _, state, residual = jax.lax.while_loop(unsettled, attempt_again, (0, last, jnp.asarray(jnp.inf)))
        return state, residual

    def follow(carry: tuple, here: tuple) -> tuple:
        before, last = carry
        z, ratio = here
        state, residual = settle(z, last + ratio * (last - before), last)
        return (last, state), (state, residual)

    first = damped(equations, parameters, z[-1], jnp.array(equations.start), _DAMPED_STEPS)
    _, (states, residuals) = jax.lax.scan(follow, (first, first), (z[::-1], jnp.asarray(_RATIOS)))
    return states[::-1], jnp.max(residuals), jnp.all(jax.vmap(equations.proper)(states))


def evaluate(equations: Equations, parameters: Any, x: Float[np.ndarray, "m"], right: Float[np.ndarray, "m"]) -> Cut:
    """What lies between each of the cuts `x` and the right end of its contour, above the spectrum or in a wide gap."""
    return Cut(x, *on_cuts(_evaluate, equations, parameters, x, right))


def on_cuts(
    function: Callable, equations: Equations, parameters: Any, x: Float[np.ndarray, "m"], right: Float[np.ndarray, "m"]
) -> list[np.ndarray]:
    """function(equations, parameters, x, right) of many cuts, in compiled chunks of one size."""
    floats = max(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(parameters))
    size = int(np.clip(_CHUNK_FLOATS // (_NODES * floats), 1, _LARGEST_CHUNK))
    ends = np.stack([x, right]).astype(float)
    padded = np.pad(ends, ((0, 0), (0, -len(x) % size)), mode="edge").reshape(2, -1, size)
    done = [function(equations, parameters, *map(jnp.asarray, chunk)) for chunk in padded.swapaxes(0, 1)]
    return [np.concatenate(parts)[: len(x)] for parts in zip(*done, strict=True)]


@relaxed
@functools.partial(jax.jit, static_argnums=0)
def _evaluate(equations: Equations, parameters: Any, x: Float[Array, "m"], right: Float[Array, "m"]) -> tuple:
    def one(x: Array, right: Array) -> tuple:
        z, weights = contour(x, right)
        states, residual, branch = solve_on_contour(equations, parameters, z)
        g = jax.vmap(functools.partial(equations.traces, parameters))(z, states)
        density = x * jnp.imag(g[0]) / jnp.pi
        return integrate(weights, g), density, residual, branch

    return jax.vmap(one)(x, right)
