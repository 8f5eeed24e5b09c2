"""Finding cuts and gaps, on spectra whose counting function is known."""

import numpy as np
import pytest

from linreg_lora.theory.resolvent.cuts import find_cuts
from linreg_lora.theory.resolvent.dyson import Cut


def semicircles(*bulks):
    """Evaluate(x) of a spectrum made of semicircles (mass, low, high), as `find_cuts` wants it."""

    def above(x, mass, low, high):
        u = np.clip((2 * x - low - high) / (high - low), -1, 1)
        return mass * (0.5 - (u * np.sqrt(1 - u**2) + np.arcsin(u)) / np.pi)

    def density(x, mass, low, high):
        u = (2 * x - low - high) / (high - low)
        return np.where(np.abs(u) < 1, mass * 4 / np.pi / (high - low) * np.sqrt(np.clip(1 - u**2, 0, None)), 0.0)

    def evaluate(x, right):
        evaluated.append(len(x))
        count = sum(above(x, *bulk) - above(right, *bulk) for bulk in bulks)
        slope = x * sum(density(x, *bulk) for bulk in bulks)
        ones = np.ones(len(x))
        return Cut(x, count[:, None], slope[:, None], 0 * ones, ones > 0)

    evaluated = []
    return evaluate, evaluated


def test_every_rank_and_every_gap():
    evaluate, evaluated = semicircles((1, 90, 110), (1, 50, 60), (20, 2, 10))
    ranks = np.arange(1.0, 22.0)
    found = find_cuts(evaluate, ranks, 1e-10, 200.0, 100, 1e-6)
    assert np.max(np.abs(found.cut.values[:, 0] - ranks)) <= 1e-6
    assert (found.width > 0).tolist() == [True, True] + [False] * 19
    # Halfway in log x, as well as the ends are known (80 %).
    assert 0.8 * np.log(90 / 60) < found.width[0] <= np.log(90 / 60)
    for x, low, high in zip(found.cut.x, (60, 10), (90, 50), strict=False):
        assert abs(np.log(x) - np.log(low * high) / 2) < 0.2 * np.log(high / low)
    assert sum(evaluated) < 64 + 8 * len(ranks) + 20 * 64


@pytest.mark.parametrize("gap", [1e-2, 1e-4])
def test_narrow_gaps(gap):
    """A gap narrower than 0.1 % does not count."""
    evaluate, _ = semicircles((3, 10, 20), (4, 5, 10 / (1 + gap)))
    found = find_cuts(evaluate, np.array([2.0, 3.0, 5.0]), 1e-10, 50.0, 100, 1e-6)
    assert (found.width > 0).tolist() == [False, gap > 1e-3, False]


def test_values_add_up_over_wide_gaps():
    """From above a wide gap to its inside, and from there on: as if measured at once, and never across three scales."""
    evaluate, _ = semicircles((1, 9e5, 1.1e6), (2, 90, 110), (5, 1e-3, 2e-3))
    ratios = []

    def watched(x, right):
        ratios.extend(right / x)
        return evaluate(x, right)

    found = find_cuts(watched, np.arange(1.0, 8.0), 1e-7, 2e6, 100, 1e-6)
    np.testing.assert_allclose(found.cut.values[:, 0], np.arange(1.0, 8.0), rtol=0, atol=1e-6)
    assert (found.width > 0).tolist() == [True, False, True, False, False, False, False]
    assert np.median(ratios) < 100
