"""What one test says: a statistic of one case against the claim's prediction, or against a rival's."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from linreg_lora.claims.registry import Sample
from linreg_lora.claims.vocabulary import Verdict

#: Standard errors from which a mean is drawn again, and how many times as many draws each time takes.
SUSPICIOUS = 4.0
LOOKS = (1, 4, 16)


class Measured(NamedTuple):
    """One case of a claim's domain, what an experiment measured there, and what each prediction says of it."""

    case: Any
    sample: Sample
    predicted: dict[str, np.ndarray]

    def columns(self, prediction: str) -> np.ndarray:
        """A prediction (one number, one a draw, or one a draw and column) in the shape of the statistic."""
        values, shape = self.predicted[prediction], self.sample.statistic.shape
        return np.broadcast_to(values[:, None] if values.ndim == 1 else values, shape)


@dataclass(frozen=True)
class Comparison:
    """One test: a statistic of one case against the claim's prediction, or a rival's."""

    case: str
    column: str
    verdict: Verdict
    rejected: bool
    power: float
    """Probability of rejecting the prediction if the truth were the claim's (rivals), or of finding a discrepancy of
    `detects` (the claim's own); for pathwise claims' own the share of draws conditioned well enough to show one."""
    detectable: float
    """Relative discrepancy found with probability 0.99; for pathwise claims the rounding error allowed."""
    trials_needed: int
    """Draws that would find a discrepancy of `detects`."""
    numbers: dict[str, float]
    gap: float = 0.0
    """How far a rival's prediction is from the claim's, relative to what `detects` is relative to."""
