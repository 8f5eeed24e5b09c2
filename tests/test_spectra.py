"""Spectra: each family against its formula, and ranks that count what they say."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from comparisons import assert_means_agree

from linreg_lora import spectra
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem


def test_low_rank_is_flat():
    assert spectra.low_rank(3) == (1.0, 1.0, 1.0)
    assert spectra.low_rank(2, 0.5) == (0.5, 0.5)
    assert spectra.low_rank(2, 0.0) == (0.0, 0.0)


def test_power_law_counts_from_one():
    np.testing.assert_allclose(spectra.power_law(4, 2.0, 3.0), [3.0, 3 / 4, 3 / 9, 3 / 16], rtol=1e-15)
    assert spectra.power_law(3, 0.0) == (1.0, 1.0, 1.0)


def test_exponential_counts_from_zero():
    """i = 0..size-1, as in the published figure s_i = 5 exp(-lambda i): the first value is the scale itself."""
    values = spectra.exponential(5, 0.5, 5.0)
    assert values[0] == 5.0
    np.testing.assert_allclose(values, [5 * np.exp(-0.5 * i) for i in range(5)], rtol=1e-15)
    assert spectra.exponential(3, 0.0, 2.0) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("family", [spectra.power_law, spectra.exponential])
def test_families_are_spectra_of_a_problem(family):
    values = family(6, 1.3, 2.0)
    assert all(type(value) is float for value in values)
    assert Problem(n=9, dx=6, dy=8, spectrum=values, noise_std=1.0).spectrum == values


# -- Gaussian factors -------------------------------------------------------------------------------------------


def test_gaussian_factors_have_energy_dx_dy():
    """E ||Delta||_F^2 = dx dy at level 1e-6. Without the 1/sqrt(rank) it would be 80 standard errors off or more."""
    dx, dy, rank, seeds = 6, 5, 2, 4000
    energy = np.array([np.sum(spectra.gaussian_factors(dx, dy, rank, seed) ** 2) for seed in range(seeds)])
    stderr = energy.std(ddof=1) / np.sqrt(seeds)
    assert_means_agree(energy.mean(), stderr, dx * dy, 0.0)
    assert dx * dy / stderr > 80


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_gaussian_factors_have_their_rank_and_shape(rank):
    matrix = spectra.gaussian_factors(6, 5, rank, seed=0)
    assert matrix.shape == (5, 6)
    assert np.linalg.matrix_rank(matrix) == rank


def test_gaussian_factors_are_a_function_of_the_seed():
    first, again, other = (spectra.gaussian_factors(6, 5, 2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


# -- from a matrix ----------------------------------------------------------------------------------------------


def test_from_matrix_recovers_planted_singular_values():
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (5, 7))
    planted = np.array([4.0, 2.0, 1.0, 0.5, 0.25])
    matrix = (u * planted) @ v[:5]
    # Singular values are perfectly conditioned: absolute error a small multiple of eps s_1.
    np.testing.assert_allclose(spectra.from_matrix(matrix), planted, rtol=0, atol=1e-14 * planted[0])
    np.testing.assert_allclose(spectra.from_matrix(matrix.T, rank=2), planted[:2], rtol=0, atol=1e-14 * planted[0])
    assert len(spectra.from_matrix(matrix, rank=9)) == 5
    assert spectra.from_matrix(matrix, rank=0) == ()


# -- ranks ------------------------------------------------------------------------------------------------------

SPECTRA = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8).map(lambda v: tuple(sorted(v, reverse=True)))
RANKS = [spectra.stable_rank, spectra.effective_rank]


@pytest.mark.parametrize("rank", RANKS)
def test_a_flat_spectrum_has_its_own_length_as_rank(rank):
    for size in (1, 2, 7):
        np.testing.assert_allclose(rank((3.0,) * size), size, rtol=1e-14)


@pytest.mark.parametrize("rank", RANKS)
def test_no_shift_has_rank_zero(rank):
    assert rank(()) == 0.0
    assert rank((0.0, 0.0)) == 0.0


def test_ranks_against_hand_values():
    assert spectra.stable_rank((2.0, 1.0, 1.0)) == 1.5
    np.testing.assert_allclose(spectra.effective_rank((2.0, 1.0, 1.0)), np.exp(1.5 * np.log(2)), rtol=1e-14)


@pytest.mark.parametrize("rank", RANKS)
@hypothesis.settings(deadline=None, derandomize=True, max_examples=60)
@hypothesis.given(values=SPECTRA, scale=st.floats(1e-3, 1e3))
def test_ranks_ignore_scale_and_zeros_and_lie_between_one_and_the_count(rank, values, scale):
    """Rounding: at most a few eps a term, against values >= 1."""
    value = rank(values)
    assert 1 - 1e-13 <= value <= len(values) + 1e-13
    np.testing.assert_allclose(rank(tuple(scale * v for v in values)), value, rtol=1e-13)
    np.testing.assert_allclose(rank((*values, 0.0, 0.0)), value, rtol=1e-13)


@pytest.mark.parametrize("rank", RANKS)
def test_a_vanishing_direction_does_not_count(rank):
    weak = [rank((1.0, s)) - 1 for s in (1e-2, 1e-4, 1e-6)]
    assert weak[0] > weak[1] > weak[2] > 0
    assert weak[2] < 1e-4
    np.testing.assert_allclose(rank((1e30, 1e-300)), 1.0, rtol=1e-14)


# -- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: spectra.low_rank(0), "rank"),
        (lambda: spectra.low_rank(2.0), "rank"),
        (lambda: spectra.low_rank(2, -1.0), "strength"),
        (lambda: spectra.power_law(0, 1.0), "size"),
        (lambda: spectra.power_law(True, 1.0), "size"),
        (lambda: spectra.power_law(3, -1.0), "exponent"),
        (lambda: spectra.power_law(3, 1.0, float("nan")), "scale"),
        (lambda: spectra.exponential(-1, 1.0), "size"),
        (lambda: spectra.exponential(3, float("inf")), "rate"),
        (lambda: spectra.exponential(3, 1.0, "2"), "scale"),
        (lambda: spectra.gaussian_factors(0, 5, 1, 0), "dx"),
        (lambda: spectra.gaussian_factors(5, 0, 1, 0), "dy"),
        (lambda: spectra.gaussian_factors(6, 5, 0, 0), "rank"),
        (lambda: spectra.gaussian_factors(6, 5, 6, 0), "rank"),
        (lambda: spectra.gaussian_factors(6, 5, 2, -1), "seed"),
        (lambda: spectra.gaussian_factors(6, 5, 2, None), "seed"),
        (lambda: spectra.from_matrix([1.0, 2.0]), "matrix"),
        (lambda: spectra.from_matrix("abc"), "matrix"),
        (lambda: spectra.from_matrix([[1.0, np.nan]]), "matrix"),
        (lambda: spectra.from_matrix(np.eye(2) * 1j), "matrix"),
        (lambda: spectra.from_matrix(np.eye(3), rank=-1), "rank"),
        (lambda: spectra.from_matrix(np.eye(3), rank=1.5), "rank"),
        (lambda: spectra.stable_rank((1.0, 2.0)), "spectrum"),
        (lambda: spectra.stable_rank(3.0), "spectrum"),
        (lambda: spectra.effective_rank((-1.0,)), "spectrum"),
        (lambda: spectra.effective_rank((np.nan,)), "spectrum"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, field):
    with pytest.raises(InvalidInput, match=f"^{field}: expected .*, received ") as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
