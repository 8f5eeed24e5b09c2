"""Where an equivalent may be off by more than 1 %, and why.

The corrected equivalent of LoRA's risk, or forgetting, R at rank r leaves four errors, each with an estimate:

- the next order of the expansion, some square of the correction, delta^2 / R^2, and next to a threshold more than that:
  but where the threshold is known exactly (`threshold`), inside bands of noise, or of the shift, and without ridge on
  gaps;
- at a spectral edge: R is taken at the cut above which r directions lie in the mean, but the r strongest are kept in
  every draw. A cut that counts with variance v misplaces directions, each at a cost that grows with the slope of R, so
  that R is off by (v + delta N^2) R'' / 2. v = (log k + C) / pi^2 for the k-th direction of a band is the number
  variance of the Gaussian orthogonal ensemble, C = 1.56 from the means of its two largest eigenvalues. Of the r
  directions those that a gap separates are taken to lie above the band; where many are planted all r* of them are,
  for r <= r* none. delta N is by how many directions
  the correction moves the cut. It tends to 1/4 at an upper edge, where moving the cut is no linear matter;
- on a narrow gap, whose ends fluctuate, where one is about to open, and on one where the correction counts other than
  whole directions;
- at a planted direction that is about to be told from the noise, t next to (dy N)^{1/4} (`theory.spiked`), and has no
  gap below it: in some draws it stands out, in others it does not.

Source: derived here, but the number variance (Mehta 2004). How far unflagged numbers were off is measured by
`benchmarks/ugly_problems.py`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.problem import Problem
from linreg_lora.theory.contours.edges import band_of_noise, few_planted, number_variance
from linreg_lora.theory.contours.functionals import Functionals
from linreg_lora.theory.effective import distance_from_threshold
from linreg_lora.theory.fft import hard_edge
from linreg_lora.theory.truncation import numerical_rank

#: A correction of this share of the risk: its square is 0.5 %. How near a threshold a small one is doubted too.
_LARGE_CORRECTION, _NEXT_TO = 0.07, 6.0
#: The largest error at a spectral edge, as a share of the risk; and what is left of it where it is corrected (`edges`).
_EDGE, _LEFT = 0.005, 0.5
#: A gap is narrow below this times d^{-2/3}, d = min(n, dx, dy): a quarter of an edge's fluctuation (Tracy-Widom, 0.8
#: d^{-2/3} if square). More than `_MISCOUNTED` directions must not be missing on it, nor the correction move a cut by
#: more than `_MOVED` towards an upper edge.
_NARROW_GAP, _MISCOUNTED, _MOVED = 0.2, 0.02, 0.2
#: The least min(n, dx, dy) at which what is known exactly of a threshold was checked to be all that matters, without
#: ridge and with one.
_ENOUGH, _ENOUGH_WITH_RIDGE = 6, 12
#: A gap is about to open where the density at a cut is a fifth below that around it.
_OPENING = 1.25
#: Strengths of a direction, in units of the detection threshold, between which simulation found it off by up to 6 %;
#: and how much weaker the next one is there: where they follow one another closely they make a band of their own. The
#: last of several that are nearly equal is off up to a larger strength.
_MERGING, _WEAKER = (0.9, 1.6), 0.75
_MERGING_TIED, _TIED = 2.0, 0.9


def flags(
    problem: Problem,
    ranks: Int[np.ndarray, "m"],
    found: Functionals,
    raw: Float[np.ndarray, "m"],
    change: Float[np.ndarray, "m"],
    curvature: Float[np.ndarray, "m"],
) -> Bool[np.ndarray, "m"]:
    """Which of the interior `ranks` may be off by more than 1 %; `raw` R, its correction `change`, `curvature` R''."""
    above = found.separate
    if few_planted(problem) is None:
        above = numerical_rank(problem.whitened_spectrum, (problem.dy, problem.dx))
    place = np.where(ranks > above, ranks - above, ranks)
    # What is known of what a cut misplaces is known up to some of it.
    left = np.where(found.sharpened, _LEFT, 1.0)
    misplaced = left * (number_variance(place.astype(float)) + found.moved**2)
    edge = misplaced * np.abs(curvature) / 2 > _EDGE * np.abs(raw)
    narrow = (found.gap > 0) & (found.gap < _NARROW_GAP * problem.max_rank ** (-2 / 3))
    moved = np.where(found.gap > 0, np.abs(found.moved) > _MISCOUNTED, found.moved > _MOVED)
    opening = (found.gap == 0) & (found.spread > _OPENING)
    opening |= (found.gap == 0) & _merges(problem, ranks)
    large = np.abs(change) > _LARGE_CORRECTION * np.abs(raw)
    near = distance_from_threshold(problem) < _NEXT_TO
    # Inside a band the threshold is known; planted directions that merge with a band of noise are not.
    known = (found.gap == 0) & (found.sharpened | (band_of_noise(problem) is None))
    if problem.ridge == 0:
        known |= found.gap > 0
    enough = _ENOUGH if problem.ridge == 0 else _ENOUGH_WITH_RIDGE
    known &= hard_edge(problem) and problem.max_rank >= enough
    return edge | narrow | opening | moved | ((large | near) & ~known)


def _merges(problem: Problem, ranks: Int[np.ndarray, "m"]) -> Bool[np.ndarray, "m"]:
    """Whether the weakest direction that a rank keeps is one that noise has just swallowed, or nearly."""
    values = np.append(problem.whitened_spectrum, 0.0)
    before, weakest, following = (values[np.clip(ranks + k, 1, len(values)) - 1] for k in (-1, 0, 1))
    noise = np.sqrt(problem.noise_trace / problem.dy)
    threshold = noise * (problem.dy * min(problem.n, problem.dx)) ** 0.25 / np.sqrt(problem.n)
    alone = following < _WEAKER * weakest
    tied = (ranks > 1) & (weakest > _TIED * before)
    most = np.where(tied, _MERGING_TIED, _MERGING[1])
    return alone & (weakest > _MERGING[0] * threshold) & (weakest < most * threshold)
