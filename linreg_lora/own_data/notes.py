"""What to know of a user's data before believing their numbers, a sentence each."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from linreg_lora.own_data.choice import Choice, difference
from linreg_lora.own_data.deletion import Deletions, Design
from linreg_lora.own_data.samples import Samples

_FEW, _LEVERAGE, _NEAR = 15, 0.99, 2
#: Of all outputs' squares: more in one output is said.
_MOST = 0.9
#: Correlations of neighbouring rows beyond so many standard errors are no chance.
_DEPENDENT = 5.0


def of(given: Samples, at: Design, plain: Deletions, choice: Choice) -> Iterator[str]:
    """Notes; `plain`: deletions without ridge."""
    n, rank, ridge = at.samples, len(at.values), choice.curve.ridge
    spare = n - at.intercept - rank
    if n < _FEW:
        yield f"only {n} samples: trust the interval more than the rank"
    if abs(n - at.intercept - given.inputs.shape[1]) <= _NEAR and rank == min(n - at.intercept, given.inputs.shape[1]):
        yield (
            f"n - dx = {n - given.inputs.shape[1]}: next to the threshold the expected error without ridge is "
            "infinite or nearly; leave-one-out errors there are those of one sample less"
        )
    if rank < min(n - at.intercept, given.inputs.shape[1]):
        yield f"the inputs have rank {rank} only: constant, repeated or dependent columns, or repeated rows"
    if spare > 0 and np.max(at.leverage) > _LEVERAGE:
        row, count = int(np.argmax(at.leverage)), int(np.sum(at.leverage > _LEVERAGE))
        more = f", and {count - 1} more" if count > 1 else ""
        yield (
            f"row {row} has leverage {at.leverage[row]:.3f}{more}: a direction of the inputs is nearly its own; "
            "without ridge, new samples that use it can be far off"
        )
    sizes = np.sum(given.residual**2, axis=0)
    if sizes.size > 1 and np.max(sizes) > _MOST * np.sum(sizes):
        largest = int(np.argmax(sizes))
        yield (
            f"output {largest} makes up {sizes[largest] / np.sum(sizes):.1%} of the pretrained map's error, so that it "
            "decides the rank: scale the outputs if the others matter as much"
        )
    if given.groups is None:
        copies = n - len(np.unique(np.hstack([given.inputs, given.residual]), axis=0))
        if copies:
            yield f"{copies} rows are copies of others: leave-one-out errors are too small; pass groups"
        z = neighbours(plain.target if spare <= 0 else plain.missed * plain.weight[:, None])
        if z > _DEPENDENT:
            yield (
                f"rows next to one another have alike residuals ({z:.0f} standard errors): if they are a series, "
                "leave-one-out errors are too small; pass groups"
            )
    if spare <= 0:
        yield "every sample is fitted: the noise level is not known, and no excess risk is given"
    if ridge and choice.plain is not choice.curve:
        gain, stderr = difference(choice.curve, choice.rank, choice.plain, choice.plain.best_rank)
        yield f"the ridge lowers the leave-one-out error by {gain:.3g} +- {stderr:.2g}, best rank against best rank"


def neighbours(residual: Float[np.ndarray, "n dy"]) -> float:
    """The correlation of residuals of neighbouring rows, in standard errors of what independent rows would show.

    By inner products of rows: their mean over neighbours, over their root mean square over all pairs.
    """
    n = len(residual)
    centred = residual - np.mean(residual, axis=0)
    products = np.sum(centred[1:] * centred[:-1], axis=1)
    gram = np.sum((centred.T @ centred) ** 2) - np.sum(np.sum(centred**2, axis=1) ** 2)
    pairs = n * (n - 1)
    if gram <= 0:
        return 0.0
    return float((np.mean(products) + np.sum(centred**2) / pairs) / np.sqrt(gram / pairs / (n - 1)))
