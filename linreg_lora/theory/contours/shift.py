"""The cuts at which corrected counts are whole: N(x) + delta N(x) = r.

delta N is large next to an upper edge, where it tends to 1/4 like one over a square root, so that moving a cut by
-delta N / (dN / dx) is not good enough there. Newton's method solves for the cut itself, with delta N = Im delta Psi /
pi (`correction`); its slope is the density of the corrected spectrum.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.theory.contours.points import Points

_STEPS, _LONGEST = 12, 0.3
#: Closer than this the count is right. By how much at most a cut is moved, in directions.
_CLOSE, _FARTHEST = 1e-9, 0.3

#: delta N and its density, -d delta N / d log x, at points of the real axis.
Moved = Callable[[Points], tuple[np.ndarray, np.ndarray]]


def shifted(
    evaluate: Callable[..., Points],
    moved: Moved,
    cut: Points,
    ranks: Float[np.ndarray, "m"],
    start: Float[np.ndarray, "m"],
) -> tuple[Points, Bool[np.ndarray, "m"]]:
    """Cuts with N + delta N = ranks, from cuts with N = ranks where delta N is `start`, and which were found.

    delta N is known up to halves: of its values the one next to the last is taken.
    """
    at, delta, found = cut, start.copy(), np.zeros(len(ranks), dtype=bool)
    density = cut.density[:, 0]
    for _ in range(_STEPS):
        error = at.count + delta - ranks
        found = np.abs(error) < _CLOSE
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(found, 0.0, np.clip(error / density, -_LONGEST, _LONGEST))
        usable = np.isfinite(step)
        if np.all(found | ~usable):
            break
        at = evaluate(at.x * np.exp(np.where(usable, step, 0.0)), at)
        new, more = moved(at)
        delta = new + np.round(2 * (delta - new)) / 2
        density = at.density[:, 0] + more
    found = np.abs(at.count + delta - ranks) < _CLOSE
    near = np.abs(at.count - ranks) < _FARTHEST
    return at, found & near & at.solved & (density > 0)
