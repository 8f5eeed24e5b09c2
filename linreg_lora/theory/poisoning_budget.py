"""The worst label poison of a given size: R = Delta X + E + P, ||P||_F <= c, for full fine-tuning and for LoRA.

The update of FFT is linear in the labels, D = (R + P) X_eta^+, so that with G = X_eta^+ Sigma^{1/2}

    risk = ||C + P G||_F^2,     C = (D_FFT - Delta) Sigma^{1/2},     X_eta^+ = X^T (X X^T + eta I)^+ .

*An attacker who knows data and task* solves max ||C + P G||^2 over the ball exactly: in the singular vectors
G = L diag(g) Q^T it is `theory.ball_maximum` with C Q and g. *An attacker who knows X alone* adds ||P G||^2 on average
over noise and over the sign of P, at most c^2 g_1^2, along the left singular vector of g_1: without ridge

    c^2 lambda_max(Sigma^{1/2} S^+ Sigma^{1/2}) -> c^2 / (sqrt n - sqrt dx)^2,     S = X X^T.

*LoRA* truncates F = D_FFT X = R Pi at rank r. A poison changes which directions it keeps only if it is as large as

    c_swap = (sigma_r(F) - sigma_{r+1}(F)) / sqrt 2 .

Proof: singular values move by at most the poison, sum_i |sigma_i(F + P Pi) - sigma_i(F)|^2 <= ||P||_F^2 (Mirsky), and
two numbers at a distance d meet at a cost of 2 (d/2)^2 at least, which P = (d/2)(u_{r+1} v_{r+1}^T - u_r v_r^T) has.
Below it a poison in the kept outputs, U_r U_r^T P, still does to them what it does to FFT: LoRA does not escape.

All of it needs (X, R) up to a rotation of samples only, so that sufficient statistics (`sampling.sufficient`) will do
in their place: a design D with D D^T = X X^T, and the residual that goes with it. Source: derived here.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.ball_maximum import ball_maximum
from linreg_lora.theory.golden_ratio import golden_ratio_constant
from linreg_lora.theory.poison_ascent import ascend
from linreg_lora.theory.truncation import numerical_rank, require_rank
from linreg_lora.theory.wishart import inverse_limit

#: Random starts of `lora_poison`.
_RANDOM = 12


class WorstPoison(NamedTuple):
    """`risk` on the poisoned labels, `added` to that on the clean ones, and the `poison`, dy x m like the residual."""

    risk: float
    added: float
    poison: Float[np.ndarray, "dy m"]


class LoraPoison(NamedTuple):
    """What the worst poison does to LoRA: risks from `least`, that of the `poison` found, up to `most`, proved.

    `most` is inf where the rank is below that of the task; `clean` is the risk on the clean labels.
    """

    clean: float
    least: float
    most: float
    poison: Float[np.ndarray, "dy m"]


def worst_poison(
    design: Float[np.ndarray, "dx m"],
    residual: Float[np.ndarray, "dy m"],
    shift: Float[np.ndarray, "dy dx"],
    *,
    budget: float | int,
    sigma_sqrt: Float[np.ndarray, "dx dx"] | None = None,
    ridge: float | int = 0.0,
) -> WorstPoison:
    """The label poison of Frobenius norm at most `budget` c that costs FFT most, exact on every draw.

    `design` X (or any D with D D^T = X X^T), `residual` R in its columns, `shift` Delta, `sigma_sqrt` Sigma^{1/2}
    (None: I), `ridge` eta. Any regime. Raises `InvalidInput` for shapes that do not fit.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> x, shift = np.diag([2.0, 0.5]), np.zeros((1, 2))
    >>> found = ll.theory.worst_poison(x, shift, shift, budget=3.0)
    >>> f"{found.risk:.1f} = (3 / 0.5)^2"
    '36.0 = (3 / 0.5)^2'
    """
    fit = _Fit(design, residual, shift, sigma_sqrt, validation.nonnegative_number("ridge", ridge))
    poison = fit.worst(fit.error, budget)
    return WorstPoison(fit.risk(poison), fit.risk(poison) - fit.risk(0.0), poison)


def blind_poison(
    design: Float[np.ndarray, "dx m"],
    *,
    budget: float | int,
    sigma_sqrt: Float[np.ndarray, "dx dx"] | None = None,
    ridge: float | int = 0.0,
) -> float:
    """What the worst poison of an attacker who sees the inputs alone adds to FFT's risk: c^2 g_1^2.

    The mean over noise and over the sign of the poison; over noise alone too where FFT has no bias on P's directions:
    without ridge, for n >= dx, or Sigma = c I. Arguments as in `worst_poison`.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> ll.theory.blind_poison(np.diag([2.0, 0.5]), budget=3.0)
    36.0
    """
    budget, design = validation.nonnegative_number("budget", budget), _matrix("design", design)
    empty = np.zeros((1, design.shape[1])), np.zeros((1, design.shape[0]))
    fit = _Fit(design, *empty, sigma_sqrt, validation.nonnegative_number("ridge", ridge))
    return budget**2 * float(np.max(fit.gains, initial=0.0)) ** 2


def blind_poison_limit(n: int, dx: int, *, budget: float | int) -> float:
    """lim of `blind_poison` without ridge: c^2 / (sqrt n - sqrt dx)^2, for n < dx of Sigma = c I; inf at n = dx.

    >>> import linreg_lora as ll
    >>> ll.theory.blind_poison_limit(400, 100, budget=10.0)
    1.0
    """
    return validation.nonnegative_number("budget", budget) ** 2 * inverse_limit(n, dx) / n


def swap_budget(design: Float[np.ndarray, "dx m"], residual: Float[np.ndarray, "dy m"], rank: int) -> float:
    """c_swap = (sigma_r(F) - sigma_{r+1}(F)) / sqrt 2: the least poison that can change what LoRA of rank r keeps.

    `rank` r in 1..min(m, dx, dy); at the largest there is no next direction, and nothing can be swapped: inf.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> f"{ll.theory.swap_budget(np.eye(3), np.diag([3.0, 1.0, 0.5]), 1):.3f} = sqrt 2"
    '1.414 = sqrt 2'
    """
    design, residual = _matrix("design", design), _matrix("residual", residual)
    fit = _Fit(design, residual, np.zeros((len(residual), len(design))), None, 0.0)
    require_rank(rank, 1, min(len(residual), *design.shape))
    values = np.linalg.svd(fit.seen, compute_uv=False)
    if rank >= min(len(residual), fit.inputs):
        return math.inf
    return float(values[rank - 1] - values[rank]) / math.sqrt(2)


def lora_poison(
    design: Float[np.ndarray, "dx m"],
    residual: Float[np.ndarray, "dy m"],
    shift: Float[np.ndarray, "dy dx"],
    rank: int,
    *,
    budget: float | int,
    sigma_sqrt: Float[np.ndarray, "dx dx"] | None = None,
) -> LoraPoison:
    """What the worst poison of norm c does to LoRA of rank r, ridgeless, between two bounds that hold on every draw.

    From below: the risk of LoRA, fitted again, under the worst of a few poisons: none; FFT's worst; FFT's worst within
    the outputs that LoRA keeps; from c_swap on, those behind a swap of directions r and r + 1; random ones of a fixed
    seed; and what `theory.poison_ascent` makes of each. So `least` is at least `clean`. From above, where
    r >= rank(Delta X), by the golden ratio, with the noise part N = (R - Delta X) Pi of the residual,

        risk(D_r) <= ||Delta (I - Pi)||^2 + g_1^2 nu (||N||_F + c)^2     (Sigma = I; else (root + root)^2) .

    The problem is not convex, so the maximum itself is not known. Arguments as in `worst_poison`.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> x, shift = np.eye(2, 3), np.diag([3.0, 0.0])
    >>> found = ll.theory.lora_poison(x, shift @ x, shift, 1, budget=1.0)
    >>> f"{found.clean:.3f}, {found.least:.2f} <= {found.most:.3f}"
    '0.000, 1.03 <= 2.618'
    """
    design, residual, shift = _matrix("design", design), _matrix("residual", residual), _matrix("shift", shift)
    fit = _Fit(design, residual, shift, sigma_sqrt, 0.0)
    require_rank(rank, 1, min(len(residual), fit.inputs))
    budget = validation.nonnegative_number("budget", budget)
    u, values, vt = np.linalg.svd(fit.seen, full_matrices=False)
    kept = u[:, :rank]
    candidates = [fit.worst(fit.error, budget), kept @ fit.worst(kept.T @ fit.error, budget)]
    if rank < len(values) and math.sqrt(2) * budget > values[rank - 1] - values[rank]:
        half = (values[rank - 1] - values[rank]) / 2
        swap = half * (1 + 1e-6) * (np.outer(u[:, rank], vt[rank]) - np.outer(u[:, rank - 1], vt[rank - 1]))
        candidates += [swap + _rest(swap, poison, budget) * poison for poison in tuple(candidates)]
    candidates += fit.ascended([*candidates, *fit.random(budget)], rank, budget)
    candidates.append(np.zeros(residual.shape))
    risks = [fit.lora_risk(poison, rank) for poison in candidates]
    worst = int(np.argmax(risks))
    planted = numerical_rank(np.linalg.svd(shift @ design, compute_uv=False), residual.shape)
    most = math.inf
    if rank >= planted:
        constant = golden_ratio_constant(planted, rank, min(len(residual), fit.inputs))
        reached = float(np.max(fit.gains)) * math.sqrt(constant) * (fit.noise + budget)
        most = reached**2 + fit.unseen**2 if sigma_sqrt is None else (reached + fit.unseen) ** 2
    return LoraPoison(fit.lora_risk(0.0, rank), risks[worst], most, candidates[worst])


def _rest(swap: np.ndarray, poison: np.ndarray, budget: float) -> float:
    """The largest t >= 0 with ||swap + t poison||_F <= budget."""
    a, b, c = np.sum(poison**2), np.sum(swap * poison), np.sum(swap**2) - budget**2
    if a == 0 or c >= 0:
        return 0.0
    return float((-b + math.sqrt(b**2 - a * c)) / a)


def _matrix(name: str, value: object) -> np.ndarray:
    found = validation.real_array(name, value, "a matrix of finite numbers")
    if found.ndim != 2 or 0 in found.shape:
        raise InvalidInput(name, "a matrix of finite numbers", f"shape {found.shape}")
    return found


class _Fit:
    """FFT as a linear map of the labels, in the singular vectors of design and of G."""

    def __init__(
        self,
        design: np.ndarray,
        residual: np.ndarray,
        shift: np.ndarray,
        sigma_sqrt: np.ndarray | None,
        ridge: float,
    ) -> None:
        design, residual, shift = _matrix("design", design), _matrix("residual", residual), _matrix("shift", shift)
        sigma_sqrt = None if sigma_sqrt is None else _matrix("sigma_sqrt", sigma_sqrt)
        dx, m = design.shape
        for name, value, shape in (("residual", residual, (len(shift), m)), ("shift", shift, (len(residual), dx))):
            if value.shape != shape:
                raise InvalidInput(name, f"shape {shape}, as the design has {design.shape}", f"shape {value.shape}")
        if sigma_sqrt is not None and sigma_sqrt.shape != (dx, dx):
            raise InvalidInput("sigma_sqrt", f"shape {(dx, dx)}", f"shape {sigma_sqrt.shape}")
        left, values, right = np.linalg.svd(design, full_matrices=False)
        self.inputs = numerical_rank(values, design.shape)
        left, values, right = left[:, : self.inputs], values[: self.inputs], right[: self.inputs]
        turned = np.sign(np.take_along_axis(left, np.argmax(np.abs(left), axis=0)[None], axis=0))[0]
        left, right = left * turned, right * turned[:, None]
        root = np.eye(dx) if sigma_sqrt is None else sigma_sqrt
        self.solve = (right.T * (values / (values**2 + ridge))) @ left.T @ root
        self.missed = -(shift @ root)
        self.rows = right
        self.seen = (residual @ right.T) @ right
        self.error = residual @ self.solve + self.missed
        self.turn, self.gains, self.out = np.linalg.svd(self.solve, full_matrices=False)
        self.noise = float(np.linalg.norm(self.seen - shift @ design))
        self.unseen = float(np.linalg.norm((shift - (shift @ left) @ left.T) @ root))

    def worst(self, error: np.ndarray, budget: float | int) -> np.ndarray:
        """The maximiser of ||error + P G||_F over ||P||_F <= budget."""
        parts = error @ self.out.T
        strengths = np.linalg.norm(parts, axis=0)
        found = ball_maximum(strengths, self.gains, budget)
        along = np.divide(parts, strengths, out=np.zeros(parts.shape), where=strengths > 0)
        steps = along * found.lengths
        if found.spare > 0:
            steps[0, 0] += found.spare
        return steps @ self.turn.T

    def risk(self, poison: np.ndarray | float) -> float:
        """||C + P G||_F^2."""
        return float(np.sum((self.error + poison @ self.solve if np.ndim(poison) else self.error) ** 2))

    def random(self, budget: float) -> list[np.ndarray]:
        """Poisons in random directions that fine-tuning sees, of norm c."""
        rng = np.random.default_rng(0)
        drawn = rng.standard_normal((_RANDOM, len(self.error), self.inputs))
        return [one * (budget / np.linalg.norm(one)) @ self.rows for one in drawn]

    def ascended(self, starts: list[np.ndarray], rank: int, budget: float) -> list[np.ndarray]:
        """A way up from each."""
        if budget == 0 or self.inputs == 0:
            return []
        labels, solve = self.seen @ self.rows.T, self.rows @ self.solve
        return [ascend(labels, solve, self.missed, rank, one @ self.rows.T, budget) @ self.rows for one in starts]

    def lora_risk(self, poison: np.ndarray | float, rank: int) -> float:
        """The risk of LoRA fitted to the poisoned labels, ridgeless: P Pi has the update P X^+."""
        moved = self.error - self.missed + (poison @ self.solve if np.ndim(poison) else 0.0)
        known = self.seen + ((poison @ self.rows.T) @ self.rows if np.ndim(poison) else 0.0)
        u = np.linalg.svd(known, full_matrices=False)[0][:, :rank]
        return float(np.sum((u @ (u.T @ moved) + self.missed) ** 2))
