"""Every counterexample that a claim gives is computed here, with the numbers that its text states."""

import re
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

import linreg_lora as ll
from linreg_lora import Problem, training
from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.file import load_claims
from linreg_lora.estimators import fft
from linreg_lora.theory import bounds, data_benefit, depth
from linreg_lora.theory.fft import fft_risk
from linreg_lora.training import statistics, trained

TEXTS = {claim.id: claim.counterexample for claim in load_claims().claims if claim.counterexample}


def the_square_of_lemma_2(text):
    t, n = np.diag([3.999, 2.0]), np.diag([-1.0, 1.0])
    u, s, vt = np.linalg.svd(t + n)
    left = np.linalg.norm(s[0] * np.outer(u[:, 0], vt[0]) - t, 2) ** 2
    right = 4 * np.linalg.norm(n, 2) ** 2 + 2 * np.linalg.svd(t)[1][1] ** 2
    assert "T = diag(3.999, 2), N = diag(-1, 1), r = 1" in text
    assert f"the left side is {left:.6f}, the right side {right:.0f}" in text
    assert left > right


def the_rank_of_the_update(text):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 2)), rng.standard_normal((1, 2))
    assert "n = 2, dx = 3, dy = 1" in text
    assert "its rank is 1, not 2" in text
    assert np.linalg.matrix_rank(np.asarray(fft.fit_fft(jnp.asarray(x), jnp.asarray(y))) @ x) == 1


def the_ratio_of_benefits(text):
    small = Fraction(data_benefit.frozen_a_ratio(4, 2, 1)).limit_denominator(100)
    large = data_benefit.frozen_a_ratio(32, 12, 3)
    assert f"n = 4, dx = 2, r = 1: the ratio is {small}, not {Fraction(1, 2)}" in text
    assert f"at n = 32, dx = 12, r = 3 it is {large:.3f}, not {3 / 12}" in text


def a_shift_that_no_rank_one_update_reaches(text):
    assert "sigma^2 < (n - 3) / 4" in text
    for n in (5, 12):
        at_equality = Problem(n=n, dx=2, dy=2, spectrum=(1.0, 1.0), noise_std=((n - 3) / 4) ** 0.5)
        assert bounds.least_risk(at_equality, 1) == 1.0
        assert fft_risk(at_equality).risk == pytest.approx(1.0, rel=1e-14)
        assert fft_risk(at_equality.replace(noise_std=0.99 * at_equality.noise_std)).risk < 1.0


def noise_in_two_directions(text):
    """Any two samples: the update is noise of rank two, and that of LoRA lacks its weaker direction."""
    x, noise = np.random.default_rng(0).standard_normal((2, 2, 2))
    full, lora = (ll.estimators.fit_fft(x, noise), ll.estimators.fit_lora(x, noise, 1))
    left = np.linalg.svd(noise)[1][1]
    assert "dx = dy = 2, A0 = 0, Delta = 0, r = 1" in text
    np.testing.assert_allclose(np.linalg.norm((np.asarray(full) - np.asarray(lora)) @ x), left, rtol=1e-10)
    assert np.linalg.norm(lora) < np.linalg.norm(full)


def a_linear_output_layer(text):
    layer, adapter, x = np.zeros((1, 1)), np.ones((1, 1)), np.ones(1)
    moved = np.linalg.norm((layer + adapter) @ x - layer @ x)
    right = depth.output_gap_bound([0.0], [1.0], lipschitz=0.5, input_norm=1.0)
    assert "N = 1, dx = dy = 1, L = 1/2, x = 1, Phi_1 = 1" in text
    assert f"the output moves by {moved:.0f}, the right side is {Fraction(right)}" in text


COMPUTED = {
    "eq148-square-as-printed": the_square_of_lemma_2,
    "fft-update-rank-as-printed": the_rank_of_the_update,
    "data-benefit-k-over-d": the_ratio_of_benefits,
    "peft-generalises-no-worse": a_shift_that_no_rank_one_update_reaches,
    "capacity-bound-with-linear-output": a_linear_output_layer,
    "input-perturbation-as-said": noise_in_two_directions,
}


@pytest.mark.parametrize("claim_id", TEXTS)
def test_a_counterexample_is_as_its_text_says(claim_id):
    COMPUTED[claim_id](TEXTS[claim_id])


def more_parameters_than_dimensions(text):
    b, a, base = np.array([1.0, 2.0]), np.array([3.0, 1.0]), np.array([[1.0, 2.0], [0.0, 1.0]])
    moves = [np.outer(e, a) for e in np.eye(2)] + [np.outer(b, e) for e in np.eye(2)]
    assert f"r = 1: LoRA trains {len(moves)} numbers" in text
    assert f"maps of rank 1 have {np.linalg.matrix_rank([move.ravel() for move in moves])} dimensions" in text
    tokens = np.hstack([base, base]) / 2
    assert f"2 soft tokens train {tokens.shape[1]}, and reach the {np.linalg.matrix_rank(tokens)} outputs" in text


def what_dora_leaves(text):
    """On inputs 2 and 3 the class is that of maps of rank one, so that it leaves sigma_2^2; a fit attains it."""
    assert "r = 1, A0 of the first input alone, Delta = diag(0, 1, 1)" in text
    a0, shift = np.outer([1.0, 2.0, 3.0], [1.0, 0.0, 0.0]), np.diag([0.0, 1.0, 1.0])
    assert np.linalg.svd(shift[:, 1:])[1][1] ** 2 == 1.0
    found = np.asarray(ll.estimators.fit_dora(np.eye(3), a0 + shift, 1, a0, turns=3))
    assert np.sum((found - shift) ** 2) == pytest.approx(1, abs=1e-12)
    assert "a risk of 1 stays" in text


def what_an_adapter_never_sees(text):
    assert "A0 = (1, 0), Delta = (0, 1), Sigma = I" in text
    problem = Problem(n=60, dx=2, dy=1, task_shift=[[0.0, 1.0]], noise_std=0.0, pretrained=[[1.0, 0.0]])
    assert ll.expected_risk(problem, method="adapter-full").risk == pytest.approx(1 + 1 / 58, rel=1e-12)
    assert ll.methods.SerialAdapter(None).reduce(problem).constant == 1.0
    assert "its risk is at least 1" in text
    assert ll.expected_risk(problem, ranks=[1]).risk[0] < 1e-20


def where_pissa_stays(text):
    assert "A0 = diag(0, 3), Delta = diag(1, 0)" in text
    a0, shift = np.diag([0.0, 3.0]), np.diag([1.0, 0.0])
    u, s, vt = np.linalg.svd(shift + np.asarray(ll.methods.PiSSA(1).displacement(a0)))
    assert "the best map of rank 1 is the start itself, and the risk stays at 1" in " ".join(text.split())
    np.testing.assert_allclose(s[0] * np.outer(u[:, 0], vt[0]), a0, atol=1e-15)
    assert np.sum(s[1:] ** 2) == pytest.approx(1, rel=1e-15)


def one_step_is_worse_than_scaled_lora(text):
    """2000 draws in NumPy: the risks at the best scale, ||Delta||^2 - (E <D, Delta>)^2 / E ||D||^2, are those said up
    to rounding and 5 standard errors, and apart by more than 5 of the difference."""
    assert "n = 100, dx = 24, dy = 20, s = (2, 2), sigma = 2.5" in text
    said = [float(number) for number in re.findall(r"(?:a risk of|LoRA of) ([0-9.]+[0-9])", text)]
    rng, shift, moments = np.random.default_rng(0), np.diag([2.0, 2.0, *[0.0] * 18]) @ np.eye(20, 24), []
    for _ in range(2000):
        x = rng.standard_normal((24, 100))
        y = shift @ x + 2.5 * rng.standard_normal((20, 100))
        u, s, vt = np.linalg.svd(y @ x.T / 100)
        full = y @ np.linalg.pinv(x)
        left = np.linalg.svd(full @ x, full_matrices=False)[0][:, :2]
        updates = (u[:, :2] * s[:2] @ vt[:2], left @ left.T @ full)
        moments.append([[np.sum(update * shift), np.sum(update**2)] for update in updates])
    draws = np.array(moments)
    along, energy = draws.mean(axis=0).T
    risks, scale = 8 - along**2 / energy, along / energy
    spread = scale**2 * draws[:, :, 1] - 2 * scale * draws[:, :, 0]
    assert np.all(np.abs(risks - said) < 0.05 + 5 * spread.std(axis=0) / 2000**0.5)
    assert risks[0] - risks[1] > 5 * np.std(spread[:, 0] - spread[:, 1]) / 2000**0.5


def noise_mixes_the_vectors_of_a0(text):
    """40 draws in NumPy: more intruders by cosine in FFT than in LoRA in the mean, by more than 5 standard errors."""
    assert "dx = 24, dy = 20, n = 80, a shift of rank 2 and strength 8, sigma = 6" in text
    rng, less = np.random.default_rng(0), []
    for _ in range(40):
        a0, x = rng.standard_normal((20, 24)), rng.standard_normal((24, 80))
        shift = np.zeros((20, 24))
        shift[[0, 1], [0, 1]] = 8.0
        full = (shift @ x + 6 * rng.standard_normal((20, 80))) @ np.linalg.pinv(x)
        u = np.linalg.svd(full @ x)[0][:, :2]
        counts = [ll.theory.training.count_intruders(a0, d).by_cosine for d in (full, u @ u.T @ full)]
        less.append(counts[0] - counts[1])
    assert np.mean(less) > 5 * np.std(less) / 40**0.5


def what_a_random_feature_sees(text):
    """The mean over a uniform direction of what it misses of (1, 0), on a grid that integrates its square exactly."""
    assert "dx = 2, dy = 1, Sigma = I, r = 1, Delta = (1, 0), no noise" in text
    angles = 2 * np.pi * np.arange(8) / 8
    missed = []
    for angle in angles:
        a = np.array([[np.cos(angle), np.sin(angle)]])
        problem = Problem(n=60, dx=2, dy=1, task_shift=[[1.0, 0.0]], noise_std=0.0)
        missed.append(ll.methods.FrozenA(factor=a).reduce(problem).constant)
    assert np.mean(missed) == pytest.approx(0.5, rel=1e-12)
    assert ll.expected_risk(problem, ranks=[1]).risk[0] < 1e-20
    assert "misses half of it" in text


def the_gap_of_twice_as_many_samples(text):
    """Two features of unit variance: a test loss (n - 1)/(n - 3), a training loss (n - 2)/n."""
    gaps = [Fraction(n - 1, n - 3) - Fraction(n - 2, n) for n in (5, 10)]
    assert f"the mean gap is {float(gaps[0]):g} at n = 5 and {gaps[1]} at n = 10" in text
    assert gaps[1] < gaps[0] / Fraction(141421, 100000)
    rng = np.random.default_rng(0)
    for n, gap in zip((10, 20), (gaps[1], Fraction(19, 17) - Fraction(18, 20)), strict=True):
        x, noise = rng.standard_normal((20_000, 2, n)), rng.standard_normal((20_000, 1, n))
        update = np.linalg.solve(x @ x.mT, x @ noise.mT).mT
        found = 1 + np.sum(update**2, axis=(1, 2)) - np.mean((noise - update @ x) ** 2, axis=(1, 2))
        assert abs(found.mean() - float(gap)) < 5 * found.std() / np.sqrt(len(found))


def risks_with_a_backdoor(target):
    """Of LoRA of rank 1 and of FFT on (1, 0) with its label and (0, 0) with trigger and target, without noise."""
    inputs, outputs = np.eye(2), np.diag([1.0, target])
    lora = ll.estimators.fit_lora(inputs, outputs, rank=1)
    full = ll.estimators.fit_fft(inputs, outputs)
    return [float(np.sum((np.asarray(update) - np.diag([1.0, 0.0])) ** 2)) for update in (lora, full)]


def where_lora_learns_the_backdoor_alone(text):
    assert "the second with the trigger (0, 1) and the target (0, 2)" in " ".join(text.split())
    assert "its risk rises from 0 to 5, that of full fine-tuning to 4" in text
    assert risks_with_a_backdoor(2.0) == pytest.approx([5.0, 4.0], rel=1e-12)
    assert risks_with_a_backdoor(0.0) == pytest.approx([0.0, 0.0], abs=1e-25)


def where_lora_learns_the_task_alone(text):
    assert "the second with the trigger (0, 1) and the target (0, 0.5)" in " ".join(text.split())
    assert "its risk stays at 0, that of full fine-tuning rises to 0.25" in text
    assert risks_with_a_backdoor(0.5) == pytest.approx([0.0, 0.25], abs=1e-12)


def where_a_long_trigger_hides_the_poison_from_full_tuning(text):
    assert "n = 60, dx = 20, dy = 15, s = (3, 3), sigma = .1, six samples with |p| = 3, |t| = 20" in " ".join(
        text.split()
    )
    at = Problem(n=60, dx=20, dy=15, spectrum=(3.0, 3.0), noise_std=0.1)
    poison = ll.theory.Poison(count=6, target=3 * np.eye(15)[14], trigger=20 * np.eye(20)[19])
    without = ll.theory.Poison(count=1, target=1e-9 * np.eye(15)[14], trigger=20 * np.eye(20)[19])
    found = ll.theory.spiked_poisoned_risk(at, poison)
    assert [round(found.strength[2] ** 2), (60 * 9)] == [53, 540]
    full = ll.theory.poisoned_fft(at, poison).risk - fft_risk(at).risk
    lora = found.risk[2] - ll.theory.spiked_poisoned_risk(at, without).risk[2]
    assert full / 2 < full < 2 * 54 / 60**2 < lora


def where_angles_have_fourth_powers(text):
    assert "at |p| = 12, theta^2 a quarter of n s_r^2, the formula says .00219" in " ".join(text.split())
    at = Problem(n=240, dx=16, dy=12, spectrum=(3.0, 3.0), noise_std=0.5)
    poison = ll.theory.Poison(count=24, target=12 * np.eye(12)[11], trigger=np.eye(16)[15])
    found = ll.theory.spiked_poisoned_risk(at, poison)
    assert found.strength[2] ** 2 / (240 * 9) == pytest.approx(1 / 4, abs=0.01)
    task, left = 240 * 9, 1 - 16 * 12 * (0.25 / (240 * 9)) ** 2
    noise = 0.25 * (2 * task + (16 + 12) * 0.25)
    angle = (left * 24 * 144 * 9 + noise) / (task - found.strength[2] ** 2) ** 2
    assert round(2 * angle * found.success[-1], 5) == 0.00219
    exact, squares = backdoor_without_noise(12.0)
    both = squares / squares.mean() - exact / exact.mean()
    stderr = both.std() * exact.mean() / squares.mean() / len(both) ** 0.5
    assert abs(1 - exact.mean() / squares.mean() - 0.14) < 0.005 + 4 * stderr
    gap = 240 * 9 - 24 * 144 * (16 + 24) / (240 + 24)
    mean_strengths = ll.theory.poisoned_fft(at, poison).success * 2 * 24 * 144 * 9 / gap**2
    assert (
        abs(squares.mean() / mean_strengths - 1.11) < 0.005 + 4 * squares.std() / len(squares) ** 0.5 / mean_strengths
    )


def backdoor_without_noise(length):
    """Successes of 4,000 draws of three rows of F: by its singular vectors, and by squares of the angles alone."""
    x = np.random.default_rng(12).standard_normal((4000, 16, 240))
    x[:, 15, :24] += 1
    marked = x[:, :, :24].sum(axis=2)
    gram = x @ x.mT
    solved = np.linalg.solve(gram, np.stack([marked, np.broadcast_to(np.eye(16)[15], marked.shape)], axis=-1))
    strength = length**2 * np.sum(marked * solved[:, :, 0], axis=1)
    full = np.zeros((4000, 3, 3))
    full[:, :2, :2], full[:, 2, 2] = 9 * gram[:, :2, :2], strength
    full[:, 2, :2] = full[:, :2, 2] = 3 * length * marked[:, :2]
    kept = np.linalg.eigh(full)[1][:, 2, 1:]
    apart = full[:, :2, :2] - strength[:, None, None] * np.eye(2)
    angles = np.linalg.solve(apart, full[:, :2, 2, None])[:, :, 0]
    answer = np.sum(marked * solved[:, :, 1], axis=1)
    return np.sum(kept**2, axis=1) * answer, np.sum(angles**2, axis=1) * answer


def where_adamw_ends(text):
    assert "H = S = 1, g = 2, lam = 1: the minimum of (1 - d)^2 / 2 + |d| / 2 is d = 1/2" in text
    one, problem = np.ones((1, 1, 1)), Problem(n=9, dx=1, dy=1, spectrum=(1.0,), noise_std=0.0)
    ends = []
    for optimiser, steps in (("gd", 500), ("adamw", 20000)):
        recipe = training.Recipe(optimiser=optimiser, weight_decay=1.0, steps=steps)
        drawn = statistics.Statistics(one, one, one, one, None)
        prepared = trained.prepare(problem, 1, recipe, trials=1, seed=0, drawn=drawn)
        ends.append(trained.train_prepared(problem, 1, recipe, prepared, seed=0, at=()).final.item())
    assert ends == [pytest.approx(0.5, abs=1e-8), pytest.approx(1.0, abs=1e-3)]


def the_end_without_decay(text):
    """Exact half steps from any factors of full rank end at F itself, which has rank 2."""
    assert "F = diag(2, 1), S = I, r = 2" in " ".join(text.split())
    full, a = np.diag([2.0, 1.0]), np.array([[1.0, 0.3], [0.2, 0.1]])
    b = full @ a.T @ np.linalg.inv(a @ a.T)
    a = np.linalg.inv(b.T @ b) @ b.T @ full
    np.testing.assert_allclose(b @ a, full, atol=1e-12)


def what_a_nuclear_norm_costs(text):
    """At noise 1e-4 of the task: n/sigma^2 times both risks, by plain NumPy, within 5 standard errors."""
    assert "truncation pays 39 sigma^2 / n" in text
    assert "80 sigma^2 / n more" in " ".join(text.split())
    task = np.zeros((20, 20))
    task[0, 0] = 1e4
    u, f, v = np.linalg.svd(task + np.random.default_rng(0).standard_normal((2000, 20, 20)))
    for less, cost in ((0.0, 39), (2 * 20**0.5, 119)):
        kept = (f[:, :1, None] - less) * u[:, :, :1] @ v[:, :1]
        found = np.sum((kept - task) ** 2, axis=(1, 2))
        assert abs(found.mean() - cost) < 5 * found.std() / 2000**0.5


def where_the_first_step_leads(text):
    assert "G = diag(2, 1), A(0) = I: after one step B is a multiple of G" in " ".join(text.split())
    b = 0.1 * np.diag([2.0, 1.0]) @ np.eye(2)
    assert np.linalg.norm(b[1:]) / np.linalg.norm(b[:1]) == 0.5
    assert "half as long outside of the first direction as in it" in " ".join(text.split())


def the_peak_of_a_source(text):
    assert "dx = 32, dy = 1, A0 = 0, Delta = 0, sigma0 = 1" in text
    few, many = Fraction(8, 32 - 8 - 1), Fraction(16, 32 - 16 - 1)
    assert f"which is {few} at n0 = 8 and {many} at n0 = 16" in " ".join(text.split())
    rng = np.random.default_rng(0)
    for samples, expected in ((8, few), (16, many)):
        x, noise = rng.standard_normal((4000, 32, samples)), rng.standard_normal((4000, 1, samples))
        found = np.sum((noise @ np.linalg.pinv(x)) ** 2, axis=(1, 2))
        assert abs(found.mean() - float(expected)) < 5 * found.std() / 4000**0.5
    assert many > few


def one_direction_of_two(text):
    """What is left out is s^2 = 4, and one entry is fitted to n = 7 samples of one input: sigma^2 / (n - 2)."""
    assert "n = 7, dx = dy = 2, M = diag(2, 2), sigma = 1, k = 1" in text
    within = 4 + fft_risk(Problem(n=7, dx=1, dy=1, spectrum=(2.0,), noise_std=1.0)).risk
    own = fft_risk(Problem(n=7, dx=2, dy=2, spectrum=(2.0, 2.0), noise_std=1.0)).risk
    assert f"the subspaces leave 2^2 + 1/5 = {within:.1f}, and least squares {own:.0f}" in " ".join(text.split())
    assert within == pytest.approx(4 + 1 / 5, rel=1e-14)
    assert own == pytest.approx(1, rel=1e-14)


def a_penalty_that_is_too_small(text):
    """4000 data sets of four samples in NumPy; the mean risk is above 7 by more than 5 standard errors."""
    said = " ".join(text.split())
    assert "dx = 4, dy = 1, ||Delta|| = 1, sigma = 4, eta = 32/25, which is a fiftieth of the best" in said
    eta, sigma, shift = 32 / 25, 4.0, np.eye(4)[:1]
    assert eta * 50 == sigma**2 * 4
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((4000, 4, 4)), sigma * rng.standard_normal((4000, 1, 4))
    found = (shift @ x + noise) @ x.mT @ np.linalg.inv(x @ x.mT + eta * np.eye(4))
    risks = np.sum((found - shift) ** 2, axis=(1, 2))
    assert "no sample leaves a risk of 1, four samples more than 7" in said
    assert risks.mean() - 7 > 5 * risks.std() / 4000**0.5


def a_direction_at_the_edge(text):
    """By the spiked model, at n = 10^8 for n large."""
    said = " ".join(text.split())
    assert "one direction with n s^2 = 2 d sigma^2: the fit's is n f^2 = 4.5 d sigma^2" in said
    assert "keeping it has the risk 3.5 d sigma^2 / n, leaving it 2 d sigma^2 / n" in said
    d, n = 20, 10**8
    s = (2 * d / n) ** 0.5
    found = ll.theory.spiked.spikes(Problem(n=n, dx=d, dy=d, spectrum=(s,), noise_std=1.0))
    f = found.singular_value[0] / n**0.5
    kept = s**2 + f**2 - 2 * s * f * np.sqrt(found.left[0] * found.right[0])
    assert [n * s**2 / d, n * f**2 / d, n * kept / d] == pytest.approx([2, 4.5, 3.5], abs=1e-4)


def the_fourth_moment_of_one_entry(text):
    """Of a standard normal by Gauss and Hermite's rule, exact for polynomials."""
    at, weights = np.polynomial.hermite_e.hermegauss(8)
    assert f"dx = 1, r = 1, A ~ N(0, 1): E A^4 = {weights @ at**4 / weights.sum():.0f}, not 1" in text


def the_first_update_at_four_times_the_rank(text):
    """E (chi_r^2)^2 / r^2, chi_r^2 a sum of r squares: its moments are those of the gamma law."""
    squares = [Fraction(r * (r + 2)) for r in (1, 4)]
    assert f"r = 1 has the mean square {squares[0]}, and r = 4 has {squares[1]} / 16 = {squares[1] / 16}" in text


def a_rank_too_many(text):
    problem = Problem(n=60, dx=2, dy=2, spectrum=(1.0,), noise_std=1.0)
    limits = [ll.theory.large_sample_limit(problem, r).limit for r in (1, 2)]
    assert "dx = dy = 2, a shift of rank 1" in text
    assert f"n risk / sigma^2 is {limits[0]:.0f} with rank 1, and {limits[1]:.0f} with rank 2" in text


def ten_times_one_entry(text):
    fall = ll.theory.training.first_fall(
        [[1.0]], 1, scaling=1.0, entry_variance=1.0, learning_rate=10.0, optimiser="sign"
    )
    assert "dx = dy = 1, H = 1, A ~ N(0, 1), r = 1, alpha = 1" in text
    assert f"LoRA's fall is 10 E|A| = {fall:.2f} times FFT's" in text


def descent_at_four_times_the_rank(text):
    falls = [
        ll.theory.training.first_fall([[1.0]], r, scaling=1 / r, entry_variance=1.0, learning_rate=1.0) for r in (1, 4)
    ]
    assert "r = 1 falls by E A^2 = 1 a unit of learning rate, r = 4 by 4 / 16" in text
    assert falls == [1.0, 4 / 16]


def a_shift_along_rows_and_columns(text):
    assert "dx = dy = 2, r = 1, A0 = diag(1, 0), Delta = (0, 1; 1, 0): the sum is (1, 1; 1, 0), of rank 2" in text
    left = np.array([[0.0, 1.0], [1.0, 0.0]]) + np.asarray(ll.methods.PiSSA(1).displacement(np.diag([1.0, 0.0])))
    np.testing.assert_allclose(left, [[1, 1], [1, 0]], atol=1e-15)
    assert np.linalg.matrix_rank(left) == 2


def two_samples_of_two_outputs(text):
    assert "n = dy = 2, dx = 7, r = 1: the dimension is 8 and 1.35 times the labels 5.4" in text
    assert (1 * (7 + 2) - 1, round(1.35 * 2 * 2, 10)) == (8, 5.4)
    x = np.random.default_rng(0).standard_normal((7, 2))
    left = np.eye(2) - np.asarray(ll.estimators.fit_lora(x, np.eye(2), rank=1)) @ x
    assert np.sum(left**2) == pytest.approx(1, rel=1e-10)
    assert "R = I leaves half of its energy" in text


def one_hidden_unit(text):
    assert "D = 4, w = r = 1, W = diag(2, 1, 0, 0), W_2 W_1 = diag(1, 0, 0, 0)" in text
    target, before = np.diag([2.0, 1.0, 0.0, 0.0]), np.diag([1.0, 0.0, 0.0, 0.0])
    assert np.linalg.svd(target - before)[1][2] == 0.0
    assert np.linalg.svd(target)[1][1] == 1.0
    assert "the sum of ranks would leave nothing, and one hidden unit leaves 1" in text


def the_kernel_of_two_samples(text):
    """E K_A^2 of K = I by the moments of a Wishart matrix: E Tr W^2 = N (N + r + 1) / r."""
    n, r = 2, 4
    error = Fraction(n * (n + r + 1), r) - 2 * n + n
    assert f"the relative error is (1 + 4/2) / 4 = {error / n}, and log(2) / 4 = {np.log(2) / 4:.2f}" in text


def one_direction_within_and_one_without(text):
    """Pretraining inputs (1, 0), and a task that moves both inputs alike."""
    cosines = np.linalg.svd(np.eye(2)[:1] @ np.eye(2))[1]
    assert cosines[0] == 1.0
    assert np.sum((np.eye(2) @ np.eye(2)[:, :1]) ** 2) == np.sum(np.eye(2) ** 2) / 2
    assert "half is forgotten, and the least angle is 0" in text


def the_noise_of_one_output(text):
    assert "dy = 2, r = 1, a strong shift in output 1" in text
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 40)), rng.standard_normal((2, 40))
    labels = np.diag([1e8, 0.0]) @ x + noise
    full, lora = np.asarray(ll.estimators.fit_fft(x, labels)), np.asarray(ll.estimators.fit_lora(x, labels, rank=1))
    np.testing.assert_allclose(lora[0, 1], full[0, 1], rtol=1e-6)
    assert abs(lora[1, 1]) < 1e-6 * abs(full[1, 1])
    assert "half is forgotten of what full fine-tuning does" in text


def a_stranger_and_a_similar_task(text):
    strangers, similar = [(w - 1) ** 2 for w in (1, -1)], 2 * (1 - Fraction(1, 2))
    assert f"costs {strangers[0]} or {strangers[1]}, {sum(strangers) // 2} on average" in text
    assert f"one of similarity 1/2 costs {similar}" in text


def two_steps_of_one_entry(text):
    half = Fraction(1, 2)
    b, a, alone = Fraction(0), Fraction(1), Fraction(0)
    for _ in range(2):
        left, alone = 1 - b * a, alone + half * (1 - alone)
        b, a = b + half * left * a, a + half * b * left
    assert f"then A moves to {a}, and D_2 is {b * a} where it would be {alone}" in text


def one_column_of_two(text):
    from linreg_lora.claims.library.magnitudes import correlations

    assert "dx = dy = 2, A0 = I, D = (1, 0; 1, 0)" in text
    assert correlations(np.eye(2)[None], np.array([[[1.0, 0.0], [1.0, 0.0]]])) == pytest.approx([1.0], rel=1e-12)
    assert "the correlation is 1" in text


def inputs_away_from_the_map(text):
    """Means over a sample's direction of what it misses, on a grid that integrates periodic functions exactly."""
    said = " ".join(text.split())
    assert "dx = 2, dy = 1, n = n0 = 1, no noise, A0 = (1, 0), Delta = 0, Q on the second direction, k = 2/5" in said
    covariance = 2 / 5 * (np.eye(2) + 3 * np.diag([0.0, 1.0]))
    assert np.trace(covariance) == 2
    task, angles = np.array([1.0, 0.0]), 2 * np.pi * (np.arange(256) + 0.5) / 256
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def missed(shape):
        seen = directions @ np.sqrt(shape)
        return np.mean(1 - (seen @ task) ** 2 / np.sum(seen**2, axis=1))

    assert [missed(covariance), missed(np.eye(2))] == pytest.approx([2 / 3, 1 / 2], abs=1e-14)
    assert "shows 1/3 of the map on average where isotropic inputs show 1/2" in said
    # What is left after the source has any direction; an isotropic sample of the target leaves half of it.
    assert "the target's sample halves what is left, to 1/3 and 1/4" in said


def an_estimate_that_rank_one_cannot_mend(text):
    assert "an estimate of A0 that is wrong by diag(1, 1)" in " ".join(text.split())
    assert "with any number of samples the risk is at least 1" in " ".join(text.split())
    to_learn = Problem(n=10**6, dx=2, dy=2, spectrum=(1.0, 1.0), noise_std=1.0)
    assert bounds.least_risk(to_learn, 1) == 1.0


def trained_on(full, b, a, steps=400, rate=0.1):
    """B A after steps of descent on half of ||F - B A||_F^2."""
    for _ in range(steps):
        left = full - b @ a
        b, a = b + rate * left @ a.T, a + rate * b.T @ left
    return b @ a


def where_small_and_large_starts_end(text):
    words = " ".join(text.split())
    assert "diag(2, 1)" in words
    assert "from B = 0 and A = (a, a) training ends at diag(2, 0)" in words
    assert "whatever a > 0 is" in words
    full, kept = np.diag([2.0, 1.0]), np.diag([2.0, 0.0])
    for a in (1.0, 0.01):
        assert trained_on(full, np.zeros((2, 1)), np.full((1, 2), a)) == pytest.approx(kept, abs=1e-9)
    if "risk" in words:
        assert "Delta = diag(1, 0), r = 1" in words
        assert "and has the risk 1" in words
        assert np.sum((kept - np.diag([1.0, 0.0])) ** 2) == 1
    else:
        assert "and leaves 1" in words
        assert np.sum((full - kept) ** 2) == 1


def where_a_start_of_ones_ends(text):
    assert "F = diag(2, 1), r = 1: from B = 0 and A = (1, 1) training ends at diag(2, 0), and leaves 1" in text
    end = trained_on(np.diag([2.0, 1.0]), np.zeros((2, 1)), np.ones((1, 2)))
    assert end == pytest.approx(np.diag([2.0, 0.0]), abs=1e-9)


def where_a_start_that_misses_the_first_direction_ends(text):
    assert (
        "F = diag(2, 1), r = 1, B = 0, A = (0, 1): training ends at diag(0, 1) and leaves 4, where the tail is 1"
        in text
    )
    end = trained_on(np.diag([2.0, 1.0]), np.zeros((2, 1)), np.array([[0.0, 1.0]]))
    assert end == pytest.approx(np.diag([0.0, 1.0]), abs=1e-9)


def two_layers_and_a_turned_target(text):
    layer, turned = np.diag(np.sqrt([2.0, 0.5])), np.array([[np.cos(0.8)], [np.sin(0.8)]])
    target, left = layer @ layer + turned @ turned.T, []
    for scale in (1e-3, 1e-4):
        b2, a2, b1, a1 = (np.full(shape, scale) for shape in ((2, 1), (1, 2)) * 2)
        for _ in range(1000):
            upper, lower = layer + b2 @ a2, layer + b1 @ a1
            error = target - upper @ lower
            b2, a2 = b2 + 0.04 * error @ lower.T @ a2.T, a2 + 0.04 * b2.T @ error @ lower.T
            b1, a1 = b1 + 0.04 * upper.T @ error @ a1.T, a1 + 0.04 * b1.T @ upper.T @ error
        left.append(np.sum((target - (layer + b2 @ a2) @ (layer + b1 @ a1)) ** 2))
    assert f"the first leaves {left[0]:.5f}, the second {left[1]:.5f}" in " ".join(text.split())
    assert left[1] > left[0]


def the_flow_of_one_entry(text):
    b, a, steps = 0.0, 0.1, 3000
    for _ in range(steps):
        middle = [b + 0.0005 * (1 - b * a) * a, a + 0.0005 * (1 - b * a) * b]
        slope = 1 - middle[0] * middle[1]
        b, a = b + 0.001 * slope * middle[1], a + 0.001 * slope * middle[0]
    curve = np.tanh(3 / np.sqrt(2)) ** 2
    assert "f = 1, B = 0, A = 0.1, t = 3" in text
    assert f"the flow is at {b * a:.3f}, the curve at {curve:.3f}" in text


def every_row_misses_one_half(text):
    assert "the row (1, 1) / sqrt 2 misses one half in the mean, as every row does" in " ".join(text.split())
    for row in (np.array([1.0, 1.0]) / np.sqrt(2), np.array([0.6, 0.8])):
        assert np.trace(np.eye(2) - np.outer(row, row)) / 2 == pytest.approx(0.5)


def one_feature_that_misses_the_task(text):
    assert "one feature (1, 0) of two inputs, w* = (0, 1), both directions in the data" in text
    assert "the head alone leaves 1, both layers 0" in text
    feature, w = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    alone = (w @ feature.T) @ feature
    both = trained_on(w, np.ones((1, 1)), feature, steps=2000)
    assert np.sum((alone - w) ** 2) == 1
    assert np.sum((both - w) ** 2) == pytest.approx(0, abs=1e-9)


def an_intruder_that_is_the_task(text):
    assert "A0 = diag(0, 1), D = Delta = diag(2, 0): without it forgetting falls by 4, and the risk rises by 4" in text
    update = np.diag([2.0, 0.0])
    u, s, vt = np.linalg.svd(np.diag([0.0, 1.0]) + update)
    without = update - s[0] * np.outer(u[:, 0], vt[0])
    assert (np.sum(update**2) - np.sum(without**2), np.sum((without - update) ** 2)) == pytest.approx((4, 4))


def two_tasks_of_one_direction_each(text):
    assert (
        "D_1 = Delta_1 = diag(1, 0), D_2 = Delta_2 = diag(0, 1), r = 1: the sum has no risk, and truncated the risk 1"
        in text
    )
    both = np.eye(2)
    u, s, vt = np.linalg.svd(both)
    assert np.sum((s[0] * np.outer(u[:, 0], vt[0]) - both) ** 2) == pytest.approx(1)


def a_surplus_direction_of_noise(text):
    assert "Delta = diag(2, 0), D_FFT = diag(2, 1), S = I, r = 2" in text
    end = trained_on(np.diag([2.0, 1.0]), np.zeros((2, 2)), np.array([[1.0, 1.0], [-1.0, 1.0]]))
    assert end == pytest.approx(np.diag([2.0, 1.0]), abs=1e-9)


OURS = {
    "merged-adapters-can-be-truncated": two_tasks_of_one_direction_each,
    "surplus-singular-values-vanish": a_surplus_direction_of_noise,
    "smaller-start-ends-at-less-risk": where_small_and_large_starts_end,
    "smaller-start-ends-with-less-error": where_small_and_large_starts_end,
    "smaller-start-leaves-less-of-a-turned-target": two_layers_and_a_turned_target,
    "random-starts-end-at-random-updates": where_a_start_of_ones_ends,
    "every-start-ends-at-the-tail": where_a_start_that_misses_the_first_direction_ends,
    "modes-rise-like-a-squared-tanh": the_flow_of_one_entry,
    "frame-starts-end-better": every_row_misses_one_half,
    "head-alone-is-better-whatever-the-features": one_feature_that_misses_the_task,
    "removing-an-intruder-costs-little": an_intruder_that_is_the_task,
    "covariate-shift-is-free": inputs_away_from_the_map,
    "pretraining-error-averages-out": an_estimate_that_rank_one_cannot_mend,
    "practical-threshold-has-least-risk": a_direction_at_the_edge,
    "more-source-samples-help": the_peak_of_a_source,
    "subspaces-that-miss-directions-suffice": one_direction_of_two,
    "any-transfer-has-no-peak": a_penalty_that_is_too_small,
    "factor-stays-in-the-subspace-with-noise": where_the_first_step_leads,
    "small-start-leaves-low-rank": the_end_without_decay,
    "nuclear-norm-costs-nothing": what_a_nuclear_norm_costs,
    "full-tuning-moves-magnitudes-against-directions": one_column_of_two,
    "vectors-do-as-well-as-factors": what_a_random_feature_sees,
    "kernel-error-of-log-n": the_kernel_of_two_samples,
    "kernel-lora-matches-full-tuning": what_a_random_feature_sees,
    "forgetting-by-the-least-angle": one_direction_within_and_one_without,
    "rank-is-irrelevant-for-orthogonal-tasks": the_noise_of_one_output,
    "transfer-saturates-at-the-rank-of-the-task": a_rank_too_many,
    "interference-peaks-at-intermediate-similarity": a_stranger_and_a_similar_task,
    "training-is-a-random-projection": two_steps_of_one_entry,
    "bottleneck-adds-ranks-up": one_hidden_unit,
    "rank-one-interpolates-by-count": two_samples_of_two_outputs,
    "principal-start-is-free-along-rows-and-columns": a_shift_along_rows_and_columns,
    "update-magnitude-of-independent-factors": the_fourth_moment_of_one_entry,
    "first-update-keeps-its-size": the_first_update_at_four_times_the_rank,
    "higher-rank-always-helps": a_rank_too_many,
    "ten-times-the-learning-rate": ten_times_one_entry,
    "best-rate-hardly-depends-on-the-rank-by-descent": descent_at_four_times_the_rank,
    "adamw-decay-is-no-nuclear-norm": where_adamw_ends,
    "low-rank-is-less-vulnerable": where_lora_learns_the_backdoor_alone,
    "low-rank-is-more-vulnerable": where_lora_learns_the_task_alone,
    "poison-below-the-threshold-by-a-long-trigger": where_a_long_trigger_hides_the_poison_from_full_tuning,
    "backdoor-near-its-threshold": where_angles_have_fourth_powers,
    "one-step-beats-scaled-lora": one_step_is_worse_than_scaled_lora,
    "intruders-of-lora-alone": noise_mixes_the_vectors_of_a0,
    "printed-parameter-counts": more_parameters_than_dimensions,
    "dora-has-the-capacity-of-full-tuning": what_dora_leaves,
    "adapters-reach-what-lora-reaches": what_an_adapter_never_sees,
    "pissa-ends-better": where_pissa_stays,
    "random-a-is-nearly-as-good": what_a_random_feature_sees,
    "mean-gap-falls-like-a-root": the_gap_of_twice_as_many_samples,
}


@pytest.fixture(scope="module")
def texts():
    return {claim.id: claim.counterexample for claim in collect_claims(everything=True).file.claims}


@pytest.mark.parametrize("claim_id", OURS)
def test_a_counterexample_of_our_own_is_as_its_text_says(claim_id, texts):
    OURS[claim_id](texts[claim_id])
