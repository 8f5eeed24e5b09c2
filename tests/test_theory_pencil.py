"""The self-consistent equation: its map and Jacobian, its branch, and what a contour makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linreg_lora import Problem
from linreg_lora.theory.contours.coupling import couple
from linreg_lora.theory.contours.modes import largest_eigenvalue_bound
from linreg_lora.theory.resolvent import dyson, pencil, ridgeless
from linreg_lora.theory.resolvent.modes import pencil as pencil_of
from linreg_lora.theory.resolvent.modes import ridgeless as ridgeless_of

TURN = np.linalg.qr(np.random.default_rng(1).standard_normal((12, 12)))[0]
PROBLEMS = {
    "no ridge": Problem(n=60, dx=12, dy=10, spectrum=(3.0, 2.0, 2.0), noise_std=1.0),
    "ridge": Problem(n=12, dx=12, dy=14, spectrum=(3.0, 2.0), noise_std=1.0, ridge=4.0),
    "matrices": Problem(
        n=20,
        dx=12,
        dy=6,
        spectrum=(3.0, 2.0),
        noise_std=1.0,
        ridge=2.0,
        input_covariance=(TURN * np.geomspace(4, 0.25, 12)) @ TURN.T,
    ),
}


def dense_map(problem, z, state):
    """The fixed-point map written with full matrices: G^{-1} = C + n w o V, t_kl = Tr(V_lk G_kl), w = (L + t)^{-1}."""
    cross = problem.shift @ problem.sigma
    v = np.block([[problem.sigma, cross.T], [cross, cross @ problem.shift.T + problem.sigma_eps]])
    side = np.repeat([0, 1], [problem.dx, problem.dy])
    w = np.array([[state[0], state[1]], [state[1], state[2]]])
    g = np.linalg.inv(np.diag(np.where(side == 0, problem.ridge, z)) + problem.n * w[np.ix_(side, side)] * v)
    t = np.array([[np.trace(v[side == j][:, side == i] @ g[side == i][:, side == j]) for j in (0, 1)] for i in (0, 1)])
    found = np.linalg.inv(np.array([[0, 1], [1, -1]]) + t)
    return np.array([found[0, 0], found[0, 1], found[1, 1]])


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_map_and_its_jacobian(name):
    """Against full matrices, and against central differences of them."""
    problem, z = PROBLEMS[name], 30.0 + 20.0j
    state = np.array([0.8 + 0.1j, 0.7 + 0.05j, -0.2 + 0.1j])
    found, jacobian = dyson.relaxed(pencil.linearise)(
        pencil_of(problem, problem.ridge), jnp.asarray(z), jnp.asarray(state)
    )
    np.testing.assert_allclose(found, dense_map(problem, z, state), rtol=1e-10)
    h = 1e-5
    for i in range(3):
        up, down = (dense_map(problem, z, state + sign * h * np.eye(3)[i]) for sign in (1, -1))
        # Central differences: error h^2 times the third derivative, of order 1, and 1e-16 / h.
        np.testing.assert_allclose(jacobian[:, i], (up - down) / (2 * h), rtol=0, atol=1e-8)


def on_contour(equations, parameters, x_max, share):
    z, _ = dyson.contour(jnp.asarray(share * x_max), jnp.asarray(x_max))
    return tuple(np.asarray(a) for a in (z, *dyson.solve_on_contour(equations, parameters, z)))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_branch_is_certified(name):
    """Newton from random starts: a root is the true one if and only if it is called proper.

    The true one is what thousands of damped steps from infinity reach, at nodes away from the real axis.
    """
    problem = PROBLEMS[name]
    parameters, x_max = pencil_of(problem, problem.ridge), largest_eigenvalue_bound(problem)
    rng = np.random.default_rng(0)

    @dyson.relaxed
    @jax.jit
    def roots(z, starts):
        newton = jax.vmap(lambda start: dyson.newton(pencil.EQUATIONS, parameters, z, start))
        found, residual = newton(starts)
        return found, residual, jax.vmap(pencil.proper)(found)

    damped = jax.jit(lambda z: dyson.damped(pencil.EQUATIONS, parameters, z, jnp.array(pencil.EQUATIONS.start), 4000))
    wrong = 0
    for share in (1e-3, 0.05, 0.3):
        z, states, residual, branch = on_contour(pencil.EQUATIONS, parameters, x_max, share)
        assert residual < 1e-12
        assert branch
        for i in np.flatnonzero(np.imag(z) > 1e-2 * np.abs(z))[::8]:
            far = dyson.relaxed(damped)(jnp.asarray(z[i]))
            # The damped iteration contracts at least like 1 - Im z / (8 |z|).
            np.testing.assert_allclose(states[i], far, rtol=0, atol=1e-6)
            starts = rng.standard_normal((200, 3)) + 1j * rng.standard_normal((200, 3))
            found, residuals, proper = (np.asarray(a) for a in roots(jnp.asarray(z[i]), jnp.asarray(starts)))
            same = np.max(np.abs(found - states[i]), axis=1) < 1e-8
            solved = residuals < 1e-12
            assert np.array_equal(proper[solved], same[solved])
            wrong += np.sum(solved & ~same)
    assert wrong > 20


def test_the_ridgeless_branch_is_certified():
    problem = Problem(n=8, dx=20, dy=14, spectrum=(3.0, 2.0), noise_std=1.0)
    parameters, x_max = ridgeless_of(problem), largest_eigenvalue_bound(problem)
    for share in (1e-3, 0.05, 0.3):
        z, states, residual, branch = on_contour(ridgeless.EQUATIONS, parameters, x_max, share)
        assert residual < 1e-12
        assert branch
        # gamma solves a polynomial: of its roots, one only has Im gamma <= 0 off the axis.
        i = 20
        e, count = np.asarray(parameters.eigenvalues), np.asarray(parameters.multiplicity)
        e, count = e[count > 0], count[count > 0]
        values, index = np.unique(e.round(12), return_inverse=True)
        count = np.bincount(index, count)
        poles = [np.poly1d([-problem.n * v, complex(z[i])]) for v in values]
        product = np.poly1d([1.0])
        for pole in poles:
            product = product * pole
        polynomial = np.poly1d([1.0, 0.0]) * product - product
        for c, v, pole in zip(count, values, poles, strict=True):
            rest, remainder = product / pole
            polynomial = polynomial - np.poly1d([1.0, 0.0]) * c * v * rest
            assert np.max(np.abs(remainder.coeffs)) < 1e-6 * np.max(np.abs(product.coeffs))
        proper = [root for root in polynomial.roots if np.imag(root) < -1e-10]
        assert len(proper) == 1
        assert abs(proper[0] - complex(states[i, 0])) < 1e-8


def test_coupling_separates_what_delta_does_not_touch():
    rng = np.random.default_rng(5)
    turn, turn_outputs = (np.linalg.qr(rng.standard_normal((k, k)))[0] for k in (9, 7))
    variances, noise = np.repeat([2.0, 1.0, 0.5], 3), np.repeat([1.0, 3.0], [4, 3])
    shift = rng.standard_normal((7, 2)) @ rng.standard_normal((2, 9))
    block = couple((turn * variances) @ turn.T, shift, (turn_outputs * noise) @ turn_outputs.T)
    # Rank two in each of three input and two output eigenspaces.
    assert block.shift.shape == (4, 6)
    assert sorted(block.other_variances.round(9)) == [0.5, 1.0, 2.0]
    assert sorted(block.other_noise.round(9)) == [1.0, 1.0, 3.0]
    assert np.max(np.abs(shift @ block.other_inputs)) < 1e-12
    np.testing.assert_allclose(
        np.linalg.svd(block.shift * np.sqrt(block.variances), compute_uv=False)[:2],
        np.linalg.svd(shift @ (turn * np.sqrt(variances)), compute_uv=False)[:2],
    )


@pytest.mark.parametrize("ridge", [0.0, 3.0])
def test_contour_integrals_of_the_block_inverse_are_what_lora_keeps(ridge):
    """One draw, no approximation: N, T1, T2 and T3 from the blocks of M^{-1}, against U_r U_r^T D_FFT itself."""
    rng = np.random.default_rng(8)
    n, dx, dy, rank = 14, 6, 5, 2
    inputs, shift = rng.standard_normal((dx, n)), rng.standard_normal((dy, dx))
    residual = shift @ inputs + rng.standard_normal((dy, n))
    before = np.cov(rng.standard_normal((dx, 40)))
    gram = inputs @ inputs.T + ridge * np.eye(dx)
    update = residual @ inputs.T @ np.linalg.inv(gram)
    values, vectors = np.linalg.eigh(update @ inputs @ residual.T)
    projected = vectors[:, -rank:].T @ update
    expected = [
        rank,
        np.sum(projected**2),
        np.sum(projected * (vectors[:, -rank:].T @ shift)),
        np.sum((projected @ before) * projected),
    ]
    cut = np.sqrt(values[-rank] * values[-rank - 1])
    z, weights = dyson.contour(jnp.asarray(cut), jnp.asarray(2 * values[-1]))
    cross = inputs @ residual.T
    traces = []
    for point in np.asarray(z):
        inverse = np.linalg.inv(np.block([[gram.astype(complex), cross], [cross.T, point * np.eye(dy)]]))
        g00, g01, g11 = inverse[:dx, :dx], inverse[:dx, dx:], inverse[dx:, dx:]
        traces.append([-np.trace(g11), -np.trace(g00), np.trace(shift @ g01), -np.trace(before @ g00)])
    # 48 nodes: 1e-9 relative where the cut is in a gap as wide as this.
    np.testing.assert_allclose(dyson.integrate(weights, jnp.asarray(traces)), expected, rtol=1e-7)
