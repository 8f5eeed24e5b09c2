"""Mean, variance and skewness of a stream, merged chunk by chunk in a fixed order."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass
class RunningMoments:
    """Count, mean and second and third central sums of each column of a stream of rows.

    Rows are merged chunk by chunk (Chan, Golub and LeVeque 1979; Pebay 2008). The result depends on the chunks and
    their order, so equal chunks give equal bits.
    """

    count: int
    mean: Float[np.ndarray, "columns"]
    second: Float[np.ndarray, "columns"]
    third: Float[np.ndarray, "columns"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "rows columns"]) -> "RunningMoments":
        """Moments of one chunk; at least one row."""
        mean = np.mean(rows, axis=0)
        deviation = rows - mean
        squared = deviation**2
        return cls(len(rows), mean, np.sum(squared, axis=0), np.sum(squared * deviation, axis=0))

    def merge(self, other: "RunningMoments") -> "RunningMoments":
        """Moments of this stream followed by the other."""
        a, b = self.count, other.count
        n = a + b
        delta = other.mean - self.mean
        third = (
            self.third
            + other.third
            + delta**3 * a * b * (a - b) / n**2
            + 3 * delta * (a * other.second - b * self.second) / n
        )
        second = self.second + other.second + delta**2 * a * b / n
        return RunningMoments(n, self.mean + delta * b / n, second, third)

    def columns(self, chosen: slice) -> "RunningMoments":
        """Moments of some of the columns."""
        return RunningMoments(self.count, self.mean[chosen], self.second[chosen], self.third[chosen])

    @property
    def stderr(self) -> Float[np.ndarray, "columns"]:
        """Standard error of the mean, s / sqrt(count); nan for a single row."""
        if self.count < 2:
            return np.full_like(self.mean, np.nan)
        return np.sqrt(self.second / (self.count - 1) / self.count)

    @property
    def skewness(self) -> Float[np.ndarray, "columns"]:
        """Sample skewness m_3 / m_2^{3/2}; 0 for a constant column."""
        scale = (self.second / self.count) ** 1.5
        return np.divide(self.third / self.count, scale, out=np.zeros_like(scale), where=scale > 0)
