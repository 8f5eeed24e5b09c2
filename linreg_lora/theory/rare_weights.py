"""Rare draws of weights that carry a mean or a variance: too few samples of large weight for the inputs.

K of n samples draw a weight of at least w, K ~ Binomial(n, q), or K is given. With K near rank(Sigma) the design is
held up by the other samples alone, which act as a ridge of about the sum of their weights: it is worse conditioned by

    ratio = K (sum of the weights below w) / w

if that is below 1 (`theory.heavy_tails`, inputs and samples exchanged). Where K is usually larger, and such draws are
rare, the mean risk moves by a share of about P(K <= rank + 1) / ratio, which no expansion around the usual K sees.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora.input_law import Weighted
from linreg_lora.problem import Problem

#: Distances from the threshold at which the variance is infinite without a floor, and shares that do not matter.
_REACH, _NEGLIGIBLE = 3, 1e-3
_DRAWS_AT_THE_FLOOR = 30


class RareWeights(NamedTuple):
    """`mean`: the share by which rare draws may move a mean; `share` of the draws that feel the floor, `weight` w."""

    mean: float
    share: float
    weight: float


def rare_weights(problem: Problem) -> RareWeights | None:
    """What rare weights may do to a problem, at the weight where they do most; None: nothing that matters."""
    law = problem.input_law
    if not isinstance(law, Weighted) or problem.noise_trace == 0:
        return None
    from scipy.special import bdtr, gammaln, xlog1py, xlogy

    n, rank = problem.n, problem.input_rank
    if n <= rank:
        return None
    w, _, p, drawn = law.scales(n)
    order = np.argsort(w)
    w, p = w[order], p[order]
    above = np.append(np.cumsum(p[::-1])[::-1], 0.0)
    below = np.append(0.0, np.cumsum(p * w))
    found = []
    for i in range(1, len(w)):
        if w[i] == w[i - 1]:
            continue
        k = np.arange(max(1, rank - _REACH), min(n, rank + _REACH) + 1)
        choices = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        floor = problem.ridge / float(np.max(w)) + n * below[i]
        ratio = np.minimum(1.0, floor * k / w[i])
        if np.all(ratio == 1):
            continue
        count = n * above[i]
        chance = (
            np.exp(choices + xlogy(k, above[i]) + xlog1py(n - k, -above[i]))
            if drawn
            else (k == round(count)).astype(float)
        )
        felt = chance * ratio ** ((np.abs(k - rank) + 1) / 2)
        matters = count > rank - _REACH and float(np.sum(felt / ratio**2)) > _NEGLIGIBLE
        mean = float(bdtr(rank + 1, n, above[i]) / np.min(ratio)) if drawn and count > rank + 1 else 0.0
        if matters or mean > _NEGLIGIBLE:
            found.append(RareWeights(mean, float(np.sum(felt)), float(w[i])))
    return max(found, key=lambda one: one.mean / max(one.share, 1e-300), default=None)


def unfelt_weights(problem: Problem, trials: int) -> str:
    """A note where `trials` draws cannot see the weights that carry a variance, else empty."""
    found = rare_weights(problem)
    if found is None or trials * found.share >= _DRAWS_AT_THE_FLOOR:
        return ""
    return (
        f"no standard error: draws with about rank(Sigma) = {problem.input_rank} samples of weight {found.weight:.3g} "
        f"or more are a share of some {found.share:.1g}, too few of {trials}; raise ridge or trials, or move n"
    )
