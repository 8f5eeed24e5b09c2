"""Each reason for a flag by itself; that flags are where errors are is for `test_ugly_problems`."""

import numpy as np
import pytest

from linreg_lora import Problem
from linreg_lora.theory.contours import doubt
from linreg_lora.theory.contours.functionals import Functionals
from linreg_lora.theory.equivalent import lora_equivalent

#: Noise that differs by output: no threshold is known exactly.
FAR = Problem(n=200, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=1.0, noise_covariance=np.repeat([1.0, 1.2], 15))
#: A rank in the bulk, R = 1: far from edges and gaps, little corrected.
BULK = {"gap": 0.0, "spread": 1.0, "moved": 0.0, "change": 0.01, "curvature": 0.0, "sharpened": False}


def flagged(problem=FAR, rank=12, **changes):
    at = {**BULK, **changes}
    four, one = np.zeros((1, 4)), np.zeros(1)
    found = Functionals(
        four, four, one + at["gap"], four, one + at["spread"], one + at["moved"], {}, one + at["sharpened"] > 0
    )
    return bool(doubt.flags(problem, np.array([rank]), found, one + 1, one + at["change"], one + at["curvature"])[0])


@pytest.mark.parametrize(
    ("below", "beyond"),
    [
        ({"change": 0.069}, {"change": 0.071}),
        ({"change": -0.069}, {"change": -0.071}),
        ({"spread": 1.2}, {"spread": 1.3}),
        ({"moved": 0.19}, {"moved": 0.21}),
        ({"moved": -0.25}, {"moved": 0.25}),
        ({"gap": 1.0, "moved": 0.019}, {"gap": 1.0, "moved": -0.021}),
        ({"gap": 0.3}, {"gap": 0.01}),
        ({"gap": 1.0, "spread": 2.0}, {"spread": 2.0}),
        ({}, {"curvature": np.inf}),
        ({}, {"problem": FAR.replace(n=54)}),
        ({"problem": FAR.replace(n=55)}, {"problem": FAR.replace(n=53)}),
    ],
)
def test_each_reason_by_itself(below, beyond):
    assert not flagged(**below)
    assert flagged(**beyond)


@pytest.mark.parametrize(("rank", "place"), [(2, 2), (3, 1), (12, 10)])
def test_what_a_cut_misplaces_by_hand(rank, place):
    """(log k + 1.56) / (2 pi^2) R'' against 0.5 % of R, k counted from the planted directions on beyond them."""
    limit = 0.005 * 2 * np.pi**2 / (np.log(place) + 1.56)
    for sign in (-1, 1):
        assert not flagged(rank=rank, curvature=0.99 * sign * limit)
        assert flagged(rank=rank, curvature=1.01 * sign * limit)


def test_inside_a_band_of_noise_a_known_threshold_is_no_reason():
    """Neither its distance nor the size of the correction, in a band; on a gap, or among few dimensions, both are."""
    near = Problem(n=43, dx=40, dy=30, spectrum=(3.0, 2.0), noise_std=1.0)
    assert not flagged(problem=near, change=0.5, sharpened=True)
    assert not flagged(problem=near.replace(ridge=0.01), change=0.5, sharpened=True)
    assert flagged(problem=near, change=0.01)
    assert flagged(problem=near, gap=1.0)
    assert flagged(problem=near.replace(dy=11), rank=8, sharpened=True)


def test_what_a_cut_misplaces_is_half_known_where_it_is_corrected():
    limit = 0.005 * 2 * np.pi**2 / (np.log(10) + 1.56)
    assert flagged(curvature=1.01 * limit)
    assert not flagged(curvature=1.99 * limit, sharpened=True)
    assert flagged(curvature=2.01 * limit, sharpened=True)


def test_below_the_edge_of_pure_noise():
    """Simulated, rank 1 is 1.8 % off, rank 4 0.4 %, rank 12 0.2 %, with standard errors of 0.1 to 0.3 %."""
    noise = Problem(n=100, dx=25, dy=25, spectrum=(), noise_std=1.0)
    assert lora_equivalent(noise, [1, 4, 12]).flagged.tolist() == [True, False, False]
