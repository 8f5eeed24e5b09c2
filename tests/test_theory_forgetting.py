"""Forgetting by theory, against draws that are made here with NumPy alone."""

import numpy as np
import pytest
from comparisons import critical_z

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.equivalent import lora_equivalent
from linreg_lora.theory.forgetting import expected_forgetting, fft_forgetting

D, TRIALS = 24, 1500
RANKS = [1, 2, 6, 12]


def covariance(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0]
    return (turn * np.geomspace(3, 0.3, D)) @ turn.T


# Strong along a direction between the first right singular vector of Delta and a random one.
DIRECTION = np.eye(D)[0] + np.linalg.qr(np.random.default_rng(2).standard_normal((D, 1)))[0][:, 0]
PRETRAINING = 0.3 * covariance(1) + 2 * np.outer(DIRECTION, DIRECTION)
CASES = {
    "n > dx": Problem(n=72, dx=D, dy=16, spectrum=(3.0, 2.0), noise_std=1.0),
    "n > dx, Sigma": Problem(n=72, dx=D, dy=16, spectrum=(3.0, 2.0), noise_std=1.0, input_covariance=covariance(0)),
    "n < dx": Problem(n=13, dx=D, dy=16, spectrum=(5.0, 3.0), noise_std=1.0),
    "n < dx, variances": Problem(
        n=13, dx=D, dy=16, spectrum=(5.0, 3.0), noise_std=1.0, input_covariance=np.geomspace(3, 0.3, D)
    ),
    "n < dx, Sigma": Problem(n=13, dx=D, dy=16, spectrum=(5.0, 3.0), noise_std=1.0, input_covariance=covariance(0)),
    "ridge, Sigma": Problem(
        n=24, dx=D, dy=16, spectrum=(5.0, 3.0), noise_std=1.0, ridge=4.0, input_covariance=covariance(0)
    ),
}


def simulate(problem, ranks):
    rng = np.random.default_rng(9)
    root = np.linalg.cholesky(problem.sigma)
    x = root @ rng.standard_normal((TRIALS, problem.dx, problem.n))
    residual = problem.shift @ x + problem.noise_std * rng.standard_normal((TRIALS, problem.dy, problem.n))
    if problem.ridge > 0:
        gram = x @ x.mT + problem.ridge * np.eye(problem.dx)
        update = residual @ x.mT @ np.linalg.inv(gram)
    else:
        update = residual @ np.linalg.pinv(x)
    fit = update @ x @ residual.mT
    basis = np.linalg.eigh(fit + fit.mT)[1][:, :, ::-1]
    seen = basis.mT @ update
    rows = np.cumsum(np.sum((seen @ PRETRAINING) * seen, axis=2), axis=1)[:, np.array(ranks) - 1]
    return rows.mean(axis=0), rows.std(axis=0, ddof=1) / np.sqrt(TRIALS)


@pytest.mark.parametrize("name", CASES)
def test_simulation_agrees(name):
    """Sigma_pre commutes with nothing. False alarms 1e-6 over all ranks and cases, beyond errors of second order.

    Taking Sigma_pre = I scaled to the same trace is rejected at rank 1: the test sees Sigma_pre's directions.
    """
    problem = CASES[name]
    found = expected_forgetting(problem, RANKS, PRETRAINING)
    mean, stderr = simulate(problem, RANKS)
    allowed = critical_z(len(CASES) * len(RANKS)) * stderr
    second_order = np.maximum(0.01 * mean, (found.forgetting - found.raw) ** 2 / mean)
    error = np.abs(found.forgetting - mean)
    assert np.all(error <= allowed + second_order), (found.forgetting, mean, stderr)
    flat = expected_forgetting(problem, [1], np.full(D, np.trace(PRETRAINING) / D)).forgetting[0]
    assert abs(flat - mean[0]) > allowed[0] + second_order[0]


@pytest.mark.parametrize("name", CASES)
def test_fft_forgets_what_lora_forgets_at_full_rank(name):
    problem = CASES[name]
    found = expected_forgetting(problem, [0, problem.max_rank], PRETRAINING)
    assert found.forgetting.tolist() == [0.0, found.fft_forgetting]
    assert found.raw[1] == pytest.approx(fft_forgetting(problem, PRETRAINING)[0])
    mean, stderr = simulate(problem, [problem.max_rank])
    second_order = (found.forgetting[1] - found.raw[1]) ** 2 / mean[0]
    assert abs(found.fft_forgetting - mean[0]) <= critical_z(len(CASES)) * stderr[0] + second_order


def test_fft_by_hand():
    """The exact formulas: n > dx with matching diagonals, n < dx with Sigma_pre = I and with a single direction."""
    over = CASES["n > dx"].replace(input_covariance=np.repeat([2.0, 0.5], 12))
    before = np.repeat([3.0, 1.0], 12)
    expected = 3 * (9 + 4) + 16 * (12 * 1.5 + 12 * 2.0) / (72 - 24 - 1)
    assert fft_forgetting(over, before)[0] == pytest.approx(expected, rel=1e-13)
    under = CASES["n < dx"].replace(spectrum=(2.0,), input_covariance=np.full(D, 0.5))
    noise = 16 * 13 / (0.5 * (24 - 13 - 1))
    assert fft_forgetting(under)[0] == pytest.approx(4 * 13 / 24 + noise, rel=1e-13)
    # E P_11^2 = n (n + 2) / (dx (dx + 2)) for a uniformly distributed projection.
    found = fft_forgetting(under, np.eye(D)[0])[0]
    assert found == pytest.approx(4 * 13 * 15 / (24 * 26) + noise / 24, rel=1e-13)


def test_on_the_task_itself_forgetting_is_the_energy_of_the_update():
    problem = CASES["ridge, Sigma"]
    energy = lora_equivalent(problem, [1, 2, 6]).parts.energy
    np.testing.assert_allclose(expected_forgetting(problem, [1, 2, 6], problem.sigma).raw, energy, rtol=1e-9)


def test_a_diagonal_may_be_given_as_a_vector():
    problem, variances = CASES["n < dx, variances"], np.geomspace(1, 2, D)
    vector, matrix = (
        expected_forgetting(problem, [1, 2, 6], given).forgetting for given in (variances, np.diag(variances))
    )
    np.testing.assert_allclose(vector, matrix, rtol=1e-9)


def test_bad_input_is_one_line():
    problem = CASES["n > dx"]
    for bad, message in ((np.ones(3), "pretraining_covariance"), (-np.eye(D), "pretraining_covariance")):
        with pytest.raises(InvalidInput, match=message):
            expected_forgetting(problem, [1], bad)
    with pytest.raises(InvalidInput, match="full rank"):
        expected_forgetting(problem.replace(input_covariance=np.repeat([1.0, 0.0], D // 2)), [1])
    with pytest.raises(InvalidInput, match="the mean is infinite"):
        expected_forgetting(problem.replace(n=D), [1])


def test_at_the_threshold_without_noise_lora_forgets_what_the_shift_costs():
    """D is Delta from its rank on."""
    problem = CASES["n > dx"].replace(n=D, noise_std=0.0, spectrum=(2.0,))
    found = expected_forgetting(problem, [0, 1, 2, 16])
    assert found.forgetting.tolist() == [0.0, 4.0, 4.0, 4.0]
    assert found.note == ""
