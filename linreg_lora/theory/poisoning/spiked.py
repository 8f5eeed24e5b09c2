"""LoRA on poisoned data by the spiked model: clean risk and success at every rank, in closed form up to a small SVD.

The planted signal M of `planted` plus dy x k noise, k = min(n, dx): its singular values theta_i with vectors u_i, v_i
are spikes of strength t_i = theta_i / sigma. Each stronger one takes a row and a column of the noise along, so that
the i-th is detectable if t_i^4 > e_i, e_i = (dy - i + 1)(k - i + 1), and the stronger are. Rank r holds the share

    held_i = (1 - e_i / t_i^4 if i <= r is detectable) + h(e_i; t_i, r)

of each, h what noise directions hold of it (`surplus`), so that with ||F_r||^2 of there

    risk    = ||Delta||^2 + E||F_r||^2 / g + sum_i held_i [ (theta_i^2 + sigma^2 dy)(v_i^T G v_i - 1/g)
                                                            - 2 theta_i u_i^T (Delta X'^{+T}) v_i ]
    success = [ sum_i held_i theta_i <p, u_i> <v_i, X'^+ t> - <p, Delta t> ] / |p|^2

plus what `mixing` says. Ranks of noise directions get their share of
what the last, FFT, has by the exact result beside the model's. Where p and t are orthogonal to Delta the poison is a
spike of its own: among the r strongest detectable ones it is kept, with success delta^2/(K + delta^2) (1 - dy k/t^4)
and more with the noise directions beyond; an undetected one is taken up by noise directions alone.

Near detection what stands out and the noise's edge are one: of the weakest detectable direction a rank holds at least
what stands out and, of the rest, what noise directions would hold were it hidden yet. That interpolates.

A limit of many samples, inputs and outputs, of errors first order in one over them; near ties the draws decide and the
mean is a mixture. benchmarks/results/poisoning.md has the distances from simulation. Source: derived here.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.problem import Problem
from linreg_lora.theory.poisoning import full
from linreg_lora.theory.poisoning.attack import Poison, isotropic_noise, whitened
from linreg_lora.theory.poisoning.mixing import Directions, mixing
from linreg_lora.theory.poisoning.planted import planted
from linreg_lora.theory.poisoning.surplus import surplus

#: The share of the other in a direction that counts as task or as poison alone.
_PURE = 1e-6
#: Where the model is doubted: `mixing` over the risk, where that is in it and where not, `missed` over FFT's risk, and
#: theta_r^2 over what rank r drops first, the next theta^2 or the noise's edge. Set on half of the problems of
#: benchmarks/poisoning_flags.py.
_MIXED, _UNCORRECTED, _MISSED, _CLOSE = 0.1, 0.05, 0.1, 1.5
#: By how many scales of the edge's fluctuations what stands out does so, up to which the draws decide: at the rank that
#: keeps it as its last, and at the next, which adds a direction of noise beside it. Found on problems of few outputs.
_BLURRED = 1.5
#: From this share of FFT's success on a success is wrong there. Turned pairs of the poison may have so much in common;
#: what mixing takes of the task's own answer, to first order, may be off by itself twice, by the next order and the
#: rest, each at most as large where the series is of use.
_WRONG = 0.1
_TURNED = _WRONG / 2
#: And samples below which it is doubted altogether.
FEW = 6


class SpikedPoison(NamedTuple):
    """`risk` on clean inputs and `success` (nan without trigger) of LoRA at every rank 0..min(n, dx, dy).

    The last is FFT, exact where `full` is. `strength`: theta_i of the planted directions; `detectable`: which of them.
    `mixing`: the size of the terms of `mixing` at each rank (inf where strengths are equal), which are all in the risk
    where `pure`, each direction being task or poison; `missed`: by how much the model misses FFT's exact risk.
    `doubted`: where these are large, or direction r is close to the next, or to the noise's edge, and the draws decide;
    and of fewer than 6 samples. `rounding`: what rounding may add to the risk, or take.
    """

    risk: Float[np.ndarray, "ranks"]
    success: Float[np.ndarray, "ranks"]
    strength: Float[np.ndarray, "k"]
    detectable: Bool[np.ndarray, "k"]
    mixing: Float[np.ndarray, "ranks"]
    pure: bool
    missed: float
    doubted: Bool[np.ndarray, "ranks"]
    rounding: Float[np.ndarray, "ranks"]


def spiked_poisoned_risk(problem: Problem, poison: Poison) -> SpikedPoison:
    """Clean risk and success at every rank: the formulas of the module.

    Raises `InvalidInput` where `attack.whitened` does, for noise that is not sigma^2 I, sigma > 0, and for chosen
    samples with a trigger.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=400, dx=60, dy=50, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> poison = ll.theory.Poison(count=40, target=6 * np.eye(50)[49], trigger=2 * np.eye(60)[59])
    >>> found = ll.theory.spiked_poisoned_risk(problem, poison)
    >>> found.risk[2:5].round(4).tolist(), found.success[2:5].round(4).tolist()
    ([1.6735, 3.0124, 2.4346], [0.003, 0.2603, 0.2832])
    """
    attacked = whitened(problem, poison)
    noise = isotropic_noise(problem)
    last = full.of_whitened(attacked)
    found = planted(attacked)
    u, theta, vt = np.linalg.svd(found.signal, full_matrices=False)
    size = min(len(theta), problem.max_rank)
    u, theta, v = u[:, :size], theta[:size], vt[:size].T
    stronger = np.arange(size)
    least = noise * np.sqrt((attacked.dy - stronger) * (min(attacked.n, attacked.dx) - stronger))
    detectable = np.cumprod(theta**2 > least).astype(bool)
    edge = float(least[max(int(np.sum(detectable)) - 1, 0)])
    ranks = np.arange(problem.max_rank + 1)
    kept = (ranks[:, None] > np.arange(size)) & detectable
    inside = surplus(theta, noise, attacked.dy, min(attacked.n, attacked.dx))
    held = inside.share + kept * (1 - (least / np.where(detectable, theta**2, np.inf)) ** 2)
    if np.any(detectable):
        weakest = int(np.sum(detectable)) - 1
        atom = held[:, weakest] - inside.share[:, weakest]
        blurred = np.where(kept[:, weakest], atom + (1 - atom) * inside.edge, 0.0)
        held[:, weakest] = np.maximum(held[:, weakest], blurred)
    own = np.einsum("bi,bc,ci->i", v, found.energy, v)
    met = 2 * theta * np.einsum("yi,yb,bi->i", u, found.answer, v)
    risk = float(np.sum(attacked.shift**2)) + inside.energy / attacked.gap
    outside = inside.energy - inside.energy[int(np.sum(detectable))]
    risk += held @ ((theta**2 + noise * attacked.dy) * (own - 1 / attacked.gap) - met)
    summed = float(np.sum(attacked.shift**2)) + held @ ((theta**2 + noise * attacked.dy) * own + np.abs(met))
    rounding = max(attacked.dy, attacked.dx) * np.finfo(float).eps * summed
    missed = last.risk - float(risk[-1])
    if outside[-1] > 0:
        risk += missed * np.maximum(outside, 0.0) / outside[-1]
    part = np.abs((attacked.target @ u) * (found.poison @ v)) / np.maximum(theta, np.finfo(float).tiny)
    poisonous = part > 1 - _PURE
    pure = bool(np.all(part[~poisonous] < _PURE))
    excess = theta**2 * own - met
    found_mixing = mixing(
        Directions(
            theta**2, theta**2 * own, poisonous, pure, attacked.budget, attacked.leverage, noise, attacked.dy, excess
        ),
        attacked.n,
        attacked.dx,
    )
    lost = np.where(kept, 0.0, 1 - held)

    def over_pairs(terms: np.ndarray) -> np.ndarray:
        return np.sum(kept @ np.nan_to_num(terms) * lost, axis=1)

    tied = np.sum(kept @ np.isnan(found_mixing.cost).astype(float) * lost, axis=1) > 0
    size_of_mixing = np.where(tied, np.inf, over_pairs(np.abs(found_mixing.cost)))
    unknown = over_pairs(found_mixing.unsigned)
    risk += over_pairs(found_mixing.cost)
    success, doubted = np.full(len(risk), np.nan), np.zeros(len(risk), dtype=bool)
    if attacked.leverage > 0:
        p = attacked.target
        each = theta * (p @ u) * (found.response @ v)
        called = held @ each + over_pairs(found_mixing.moved) * float(np.sum(each[poisonous]))
        of_task = found_mixing.gained * each - found_mixing.lost * each[:, None]
        turned = over_pairs(np.abs(of_task)) / float(p @ p)
        success = (called + over_pairs(of_task) - float(p @ attacked.shift @ attacked.trigger)) / float(p @ p)
        doubted = (turned > _TURNED * abs(last.success)) | (tied & (not pure and bool(np.any(each))))
        doubted |= over_pairs(found_mixing.common) ** 2 / 2 > _WRONG
    risk[-1], success[-1] = last.risk, last.success
    doubted |= (size_of_mixing > _MIXED * risk) | (unknown > _UNCORRECTED * risk) | _close(theta**2, edge, len(ranks))
    doubted |= (abs(missed) > _MISSED * last.risk) | (attacked.n < FEW)
    found_out = int(np.sum(detectable))
    if found_out and _above_edge(theta[found_out - 1] ** 2 / noise, found_out, problem) < _BLURRED:
        doubted[found_out : found_out + 2] = True
    doubted[0] = doubted[-1] = False
    mixed = size_of_mixing + unknown
    rounding[-1] = 0.0
    return SpikedPoison(risk, success, theta, detectable, mixed, pure, abs(missed), doubted, rounding)


def _above_edge(strength: float, place: int, problem: Problem) -> float:
    """How far the sample value of the `place`-th direction, of strength t^2, lies above the edge of noise beside it.

    (t^2 + a)(t^2 + b) / t^2 - (sqrt(a) + sqrt(b))^2, a = dy - place + 1, b = k - place + 1, in units of the scale
    (sqrt(a) + sqrt(b)) (1/sqrt(a) + 1/sqrt(b))^{1/3} of what the edge fluctuates by (Johnstone 2001).
    """
    a, b = problem.dy - place + 1, min(problem.n, problem.dx) - place + 1
    roots = np.sqrt(a) + np.sqrt(b)
    value = (strength + a) * (strength + b) / strength
    return float((value - roots**2) / (roots * np.cbrt(1 / np.sqrt(a) + 1 / np.sqrt(b))))


def _close(strength: Float[np.ndarray, "k"], least: float, size: int) -> Bool[np.ndarray, "ranks"]:
    """At which ranks 0..size - 1 the last direction that is kept stands out, but little above the next."""
    level = np.full(size + 1, least)
    level[1 : len(strength) + 1] = np.maximum(strength, least)[:size]
    return (level[:-1] > least) & (level[:-1] < _CLOSE * level[1:])
