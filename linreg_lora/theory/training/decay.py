"""Weight decay on LoRA's factors is a nuclear norm on their product.

Decay that is part of the loss, (lam/2)(||A||^2 + ||B||^2) for D = g B A, is mu ||D||_* with mu = lam / g, because
||A||^2 + ||B||^2 >= 2 ||B A||_* with equality at balanced factors. With S = X X^T / n, H = R X^T / n and rank r,

    min over rank(D) <= r of  (1/2n) ||R - D X||_F^2 + mu ||D||_*

S = c I: D = sum_{i <= r} (f_i - mu/c)_+ u_i v_i^T, of D_FFT = sum f_i u_i v_i^T. Otherwise, without a limit on the
rank, the objective is convex, with minimum D iff

    ||H - D S||_2 <= mu    and    <H - D S, D> = mu ||D||_*

which certifies what proximal gradients with momentum and restarts find. Where r is at least the rank of that minimum it
is LoRA's; where it is not, nothing certifies: alternating exact half steps over B and A end at a stationary point.
AdamW's decay is decoupled from the loss, and is no such penalty. For n < dx no start survives the decay.
Source of the identity: Srebro, Rennie and Jaakkola 2005; of the restarts: O'Donoghue and Candes 2015.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, NumericalFailure

_ITERATIONS = 50_000
#: The certificate asked for, relative; singular values below this share of the largest are none.
_CERTIFIED, _RANK = 1e-11, 1e-9
#: Half steps of alternating least squares, and the relative fall of the objective at which they end.
_HALF_STEPS, _SETTLED = 20_000, 1e-15


class DecayedUpdate(NamedTuple):
    """`update` D; its `rank`; `penalty` mu = lam / g; `free_rank`: that of the minimum without a limit on the rank.

    `gap`: by how much the certificate fails, relatively: the larger of ||H - D S||_2 / mu - 1 and of
    1 - <H - D S, D> / (mu ||D||_*), 0 where both hold. `certified`: D is the global minimum over its ranks. Not so
    where the rank allowed is below `free_rank` and S is not c I: then `gap` is large, and D stationary.
    """

    update: Float[np.ndarray, "dy dx"]
    rank: int
    penalty: float
    free_rank: int
    gap: float
    certified: bool


def decayed_update(
    second_moment: object, cross_moment: object, decay: float, scale: float = 1.0, rank: int | None = None
) -> DecayedUpdate:
    """The minimum of LoRA's loss with coupled decay: trained factors g B A with `decay` lam and `scale` g.

    `second_moment` S = X X^T / n, dx x dx; `cross_moment` H = R X^T / n, dy x dx; `rank` r allowed (None: any). The
    loss is (1/2n) ||R - D X||^2 + (lam/2)(||A||^2 + ||B||^2); torch's MSELoss, a mean over n and dy, wants lam dy / 2.
    Raises `InvalidInput` for lam or g that are not positive, `NumericalFailure` where no certificate was reached.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> found = ll.theory.training.decayed_update(np.eye(3), np.diag([3.0, 2.0, 0.4])[:2], decay=1.0, scale=2.0)
    >>> found.update.round(6).tolist(), found.penalty, found.certified
    ([[2.5, 0.0, 0.0], [0.0, 1.5, 0.0]], 0.5, True)
    """
    s, h = _moments(second_moment, cross_moment)
    lam, g = (validation.nonnegative_number(name, value) for name, value in (("decay", decay), ("scale", scale)))
    if lam == 0 or g == 0:
        raise InvalidInput("decay" if lam == 0 else "scale", "a number > 0", decay if lam == 0 else scale,
                           "LoRA without decay is fit_lora" if lam == 0 else "")  # fmt: skip
    mu, most = lam / g, min(h.shape)
    allowed = most if rank is None else min(validation.positive_integer("rank", rank), most)
    c = float(s[0, 0])
    if c > 0 and np.array_equal(s, c * np.eye(len(s))):
        free = _soft_threshold(h / c, mu / c)
        update = free if allowed == most else _soft_threshold(h / c, mu / c, allowed)
        return _result(update, s, h, mu, _rank(free), certified=True)
    free = _accelerated(s, h, mu)
    if (free_rank := _rank(free)) <= allowed:
        return _result(free, s, h, mu, free_rank, certified=True)
    return _result(_alternating(free, s, h, mu, allowed), s, h, mu, free_rank, certified=False)


def objective(update: Float[np.ndarray, "dy dx"], s: Float[np.ndarray, "dx dx"], h: Float[np.ndarray, "dy dx"],
              penalty: float) -> float:  # fmt: skip
    """(1/2) Tr D S D^T - <H, D> + mu ||D||_*: the loss with decay but for ||R||^2 / 2n.

    >>> from linreg_lora.theory.training.decay import objective
    >>> objective(np.eye(2), np.eye(2), 2 * np.eye(2), 0.5)
    -2.0
    """
    nuclear = float(np.sum(np.linalg.svd(update, compute_uv=False)))
    return float(np.sum((update @ s) * update) / 2 - np.sum(h * update)) + penalty * nuclear


def certificate_gap(update: Float[np.ndarray, "dy dx"], s: Float[np.ndarray, "dx dx"], h: Float[np.ndarray, "dy dx"],
                    penalty: float) -> float:  # fmt: skip
    """By how much an update fails to be the minimum with a nuclear norm, relatively; see `DecayedUpdate`.

    >>> from linreg_lora.theory.training.decay import certificate_gap
    >>> certificate_gap(1.5 * np.eye(2), np.eye(2), 2 * np.eye(2), 0.5)
    0.0
    """
    left = h - update @ s
    nuclear = float(np.sum(np.linalg.svd(update, compute_uv=False)))
    excess = float(np.linalg.norm(left, 2)) / penalty - 1
    aligned = 1 - float(np.sum(left * update)) / (penalty * nuclear) if nuclear > 0 else 0.0
    return max(excess, aligned, 0.0)


def _moments(second_moment: object, cross_moment: object) -> tuple[np.ndarray, np.ndarray]:
    s = validation.real_array("second_moment", second_moment, "a dx x dx matrix S = X X^T / n")
    h = validation.real_array("cross_moment", cross_moment, "a dy x dx matrix H = R X^T / n")
    if s.ndim != 2 or s.shape[0] != s.shape[1] or not s.size:
        raise InvalidInput("second_moment", "a dx x dx matrix S = X X^T / n", f"shape {s.shape}")
    if h.ndim != 2 or h.shape[1] != len(s) or not h.size:
        raise InvalidInput("cross_moment", f"a dy x {len(s)} matrix H = R X^T / n", f"shape {h.shape}")
    values = validation.covariance("second_moment", s, len(s))
    assert values is not None
    return values, h


def _soft_threshold(matrix: np.ndarray, by: float, rank: int | None = None) -> np.ndarray:
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    values = np.maximum(values - by, 0.0)[:rank]
    return (u[:, : len(values)] * values) @ v[: len(values)]


def _rank(update: np.ndarray) -> int:
    values = np.linalg.svd(update, compute_uv=False)
    return int(np.sum(values > _RANK * values[0])) if values[0] > 0 else 0


def _result(update: np.ndarray, s: np.ndarray, h: np.ndarray, mu: float, free_rank: int, certified: bool):
    return DecayedUpdate(update, _rank(update), mu, free_rank, certificate_gap(update, s, h, mu), certified)


def _accelerated(s: np.ndarray, h: np.ndarray, mu: float) -> np.ndarray:
    """Proximal gradients of step 1/lmax(S) with momentum, restarted whenever it points uphill."""
    step = 1 / float(np.linalg.eigvalsh(s)[-1])
    d = ahead = np.zeros_like(h)
    momentum = 1.0
    for k in range(_ITERATIONS):
        new = _soft_threshold(ahead - step * (ahead @ s - h), step * mu)
        if np.sum((ahead - new) * (new - d)) > 0:
            momentum = 1.0
        later = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, d, momentum = new + (momentum - 1) / later * (new - d), new, later
        if k % 10 == 9 and certificate_gap(d, s, h, mu) <= _CERTIFIED:
            return d
    raise NumericalFailure(
        f"decay: expected a certificate within {_CERTIFIED:g} after {_ITERATIONS} steps, received "
        f"{certificate_gap(d, s, h, mu):.2g}; raise decay, or scale inputs alike"
    )


def _alternating(start: np.ndarray, s: np.ndarray, h: np.ndarray, mu: float, rank: int) -> np.ndarray:
    """min over B, A of the objective with (mu/2)(||A||^2 + ||B||^2), D = B A, by exact half steps from a truncation."""
    u, values, v = np.linalg.svd(start, full_matrices=False)
    root = np.sqrt(values[:rank])
    b, a = u[:, :rank] * root, root[:, None] * v[:rank]
    variances, basis = np.linalg.eigh(s)
    before = now = np.inf
    for _ in range(_HALF_STEPS):
        b = np.linalg.solve(a @ s @ a.T + mu * np.eye(rank), a @ h.T).T
        size, turn = np.linalg.eigh(b.T @ b)
        # B^T B A S + mu A = B^T H, in the eigenvectors of B^T B and S.
        a = turn @ ((turn.T @ b.T @ h @ basis) / (np.outer(size, variances) + mu)) @ basis.T
        before, now = now, objective(b @ a, s, h, mu)
        if before - now <= _SETTLED * abs(now):
            return b @ a
    raise NumericalFailure(
        f"decay: expected half steps to settle in {_HALF_STEPS}, received a fall of {before - now:.2g} in the last; "
        "allow more ranks, or raise decay"
    )
