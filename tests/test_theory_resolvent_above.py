"""The JAX twin under `grad` and `jit`, against sensitivities by implicit differentiation in NumPy."""

import jax
import numpy as np
import pytest

import linreg_lora as ll
from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.resolvent.above import at_rank, cut, theta, with_noise

#: One with blocks of scalars, one with matrices.
PROBLEMS = {
    "scalars": Problem(n=40, dx=16, dy=10, spectrum=(3.0, 2.0, 1.0), noise_std=0.8, ridge=3.0),
    "matrices": Problem(
        n=30, dx=8, dy=5, task_shift=np.random.default_rng(1).normal(size=(5, 8)) / 2, noise_std=0.7, ridge=1.5,
        input_covariance=np.diag(np.linspace(0.5, 2, 8)) + 0.1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("scalars", 4),
        *(pytest.param(name, rank, marks=pytest.mark.heavy) for name in PROBLEMS for rank in (1, 3)),
        pytest.param("matrices", 4, marks=pytest.mark.heavy),
    ],
)
def test_jax_differentiates_what_sensitivity_does(name, rank):
    """On gaps and in bands. Both are raw; contours of either are good to some 1e-9 of the shift."""
    problem = PROBLEMS[name]
    parameters, place = theta(problem), cut(problem, rank)

    def risk(n, ridge, sigma):
        moved = with_noise(parameters._replace(n=n, ridge=ridge), problem, sigma)
        _, energy, overlap, _ = at_rank(moved, rank, *place)
        return problem.pretrained_risk + energy - 2 * overlap

    at = (float(problem.n), problem.ridge, problem.noise_std)
    expected = ll.expected_risk(problem, [rank], correction=False, flags=False).risk[0]
    value, slopes = jax.jit(jax.value_and_grad(risk, argnums=(0, 1, 2)))(*at)
    assert float(value) == pytest.approx(expected, rel=1e-7)
    found = ll.sensitivity(problem, [rank], to=["n", "ridge", "noise_std"], correction=False)
    for ours, theirs, value in zip(slopes, (found.n, found.ridge, found.noise_std), at, strict=True):
        assert abs(float(ours) - theirs.risk[0]) < 1e-5 * max(abs(float(ours)), expected / value)


#: Where sigma moves: without ridge on either side of the threshold, and noise that is a multiple of the identity.
NOISY = {
    "whitened": PROBLEMS["matrices"].replace(ridge=0.0),
    "scaled": PROBLEMS["scalars"].replace(noise_covariance=np.full(10, 2.5)),
    "ridgeless": Problem(
        n=14, dx=24, dy=10, spectrum=(4.0, 2.0), noise_std=0.8, input_covariance=np.linspace(0.5, 2, 24)
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.heavy) for name in ("whitened", "scaled")), "ridgeless"]
)
def test_noise_that_is_traced_moves_the_risk_as_central_differences_do(name):
    """Of the equivalent in NumPy, of fourth order: 1e-9 of the risk over a step of 2e-3 is 5e-7 of it."""
    problem, rank, step = NOISY[name], 2, 2e-3
    parameters, place = theta(problem), cut(problem, rank)

    def risk(sigma):
        _, energy, overlap, _ = at_rank(with_noise(parameters, problem, sigma), rank, *place)
        return problem.pretrained_risk + energy - 2 * overlap

    def by_formula(sigma):
        return ll.expected_risk(problem.replace(noise_std=sigma), [rank], correction=False, flags=False).risk[0]

    sigma = problem.noise_std
    value, slope = jax.value_and_grad(risk)(sigma)
    near, far = ((by_formula(sigma + h) - by_formula(sigma - h)) / (2 * h) for h in (step, 2 * step))
    assert float(value) == pytest.approx(by_formula(sigma), rel=1e-7)
    assert float(slope) == pytest.approx((4 * near - far) / 3, rel=1e-5)
    elsewhere = 1.1 * sigma
    _, energy, overlap, _ = at_rank(theta(problem.replace(noise_std=elsewhere)), rank, *place)
    assert float(jax.jit(risk)(elsewhere)) == pytest.approx(
        problem.pretrained_risk + float(energy - 2 * overlap), rel=1e-9
    )


def test_noise_that_is_not_isotropic_is_refused():
    problem = PROBLEMS["scalars"].replace(noise_covariance=np.linspace(1, 2, 10))
    with pytest.raises(
        ll.InvalidInput, match=r"^noise_covariance: expected a multiple of the identity, received .*sensi"
    ):
        with_noise(theta(problem), problem, 1.0)


@pytest.mark.heavy
def test_the_limit_of_no_ridge_is_there_too():
    problem = Problem(n=14, dx=30, dy=10, spectrum=(4.0, 2.0), noise_std=0.8)
    kept, energy, overlap, _ = at_rank(theta(problem), 2, *cut(problem, 2))
    found = ll.theory.lora_equivalent(problem, [2], correction=False).parts
    assert float(kept) == pytest.approx(2, abs=1e-6)
    assert [float(energy), float(overlap)] == pytest.approx([found.energy[0], found.overlap[0]], rel=1e-7)


def test_noise_away_from_the_problems_is_refused_where_its_value_is_known():
    problem = Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    parameters, place = theta(problem), cut(problem, 2)

    def energy(noise_std):
        return at_rank(with_noise(parameters, problem, noise_std), 2, *place)[1]

    assert float(jax.jit(jax.grad(energy))(1.0)) == pytest.approx(float(jax.grad(energy)(1.0)), rel=1e-9)
    for call in (energy, jax.grad(energy)):
        with pytest.raises(InvalidInput, match=r"^noise_std: expected 1, that of the problem, received 1\.3; make"):
            call(1.3)
