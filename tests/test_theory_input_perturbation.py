"""Perturbed inputs: identities on every draw, FFT in closed form, and LoRA against plain NumPy on explicit data."""

import dataclasses
import subprocess
import sys
import textwrap

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from comparisons import assert_means_agree, critical_z

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.estimators import fft, lora
from linreg_lora.problem import Moments
from linreg_lora.simulation.perturbed_inputs import simulate_rise
from linreg_lora.theory import input_perturbation
from linreg_lora.theory.hessian import Loss
from linreg_lora.theory.input_perturbation import expected_fft_rise

DRAWS = 4096


def rotated(values, seed=5):
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    return (basis * np.asarray(values)) @ basis.T


def make(n, dx, dy, **changes):
    """A shift of rank 2 in general position, half aligned with -A0 so that their inner product counts."""
    rng = np.random.default_rng(7)
    shift = rng.standard_normal((dy, 2)) @ rng.standard_normal((2, dx)) / np.sqrt(2)
    pretrained = rng.standard_normal((dy, dx)) - shift
    return Problem(**{"n": n, "dx": dx, "dy": dy, "task_shift": shift, "pretrained": pretrained, "noise_std": 1.5, **changes})  # fmt: skip  # noqa: E501


OVER = make(20, 6, 5)
UNDER = make(5, 16, 7, input_covariance=np.full(16, 0.25), noise_covariance=np.full(7, 0.6))
ANISOTROPIC = OVER.replace(input_covariance=rotated(np.geomspace(0.3, 3.0, 6)))
CASES = {
    "n > dx": OVER.replace(input_covariance=np.full(6, 0.25)),
    "n > dx, anisotropic": ANISOTROPIC,
    "n > dx, anisotropic noise": OVER.replace(noise_covariance=np.linspace(0.2, 1.8, 5)),
    "n > dx, anisotropic, ridge": ANISOTROPIC.replace(ridge=4.0),
    "n > dx, singular": OVER.replace(input_covariance=rotated([1.0, 1.0, 0.5, 0.5, 0.0, 0.0])),
    "n < dx": UNDER,
    "n < dx, ridge": UNDER.replace(ridge=2.0),
}
SUFFICIENT = {"n > dx", "n > dx, anisotropic", "n > dx, singular", "n < dx", "n < dx, ridge"}


def rises_by_numpy(problem, draws=DRAWS, seed=0):
    """||A0 + D_r||_F^2 of explicit data sets, draws x ranks: pseudoinverses and an SVD per draw, nothing shared."""
    rng = np.random.default_rng(seed)
    x = problem.sigma_sqrt @ rng.standard_normal((draws, problem.dx, problem.n))
    noise = problem.sigma_eps_sqrt @ rng.standard_normal((draws, problem.dy, problem.n))
    residual = problem.shift @ x + noise
    if problem.ridge > 0:
        update = residual @ x.mT @ np.linalg.inv(x @ x.mT + problem.ridge * np.eye(problem.dx))
        basis = np.linalg.eigh(update @ x @ residual.mT)[1][..., ::-1]
    else:
        update = residual @ np.linalg.pinv(x, rcond=1e-6)
        basis = np.linalg.svd(update @ x)[0]
    return np.stack(
        [
            np.sum((problem.pretrained + basis[..., :r] @ (basis[..., :r].mT @ update)) ** 2, axis=(1, 2))
            for r in range(problem.max_rank + 1)
        ],
        axis=1,
    )


@pytest.fixture(scope="module")
def references():
    """Mean and standard error of the explicit rises of every case."""
    drawn = {name: rises_by_numpy(problem) for name, problem in CASES.items()}
    return {name: (np.mean(r, axis=0), np.std(r, axis=0) / np.sqrt(DRAWS), r) for name, r in drawn.items()}


# -- one draw ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", list(Loss))
def test_the_rise_is_that_of_the_mean_loss(loss):
    """Perturbations +-sqrt(dx) e_i have exact first and second moments, so that no sampling error is left."""
    rng = np.random.default_rng(1)
    x, y, a0, d = (rng.standard_normal(shape) for shape in ((6, 30), (5, 30), (5, 6), (5, 6)))
    half, tau = {Loss.SQUARED: 1.0, Loss.HALF_SQUARED: 0.5}[loss], 0.7
    steps = tau * np.sqrt(6) * np.concatenate([np.eye(6), -np.eye(6)])
    perturbed = y - (a0 + d) @ (x + steps[:, :, None])
    measured = half * (np.mean(np.sum(perturbed**2, axis=1)) - np.mean(np.sum((y - (a0 + d) @ x) ** 2, axis=0)))
    found = input_perturbation.rise(a0, d, perturbation_std=tau, loss=loss)
    np.testing.assert_allclose(found, measured, rtol=1e-12)


@pytest.mark.heavy
@hypothesis.settings(deadline=None, derandomize=True, max_examples=60)
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([20, 5]),
    noise=st.floats(0.01, 10.0),
    alignment=st.floats(-3.0, 3.0),
    rank=st.integers(0, 5),
    ridge=st.sampled_from([None, 0.5]),
    tau=st.floats(0.1, 10.0),
    loss=st.sampled_from(list(Loss)),
)
def test_on_every_draw_lora_is_the_shorter_update_and_the_difference_is_the_identity(
    seed, n, noise, alignment, rank, ridge, tau, loss
):
    """||D_r|| grows with r up to ||D_FFT||; rise(FFT) - rise(LoRA) = tau^2 (||P D||^2 + 2 <P A0, D>)."""
    rng = np.random.default_rng(seed)
    x, shift = rng.standard_normal((6, n)), rng.standard_normal((5, 6))
    a0 = alignment * shift + rng.standard_normal((5, 6))
    y = (a0 + shift) @ x + noise * rng.standard_normal((5, n))
    data = [jnp.asarray(v) for v in (x, y)]
    full = np.asarray(fft.fit_fft(*data, jnp.asarray(a0), ridge))
    updates = [np.asarray(lora.fit_lora(*data, r, jnp.asarray(a0), ridge)) for r in range(6)]
    scale = np.linalg.norm(full) + np.linalg.norm(a0)
    lengths = [np.linalg.norm(update) for update in updates]
    assert np.all(np.diff([*lengths, np.linalg.norm(full)]) >= -1e-12 * scale)
    seen = full @ x if ridge is None else whitened(y - a0 @ x, x, ridge)
    basis = np.linalg.svd(seen)[0][:, :rank]
    options = {"perturbation_std": tau, "loss": loss}
    found = input_perturbation.excess_rise_of_fft(a0, full, basis, **options)
    direct = input_perturbation.rise(a0, full, **options) - input_perturbation.rise(a0, updates[rank], **options)
    np.testing.assert_allclose(found, direct, rtol=0, atol=1e-8 * tau**2 * scale**2)


def whitened(residual, x, ridge):
    """B with B B^T = R X^T (X X^T + eta I)^{-1} X R^T."""
    return residual @ x.T @ np.linalg.inv(np.linalg.cholesky(x @ x.T + ridge * np.eye(len(x)))).T


# -- FFT --------------------------------------------------------------------------------------------------------


def test_the_closed_form_by_hand():
    """||A0 + Delta||^2 = 8, Tr Sigma_eps = 8, Tr Sigma^{-1} = 1 + 1/2; below, n/dx = 1/5 and c = 1/2."""
    a0, shift = np.zeros((2, 2)), np.zeros((2, 2))
    a0[0, 0], shift[1, 1], shift[0, 0] = 1.0, 2.0, 1.0
    over = Problem(n=7, dx=2, dy=2, task_shift=shift, pretrained=a0, noise_std=2.0, input_covariance=[1.0, 2.0])
    np.testing.assert_allclose(expected_fft_rise(over), 8 + 8 * 1.5 / 4, rtol=1e-14)
    wide_a0, wide_shift = (np.hstack([m, np.zeros((2, 8))]) for m in (a0, shift))
    under = over.replace(
        n=2, dx=10, task_shift=wide_shift, pretrained=wide_a0, input_covariance=np.full(10, 0.5)
    )  # fmt: skip
    np.testing.assert_allclose(expected_fft_rise(under), 0.8 * 1 + 0.2 * 8 + 8 * 2 / (0.5 * 7), rtol=1e-14)
    np.testing.assert_allclose(expected_fft_rise(under.replace(noise_std=0.0)), 0.8 + 0.2 * 8, rtol=1e-14)
    halved = expected_fft_rise(under, perturbation_std=3, loss=Loss.HALF_SQUARED)
    np.testing.assert_allclose(halved, 4.5 * expected_fft_rise(under), rtol=1e-14)


@pytest.mark.parametrize(
    "case", ["n > dx", "n > dx, anisotropic", "n > dx, anisotropic noise", "n > dx, singular", "n < dx"]
)
def test_the_closed_form_is_the_mean_of_explicit_draws_and_its_rivals_are_not(case, references):
    """4096 draws, family-wise false alarms 1e-6 over the five cases. Power: 6 % of the mean are missed with probability
    below 1e-3.

    Rivals: degrees of freedom off by one (where 4096 draws can tell: n < dx), the inverse of the mean of S instead of
    the mean of its inverse, outputs counted once, A0 forgotten, its product with the shift forgotten, the shift learned
    in full (n < dx), A0 outside the range of Sigma lost (singular).
    """
    problem = CASES[case]
    mean, stderr = references[case][0][-1], references[case][1][-1]
    expected = expected_fft_rise(problem)
    bound = critical_z(5)
    assert abs(mean - expected) < bound * stderr
    assert (bound + 3.1) * stderr < 0.06 * expected
    noiseless = expected_fft_rise(problem.replace(noise_std=0.0))
    noise = expected - noiseless
    dof = abs(problem.distance_from_threshold) - 1
    rivals = {
        "outputs counted once": noiseless + noise / problem.dy,
        "A0 forgotten": expected_fft_rise(problem.replace(pretrained=np.zeros((problem.dy, problem.dx)))),
        "no cross term": expected - 2 * min(1, problem.n / problem.dx) * np.sum(problem.pretrained * problem.shift),
        "no inverse-Wishart mean": noiseless + noise * dof / max(problem.n, problem.dx),
    }
    if case == "n < dx":
        rivals["shift learned in full"] = np.sum((problem.pretrained + problem.shift) ** 2) + noise
        rivals["dx - n for dx - n - 1"] = noiseless + noise * dof / (dof + 1)
    if case == "n > dx, singular":
        reduced = problem.without_null_inputs()
        rivals["A0 cut to the range of Sigma"] = expected_fft_rise(reduced)
    for name, rival in rivals.items():
        assert abs(mean - rival) > bound * stderr, f"{mean} +- {stderr} should reject {name}: {rival}"


def test_overdetermined_noise_has_n_minus_dx_minus_one_degrees_of_freedom():
    """4096 draws at n - dx = 8, A0 + Delta = 0. False alarms 1e-6; the rival n - dx is 15 standard errors away."""
    problem = make(14, 6, 5)
    problem = problem.replace(pretrained=-problem.shift)
    curve = simulate_rise(problem, trials=4096, seed=3)
    bound = critical_z(1)
    expected = expected_fft_rise(problem)
    np.testing.assert_allclose(expected, 1.5**2 * 5 * 6 / 7, rtol=1e-12)
    assert abs(curve.fft_rise - expected) < bound * curve.fft_stderr
    for rival in (7 / 8, 7 / 6):
        assert abs(curve.fft_rise - rival * expected) > 2 * bound * curve.fft_stderr


@pytest.mark.parametrize("n", [15, 16, 17])
def test_no_mean_is_printed_within_one_sample_of_the_threshold(n):
    problem = dataclasses.replace(UNDER, spectrum=None, n=n)
    assert problem.moments is Moments.NO_MEAN
    assert expected_fft_rise(problem) == np.inf
    curve = simulate_rise(problem, trials=100, seed=0, perturbation_std=2)
    np.testing.assert_allclose(curve.rise[0], 4 * np.sum(problem.pretrained**2), rtol=1e-14)
    assert curve.stderr[0] == 0.0
    assert np.all(np.isinf(curve.rise[1:]))
    assert np.all(np.isnan(curve.stderr[1:]))
    assert curve.fft_rise == np.inf
    assert np.isnan(curve.fft_stderr)
    assert curve.difference[0] == -np.inf
    assert np.all(np.isnan(curve.difference[1:]))
    assert "the mean is infinite" in curve.notes[0]
    assert expected_fft_rise(problem, perturbation_std=0) == 0.0
    exact = expected_fft_rise(problem.replace(noise_std=0.0))
    np.testing.assert_allclose(exact, np.sum((problem.pretrained + min(1, n / 16) * problem.shift) ** 2) + min(1, n / 16) * (1 - min(1, n / 16)) * np.sum(problem.shift**2), rtol=1e-12)  # fmt: skip  # noqa: E501


# -- LoRA -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["explicit", "sufficient"])
@pytest.mark.parametrize("case", CASES)
def test_simulated_rises_are_those_of_explicit_numpy_at_every_rank(case, sampler, references):
    """4096 draws against 4096, family-wise false alarms 1e-6 over all ranks, both curves and the paired difference.

    Power: at every rank, 9 % of the mean are missed with probability below 1e-3. Forgetting <A0, D_r> is rejected.
    """
    problem = CASES[case]
    if sampler == "sufficient" and case not in SUFFICIENT:
        with pytest.raises(InvalidInput, match="sampler: expected auto or explicit where noise is anisotropic, "):
            simulate_rise(problem, trials=10, seed=0, sampler=sampler)
        return
    mean, stderr, rises = references[case]
    curve = simulate_rise(problem, trials=DRAWS, seed=9, sampler=sampler)
    comparisons = 120
    assert_means_agree(curve.rise[1:], curve.stderr[1:], mean[1:], stderr[1:], comparisons)
    np.testing.assert_allclose(curve.rise[0], mean[0], rtol=1e-12)
    assert curve.rise[-1] == curve.fft_rise
    assert curve.stderr[-1] == curve.fft_stderr
    paired = rises[:, :-1] - rises[:, -1:]
    assert_means_agree(
        curve.difference[:-1],
        curve.difference_stderr[:-1],
        np.mean(paired, axis=0),
        np.std(paired, axis=0) / np.sqrt(DRAWS),
        comparisons,
    )
    assert curve.difference[-1] == 0.0
    joint = np.hypot(curve.stderr, stderr)[1:]
    assert np.all((critical_z(comparisons) + 3.1) * joint < 0.09 * mean[1:])
    blind = simulate_rise(
        problem.replace(pretrained=0 * problem.pretrained), trials=DRAWS, seed=9, sampler=sampler
    ).rise[1:] + np.sum(problem.pretrained**2)  # fmt: skip
    assert np.all(np.abs(blind - mean[1:]) > critical_z(comparisons) * joint)


def test_auto_takes_the_sufficient_sampler_where_it_exists():
    for case, problem in CASES.items():
        expected = "sufficient" if case in SUFFICIENT else "explicit"
        first, second = (simulate_rise(problem, trials=64, seed=1, sampler=s).rise for s in ("auto", expected))
        np.testing.assert_array_equal(first, second)


def test_results_are_a_function_of_the_seed_alone():
    first, second, other = (simulate_rise(OVER, trials=200, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.rise, second.rise)
    np.testing.assert_array_equal(first.stderr, second.stderr)
    assert not np.any(first.rise[1:] == other.rise[1:])
    assert first.trials == 200
    some = simulate_rise(OVER, trials=200, seed=4, ranks=[3, 1])
    np.testing.assert_array_equal(some.ranks, [3, 1])
    for name in ("rise", "stderr", "difference", "difference_stderr"):
        np.testing.assert_array_equal(getattr(some, name), getattr(first, name)[[3, 1]])
    scaled = simulate_rise(OVER, trials=200, seed=4, perturbation_std=3, loss=Loss.HALF_SQUARED)
    for name in ("rise", "stderr", "difference", "difference_stderr", "fft_rise", "fft_stderr"):
        np.testing.assert_allclose(getattr(scaled, name), 4.5 * getattr(first, name), rtol=1e-13)


def test_without_noise_fft_undoes_the_shift_exactly():
    curve = simulate_rise(OVER.replace(noise_std=0.0), trials=64, seed=0)
    np.testing.assert_allclose(curve.rise[2:], np.sum((OVER.pretrained + OVER.shift) ** 2), rtol=1e-12)
    assert np.all(curve.stderr[2:] < 1e-12 * curve.rise[2:])


@pytest.mark.parametrize("change", [{"n": 8}, {"n": 4}, {"n": 6, "ridge": 1.0}], ids=["above", "below", "ridge"])
def test_no_standard_error_is_printed_where_the_variance_is_not_bounded(change):
    curve = simulate_rise(OVER.replace(**change), trials=64, seed=0)
    assert np.all(np.isfinite(curve.rise))
    assert np.all(np.isnan(curve.stderr[1:]))
    assert np.isnan(curve.fft_stderr)
    assert np.all(np.isnan(curve.difference_stderr[:-1]))
    assert "no standard error" in curve.notes[0]


def test_a_finite_variance_needs_no_note():
    curve = simulate_rise(OVER, trials=64, seed=0)
    assert curve.notes == ()
    assert np.all(curve.stderr[1:] > 0)
    assert curve.moments is Moments.FINITE


# -- the claim --------------------------------------------------------------------------------------------------


def setting(shift_of, noise_std):
    """dx = dy = 20, n = 60, ||A0||_F^2 = 328."""
    rng = np.random.default_rng(0)
    pretrained = rng.standard_normal((20, 20))
    pretrained *= np.sqrt(328 / np.sum(pretrained**2))
    return Problem(
        n=60, dx=20, dy=20, task_shift=shift_of(pretrained, rng), noise_std=noise_std, pretrained=pretrained
    )  # fmt: skip


def independent(pretrained, rng):
    """A shift of rank 4 and squared size 400, drawn without regard to A0."""
    shift = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 20))
    return shift * 20 / np.linalg.norm(shift)


def undoing(pretrained, rng):
    return -pretrained / 2


@pytest.mark.parametrize(
    ("shift_of", "noise_std", "lora_is_more_robust"),
    [(independent, 6.0, True), (undoing, 1.0, False), (undoing, 6.0, True)],
    ids=["independent shift", "aligned with -A0, low noise", "aligned with -A0, high noise"],
)
def test_lora_is_the_less_robust_only_when_the_shift_undoes_a0_and_the_noise_is_low(
    shift_of, noise_std, lora_is_more_robust
):
    """Ranks 1, 2, 4: the order is clear of 6 standard errors. FFT by hand: ||A0 + Delta||^2 + dx dy sigma^2 / 39."""
    problem = setting(shift_of, noise_std)
    curve = simulate_rise(problem, trials=512, seed=1, ranks=[1, 2, 4])
    by_hand = np.sum((problem.pretrained + problem.shift) ** 2) + 400 * noise_std**2 / 39
    np.testing.assert_allclose(expected_fft_rise(problem), by_hand, rtol=1e-13)
    assert_means_agree(curve.fft_rise, curve.fft_stderr, expected_fft_rise(problem), 0.0, 3)
    sign = -1 if lora_is_more_robust else 1
    assert np.all(sign * curve.difference > 6 * curve.difference_stderr)
    assert np.all(np.diff(sign * curve.rise) < 0), "the further from FFT, the more robust, or the less"


# -- refusals ---------------------------------------------------------------------------------------------------


def test_what_has_no_answer_is_refused():
    for function in (expected_fft_rise, lambda problem: simulate_rise(problem, trials=8, seed=0)):
        with pytest.raises(InvalidInput, match="pretrained: expected A0, a dy x dx matrix, received nothing"):
            function(OVER.replace(pretrained=None))
    with pytest.raises(InvalidInput, match=r"problem: expected ridge = 0, received ridge = 1\.0; use simulate_rise"):
        expected_fft_rise(OVER.replace(ridge=1.0))
    with pytest.raises(InvalidInput, match="problem: expected n > dx, or Sigma = c I"):
        expected_fft_rise(UNDER.replace(input_covariance=np.geomspace(1, 2, 16)))
    with pytest.raises(InvalidInput, match="perturbation_std: expected a finite number >= 0"):
        expected_fft_rise(OVER, perturbation_std=-1.0)
    with pytest.raises(InvalidInput, match="trials: expected at least 2"):
        simulate_rise(OVER, trials=1, seed=0)
    with pytest.raises(InvalidInput, match="sampler: expected one of auto, explicit, sufficient, received exact"):
        simulate_rise(OVER, trials=8, seed=0, sampler="exact")
    with pytest.raises(InvalidInput, match=r"ranks: expected integers in 0\.\.5"):
        simulate_rise(OVER, trials=8, seed=0, ranks=[6])
    with pytest.raises(InvalidInput, match="seed: expected an integer"):
        simulate_rise(OVER, trials=8, seed=-1)
    a0, basis = np.ones((5, 6)), np.eye(5)[:, :2]
    with pytest.raises(InvalidInput, match="update: expected a dy x dx = 5 x 6 matrix, all finite"):
        input_perturbation.rise(a0, np.full((5, 6), np.nan))
    with pytest.raises(InvalidInput, match="update: expected a dy x dx = 5 x 6 matrix, all finite"):
        input_perturbation.excess_rise_of_fft(a0, np.full((5, 6), np.nan), basis)
    with pytest.raises(
        InvalidInput, match=r"basis: expected orthonormal columns of length dy = 5, received .* off by 3"
    ):
        input_perturbation.excess_rise_of_fft(a0, a0, 2 * basis)


def test_draws_that_are_not_finite_are_an_error():
    tiny = OVER.replace(noise_std=1e10, input_covariance=np.full(6, 1e-300))
    with pytest.raises(
        NumericalFailure, match="rise: expected finite values, received 8 draws that are not, first draw 0"
    ):
        simulate_rise(tiny, trials=8, seed=0, sampler="explicit")


def test_wrong_shapes_are_refused_in_one_line():
    """In a process of its own: here, type checks get there first."""
    program = """
        import numpy as np
        from linreg_lora.errors import InvalidInput
        from linreg_lora.theory import input_perturbation
        right, wrong, basis = np.ones((2, 3)), np.ones((1, 3)), np.eye(3)[:, :1]
        for call in (
            lambda: input_perturbation.rise(right, wrong),
            lambda: input_perturbation.excess_rise_of_fft(right, wrong, basis),
            lambda: input_perturbation.excess_rise_of_fft(right, right, basis),
        ):
            try:
                call()
            except InvalidInput as error:
                print(error.field)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == ["update", "update", "basis"]
