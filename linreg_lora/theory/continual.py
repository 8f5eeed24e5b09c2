"""Tasks one after another: what full fine-tuning keeps of the first ones, and the problem that a next fit has.

Stage t starts from the map that stage t - 1 left, and has fresh data of task t. Without ridge, with P a projection on
the inputs that were seen, the total update is D_t = D_{t-1} (I - P) + Delta_t P + E X^+, so

    E D_t = (1 - p_t) E D_{t-1} + p_t Delta_t,      E ||D_t||^2 = (1 - p_t) E ||D_{t-1}||^2 + p_t ||Delta_t||^2 + nu_t
    p = min(1, n/dx),   nu = Tr Sigma_eps dx / (n - dx - 1) for n > dx + 1, Tr Sigma_eps n / (dx - n - 1) for n < dx - 1

in the metric of Sigma = c I; for stages that all have n > dx + 1, of any Sigma. Exact, for tasks in any number.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.composition import related


def sequential_fft(problems: Sequence[Problem]) -> Float[np.ndarray, "stages tasks"]:
    """Expected excess risk on every task after every stage of full fine-tuning, one task after another.

    `problems`: one a stage, ridgeless, with one Sigma and one A0, from which each Delta is measured; n, Delta and
    Sigma_eps of each its own. Row t, column j: the risk on task j after stage t; row 0 is before any. Forgetting of
    task 1 by task 2 is [2, 0] - [1, 0]. With n > dx nothing is left of earlier tasks; with n < dx a share 1 - n/dx.
    Raises `InvalidInput` for a ridge, for other covariances, and where a stage has no mean.

    >>> import linreg_lora as ll
    >>> first = ll.Problem(n=60, dx=40, dy=8, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> second = first.replace(n=10, spectrum=(1.0, 1.0))
    >>> ll.theory.sequential_fft([first, second]).round(2).tolist()
    [[13.0, 2.0], [16.84, 21.84], [16.64, 19.14]]
    """
    tasks = related(problems)
    for problem in tasks:
        if problem.ridge > 0:
            raise InvalidInput("ridge", "0 for full fine-tuning in sequence", problem.ridge, "simulate it")
        if problem.isotropic_scale is None and not all(one.regime is Regime.OVERDETERMINED for one in tasks):
            expected = "a multiple of the identity, or n > dx at every stage"
            raise InvalidInput("input_covariance", expected, "another", "simulate it (simulate_sequence)")
    sigma = tasks[0].sigma
    shifts = np.stack([problem.shift for problem in tasks])
    metric = np.einsum("idk,kl,jdl->ij", shifts, sigma, shifts, optimize=True)
    whole = np.diagonal(metric)
    share = np.zeros(len(tasks))  # E D as a combination of the shifts
    energy, risks = 0.0, [whole]
    for stage, problem in enumerate(tasks):
        p, noise = _seen(problem), _fitted_noise(problem)
        energy = (1 - p) * energy + p * whole[stage] + noise
        share *= 1 - p
        share[stage] += p
        risks.append(energy - 2 * share @ metric + whole)
    return np.stack(risks)


def after_merging(problem: Problem, update: object) -> Problem:
    """The problem of fine-tuning further: the base A0 + D, from which the task is Delta - D away.

    `update` D (dy x dx), what was merged: given D a next fit is one on this problem, exactly. Of LoRA: after a task of
    rank r1 the shift has rank up to r1 + r2, so that a next task costs rank.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> second = ll.Problem(n=120, dx=30, dy=20, spectrum=(2.0, 2.0), noise_std=0.5)
    >>> merged = np.zeros((20, 30))
    >>> merged[18, 28] = merged[19, 29] = 3.0
    >>> after = ll.theory.after_merging(second, merged)
    >>> ["{:.2f}".format(ll.expected_risk(one, ranks=[2]).risk[0]) for one in (second, after)]
    ['0.25', '8.52']
    """
    moved = validation.matrix("update", update, (problem.dy, problem.dx))
    if moved is None:
        raise InvalidInput("update", f"a dy x dx = {problem.dy} x {problem.dx} matrix", "nothing")
    base = None if problem.pretrained is None else problem.pretrained + moved
    return problem.replace(task_shift=problem.shift - moved, pretrained=base)


def _seen(problem: Problem) -> float:
    return min(1.0, problem.n / problem.input_rank)


def _fitted_noise(problem: Problem) -> float:
    n, dx = problem.n, problem.input_rank
    if problem.noise_trace == 0:
        return 0.0
    return problem.noise_trace * (dx / (n - dx - 1) if n > dx else n / (dx - n - 1) if n < dx else math.inf)
