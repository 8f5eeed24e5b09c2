"""What experiments of claims measure, beside closed forms, limits and plain NumPy: what no verdict would show."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

import linreg_lora as ll
from linreg_lora.claims.library import fitted_spectra, intruder_maps, known_subspaces, plain_data, rank_selection
from linreg_lora.claims.library.ranks_part import _left_by_vectors
from linreg_lora.claims.papers.bunea_2011 import selection
from linreg_lora.claims.papers.kargin_2014 import levels
from linreg_lora.claims.registry import MatrixSize, Sample

ANISOTROPIC = ll.Problem(
    n=60, dx=14, dy=9, spectrum=(3.0, 2.0), noise_std=4.0, input_covariance=np.geomspace(0.3, 5, 14)
)


# -- the laws of largest singular values ----------------------------------------------------------------------------


def tracy_widom(beta, at, nodes):
    """F_1 = det(1 - V), V(x, y) = Ai((x + y) / 2 + s) / 2, and F_2 = det(1 - K), K Airy's kernel, by Gauss's rule on
    the sixteen units above s, beyond which the kernels are below 1e-16 (Bornemann 2010)."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    x, roots = 8 * (x + 1) + at, np.sqrt(8 * weights)
    if beta == 1:
        kernel = scipy.special.airy((x[:, None] + x) / 2)[0] / 2
    else:
        value, slope, _, _ = scipy.special.airy(x)
        apart = x[:, None] - x + np.eye(nodes)
        kernel = (np.outer(value, slope) - np.outer(slope, value)) / apart + np.diag(slope**2 - x * value**2)
    return np.linalg.det(np.eye(nodes) - roots[:, None] * kernel * roots)


@pytest.mark.parametrize(("beta", "at"), [(1, 0.0), (1, -1.26857), (2, 0.0), (2, -1.26857)])
def test_a_rule_of_more_nodes_has_the_same_tracy_widom_law(beta, at):
    np.testing.assert_allclose(tracy_widom(beta, at, 40), tracy_widom(beta, at, 60), rtol=1e-12)


def test_limits_of_how_often_noise_is_selected_are_those_of_the_tracy_widom_laws():
    """To half a unit of the last digit: the constants have ten, and seven."""
    size, sample = MatrixSize(5, 5), Sample(np.zeros((2, 1)))
    assert selection.noise_selected_limit(size, sample) == pytest.approx(1 - tracy_widom(1, 0.0, 60), abs=5.1e-11)
    assert selection.noise_selected_complex(size, sample) == pytest.approx(1 - tracy_widom(2, 0.0, 60), abs=5.1e-11)
    quantile = -1.26857
    assert levels.complex_law(size, sample) == pytest.approx(1 - tracy_widom(2, quantile, 60), abs=5.1e-8)
    assert levels.gaussian(size, sample) == pytest.approx(scipy.stats.norm.sf(quantile), abs=5.1e-8)


def test_the_quantile_that_noise_exceeds_in_half_of_the_cases_is_the_median_to_its_last_digit():
    above = levels.median(MatrixSize(5, 5), Sample(np.zeros((2, 1))))
    assert tracy_widom(1, -1.26857 - 1e-5, 60) < 1 - above < tracy_widom(1, -1.26857 + 1e-5, 60)


@pytest.mark.parametrize(("rows", "columns"), [(300, 300), (150, 450)])
def test_the_leading_rows_decide_whether_noise_exceeds_its_edge(rows, columns):
    """On the same draws, from a third of the rows and fewer; ten of them are too few."""
    edge = (rows**0.5 + columns**0.5) ** 2
    leading, every = (rank_selection._exceeds(rows, columns, 4096, 3, edge, lengths) for lengths in (8.0, 1e9))
    np.testing.assert_array_equal(leading, every)
    too_few = rank_selection._exceeds(rows, columns, 4096, 3, edge, 0.0)
    assert np.all(too_few <= every)
    assert np.any(too_few < every)


# -- spectra, and updates that forget alike -------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_directions_that_hold_a_share_of_the_energy_leave_the_rest(share):
    """The least k for which the best approximation of rank k is within 1 - share, by truncation at every k."""
    found = fitted_spectra.rank_of_energy(ANISOTROPIC, 24, 4, share=share).statistic[:, 0]
    for needed, x, residual in zip(found, *plain_data.reduced(ANISOTROPIC, 24, 4), strict=True):
        moved = np.linalg.lstsq(x.T, residual.T)[0].T @ ANISOTROPIC.sigma_sqrt
        left = [np.sum((moved - truncated(moved, k)) ** 2) for k in range(10)]
        assert needed == np.flatnonzero(np.array(left) <= (1 - share) * np.sum(moved**2))[0]
    assert 1 < np.mean(found) < 9


def truncated(matrix, rank):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


def test_updates_that_forget_alike_do_so_on_anisotropic_inputs():
    """Each is scaled until ||a D Sigma^{1/2}||^2 is a share of A0's risk, then its risk is taken."""
    at, share = ANISOTROPIC, 0.3
    risks, cosines = intruder_maps._at_equal_forgetting(at, 16, 5, 2, share)
    moves = plain_data.full_and_truncated(*plain_data.reduced(at, 16, 5), 2)[::-1]
    for found, cosine, updates in zip(risks, cosines, moves, strict=True):
        forgotten = np.array([np.trace(one @ at.sigma @ one.T) for one in updates])
        scaled = updates * np.sqrt(share * at.pretrained_risk / forgotten)[:, None, None]
        np.testing.assert_allclose(found, plain_data.risks(at, scaled), rtol=1e-10)
        along = np.array([np.trace(one @ at.sigma @ at.shift.T) for one in updates])
        np.testing.assert_allclose(cosine, along / np.sqrt(forgotten), rtol=1e-10)


# -- what a source leaves to learn, and vectors of scales -------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_lora_of_an_estimated_map_leaves_the_tail_of_its_error_as_samples_grow(rank):
    """As n grows LoRA learns the leading part of (Delta - E) Sigma^{1/2}, E the error of pretraining, and no more.

    The leading part has the least risk of its rank, so what n samples miss is of order 1/n.
    """
    at = ANISOTROPIC.replace(n=10**13)
    x, residual = plain_data.reduced(at, 8, 6)
    found = plain_data.risks(at, known_subspaces._from_an_estimate(at, x, residual, rank, 40, 6))
    for risk, inputs, targets in zip(found, *plain_data.reduced(at.replace(n=40), 8, 7), strict=True):
        # Samples of pretraining have the map Delta + noise; its noise alone is what A0 has wrong.
        error = np.linalg.lstsq(inputs.T, (targets - at.shift @ inputs).T)[0].T
        to_learn = (at.shift - error) @ at.sigma_sqrt
        np.testing.assert_allclose(risk, np.sum((to_learn - truncated(to_learn, rank)) ** 2), rtol=1e-9)


@pytest.mark.parametrize(("size", "rank"), [(MatrixSize(6, 12), 1), (MatrixSize(1, 12), 4)])
def test_vectors_of_scales_leave_what_a_misses_where_either_vector_learns_all_of_its_side(size, rank):
    """At rank one b B is any column; with one output b B d is any row of coefficients."""
    least, missed, inner = _left_by_vectors(size, 64, 7, rank)
    np.testing.assert_allclose(least, missed, rtol=1e-9)
    if size.rows == 1:
        np.testing.assert_allclose(inner, missed, rtol=1e-9)
    assert np.all(inner >= missed - 1e-9)
