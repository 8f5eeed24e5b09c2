"""Gradient flow on LoRA's factors in a whitened design, S = X X^T / n = c I, solved exactly.

    dB/dt = g c (F - g B A) A^T,    dA/dt = g c B^T (F - g B A),    F = D_FFT,    D = g B A

is the flow of (1 / 2n) ||R - g B A X||_F^2 with eta_A = eta_B = 1. Along F's singular directions, modes do not meet:

    balanced start, |B u|^2 = |A v|^2 = d0 / g:    d(t) = f / (1 + (f / d0 - 1) e^{-2 c g f t})
    B = 0, A v = sqrt(kappa):                      d' = c g^2 (f - d) sqrt(kappa^2 + 4 d^2 / g^2), so that with
        k = g kappa / 2, w = sqrt(f^2 + k^2),      T = (w tanh(c g w t + artanh(k / w)) - k) / f, d = 2 k T / (1 - T^2)

Any start with A(0) A(0)^T - B(0)^T B(0) = kappa I, which the flow keeps, has a matrix Riccati equation. With
Q = [B; A^T] and tau = c g^2 t,

    dQ/dtau = M Q - Q Q^T Q / 2,    M = [[-kappa/2 I, F / g], [F^T / g, kappa/2 I]],
    Q Q^T = e^{M tau} Q0 (I + Q0^T Z Q0)^{-1} Q0^T e^{M tau},   Z = int_0^tau e^{2 M s} ds,   D = g (Q Q^T)_12

On the pair (u_i, v_i), M^2 = m_i^2 I with m_i^2 = f_i^2 / g^2 + kappa^2 / 4, so that exponentials are hyperbolic
functions, and Z has a limit where M is singular, as at kappa = 0. Numerics: pieces of tau with tau m_1 <= 6, each from
where the last one ended; in one piece the modes that grow slower than the first by e^{-36} are lost to rounding.

*Domain.* Rows of A(0) that are orthogonal and equally long; PEFT's are so up to O(sqrt(r / dx)). Gradient descent
differs from the flow by O(learning rate). A(0) A(0)^T other than kappa I, or S other than c I: no closed form is known.
Sources: the modes are those of Saxe, McClelland and Ganguli 2014; Riccati equations of linear networks: Fukumizu 1998.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.training import checks

#: The largest exponent of one piece: e^{2 * 6} of growth leaves ten digits of a mode that does not grow.
_PIECE = 6.0
_MOST_PIECES = 100_000
#: After so many pieces each time it is seen whether the path has ended, to rounding.
_LOOK, _ENDED = 16, 1e-13
#: A linear map of Q's two blocks.
_Map = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def logistic_mode(
    value: object, start: float, times: object, *, scaling: float, variance: float = 1.0
) -> Float[np.ndarray, "..."]:
    """d(t) of a mode f from a balanced start: f / (1 + (f / d0 - 1) exp(-2 c g f t)).

    `value`: f > 0, one or an array; `start`: d0 in (0, f], or above; `times`: t >= 0, which broadcasts with `value`;
    `scaling`: g; `variance`: c. It passes f / 2 at `half_time`: larger modes first.

    >>> import linreg_lora as ll
    >>> ll.theory.training.logistic_mode(2.0, 1e-3, 3.0, scaling=2.0, variance=0.5).round(9).item()
    1.975733487
    """
    f, t = _modes(value), _times(times)
    d0 = checks.positive("start", start)
    g, c = checks.positive("scaling", scaling), checks.positive("variance", variance)
    x = 2 * c * g * f * t
    return np.asarray(f / (f / d0 * np.exp(-x) - np.expm1(-x)))


def half_time(value: object, start: float, *, scaling: float, variance: float = 1.0) -> Float[np.ndarray, "..."]:
    """When `logistic_mode` is at f / 2: ln(f / d0 - 1) / (2 c g f), for d0 < f / 2.

    >>> import linreg_lora as ll
    >>> ll.theory.training.half_time(2.0, 1e-3, scaling=2.0, variance=0.5).round(9).item()
    1.900100584
    """
    f, d0 = _modes(value), checks.positive("start", start)
    if np.any(d0 > f / 2):
        raise InvalidInput("start", "a start below half of every mode", start)
    c, g = checks.positive("variance", variance), checks.positive("scaling", scaling)
    return np.asarray(np.log(f / d0 - 1) / (2 * c * g * f))


def zero_start_mode(
    value: object, kappa: float, times: object, *, scaling: float, variance: float = 1.0
) -> Float[np.ndarray, "..."]:
    """d(t) of a mode f from B = 0 and A along its right singular vector with squared norm kappa > 0.

    Arguments as `logistic_mode`. No plateau: d is about c g^2 kappa f t at first.

    >>> import linreg_lora as ll
    >>> ll.theory.training.zero_start_mode(2.0, 1 / 3, 0.5, scaling=2.0).round(9).item()
    1.692021951
    """
    f, t = _modes(value), _times(times)
    g, c = checks.positive("scaling", scaling), checks.positive("variance", variance)
    k = g * checks.positive("kappa", kappa) / 2
    w = np.hypot(f, k)
    # T = f tanh / (w + k tanh), by the addition theorem; 1 - T is a sum of positive terms, so that nothing cancels.
    x = c * g * w * t
    tanh = np.tanh(x)
    sum_ = w + k * tanh
    rest = k**2 / (w + f) + 2 * f * np.exp(-2 * x) / (1 + np.exp(-2 * x)) + k * tanh
    return np.asarray(2 * k * (f * tanh / sum_) / ((rest / sum_) * (1 + f * tanh / sum_)))


def time_to_reach(
    value: object,
    level: object,
    *,
    scaling: float,
    variance: float = 1.0,
    kappa: float | None = None,
    balanced: float | None = None,
) -> Float[np.ndarray, "..."]:
    """When a mode f is at `level` d, 0 <= d < f: the inverse of `zero_start_mode` or of `logistic_mode`.

    One of `kappa`, for the former, and `balanced` = d0, for the latter:

        kappa:     t = (artanh((f T + k) / w) - artanh(k / w)) / (c g w),   T = (sqrt(k^2 + d^2) - k) / d
        balanced:  t = ln((f / d0 - 1) d / (f - d)) / (2 c g f)             (0 where d <= d0)

    >>> import linreg_lora as ll
    >>> T = ll.theory.training
    >>> T.time_to_reach(2.0, 1.692021951, scaling=2.0, kappa=1 / 3).round(8).item()
    0.5
    """
    f, d = _modes(value), np.asarray(validation.real_array("level", level, "levels d with 0 <= d < f"))
    if np.any(d < 0) or np.any(d >= f):
        raise InvalidInput("level", "levels d with 0 <= d < f", level)
    g, c = checks.positive("scaling", scaling), checks.positive("variance", variance)
    if (kappa is None) == (balanced is None):
        raise InvalidInput("kappa and balanced", "one of the two", "both" if balanced is not None else "neither")
    if balanced is not None:
        d0 = checks.positive("balanced", balanced)
        if np.any(d0 >= f):
            raise InvalidInput("balanced", "a start below every mode", balanced)
        late = np.maximum(d, d0)
        return np.asarray(np.log((f / d0 - 1) * late / (f - late)) / (2 * c * g * f))
    k = g * checks.positive("kappa", kappa) / 2
    w, h = np.hypot(f, k), np.hypot(d, k)
    # tanh(c g w t) = w d / (f h + k (f - d)), by the addition theorem; what is left to 1 is a sum of positive terms.
    rest = k * (f - d) + k**2 * (f - d) * (f + d) / (f * h + d * w)
    return np.asarray(np.log1p(2 * w * d / rest) / (2 * c * g * w))


def lora_path(
    full_update: object,
    a: object,
    times: object,
    *,
    scaling: float,
    variance: float = 1.0,
    b: object = None,
) -> Float[np.ndarray, "t dy dx"]:
    """D(t) = g B A of gradient flow from A(0), B(0) in a whitened design, exactly.

    | argument      | symbol | shape                                                           |
    |---------------|--------|-----------------------------------------------------------------|
    | `full_update` | F      | dy x dx: D_FFT, any matrix                                      |
    | `a`           | A(0)   | r x dx                                                          |
    | `b`           | B(0)   | dy x r, default 0                                               |
    | `times`       | t      | >= 0, in any order; a learning rate times a number of steps     |
    | `scaling`     | g      | alpha / r, or alpha / sqrt(r)                                   |
    | `variance`    | c      | S = c I                                                         |

    Raises `InvalidInput` unless A(0) A(0)^T - B(0)^T B(0) = kappa I, to rounding, and for times so long that they
    need more than 100,000 pieces and the path has not ended by then.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> full, a = np.array([[3.0, 0, 0], [0, 1.0, 0]]), np.ones((1, 3)) / 3
    >>> ll.theory.training.lora_path(full, a, [0.2, 1.0], scaling=2.0)[:, 0].round(6).tolist()
    [[0.465673, 0.287247, 0.26738], [2.994482, 0.070347, 0.025095]]
    """
    t, g, c = checks.times(times), checks.positive("scaling", scaling), checks.positive("variance", variance)
    full = checks.a_matrix("full_update", full_update)
    path = np.empty((len(t), *full.shape))
    for place, of_b, of_a in _factors(full, a, b, t, g, c):
        path[place] = g * of_b @ of_a
    return path


def path_risk(
    full_update: object,
    shift: object,
    a: object,
    times: object,
    *,
    scaling: float,
    variance: float = 1.0,
) -> Float[np.ndarray, "t"]:
    """The excess risk c ||D(t) - Delta||_F^2 along `lora_path` from B = 0, where Sigma = c I; `shift`: Delta, dy x dx.

    To rounding of ||Delta||_F^2.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> full, a = np.diag([3.0, 1.0]), np.eye(2)[:1] / 3**0.5
    >>> ll.theory.training.path_risk(full, np.diag([2.0, 0.0]), a, [0.0, 0.1, 9.0], scaling=2.0).round(4).tolist()
    [4.0, 2.3909, 1.0]
    """
    t, g, c = checks.times(times), checks.positive("scaling", scaling), checks.positive("variance", variance)
    full = checks.a_matrix("full_update", full_update)
    delta = checks.a_matrix("shift", shift, full.shape)
    risk = np.empty(len(t))
    for place, of_b, of_a in _factors(full, a, None, t, g, c):
        energy = g**2 * np.sum((of_b.T @ of_b) * (of_a @ of_a.T))
        distance = energy - 2 * g * np.sum((of_b.T @ delta) * of_a) + np.sum(delta**2)
        risk[place] = c * max(float(distance), 0.0)
    return risk


def frozen_a_update(full_update: object, a: object) -> Float[np.ndarray, "dy dx"]:
    """Where training B alone ends in a whitened design: F A^T (A A^T)^{-1} A; F dy x dx, A r x dx of rank r.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> ll.theory.training.frozen_a_update(np.diag([4.0, 2.0]), np.array([[1.0, 1.0]])).round(9).tolist()
    [[2.0, 2.0], [1.0, 1.0]]
    """
    full = checks.a_matrix("full_update", full_update)
    a = checks.a_matrix("a", a, (None, full.shape[1]))
    _, size, right = np.linalg.svd(a, full_matrices=False)
    if len(a) > a.shape[1] or size[-1] <= size[0] * max(a.shape) * np.finfo(float).eps:
        raise InvalidInput("a", "independent rows", f"smallest singular value {size[-1]:.3g}")
    return full @ right.T @ right


def _factors(
    full: np.ndarray, a: object, b: object, t: np.ndarray, g: float, c: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(place in t, B, A) at every time, up to a rotation that the two share."""
    dy, dx = full.shape
    a = checks.a_matrix("a", a, (None, dx))
    b = np.zeros((dy, len(a))) if b is None else checks.a_matrix("b", b, (dy, len(a)))
    kappa = _kept(a, b)
    left, f, right = np.linalg.svd(full)
    flow = _Flow(f / g, kappa, dy, dx)
    order = np.argsort(t, kind="stable")
    gaps = np.diff(c * g**2 * t[order], prepend=0.0)
    pieces = np.maximum(np.ceil(gaps * flow.fastest / _PIECE), 1)
    of_b, of_a, done, ended = left.T @ b, right @ a.T, 0, False
    for place, gap, count in zip(order, gaps, pieces, strict=True):
        step = flow.step(gap / count) if gap > 0 and not ended else None
        made = 0
        while step is not None and made < count and not ended:
            before = of_b, of_a
            of_b, of_a = step(of_b, of_a)
            made, done = made + 1, done + 1
            ended = done % _LOOK == 0 and flow.has_ended(of_b, of_a, before)
            if done > _MOST_PIECES:
                longest = _MOST_PIECES * _PIECE / (c * g**2 * flow.fastest)
                raise InvalidInput("times", f"times up to {longest:.3g}", float(np.max(t)),
                                   "modes that are weak, or near one another, have not ended by then")  # fmt: skip
        yield int(place), left @ of_b, of_a.T @ right


def _kept(a: np.ndarray, b: np.ndarray) -> float:
    """kappa, where A A^T - B^T B is kappa I to rounding."""
    kept = a @ a.T - b.T @ b
    kappa = float(np.mean(np.diagonal(kept)))
    off = np.linalg.norm(kept - kappa * np.eye(len(a)))
    if off > checks.ROUNDING * (np.linalg.norm(a) ** 2 + np.linalg.norm(b) ** 2):
        raise InvalidInput(
            "a", "A(0) A(0)^T - B(0)^T B(0) = kappa I", f"{off:.3g} off it in norm",
            "make the rows of A(0) orthogonal and equally long: no closed form is known elsewhere",
        )  # fmt: skip
    return kappa


class _Flow:
    """The Riccati equation in the singular directions of F; `values` are f / g."""

    def __init__(self, values: np.ndarray, kappa: float, dy: int, dx: int):
        self.values, self.half, self.dy, self.dx = values, kappa / 2, dy, dx
        self.root = np.hypot(values, self.half)
        self.fastest = float(max(np.max(self.root), abs(self.half)))

    def has_ended(self, of_b: np.ndarray, of_a: np.ndarray, before: tuple[np.ndarray, np.ndarray]) -> bool:
        """Whether B A is at a minimum, to rounding: stationary, and its singular values the r largest of F / g.

        Or at rest: the last piece has not moved a number.
        """
        if np.array_equal(of_b, before[0]) and np.array_equal(of_a, before[1]):
            return True
        pairs, rank = len(self.values), of_b.shape[1]
        missed = np.zeros((self.dy, self.dx))
        missed[range(pairs), range(pairs)] = self.values
        missed -= of_b @ of_a.T
        root_b, root_a = (np.asarray(np.linalg.qr(factor, mode="r")) for factor in (of_b, of_a))
        kept = np.linalg.svd(root_b @ root_a.T, compute_uv=False)[:pairs]
        wanted = self.values[: min(rank, pairs)]
        off = np.linalg.norm(kept[: len(wanted)] - wanted)
        still = max(np.linalg.norm(missed @ of_a), np.linalg.norm(of_b.T @ missed))
        return bool(off <= _ENDED * self.fastest and still <= _ENDED * self.fastest**1.5)

    def step(self, tau: float) -> _Map:
        """One piece of length tau: Q -> e^{M tau} Q L^{-T}, L L^T = I + Q^T Z Q. Other factors of the same Q Q^T do."""
        odd = tau * _sinhc(self.root * tau)
        power = self._of_m(np.cosh(self.root * tau), odd, lambda rate: np.exp(rate * tau))
        integral = self._of_m(tau * _sinhc(2 * self.root * tau), odd**2, lambda rate: _integral_of_exp(rate, tau))

        def stepped(of_b: np.ndarray, of_a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            weighted_b, weighted_a = integral(of_b, of_a)
            lower = np.linalg.cholesky(np.eye(of_b.shape[1]) + of_b.T @ weighted_b + of_a.T @ weighted_a)
            grown = np.vstack(power(of_b, of_a))
            new = np.linalg.solve(lower, grown.T).T
            return new[: self.dy], new[self.dy :]

        return stepped

    def _of_m(self, even: np.ndarray, odd: np.ndarray, alone: Callable[[float], float]) -> _Map:
        """Q -> (even I + odd M) Q on pairs, and `alone` of M's eigenvalues -+ kappa/2 off them."""
        pairs = len(self.values)
        on_b, on_a = np.full(self.dy, alone(-self.half)), np.full(self.dx, alone(self.half))
        on_b[:pairs], on_a[:pairs] = even - self.half * odd, even + self.half * odd
        mixed = (odd * self.values)[:, None]

        def applied(of_b: np.ndarray, of_a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            new_b, new_a = on_b[:, None] * of_b, on_a[:, None] * of_a
            new_b[:pairs] += mixed * of_a[:pairs]
            new_a[:pairs] += mixed * of_b[:pairs]
            return new_b, new_a

        return applied


def _integral_of_exp(rate: float, tau: float) -> float:
    """int_0^tau e^{2 rate s} ds."""
    return float(np.expm1(2 * rate * tau) / (2 * rate)) if rate else tau


def _sinhc(x: np.ndarray) -> np.ndarray:
    """sinh(x) / x, 1 at 0."""
    return np.where(x > 0, np.sinh(x) / np.where(x > 0, x, 1.0), 1.0)


def _modes(value: object) -> np.ndarray:
    f = np.asarray(validation.real_array("value", value, "singular values > 0"))
    if np.any(f <= 0):
        raise InvalidInput("value", "singular values > 0", value)
    return f


def _times(value: object) -> np.ndarray:
    t = np.asarray(validation.real_array("times", value, "finite times >= 0"))
    if np.any(t < 0):
        raise InvalidInput("times", "finite times >= 0", value)
    return t
