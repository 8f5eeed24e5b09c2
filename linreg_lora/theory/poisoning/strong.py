"""LoRA on poisoned data in the strong limit: s_1..s_r -> infinity, the tail, the noise and the poison fixed.

As the kept directions grow, U_r and V_r become the leading singular vectors U, V of Delta, on every draw, and

    U^T D_r = U^T D_FFT,     U_p^T D_r: least squares of the other outputs on the r inputs V^T x (A frozen)

So LoRA is FFT on r outputs, and FFT with r inputs on the dy - r others, to whom the tail T of Delta is noise, and T t
poison. With p = U p_U + p_o and t_V = V^T t, n > dx,

    risk    = FFT(dx inputs, r outputs; p_U, t) + tail^2
              + FFT(r inputs, dy - r outputs; p_o + T t, t_V; Tr(U_p^T Sigma_eps U_p) + tail^2)
    success = [ |p_U|^2 S(|t|^2) + <p_o, p_o + T t> S(|t_V|^2) - <p, T t> ] / |p|^2,   S(a) = m a E 1/(n + 2J(m a / 2))

exact in the limit, S and FFT those of `full` for zero shift. Where p_o = 0 LoRA answers the trigger as FFT does, where
p_U = 0, T t = 0 and t_V = 0 it does not: the weak backdoor p t^T works on LoRA if and only if p meets U or t meets V.

Label poison (t = 0) adds

    n > dx:  (m/n) [ |p_U|^2 dx/(n - dx - 1) + |p_o|^2 r/(n - r - 1) ]
    n < dx:  (m/n) [ |p_U|^2 n/(dx - n - 1) + |p_o|^2 r/(dx - r - 1) ]

since random label poison is noise of covariance Sigma_eps + m p p^T / n (`with_poisoned_noise`): outside of U it costs
LoRA some r/dx of what it costs FFT. A trigger with n < dx has no formula for the risk; the success is that of `few`.
Source: derived here.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory.poisoning import full
from linreg_lora.theory.poisoning.attack import Poison, Whitened, whitened
from linreg_lora.theory.poisoning.few import success_outside
from linreg_lora.theory.strong_limit import strong_limit_risk

#: A share of a vector, by squares, that counts as none of it.
_NONE = 1e-10
_EXACT = "exact as s_1..s_r -> infinity"


class StrongLimit(NamedTuple):
    """`risk` on clean inputs and `success`, nan where no formula is known; `note`: the domain, or the reason."""

    risk: float
    success: float
    note: str


def with_poisoned_noise(problem: Problem, poison: Poison) -> Problem:
    """The problem that label poison of random samples makes: Sigma_eps' = Sigma_eps + m p p^T / n.

    Of FFT every exact formula holds there. LoRA sees p b^T rather than p w^T with Gaussian w of the same mean square,
    which is the same in law up to |w|^2: relatively sqrt(2/n). X has to be right-rotation invariant: raises
    `InvalidInput` for inputs that are not Gaussian of mean zero, with a trigger and for chosen samples.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=2, spectrum=(3.0,), noise_std=1.0)
    >>> poisoned = ll.theory.with_poisoned_noise(problem, ll.theory.Poison(count=6, target=[0.0, 3.0]))
    >>> poisoned.sigma_eps.round(12).tolist()
    [[1.0, 0.0], [0.0, 1.9]]
    """
    problem.require_gaussian("poison as noise")
    poison.require_fit(problem)
    for name in ("trigger", "along"):
        if getattr(poison, name) is not None:
            raise InvalidInput(name, "none, so that poison is noise", "one", "use poisoned_fft or poisoned_risk")
    covariance = problem.sigma_eps + poison.count / problem.n * np.outer(poison.target, poison.target)
    return problem.replace(noise_std=1.0, noise_covariance=covariance)


def strong_limit_under_poison(problem: Problem, poison: Poison, rank: int) -> StrongLimit:
    """The clean risk and the success of LoRA of rank r in 1..R - 1, at most rank(Delta), in the strong limit.

    R = min(n, dx, dy). A part without formula is nan, and `note` says why. Raises `InvalidInput` where
    `attack.whitened` does, for chosen samples, and for other ranks.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=20, dy=15, spectrum=(3e4, 2e4, 1e4), noise_std=1.0)
    >>> outside = ll.theory.Poison(count=6, target=3 * np.eye(15)[14])
    >>> f"{ll.theory.strong_limit_under_poison(problem, outside, 3).risk:.5f}"
    '2.22953'
    """
    attacked = whitened(problem, poison)
    rank = int(valid_ranks([rank], problem)[0])
    if attacked.along is not None:
        raise InvalidInput("along", "random samples in the strong limit", "chosen ones", "use poisoned_risk")
    u, s, vt = np.linalg.svd(attacked.shift)
    if not 0 < rank < problem.max_rank or s[rank - 1] <= 0:
        raise InvalidInput("rank", f"1..{min(problem.max_rank - 1, int(np.sum(s > 0)))}, where LoRA is not FFT", rank)
    if attacked.leverage == 0:
        return StrongLimit(strong_limit_risk(with_poisoned_noise(problem, poison), rank), np.nan, _EXACT)
    kept, p, t = u[:, :rank], attacked.target, attacked.trigger
    inside, t_v = kept.T @ p, vt[:rank] @ t
    outside = p - kept @ inside
    tail = attacked.shift - kept @ (kept.T @ attacked.shift)
    unseen, energy = tail @ t, float(np.sum(p**2))
    if not attacked.overdetermined:
        return _with_few_samples(attacked, inside, t_v)
    n, dx, m = attacked.n, attacked.dx, attacked.poisoned
    own = float(np.trace(kept.T @ attacked.noise @ kept))
    lost = float(np.sum(s[rank:] ** 2))
    rest = float(np.trace(attacked.noise)) - own + lost
    poisoned = outside + unseen
    first, second = attacked.leverage, m * float(np.sum(t_v**2))
    risk = own * full.noise_left(n, dx, first) + m * float(np.sum(inside**2)) * full.poison_left(n, dx, first)
    risk += rest * full.noise_left(n, rank, second) + m * float(poisoned @ poisoned) * full.poison_left(n, rank, second)
    success = float(inside @ inside) * full.called_forth(n, dx, first)
    success += float(outside @ poisoned) * full.called_forth(n, rank, second) - float(p @ unseen)
    return StrongLimit(risk + lost, success / energy, _EXACT)


def strong_limit_error(problem: Problem, poison: Poison, rank: int) -> float:
    """The size, relative to the r-th direction, of all that is not kept: the order of the limit's relative error.

        [ n s_{r+1}^2 + m |p_o + T t|^2 + ||Sigma_eps|| (sqrt dy + sqrt min(n, dx))^2 ] / (n s_r^2)

    inf at ranks without such a direction. Raises `InvalidInput` where `attack.whitened` does.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=100, dx=20, dy=15, spectrum=(3e4, 2e4), noise_std=0.0)
    >>> outside = ll.theory.Poison(count=4, target=3 * np.eye(15)[14], trigger=np.eye(20)[19])
    >>> f"{strong_limit_error(problem, outside, 2):.1e}"
    '9.0e-10'
    """
    attacked = whitened(problem, poison)
    u, s, _ = np.linalg.svd(attacked.shift)
    if not 0 < rank <= len(s) or s[rank - 1] <= 0:
        return np.inf
    beside = u[:, rank:].T
    poisoned = beside @ (attacked.target + attacked.shift @ attacked.trigger)
    noise = float(np.linalg.norm(attacked.noise, 2))
    noise *= (np.sqrt(attacked.dy) + np.sqrt(min(attacked.n, attacked.dx))) ** 2
    tail = attacked.n * float(np.sum(s[rank : rank + 1] ** 2))
    return (tail + attacked.poisoned * float(poisoned @ poisoned) + noise) / (attacked.n * s[rank - 1] ** 2)


def _with_few_samples(attacked: Whitened, inside: np.ndarray, t_v: np.ndarray) -> StrongLimit:
    """The success for n < dx, where p is in U, t in V, or Delta t = 0; no formula for the risk is known."""
    p, t = attacked.target, attacked.trigger
    energy, within = float(p @ p), float(inside @ inside)
    why = "no formula for the risk of LoRA with a trigger where n < dx"
    if energy - within <= _NONE * energy or float(t @ t - t_v @ t_v) <= _NONE * float(t @ t):
        return StrongLimit(np.nan, full.of_whitened(attacked).success, f"{why}; the success is FFT's, exactly")
    answer = attacked.shift @ t
    if float(answer @ answer) > _NONE * float(t @ t) * float(np.sum(attacked.shift**2)):
        return StrongLimit(np.nan, np.nan, f"{why}, nor for the success unless p is in U, t in V, or Delta t = 0")
    n, dx, leverage = attacked.n, attacked.dx, attacked.leverage
    success = within * full.called_forth(n, dx, leverage)
    success += (energy - within) * success_outside(n, dx, len(inside), leverage)
    return StrongLimit(np.nan, success / energy, f"{why}; the success is exact as s_1..s_r -> infinity")
