"""Expected risks of BitFit and IA3, against simulation in NumPy and against the frozen factors they are cases of."""

import numpy as np
import pytest
from comparisons import critical_z

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.bitfit import bitfit_risk
from linreg_lora.theory.frozen import frozen_a_risk
from linreg_lora.theory.ia3 import ia3_risk

TRIALS = 10_000


def covariance(size, seed):
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    return (turn * np.geomspace(3, 0.3, size)) @ turn.T


def problem(n, **changes):
    """Shift and A0 that are neither aligned nor orthogonal."""
    rng = np.random.default_rng(5)
    settings = {
        "task_shift": 0.2 * rng.standard_normal((3, 20)), "pretrained": rng.standard_normal((3, 20)), "noise_std": 1.2,
        "input_covariance": covariance(20, 1), "noise_covariance": covariance(3, 2),
    }  # fmt: skip
    return Problem(n=n, dx=20, dy=3, **(settings | changes))


def simulate(case):
    """Risks of both methods on new data, by NumPy alone."""
    rng = np.random.default_rng(7)
    x = np.linalg.cholesky(case.sigma) @ rng.standard_normal((TRIALS, case.dx, case.n))
    noise = np.linalg.cholesky(case.sigma_eps) @ rng.standard_normal((TRIALS, case.dy, case.n))
    residual, features = case.shift @ x + noise, case.pretrained @ x
    scales = np.sum(residual * features, axis=2) / np.sum(features**2, axis=2)
    error = scales[:, :, None] * case.pretrained - case.shift
    ia3 = np.einsum("tij,jk,tik->t", error, case.sigma, error)
    bitfit = np.sum(residual.mean(axis=2) ** 2, axis=1) + np.einsum("ij,jk,ik", case.shift, case.sigma, case.shift)
    return bitfit, ia3


@pytest.mark.parametrize("n", [40, 16], ids=["n > dx", "n < dx"])
def test_simulation_agrees_and_rejects_neighbours(n):
    """False alarms LEVEL over both methods. IA3's risk has moments below n / 2: 8 of them at n = 16.

    IA3 with n - 1 or n in place of n - 2, and BitFit with n - 1 in place of n, are rejected at the smallest n.
    """
    case, bound = problem(n), critical_z(4)
    bitfit, ia3 = simulate(case)
    exact = ia3_risk(case)
    for draws, expected in ((bitfit, bitfit_risk(case).risk), (ia3, exact.risk)):
        stderr = draws.std(ddof=1) / np.sqrt(TRIALS)
        assert abs(draws.mean() - expected) <= bound * stderr
    if n == 16:
        stderr = ia3.std(ddof=1) / np.sqrt(TRIALS)
        for wrong in (n - 1, n):
            assert abs(ia3.mean() - exact.misspecification - exact.variance * (n - 2) / wrong) > bound * stderr
        learned = bitfit_risk(case).variance
        stderr = bitfit.std(ddof=1) / np.sqrt(TRIALS)
        assert abs(bitfit.mean() - case.pretrained_risk - learned * n / (n - 1)) > bound * stderr


@pytest.mark.parametrize("n", [24, 16])
def test_ia3_is_one_frozen_a_of_rank_1_an_output(n):
    """Each output alone, its row of A0 scaled to length 1 for A: another function, same sum."""
    case = problem(n)
    one_by_one = []
    for j in range(case.dy):
        alone = Problem(
            n=n, dx=case.dx, dy=1, task_shift=case.shift[[j]], noise_std=np.sqrt(case.sigma_eps[j, j]),
            input_covariance=case.input_covariance,
        )  # fmt: skip
        one_by_one.append(frozen_a_risk(alone, case.pretrained[[j]] / np.linalg.norm(case.pretrained[j])))
    exact = ia3_risk(case)
    np.testing.assert_allclose(exact.misspecification, sum(r.misspecification for r in one_by_one), rtol=1e-12)
    np.testing.assert_allclose(exact.variance, sum(r.variance for r in one_by_one), rtol=1e-12)


def test_by_hand():
    """Delta = diag(2, 1), A0 = I scaled: IA3 represents it. Two more outputs' worth of noise over n - 2."""
    case = Problem(n=6, dx=2, dy=2, spectrum=(2.0, 1.0), noise_std=2.0, pretrained=3 * np.eye(2))
    np.testing.assert_allclose(ia3_risk(case), (0.0, 8 / 4), rtol=0, atol=1e-15)
    np.testing.assert_allclose(bitfit_risk(case).risk, 5 + (5 + 8) / 6, rtol=1e-15)
    swapped = case.replace(pretrained=np.eye(2)[::-1])
    np.testing.assert_allclose(ia3_risk(swapped), (5.0, 13 / 4), rtol=1e-15)


def test_where_the_mean_of_ia3_does_not_exist():
    assert ia3_risk(problem(2)).risk == np.inf
    noiseless = Problem(n=2, dx=2, dy=1, spectrum=(1.0,), noise_std=0.0, pretrained=np.eye(1, 2))
    assert ia3_risk(noiseless).risk == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": None}, "pretrained: expected A0, a dy x dx matrix, received nothing"),
        ({"pretrained": np.zeros((3, 20))}, "pretrained: expected rows a_j with a_j Sigma a_j.T > 0"),
        ({"ridge": 1.0}, "ridge: expected 0, received 1.0"),
    ],
)
def test_what_ia3_needs(changes, message):
    with pytest.raises(InvalidInput, match=message.replace("^", r"\^")):
        ia3_risk(problem(24, **changes))
