"""The self-consistent equation of weighted samples: inputs and noise of every sample have a scale of their own.

    x_s = sqrt(w_s) Sigma^{1/2} z_s,      eps_s = sqrt(v_s) Sigma_eps^{1/2} g_s,      z_s and g_s iid N(0, 1)

Elliptical inputs, correlated samples and heteroscedastic noise are of this form (`input_law`). The covariance of sample
s is w_s V_a + v_s V_b, where V_b = diag(0, Sigma_eps) and V_a is that of (x, Delta x), so that samples share no weight:

    G = [ C(z) + S_a o V_a + S_b o V_b ]^{-1},    C = diag(eta, z),    S_a = n E[w Om],   S_b = n E[v Om],
    Om = (L + w t^a + v t^b)^{-1},    L = [[0, 1], [1, -1]],    t^a_kl = Tr (V_a)_lk G_kl,    t^b_11 = Tr Sigma_eps G_11

four unknowns t = (t^a_00, t^a_01, t^a_11, t^b_11), with E over the law of (w, v), or the mean over given weights. For
w = v = 1 only t^a + t^b counts, and this is the equation of `theory.resolvent`. It is stationarity of

    Phi = log det [C + S_a o V_a + S_b o V_b] + n E log det Om^{-1} - <S, t>,

which stands for E log det M(z). Fluctuations around it give the first order in the dimension:

    dPhi = (1/2) log det_4(1 - J) - (1/2) log(1 - J_a)  [+ (1/2) Tr t'(S) (1 - S'(t) t'(S))^{-1} n Cov[s] P]

J = t'(S) S'(t); J_a = n E[w^2 det Om] sum_i a_i^2 s_i^2 det G_i is the same for the antisymmetric part of t^a_01; the
last term is there where weights are drawn: s = (w Om_00, w Om_01, w Om_11, v Om_11), P = diag(1, 2, 1, 1).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from linreg_lora.errors import NumericalFailure
from linreg_lora.input_law import Scales

#: Steps of the damped iteration, and of Newton's, and the residual at which the equation is solved.
_DAMPED, _MORE, _NEWTON, _RESIDUAL = 80, (1000, 20000), 30, 1e-10
#: What moves S_a: (tau_00, tau_01).
_Sources = tuple[np.ndarray | float, np.ndarray | float]
#: The step of central differences, as a share of what is moved.
_STEP = 3e-5
_PAIRING = np.array([1.0, 2.0, 1.0, 1.0])


class Modes(NamedTuple):
    """Independent modes: `variance` l, `strength` s, `noise` e, whether they have an input and an output, `copies`."""

    variance: Float[np.ndarray, "m"]
    strength: Float[np.ndarray, "m"]
    noise: Float[np.ndarray, "m"]
    has_input: Float[np.ndarray, "m"]
    has_output: Float[np.ndarray, "m"]
    copies: Float[np.ndarray, "m"]


class Equation(NamedTuple):
    """The equation of n samples with ridge eta > 0 (0: n > dx only)."""

    n: int
    ridge: float
    modes: Modes
    scales: Scales


class State(NamedTuple):
    """A solution at some z: t, and the traces (g_N, g_T1, g_T2)."""

    t: Complex[np.ndarray, "4 z"]
    traces: Complex[np.ndarray, "3 z"]


def solve(
    equation: Equation,
    z: Complex[np.ndarray, "z"],
    start: Complex[np.ndarray, "4 z"] | None = None,
    sources: _Sources = (0.0, 0.0),
) -> State:
    """The solution on the branch of z = infinity, for Im z >= 0: damped steps from there, or `start`, then Newton's.

    Where these end on another branch, which has Im g_N < 0, many more damped steps are made. Raises `NumericalFailure`
    where it is not solved to a relative residual of 1e-10.
    """
    t = _damped(equation, z, _DAMPED, sources) if start is None else start
    state, solved = _newton(equation, z, t, sources)
    for steps in _MORE:
        if np.all(solved):
            return state
        again = np.flatnonzero(~solved)
        first, second = (np.broadcast_to(part, z.shape)[again] for part in sources)
        moved = (first, second)
        found, solved[again] = _newton(equation, z[again], _damped(equation, z[again], steps, moved), moved)
        state.t[:, again], state.traces[:, again] = found
    if not np.all(solved):
        raise NumericalFailure(
            f"weighted: expected the equation solved to {_RESIDUAL:g}, received no solution at z = "
            f"{z[np.argmin(solved)]:.4g}; move n, raise ridge, or simulate"
        )
    return state


def march(equation: Equation, z: Complex[np.ndarray, "m z"]) -> State:
    """`solve` along each row of z from its last entry to its first, each from the one before."""
    found = [solve(equation, z[:, -1])]
    for column in range(z.shape[1] - 2, -1, -1):
        found.append(solve(equation, z[:, column], found[-1].t))
    return State(*(np.stack([getattr(state, name) for state in found[::-1]], axis=2) for name in State._fields))


def _damped(equation: Equation, z: np.ndarray, steps: int, sources: _Sources) -> np.ndarray:
    t = np.zeros((4, len(z)), dtype=complex)
    for _ in range(steps):
        t = (t + _step(equation, z, t, sources)[0]) / 2
    return t


def _newton(equation: Equation, z: np.ndarray, t: np.ndarray, sources: _Sources) -> tuple[State, Bool[np.ndarray, "z"]]:
    """Newton's steps from t, and where they end at a solution with Im g_N >= 0."""
    identity, residual = np.eye(4), np.full(len(z), np.inf)
    with np.errstate(all="ignore"):
        for count in range(_NEWTON):
            new, modes, w = _step(equation, z, t, sources)
            scale = np.abs(new) + 1e-12 * np.max(np.abs(new), axis=0) + 1e-300
            residual = np.max(np.abs(new - t) / scale, axis=0)
            if np.all(residual < 1e-13) or (count > 8 and np.all(residual < _RESIDUAL)):
                break
            slope = identity - _of_sums(equation.modes, modes) @ _of_unknowns(equation, w)
            slope = slope * (scale.T[:, None, :] / scale.T[:, :, None])
            slope = np.where(np.all(np.isfinite(slope), axis=(1, 2), keepdims=True), slope, identity)
            t = t + scale * np.linalg.solve(slope, ((new - t) / scale).T[..., None])[..., 0].T
        g = _modes_of(equation, z, _sums(equation, _omega(equation, t)), sources)
        traces = _traces(equation.modes, g)
        return State(t, traces), (residual < _RESIDUAL) & (np.imag(traces[0]) >= -1e-9 * np.abs(traces[0]))


def corrections(equation: Equation, z: Complex[np.ndarray, "z"], state: State) -> Complex[np.ndarray, "3 z"]:
    """The first order of (g_N, g_T1, g_T2): derivatives of dPhi in z (-), tau_00 (-) and tau_01 / 2 (+).

    Sources: C_00 -> eta + tau Sigma, C_01 -> tau Sigma Delta^T / 2. Central differences, along solutions.
    """
    size = _STEP * np.abs(_sums(equation, _omega(equation, state.t))[0])
    move = _STEP * np.abs(z)

    def difference(z_step: np.ndarray | float, first: np.ndarray | float, second: np.ndarray | float) -> np.ndarray:
        ends = []
        for sign in (1.0, -1.0):
            where, sources = z + sign * z_step, (sign * first, sign * second)
            found = solve(equation, where, state.t, sources)
            ends.append(_fluctuation(equation, where, found.t, sources))
        (ratio, addend), (other_ratio, other_addend) = ends
        return (np.log(ratio / other_ratio) + addend - other_addend) / 4

    return np.stack(
        [-difference(move, 0.0, 0.0) / move, -difference(0.0, size, 0.0) / size, difference(0.0, 0.0, size / 2) / size]
    )


def _fluctuation(equation: Equation, z: np.ndarray, t: np.ndarray, sources: _Sources) -> tuple[np.ndarray, np.ndarray]:
    """2 dPhi = log(first) + second."""
    w = _omega(equation, t)
    sums = _sums(equation, w)
    modes = _modes_of(equation, z, sums, sources)
    to_t, to_s = _of_sums(equation.modes, modes), _of_unknowns(equation, w)
    l, s, copies = equation.modes.variance, equation.modes.strength, equation.modes.copies  # noqa: E741
    g00, g01, g11 = modes
    antisymmetric = equation.n * ((w[0] * w[2] - w[1] ** 2) @ (equation.scales.p * equation.scales.w**2))
    antisymmetric = antisymmetric * ((g00 * g11 - g01**2) @ (copies * (l * s) ** 2))
    ratio = np.linalg.det(np.eye(4) - to_t @ to_s) / (1 - antisymmetric)
    if not equation.scales.drawn:
        return ratio, np.zeros(len(z))
    p = equation.scales.p
    terms = np.stack(
        [equation.scales.w * w[0], equation.scales.w * w[1], equation.scales.w * w[2], equation.scales.v * w[2]]
    )
    centred = terms - (terms @ p)[..., None]
    covariance = equation.n * np.einsum("azk,bzk,k->zab", centred, centred, p)
    inner = np.linalg.solve(np.eye(4) - to_s @ to_t, covariance * _PAIRING)
    return ratio, np.trace(to_t @ inner, axis1=1, axis2=2)


def _step(equation: Equation, z: np.ndarray, t: np.ndarray, sources: _Sources) -> tuple[np.ndarray, tuple, tuple]:
    """t -> t; with G of each mode and Om of each scale."""
    w = _omega(equation, t)
    modes = _modes_of(equation, z, _sums(equation, w), sources)
    return _unknowns(equation.modes, modes), modes, w


def _omega(equation: Equation, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Om_00, Om_01, Om_11, z x k."""
    w, v = equation.scales.w, equation.scales.v
    l00, l01, l11 = t[0][:, None] * w, 1 + t[1][:, None] * w, -1 + t[2][:, None] * w + t[3][:, None] * v
    det = l00 * l11 - l01**2
    return l11 / det, -l01 / det, l00 / det


def _sums(equation: Equation, w: tuple) -> np.ndarray:
    """(S^a_00, S^a_01, S^a_11, S^b_11)."""
    a, b = equation.n * equation.scales.p * equation.scales.w, equation.n * equation.scales.p * equation.scales.v
    return np.stack([w[0] @ a, w[1] @ a, w[2] @ a, w[2] @ b])


def _modes_of(equation: Equation, z: np.ndarray, sums: np.ndarray, sources: _Sources) -> tuple:
    """G_00, G_01, G_11 of each mode, z x m."""
    l, s, e, has_input, has_output, _ = equation.modes  # noqa: E741
    a, b, c, d = (part[:, None] for part in (sums[0] + sources[0], sums[1] + sources[1], sums[2], sums[3]))
    m00 = np.where(has_input, equation.ridge + a * l, 1.0)
    m01 = b * (l * s)
    m11 = np.where(has_output, z[:, None] + c * (l * s**2) + d * e, 1.0)
    det = m00 * m11 - m01**2
    return m11 / det, -m01 / det, m00 / det


def _unknowns(modes: Modes, g: tuple) -> np.ndarray:
    l, s, e, *_, copies = modes  # noqa: E741
    return np.stack([g[0] @ (copies * l), g[1] @ (copies * l * s), g[2] @ (copies * l * s**2), g[2] @ (copies * e)])


def _traces(modes: Modes, g: tuple) -> np.ndarray:
    """g_N = -Tr G_11, g_T1 = -Tr Sigma G_00, g_T2 = Tr Delta Sigma G_01."""
    t = _unknowns(modes, g)
    return np.stack([-(g[2] @ (modes.copies * modes.has_output)), -t[0], t[1]])


def _of_sums(modes: Modes, g: tuple) -> np.ndarray:
    """dt/dS, z x 4 x 4."""
    l, s, e, *_, copies = modes  # noqa: E741
    g00, g01, g11 = g
    a, b, c = l, l * s, l * s**2
    of_00 = [
        g00**2 @ (copies * a * a),
        2 * (g00 * g01) @ (copies * a * b),
        g01**2 @ (copies * a * c),
        g01**2 @ (copies * a * e),
    ]
    of_01 = [
        (g00 * g01) @ (copies * b * a),
        (g00 * g11 + g01**2) @ (copies * b * b),
        (g01 * g11) @ (copies * b * c),
        (g01 * g11) @ (copies * b * e),
    ]
    rows = [
        [
            g01**2 @ (copies * x * a),
            2 * (g01 * g11) @ (copies * x * b),
            g11**2 @ (copies * x * c),
            g11**2 @ (copies * x * e),
        ]
        for x in (c, e)
    ]
    return -np.moveaxis(np.array([of_00, of_01, *rows]), -1, 0)


def _of_unknowns(equation: Equation, omega: tuple) -> np.ndarray:
    """dS/dt, z x 4 x 4."""
    w, v, p = equation.scales.w, equation.scales.v, equation.n * equation.scales.p
    o00, o01, o11 = omega
    of_00 = [o00**2 @ (p * w * w), 2 * (o00 * o01) @ (p * w * w), o01**2 @ (p * w * w), o01**2 @ (p * w * v)]
    of_01 = [
        (o00 * o01) @ (p * w * w),
        (o00 * o11 + o01**2) @ (p * w * w),
        (o01 * o11) @ (p * w * w),
        (o01 * o11) @ (p * w * v),
    ]
    rows = [
        [o01**2 @ (p * x * w), 2 * (o01 * o11) @ (p * x * w), o11**2 @ (p * x * w), o11**2 @ (p * x * v)]
        for x in (w, v)
    ]
    return -np.moveaxis(np.array([of_00, of_01, *rows]), -1, 0)
