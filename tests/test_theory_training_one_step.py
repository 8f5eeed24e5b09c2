"""One truncated step: reference values, simulated gradients, limits, and the equivalent of any Sigma."""

import math

import numpy as np
import pytest
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import marchenko_pastur
from linreg_lora.theory.training import (
    one_step_energy,
    one_step_equivalent,
    one_step_limit,
    one_step_noise,
    one_step_parts,
    one_step_risk,
    one_step_spikes,
    one_step_threshold,
    scaled_lora_risk,
)


def sized(n, dx, dy, *spectrum, sigma=1.0, **more):
    return ll.Problem(n=n, dx=dx, dy=dy, spectrum=spectrum, noise_std=sigma, **more)


@pytest.mark.parametrize(
    ("sizes", "s", "values"),
    [
        ((120, 40, 30), 1.5, (3.771759, 0.869496, 0.640355, 0.514743)),
        ((400, 100, 80), 3.0, (11.796300, 0.974261, 0.776717, 0.459086)),
        ((150, 250, 100), 4.0, (46.610426, 0.948964, 0.353463, 0.832220)),
    ],
)
def test_reference_values_of_spikes(sizes, s, values):
    problem = sized(*sizes, s)
    found = one_step_spikes(problem)
    seen = found.singular_value[0] ** 2, found.left[0], found.right[0], one_step_threshold(problem)
    assert seen == pytest.approx(values, abs=1e-6)


def test_reference_values_in_closed_form_and_of_noise():
    assert one_step_noise.edge(30 / 120, 40 / 120) == pytest.approx(0.613545, abs=1e-6)
    assert one_step_noise.edge(1.0, 1.0) == pytest.approx(0.5, abs=1e-9)
    square = sized(100, 100, 100, 2.5)
    assert one_step_threshold(square) == pytest.approx(math.sqrt(0.8), abs=1e-9)
    assert one_step_spikes(square).singular_value[0] ** 2 == pytest.approx(16.218489, abs=1e-6)
    quantiles = one_step_noise.quantiles(400, 100, 80, 20)[[0, 4, 19]]
    assert quantiles == pytest.approx([0.99383, 0.76665, 0.39315], abs=1e-4)


def test_reference_values_of_risks():
    problem = sized(400, 100, 80, 3.0, 1.5)
    assert one_step_risk(problem, 2, scale=1.0).risk == pytest.approx(4.099479, abs=1e-6)
    assert one_step_risk(problem, 2) == pytest.approx((3.038850, 0.735618, False), abs=1e-6)
    for sigma, risk, tau in ((1.0, 1.0142, 0.842), (2.5, 4.6967, 0.317)):
        found = scaled_lora_risk(sized(400, 100, 80, 2.0, 1.5, sigma=sigma), 2)
        assert found.risk == pytest.approx(risk, abs=1e-4)
        assert found.scale == pytest.approx(tau, abs=5e-4)
    assert one_step_energy(sized(50, 20, 15, 3.0, 2.0)) == pytest.approx(24.46, abs=1e-9)


def gradients(problem, draws, seed):
    """R X^T / n in plain NumPy, all of X and E drawn."""
    rng, root = np.random.default_rng(seed), problem.sigma_sqrt
    for _ in range(draws):
        x = root @ rng.standard_normal((problem.dx, problem.n))
        noise = problem.sigma_eps_sqrt @ rng.standard_normal((problem.dy, problem.n))
        yield (problem.shift @ x + noise) @ x.T / problem.n


def truncated(gradient, rank):
    u, s, v = np.linalg.svd(gradient, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def assert_near(draws, value, share, comparisons):
    """Within `share` of the value, the formula's own error, plus z standard errors at level 1e-6."""
    draws = np.asarray(draws)
    allowed = share * abs(value) + critical_z(comparisons) * draws.std() / math.sqrt(len(draws))
    assert abs(draws.mean() - value) <= allowed, (draws.mean(), value, allowed)


@pytest.mark.parametrize(
    "problem", [sized(240, 80, 60, 1.5), sized(60, 100, 40, 4.0, input_covariance=np.full(100, 2))]
)
def test_spikes_and_risks_agree_with_simulated_gradients(problem):
    """Formulas are within some 2/d, 2.5 % at d = 80; scale fixed. Overlaps are with v: those with S v are larger."""
    found, best = one_step_spikes(problem), one_step_risk(problem, 1)
    singular, left, right, seen, risks = [], [], [], [], []
    scale = problem.isotropic_scale
    for gradient in gradients(problem, 60, seed=1):
        u, s, v = np.linalg.svd(gradient)
        singular.append(s[0])
        left.append(u[0, 0] ** 2)
        right.append(v[0, 0] ** 2)
        risks.append(scale * np.sum((best.scale * truncated(gradient, 1) - problem.shift) ** 2))
        column = gradient[0] / np.linalg.norm(gradient[0])
        seen.append((v[0] @ column) ** 2)
    for draws, value in ((singular, found.singular_value[0]), (left, found.left[0]), (right, found.right[0])):
        assert_near(draws, value, 0.025, 4)
    assert_near(risks, best.risk, 0.025, 4)
    assert np.mean(seen) > found.right[0] + 0.05


@pytest.mark.parametrize(
    ("sizes", "spectrum", "rank", "lora"),
    [((60, 12, 10), (1.0,) * 10, 9, 0), ((60, 12, 10), (1.0,) * 10, 9, 1), ((20, 3, 3), (2.0, 1.0, 0.5), 3, 0)],
)
def test_many_directions_are_refused(sizes, spectrum, rank, lora):
    """Formulas of few directions are 26 to 46 % off there; the equivalent is within 4 % of 600 draws, plus z errors."""
    problem = sized(*sizes, *spectrum, sigma=0.5 if lora else 1.0)
    with pytest.raises(InvalidInput, match="spectrum: expected at most min"):
        (scaled_lora_risk if lora else one_step_risk)(problem, rank)
    if not lora and rank < min(sizes):
        best = one_step_equivalent(problem, rank)
        risks = [np.sum((best.scale * truncated(g, rank) - problem.shift) ** 2) for g in gradients(problem, 600, 6)]
        assert_near(risks, best.risk, 0.04, 1)


def test_doubtful_risks_are_flagged():
    """Directions near the threshold, and more than a 24th: the first is off by more than 10 % and z errors."""
    near = sized(60, 16, 12, 1.0)
    near = near.replace(spectrum=(1.1 * one_step_threshold(near),))
    found = one_step_risk(near, 1, 1.0)
    risks = [np.sum((truncated(g, 1) - near.shift) ** 2) for g in gradients(near, 500, 7)]
    assert found.flagged
    assert abs(np.mean(risks) - found.risk) > 0.1 * found.risk + critical_z(1) * np.std(risks) / math.sqrt(500)
    assert [one_step_risk(sized(400, 100, 80, 3.0, 1.5), r).flagged for r in (1, 3, 4)] == [False, False, True]
    assert scaled_lora_risk(sized(400, 100, 80, 2.0, 0.7), 1).flagged
    assert not scaled_lora_risk(sized(400, 100, 80, 2.0, 1.5), 1).flagged
    assert one_step_equivalent(sized(60, 12, 10, 3.0, 2.0), 1).flagged


def test_what_rounding_leaves_of_zeros_is_no_direction():
    rng = np.random.default_rng(8)
    u, v = (np.linalg.qr(rng.standard_normal((size, 1)))[0] for size in (50, 60))
    dense = ll.Problem(n=400, dx=60, dy=50, task_shift=3 * u @ v.T, noise_std=1.0)
    assert one_step_risk(dense, 1) == pytest.approx(one_step_risk(sized(400, 60, 50, 3.0), 1), rel=1e-12)
    assert scaled_lora_risk(dense, 1) == pytest.approx(scaled_lora_risk(sized(400, 60, 50, 3.0), 1), rel=1e-12)


def test_noise_has_its_quantiles():
    """Mean squared singular values of pure noise: each within half the distance to the next level."""
    for n, dx, dy in ((60, 25, 20), (30, 50, 40)):
        simulated = np.mean(
            [np.linalg.svd(g, compute_uv=False) ** 2 for g in gradients(sized(n, dx, dy), 200, seed=2)], axis=0
        )
        size = min(n, dx, dy)
        law = one_step_noise.quantiles(n, dx, dy, size)
        assert np.all(np.abs(simulated[:size] - law)[:-1] < -np.diff(law) / 2)
        assert law.sum() == pytest.approx(dx * dy / n, rel=5e-3)


def test_many_samples_are_the_spiked_model():
    """c -> 0 with t fixed: singular values and overlaps of `theory.spiked`, noise of Marchenko and Pastur."""
    problem = sized(10**7, 100, 80, 0.02)
    one, fit = one_step_spikes(problem), ll.theory.spikes(problem)
    assert one.left == pytest.approx(fit.left, rel=1e-3)
    assert one.right == pytest.approx(fit.right, rel=1e-3)
    assert one.singular_value * math.sqrt(10**7) == pytest.approx(fit.singular_value, rel=1e-3)
    quantile = one_step_noise.quantiles(10**7, 100, 80, 10)[-1] * 10**7
    assert quantile == pytest.approx(marchenko_pastur.quantile(80, 100, 9.5), rel=1e-3)


def test_a_direction_is_detectable_above_the_threshold_only():
    problem = sized(120, 100, 30, 1.0)
    threshold = one_step_threshold(problem)
    below, above = (one_step_spikes(problem.replace(spectrum=(f * threshold,))) for f in (0.999, 1.001))
    assert not below.detectable[0]
    assert below.left[0] == below.right[0] == 0.0
    assert above.detectable[0]
    assert 0 < above.left[0] < 0.02
    edge = math.sqrt(float(one_step_noise.level(one_step_noise.edge(30 / 120, 100 / 120), 30 / 120, 100 / 120)))
    assert below.singular_value[0] == pytest.approx(edge)
    assert above.singular_value[0] == pytest.approx(edge, rel=1e-4)
    # Weaker shifts than the fit can see, where dx is near n and dy is small.
    assert threshold < 0.95 * ll.theory.detection_threshold(problem)
    assert one_step_threshold(sized(200, 10, 2000, 1.0)) > 1.5 * ll.theory.detection_threshold(
        sized(200, 10, 2000, 1.0)
    )


@pytest.mark.heavy
def test_the_limit_in_n_at_the_planted_rank():
    """Given S the noise of G is N L^T / n: 339 is within its critical value; 326 and 66 are rejected."""
    problem, n, trials = sized(40_000, 20, 15, 3.0, 2.0), 40_000, 6000
    limit = one_step_limit(problem, 2)
    assert limit == 339
    rng = np.random.default_rng(3)
    lower = np.tril(rng.standard_normal((trials, 20, 20)), -1)
    lower += np.sqrt(rng.chisquare(n - np.arange(20), (trials, 20)))[:, :, None] * np.eye(20)
    gradient = (problem.shift @ lower + rng.standard_normal((trials, 15, 20))) @ lower.mT / n
    u, s, v = np.linalg.svd(gradient, full_matrices=False)
    risks = n * np.sum(((u[:, :, :2] * s[:, None, :2]) @ v[:, :2] - problem.shift) ** 2, axis=(1, 2))
    stderr = risks.std() / math.sqrt(trials)
    assert abs(risks.mean() - limit) <= critical_z(1) * stderr
    assert min(abs(risks.mean() - 326), abs(risks.mean() - 66)) > critical_z(1) * stderr


def test_the_equivalent_is_the_closed_form():
    """Within 0.2 % at d = 100."""
    problem = sized(400, 100, 80, 3.0, 1.5)
    parts = one_step_parts(problem, 2)
    assert 11.25 + parts.energy - 2 * parts.overlap == pytest.approx(one_step_risk(problem, 2, 1.0).risk, rel=2e-3)
    assert one_step_equivalent(problem, 0).risk == pytest.approx(problem.pretrained_risk)


@pytest.mark.heavy
def test_the_equivalent_is_simulation_of_another_sigma():
    """Dense Sigma: 1 % plus z standard errors."""
    rotation = np.linalg.qr(np.random.default_rng(4).standard_normal((24, 24)))[0]
    other = sized(70, 24, 16, 2.5, 1.5, input_covariance=rotation @ np.diag(np.linspace(2, 0.1, 24)) @ rotation.T)
    best = one_step_equivalent(other, 2)
    risks = [
        np.sum(((best.scale * truncated(g, 2) - other.shift) @ other.sigma_sqrt) ** 2)
        for g in gradients(other, 3000, seed=5)
    ]
    assert_near(risks, best.risk, 0.01, 1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: one_step_risk(sized(40, 20, 10, 2.0, sigma=0.0), 1), "noise_std: expected sigma > 0"),
        (lambda: one_step_risk(sized(40, 20, 10, 2.0), 11), "ranks: expected|rank"),
        (lambda: one_step_risk(sized(40, 20, 10, 2.0), 1, -1.0), "scale: expected a finite number >= 0"),
        (lambda: one_step_risk(sized(40, 20, 10, 2.0, ridge=1.0), 1), "ridge: expected 0 where one step is made"),
        (lambda: one_step_spikes(sized(40, 3, 2, 2.0, input_covariance=[1.0, 2.0, 3.0])), "use one_step_equivalent"),
        (lambda: one_step_limit(sized(40, 20, 10, 2.0), 2), "rank: expected that of the shift, 1"),
        (
            lambda: one_step_energy(sized(40, 3, 2, 2.0, input_covariance=[2.0] * 3)),
            "input_covariance: expected the id",
        ),
        (lambda: one_step_parts(sized(40, 20, 10, 2.0), 10), "rank: expected below full rank"),
        (lambda: scaled_lora_risk(sized(40, 20, 10, 2.0), 2), "rank: expected at most 1, the number of detectable"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()


@pytest.mark.parametrize("rank", [1, 2, 6])
def test_units_of_outputs_and_of_inputs_change_nothing_but_units(rank):
    """A rank of noise too: y in thirds is a ninth of the risk; x times two with half the shift is the same risk."""
    problem = ll.Problem(n=400, dx=100, dy=80, spectrum=(3.0, 1.5), noise_std=1.0)
    risk = one_step_risk(problem, rank).risk
    thirds = problem.replace(spectrum=(1.0, 0.5), noise_std=1 / 3)
    assert one_step_risk(thirds, rank).risk == pytest.approx(risk / 9, rel=1e-10)
    double = problem.replace(spectrum=(1.5, 0.75), input_covariance=4.0 * np.eye(100))
    assert one_step_risk(double, rank).risk == pytest.approx(risk, rel=1e-10)
