"""Close to the interpolation threshold: exact densities, FFT with ridge, and LoRA in bands and at edges."""

import numpy as np
import pytest
from comparisons import critical_z

from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import fft, laguerre
from linreg_lora.theory.continued import continued
from linreg_lora.theory.contours import cuts
from linreg_lora.theory.contours.edges import band_of_noise, noise_is_one_band
from linreg_lora.theory.contours.functionals import fft_functionals
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.threshold import Threshold
from linreg_lora.theory.equivalent import lora_equivalent
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.resolvent import functionals as twin

BASE = Problem(n=27, dx=25, dy=25, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)


@pytest.mark.parametrize(("m", "nu"), [(1, 4), (2, 5), (5, 7), (20, 22), (25, 25), (100, 102), (150, 160)])
def test_the_density_has_the_moments_of_wishart_matrices(m, nu):
    """m, E Tr W, E Tr W^2 and, for g > 1, E Tr W^{-1}: by hand. Quadrature and inversion leave 1e-12."""
    x, weights = laguerre.density(m, nu)
    assert weights.sum() == pytest.approx(m, rel=1e-11)
    assert weights @ x == pytest.approx(m * nu, rel=1e-11)
    assert weights @ x**2 == pytest.approx(m * nu * (m + nu + 1), rel=1e-11)
    if nu - m > 1:
        assert weights @ (1 / x) == pytest.approx(m / (nu - m - 1), rel=1e-11)


@pytest.mark.parametrize(
    ("zeta", "expected"),
    [(0.0, 25.0), (0.01, 17.439662957552), (1.0, 3.900856431336), (0.1 + 0.2j, 7.088181578214 - 3.265881374518j)],
)
def test_the_trace_of_the_resolvent(zeta, expected):
    """From an independent implementation, checked by simulation; derivatives against central differences."""
    assert complex(laguerre.exact(zeta, 25, 27)[0]) == pytest.approx(expected, rel=1e-12)
    for function in (laguerre.exact, laguerre.marchenko_pastur):
        z, h = zeta + 0.3, 1e-5
        up, here, down = (function(z + side, 25, 27) for side in (h, 0.0, -h))
        for k in (0, 1):
            np.testing.assert_allclose((up[k] - down[k]) / (2 * h), here[k + 1], rtol=1e-7)


def test_the_first_order_is_what_steins_identity_expands_to():
    """S = S_0 + S_1 + O(g^-3) at a fixed zeta / g: the rest falls eightfold with twice the size."""
    rest = [
        abs(
            laguerre.exact(z, m, 2 * m)[0]
            - laguerre.marchenko_pastur(z, m, 2 * m)[0]
            - laguerre.marchenko_pastur(z, m, 2 * m)[3]
        )
        for m, z in ((20, 4.0), (40, 8.0))
    ]
    # S itself does not change, so that the rest is of relative order 1 / m^2.
    assert 3 < rest[0] / rest[1] < 5


@pytest.mark.parametrize("changes", [{"n": 14, "dx": 16}, {"n": 16, "dx": 16}, {"n": 18, "dx": 16}])
def test_fft_with_ridge_is_exact(changes):
    """False alarms 1e-6 over all cases; the equivalent, corrected or not, is rejected by the same draws."""
    problem = Problem(dy=3, spectrum=(3.0, 1.0), noise_std=1.0, ridge=0.1, **changes).replace(
        input_covariance=np.full(16, 2.0)
    )
    rng, draws = np.random.default_rng(2), 20000
    x = np.sqrt(2.0) * rng.standard_normal((draws, 16, problem.n))
    residual = problem.shift @ x + rng.standard_normal((draws, 3, problem.n))
    update = np.linalg.solve(x @ x.mT + 0.1 * np.eye(16), x @ residual.mT).mT
    risks = 2.0 * np.sum((update - problem.shift) ** 2, axis=(1, 2))
    mean, stderr = risks.mean(), risks.std(ddof=1) / np.sqrt(draws)
    found = fft.fft_risk(problem)
    assert found.formula == fft.RIDGE
    assert not found.flagged
    assert abs(found.risk - mean) < critical_z(3) * stderr
    first = fft.first_order(problem)
    for rival in (first.bias + first.variance, first.bias + first.variance + first.correction):
        assert abs(rival - mean) > critical_z(3) * stderr


def test_fft_with_ridge_has_the_limits_it_must_have():
    for n in (22, 28):
        tiny, none = (fft.isotropic_ridge(BASE.replace(n=n, ridge=1e-7)), fft.fft_risk(BASE.replace(n=n)))
        assert tiny.risk == pytest.approx(none.risk, rel=1e-4)
    far = BASE.replace(n=120, ridge=3.0)
    assert fft.isotropic_ridge(far).risk == pytest.approx(fft.fft_equivalent(far).risk, rel=2 / 95**2)
    with pytest.raises(InvalidInput, match="Sigma = c I, ridge > 0"):
        fft.isotropic_ridge(BASE)


@pytest.mark.parametrize(
    ("n", "dx", "dy", "spectrum", "noise_std", "ridge"),
    [
        (25, 25, 25, (5.0, 3.0), 0.03, 0.01), (29, 25, 10, (5.0, 3.0), 1.0, 0.1), (27, 25, 25, (5.0,), 1.0, 1e-4),
        (21, 25, 30, (5.0, 3.0, 1.0, 0.5), 0.3, 0.1), (50, 25, 25, (5.0, 3.0), 0.1, 3.0),
    ],
)  # fmt: skip
def test_around_the_whole_spectrum_it_is_exact(n, dx, dy, spectrum, noise_std, ridge):
    """T1 and T2 of FFT are integrals of lam^2 / (lam + eta)^2 and lam / (lam + eta) over the exact density."""
    problem = Problem(n=n, dx=dx, dy=dy, spectrum=spectrum, noise_std=noise_std, ridge=ridge)
    lam, weights = laguerre.density(*sorted((n, dx)))
    share, energy = lam / (lam + ridge), problem.pretrained_risk / dx
    noise = dy * noise_std**2 * np.sum(weights * lam / (lam + ridge) ** 2)
    found = fft_functionals(problem, correction=True)
    traces = (found.raw + found.correction)[0]
    assert traces[1] == pytest.approx(energy * (weights @ share**2) + noise, rel=1e-8)
    assert traces[2] == pytest.approx(energy * (weights @ share), rel=1e-8)
    assert abs(found.raw[0, 1] / traces[1] - 1) + abs(found.correction[0, 1] / traces[1]) > 1e-5, "says nothing"


def without_the_bias(self, q, energy, complete=Threshold._with_ridge):
    return complete(self, q, np.zeros_like(energy))


@pytest.mark.parametrize(
    ("n", "noise_std", "ridge", "rival"), [(25, 0.03, 0.01, True), (29, 0.03, 0.1, True), (25, 0.01, 1e-3, False)]
)
def test_little_noise_and_a_ridge_at_the_threshold(n, noise_std, ridge, rival):
    """Bulk ranks against plain NumPy: level 1e-6 over all nine, with 1 % beside it. FFT of the draws is the control.

    Without the bias's share, t = 0, they were 6 to 130 % off.
    """
    problem = BASE.replace(n=n, spectrum=(5.0, 3.0), noise_std=noise_std, ridge=ridge)
    ranks, draws = [3, 8, 15], 6000
    found = lora_equivalent(problem, ranks)
    assert not found.flagged.any()
    rng, shift = np.random.default_rng(n), problem.shift
    risks = []
    for _ in range(6):
        x = rng.standard_normal((draws // 6, 25, n))
        r = shift @ x + noise_std * rng.standard_normal((draws // 6, 25, n))
        lam, v = np.linalg.eigh(x @ x.mT)
        rotated = r @ x.mT @ v
        u = np.linalg.svd(rotated / np.sqrt(lam + ridge)[:, None, :])[0].mT
        fit = (rotated / (lam + ridge)[:, None, :]) @ v.mT
        kept = u @ fit
        each = np.cumsum(np.sum(kept * (kept - 2 * (u @ shift)), axis=2), axis=1) + np.sum(shift**2)
        risks.append(each[:, [*(rank - 1 for rank in ranks), -1]])
    risks = np.concatenate(risks)
    control = risks[:, -1] - fft.fft_risk(problem).risk
    slopes = (risks[:, :-1] - risks[:, :-1].mean(axis=0)).T @ control / (control @ control)
    left = risks[:, :-1] - np.outer(control, slopes)
    mean, stderr = left.mean(axis=0), left.std(axis=0, ddof=1) / np.sqrt(draws)
    assert np.all(abs(found.risk - mean) < 0.01 * mean + critical_z(9) * stderr)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Threshold, "_with_ridge", without_the_bias)
        without = lora_equivalent(problem, ranks).risk
    if rival:
        assert np.all(abs(without - mean) > 0.01 * mean + (critical_z(9) + 3) * stderr)


def test_derivatives_in_q_are_those_of_the_integrals(monkeypatch):
    """With no first order all rows are of rho - rho_0; central differences of step h leave h^2 and rounding / h^2."""
    original = laguerre.marchenko_pastur
    monkeypatch.setattr(laguerre, "marchenko_pastur", lambda *args: (*original(*args)[:3], 0.0))
    threshold, h = Threshold(BASE.replace(ridge=0.3), 1.0), 1e-3
    q, energy = np.array([0.4 + 0.3j, 2.0 - 0.7j]), np.array([0.02 + 0.01j, 0.2 - 0.05j])
    up, here, down = (threshold._with_ridge(q + side, energy) for side in (h, 0.0, -h))
    for part in range(2):
        np.testing.assert_allclose((up[part][0] - down[part][0]) / (2 * h), here[part][1], rtol=1e-4)
        np.testing.assert_allclose((up[part][0] - 2 * here[part][0] + down[part][0]) / h**2, here[part][2], rtol=1e-4)


# n, spectrum, ridge, ranks in gaps, and the corrected risks there: from an independent implementation with t = 0.
GAPS = [
    (27, (3.0, 2.0, 1.0), 0.0, [1, 2], [37.1762, 72.7316]),
    (27, (3.0, 2.0, 1.0), 0.01, [1, 2], [24.0691, 42.4510]),
    (25, (3.0, 2.0, 1.0), 0.3, [2], [14.5498]),
    (23, (6.0, 4.0, 2.0), 0.1, [1, 2], [32.5211, 25.0191]),
]


@pytest.mark.parametrize(("n", "spectrum", "ridge", "ranks", "expected"), GAPS)
def test_risks_on_gaps(n, spectrum, ridge, ranks, expected, monkeypatch):
    monkeypatch.setattr(Threshold, "_with_ridge", without_the_bias)
    found = lora_equivalent(BASE.replace(n=n, spectrum=spectrum, ridge=ridge), ranks)
    np.testing.assert_allclose(found.risk, expected, rtol=0, atol=6e-5)


@pytest.mark.parametrize(
    ("changes", "moved", "sharpened"),
    [
        ({"spectrum": (3.0, 2.0)}, [157.4528, 228.3758, 388.5540], [156.3677, 227.2549, 387.5889]),
        ({"spectrum": (3.0, 2.0), "ridge": 0.1}, [37.4936, 53.3722, 92.5316], [37.3351, 53.1971, 92.3546]),
    ],
)
def test_ranks_below_an_edge(changes, moved, sharpened):
    """By an independent implementation with a coarse grid: the moved cut to 2e-4, and what a cut misplaces, there a
    second difference over whole directions, to a tenth of itself.
    """
    problem, ranks = BASE.replace(**changes), [3, 4, 7]
    found = lora_equivalent(problem, ranks).risk
    np.testing.assert_allclose(found, sharpened, rtol=0, atol=0.12 * np.max(np.subtract(moved, sharpened)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("linreg_lora.theory.contours.functionals.band_of_noise", lambda _: None)
        np.testing.assert_allclose(lora_equivalent(problem, ranks).risk, moved, rtol=2e-4)


SIMULATED = [
    pytest.param(BASE.replace(ridge=0.01, spectrum=(3.0, 2.0)), marks=pytest.mark.heavy),
    pytest.param(BASE.replace(n=25, ridge=0.5, dy=40, spectrum=(4.0,)), marks=pytest.mark.heavy),
    BASE.replace(n=23, ridge=0.1, dy=20, spectrum=(6.0, 4.0, 2.0)),
    BASE.replace(n=29, spectrum=(3.0, 2.0)),
    BASE.replace(n=31, ridge=0.3, spectrum=tuple(np.linspace(3, 0.3, 12))),
]


@pytest.mark.parametrize("problem", SIMULATED, ids=lambda p: f"n={p.n},ridge={p.ridge:g}")
def test_in_bands_unflagged_ranks_are_within_one_percent(problem):
    """Two samples from the threshold, at it and below it. False alarms 1e-6; the first order is rejected with ridge.

    Draws with ill-conditioned inputs decide: Tr W (W + eta)^{-2}, whose mean is S + eta S', is taken out of them.
    """
    ranks, draws = np.array([4, 8, 12, 16]), 6000
    rng, kept = np.random.default_rng(3), []
    for _ in range(draws // 250):
        x = rng.standard_normal((250, problem.dx, problem.n))
        residual = problem.shift @ x + rng.standard_normal((250, problem.dy, problem.n))
        gram = x @ x.mT + problem.ridge * np.eye(problem.dx)
        update = np.linalg.solve(gram, x @ residual.mT).mT
        fit = update @ x @ residual.mT
        basis = np.linalg.eigh((fit + fit.mT) / 2)[1][:, :, ::-1]
        seen = basis.mT @ update
        terms = np.sum(seen * (seen - 2 * basis.mT @ problem.shift), axis=2)
        values = np.maximum(np.linalg.eigvalsh(x @ x.mT), 0)
        control = np.sum(np.where(values > 1e-9, values, 0) / (values + problem.ridge + 1e-30) ** 2, axis=1)
        kept.append(np.column_stack([np.cumsum(terms, axis=1)[:, ranks - 1] + problem.pretrained_risk, control]))
    risks, control = np.split(np.concatenate(kept), [len(ranks)], axis=1)
    s, slope, _ = laguerre.exact(problem.ridge, *sorted((problem.n, problem.dx)))
    known = float(s + problem.ridge * slope)
    centred = control - control.mean()
    left = risks - (centred * (risks - risks.mean(axis=0))).mean(axis=0) / np.mean(centred**2) * (control - known)
    mean, stderr = left.mean(axis=0), left.std(axis=0, ddof=1) / np.sqrt(draws)
    found = lora_equivalent(problem, ranks)
    assert not np.any(found.flagged)
    z = critical_z(len(ranks) * len(SIMULATED))
    assert np.all(np.abs(found.risk - mean) <= z * stderr + 0.01 * mean), (found.risk, mean, stderr)
    expanded = twin.functionals(problem, ranks.astype(float), correction=True)
    old = problem.pretrained_risk + (expanded.raw + expanded.correction)[:, :3] @ [0.0, 1.0, -2.0]
    assert problem.ridge > 0.2 or np.all(np.abs(old - mean) > np.abs(found.risk - mean))


def test_no_jump_between_no_ridge_and_next_to_none():
    """The risk is continuous at ridge 0, two samples from the threshold like the square root of it."""
    at = [lora_equivalent(BASE.replace(n=28, ridge=eta), [2, 6, 12]).risk for eta in (0.0, 3e-5, 3e-6)]
    first, second = (np.abs(value / at[0] - 1) for value in at[1:])
    assert np.all(second < first)
    assert np.all(first < 0.03)


def test_the_contour_around_everything_is_fft():
    """Without ridge to 1e-9; with one the energy's shift in q is a series, good to 0.1 % (`threshold`)."""
    wider = {"n": 25, "ridge": 0.04, "input_covariance": np.full(25, 4.0), "spectrum": (1.5, 1.0, 0.5)}
    cases = [({}, 1e-9), ({"n": 22}, 1e-6), ({"ridge": 0.1}, 1e-3), ({"n": 25, "ridge": 0.01}, 2e-3), (wider, 2e-3)]
    for changes, accuracy in cases:
        problem = BASE.replace(**changes)
        found = fft_functionals(problem, correction=True)
        total = problem.pretrained_risk + (found.raw + found.correction)[0, :3] @ [0.0, 1.0, -2.0]
        assert total == pytest.approx(fft.fft_risk(problem).risk, rel=accuracy)


@pytest.mark.parametrize("changes", [{}, {"n": 22}, {"ridge": 0.1}, {"n": 25, "ridge": 0.01}])
def test_units_of_outputs_and_inputs(changes):
    """Outputs 2.5 times as large have 6.25 times the risk; inputs with four times the variance, a shift of half the
    size and four times the ridge have the same. Counts are certified to 2e-6 of a direction, of a risk of several.
    """
    problem, ranks = BASE.replace(**changes), [1, 2, 6, 12]
    risk = lora_equivalent(problem, ranks).risk
    spectrum = np.array(problem.spectrum)
    louder = problem.replace(spectrum=tuple(2.5 * spectrum), noise_std=2.5)
    np.testing.assert_allclose(lora_equivalent(louder, ranks).risk, 6.25 * risk, rtol=1e-5)
    wider = problem.replace(spectrum=tuple(spectrum / 2), input_covariance=np.full(25, 4.0), ridge=4 * problem.ridge)
    np.testing.assert_allclose(lora_equivalent(wider, ranks).risk, risk, rtol=1e-5)


def test_where_a_band_is_noise():
    assert band_of_noise(BASE) == 3
    assert band_of_noise(BASE.replace(spectrum=())) == 0
    assert band_of_noise(BASE.replace(spectrum=tuple(np.linspace(3, 1, 9)))) is None
    assert band_of_noise(BASE.replace(noise_covariance=np.linspace(1, 2, 25))) == 3
    assert band_of_noise(BASE.replace(n=12, input_covariance=np.linspace(1, 2, 25))) is None
    assert band_of_noise(BASE.replace(noise_covariance=np.repeat([1.0, 100.0], [12, 13]))) is None
    # Below the planted directions the term is there, at those that merge it is not.
    ranks = np.array([2.0, 3.0, 4.0, 8.0])
    for changes, separate in (({"n": 60}, 3), ({"n": 29}, 2), ({"spectrum": (0.2, 0.2, 0.1)}, 0)):
        found = functionals(BASE.replace(**changes), ranks, correction=True)
        assert found.separate == separate
        assert found.sharpened.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("levels", "one"), [([1.0, 4.0], False), ([1.0, 2.0], True), ([1.0, 1.5, 2.0], True), ([0.0, 1.0], True)]
)
def test_noise_of_two_levels_may_have_a_gap(levels, one):
    """Against the spectrum of one large draw, whose largest gap is below a spacing of its edge, or far above."""
    shape = np.repeat(levels, 24 // len(levels))
    problem = BASE.replace(n=400, dx=100, dy=24, noise_covariance=shape)
    assert noise_is_one_band(problem) is one
    noise = np.random.default_rng(1).standard_normal((480, 2000)) * np.sqrt(np.repeat(shape, 20))[:, None]
    spectrum = np.linalg.eigvalsh(noise @ noise.T)
    gaps = np.diff(np.log(spectrum[spectrum > 1e-6]))[5:-5]
    assert bool(np.max(gaps) < 0.06) is one


def test_a_gap_is_found_whether_n_is_dx_or_next_to_it():
    """Points beside zero that lie on another branch say nothing of a gap far above them."""
    problem = Problem(n=16, dx=16, dy=10, spectrum=(3.0, 1.0), noise_std=1.0, ridge=1.0)
    widths = [
        functionals(continued(problem).replace(n=n), np.array([1.0]), correction=True).gap[0]
        for n in (15.9, 16.0, 16.01, 16.1)
    ]
    assert min(widths) > 0.4
    assert np.ptp(widths) < 0.03  # a gap's ends are known to a fifth of a step of the search


@pytest.mark.parametrize(("astray", "count"), [(50.0, 3.0), (1e-3, -10.0), (50.0, 1.5)])
def test_ends_of_a_gap_ask_the_points_next_to_it(astray, count):
    """One direction above x between 1 and 10, one point far away that is on another branch."""

    def points_at(x, *_, **__):
        x = np.asarray(x, dtype=float)
        none = np.zeros((len(x), 1))
        counts = np.where(x == astray, count, np.where(x > 10, 0.0, np.where(x > 1, 1.0, 2.0)))
        return Points(x, counts, np.zeros((len(x), 4)), none + 0j, none + 0j, np.ones(len(x), dtype=bool))

    pool = points_at(np.sort([100.0, astray, 20.0, 3.0, 0.5, 0.01])[::-1])
    low, high = cuts._ends(points_at, pool, np.array([1.0]), np.log([3.0]), 1e-6)
    assert low[0] == pytest.approx(np.log(1), abs=0.2 * np.log(10))
    assert high[0] == pytest.approx(np.log(10), abs=0.2 * np.log(10))


def test_levels_that_are_equal_but_for_rounding_leave_no_gap():
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((25, 25)))[0]
    for levels, one in ((np.repeat([1.0, 2.0], [12, 13]), True), (np.repeat([1.0, 100.0], [12, 13]), False)):
        covariance = (rotation * levels) @ rotation.T
        rotated = BASE.replace(noise_covariance=(covariance + covariance.T) / 2)
        assert len(np.unique(np.linalg.eigvalsh(rotated.sigma_eps))) > 2
        assert noise_is_one_band(rotated) is one
