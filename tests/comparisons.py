"""Two-sample and one-sample comparisons whose false-alarm level is stated, for tests that draw."""

import numpy as np
import scipy.stats

#: Family-wise false-alarm level of one test function; split over its comparisons.
LEVEL = 1e-6


def critical_z(comparisons: int, level: float = LEVEL) -> float:
    """Two-sided normal critical value, Bonferroni over `comparisons`."""
    return float(scipy.stats.norm.isf(level / comparisons / 2))


def assert_means_agree(first, first_stderr, second, second_stderr, comparisons: int | None = None) -> None:
    """|first - second| <= z joint standard errors, elementwise, at family-wise level LEVEL."""
    first, second = np.atleast_1d(first), np.atleast_1d(second)
    joint = np.sqrt(np.square(first_stderr) + np.square(second_stderr))
    z = np.abs(first - second) / joint
    bound = critical_z(comparisons or first.size)
    assert np.all(z <= bound), f"z = {z} against {bound:.2f}; {first} against {second}, joint stderr {joint}"
