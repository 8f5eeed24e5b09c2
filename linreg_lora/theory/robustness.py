"""Who is less robust on noisy inputs, LoRA or full fine-tuning, and why: closed forms for strong directions.

As s_1..s_r grow with the rest fixed, full fine-tuning's update is longer than LoRA's, 1 <= r < min(n, dx, dy), by

    E [||D_FFT||^2 - ||D_r||^2] = A_r (B_r + tail_r^2)

with B_r, tail_r^2 and A_r of `theory.complexity`, where the excess risks differ by A_r (B_r - tail_r^2): what decides
the task as a difference costs robustness as a sum. Inputs x + tau e, e ~ N(0, I), raise losses by tau^2 ||A0 + D||^2:

    E [rise(FFT) - rise(D_r)] = tau^2 [ A_r (B_r + tail_r^2) + 2 (k - r)/(dx - r) <A0, T> ],     k = min(n, dx),

T the tail of Delta, what rank r cannot hold. *Split.* LoRA answers perturbations orthogonal to the row space of D_r as
the pretrained map does, M d = A0 d; full fine-tuning differs from that, in the outputs P that LoRA dropped, by energy

    E ||P D_FFT (I - Pi_r)||^2 = (k - r)/(dx - r) (B_r + tail_r^2),     Pi_r the projector on the row space of D_r.

*Who.* Where A0 is orthogonal to T, LoRA is the more robust method on average. Where A0 = -T / theta there, the shift
undoes what LoRA cannot learn, LoRA is less robust if and only if

    C_r > a theta / (2 - a theta),     a = (K - 1)/(K - r - 1),  K = max(n, dx),     and never where a theta >= 2.

At theta = 1/2 and r << K that is C_r > 1/3, so that between 1/3 and 1 LoRA is more accurate and less robust.

*Any covariance, n > dx.* Delta and D are then those of x, singular vectors U, V those of Delta Sigma^{1/2}, T_w its
tail, T = T_w Sigma^{-1/2}, e_P = Tr(P Sigma_eps), w = Tr(V^T Sigma^{-1} V)/(n - r - 1), Pi on that of Sigma^{-1/2} V:

    E [||D_FFT||^2 - ||D_r||^2]  = ||T||^2 + tail^2 w + e_P [ Tr(Sigma^{-1})/(n - dx - 1) - w ]
    E ||P D_FFT (I - Pi)||^2     = ||T (I - Pi)||^2 + e_P Tr(Sigma^{-1/2} (I - Pi) Sigma^{-1/2})/(n - dx - 1)

Derivation. P(D_FFT - D_r) tends to P R (X^+ - Z^+ V^T) Sigma^{-1/2}, Z = V^T X in whitened inputs: the tail's part is
T_w - T_w X Z^+ V^T, whose second term has mean 0 given Z, and the noise's an inverse-Wishart mean. n < dx needs
Sigma = c I and goes through the uniform projection on the row space of X. Source: derived here.
"""

from dataclasses import dataclass

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.complexity import task_complexity
from linreg_lora.theory.hessian import Loss
from linreg_lora.theory.input_perturbation import required_pretrained, rise_scale


@dataclass(frozen=True)
class Robustness:
    """What rank r discards of full fine-tuning's update, and what that does on noisy inputs: means, strong limit.

    | field          | symbol                      | meaning                                                         |
    |----------------|-----------------------------|-----------------------------------------------------------------|
    | `discarded`    | E [||D_FFT||^2 - ||D_r||^2] | by how much LoRA's update is shorter                            |
    | `outside_rows` | E ||P D_FFT (I - Pi_r)||^2  | the part of it off LoRA's row space                             |
    | `alignment`    | E <A0, D_FFT - D_r>         | negative where what is discarded undoes A0; nan without an A0   |
    | `complexity`   | C_r                         | LoRA is more accurate iff it is below 1                         |
    | `correction`   | T_r / n                     | the first-order rise of LoRA's risk for finite strengths: where |
    |                |                             | it is not small beside `discarded`, the limit is not reached    |
    """

    problem: Problem
    rank: int
    discarded: float
    outside_rows: float
    alignment: float
    complexity: float
    correction: float

    def rise_difference(self, *, perturbation_std: float | int = 1.0, loss: Loss | str = Loss.SQUARED) -> float:
        """E [rise(FFT) - rise(D_r)] under x + tau e; negative where LoRA is the less robust method.

        Raises `InvalidInput` without A0.
        """
        required_pretrained(self.problem)
        return rise_scale(perturbation_std, loss) * (self.discarded + 2 * self.alignment)


def strong_limit_robustness(problem: Problem, rank: int) -> Robustness:
    """The closed forms of the module at `rank` r, 1 <= r < min(n, dx, dy), at most the rank of the shift.

    Exact as s_1..s_r -> infinity; ridgeless, Gaussian inputs without a mean, |n - dx| > 1, Sigma = c I where n < dx:
    `InvalidInput` elsewhere (`linreg_lora.simulate_rise` has no such conditions). `problem.pretrained` may be missing.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> tail = np.zeros((15, 20))
    >>> tail[[3, 4, 5], [3, 4, 5]] = 1.5, 1.2, 1.0
    >>> strong = np.zeros((15, 20))
    >>> strong[[0, 1, 2], [0, 1, 2]] = 3e4, 2e4, 1e4
    >>> problem = ll.Problem(n=40, dx=20, dy=15, task_shift=strong + tail, noise_std=1.0, pretrained=-2 * tail)
    >>> f"{ll.theory.strong_limit_robustness(problem, 3).rise_difference():.3f}: LoRA is less robust"
    '-2.048: LoRA is less robust'
    """
    found = task_complexity(problem, [rank])
    reduced = problem.without_null_inputs()
    n, dx = reduced.n, reduced.dx
    scale, root = reduced.isotropic_scale, reduced.sigma_sqrt
    u, s, vt = np.linalg.svd(reduced.shift @ root)
    if s[rank - 1] <= np.finfo(float).eps * max(reduced.shift.shape) * s[0]:
        planted = int(np.sum(s > np.finfo(float).eps * max(reduced.shift.shape) * s[0]))
        raise InvalidInput("rank", f"at most {planted}, the rank of the shift", rank, "use simulate_rise")
    weak = (u[:, rank : len(s)] * s[rank:]) @ vt[rank : len(s)]
    energy, noise = float(found.tail[0]), float(found.noise[0])
    if reduced.regime is Regime.UNDERDETERMINED:
        assert scale is not None, "task_complexity refuses other covariances"
        tail, share = weak / np.sqrt(scale), (n - rank) / (dx - rank)
        discarded = float(found.gain[0]) * (energy + noise) / scale
        outside = share * (energy + noise) / scale
    else:
        inverse = np.linalg.inv(root)
        tail, share, rows = weak @ inverse, 1.0, np.linalg.qr(inverse @ vt[:rank].T)[0]
        lost = noise * (n - dx - 1) / (dx - rank)
        kept = float(np.sum((inverse @ vt[:rank].T) ** 2)) / (n - rank - 1)
        spread = float(np.sum(inverse**2))
        discarded = float(np.sum(tail**2)) + energy * kept + lost * (spread / (n - dx - 1) - kept)
        off = spread - float(np.sum((inverse @ rows) ** 2))
        outside = float(np.sum((tail - (tail @ rows) @ rows.T) ** 2)) + lost * off / (n - dx - 1)
    alignment = np.nan if reduced.pretrained is None else share * float(np.sum(reduced.pretrained * tail))
    return Robustness(
        problem, rank, discarded, outside, alignment, float(found.complexity[0]), float(found.correction[0])
    )


def less_robust_above(problem: Problem, rank: int, undone: float | int) -> float:
    """The complexity C_r above which LoRA is less robust where A0 = -T / theta on the tail; inf where it never is.

    `undone` theta > 0 is the share of A0 that the shift undoes there; a theta / (2 - a theta) of the module. Domain as
    `strong_limit_robustness`, with Sigma = c I in both regimes.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=4000, dx=20, dy=15, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.less_robust_above(problem, 2, 0.5):.3f}"
    '0.334'
    """
    theta = validation.nonnegative_number("undone", undone)
    if theta == 0:
        raise InvalidInput("undone", "a share above 0 of A0", undone, "A0 = 0 needs no threshold: LoRA is more robust")
    strong_limit_robustness(problem, rank)
    reduced = problem.without_null_inputs()
    if reduced.isotropic_scale is None:
        raise InvalidInput("input_covariance", "a multiple of the identity", "another", "use strong_limit_robustness")
    large = max(reduced.n, reduced.dx)
    share = theta * (large - 1) / (large - rank - 1)
    return share / (2 - share) if share < 2 else np.inf
