"""Ranks of updates between checkpoints: against LoRA fitted to the data, brute force, and drawn noise."""

import itertools
import re

import jax
import ml_dtypes
import numpy as np
import pytest
from comparisons import critical_z
from hypothesis import given, settings
from hypothesis import strategies as st
from optht import optht
from refusals import refused
from scipy.optimize import brentq
from scipy.stats import binom

import linreg_lora as ll
from linreg_lora.checkpoints import budget, metric, noise, peft, ranks, spectrum
from linreg_lora.checkpoints.rounding import error_variances


def anisotropic(rng, n, dx, decades=2.0):
    return rng.standard_normal((n, dx)) @ np.linalg.qr(rng.standard_normal((dx, dx)))[0] * np.logspace(0, -decades, dx)


def least_squares(x, y):
    """Full fine-tuning from zero, (dy dx)."""
    return np.linalg.lstsq(x, y, rcond=None)[0].T


# -- in the metric, the energy left out is LoRA's loss ----------------------------------------------------------------


@pytest.mark.parametrize(("n", "dx", "dy"), [(60, 9, 7), (60, 7, 12), (8, 14, 6), (10, 10, 4)])
@pytest.mark.parametrize("centred", [False, True])
def test_what_a_rank_leaves_out_is_what_lora_loses(n, dx, dy, centred):
    """The training loss of LoRA as its own estimator fits it, at every rank; also where inputs span less."""
    rng = np.random.default_rng(n + dx)
    x = anisotropic(rng, n, dx) + 0.7
    y = x @ rng.standard_normal((dx, dy)) + rng.standard_normal((n, dy))
    if centred:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    found = ll.checkpoints.update_ranks(
        np.zeros((dy, dx)), least_squares(x, y), activations=x + 5 * centred, centred=centred
    )
    q = len(found.values)
    assert q == min(dy, np.linalg.matrix_rank(x))
    fits = jax.jit(lambda x, y: [ll.estimators.fit_lora(x, y, rank=r) for r in range(q + 1)])(x.T, y.T)
    losses = [np.sum((y - x @ fit.T) ** 2) / n for fit in fits]
    left = np.concatenate([np.cumsum(found.values[::-1] ** 2)[::-1], [0.0]])
    np.testing.assert_allclose(np.array(losses) - losses[-1], left, atol=1e-10 * left[0])
    assert found.unseen == 0.0


def test_no_update_of_the_rank_is_better():
    """Direct optimisation of both factors from several starts, by alternating least squares in the metric."""
    rng = np.random.default_rng(3)
    x = anisotropic(rng, 50, 6)
    update = rng.standard_normal((5, 6))
    found = ll.checkpoints.update_ranks(np.zeros((5, 6)), update, activations=x)
    target, inverse = x @ update.T, np.linalg.pinv(x)
    for rank in range(1, 5):
        b = rng.standard_normal((4, 5, rank))  # four starts side by side
        for _ in range(2000):
            a = inverse @ target @ b @ np.linalg.inv(b.mT @ b)
            seen = x @ a
            b = np.linalg.solve(seen.mT @ seen, seen.mT @ target).mT
        best = np.min(np.sum((target - seen @ b.mT) ** 2, axis=(1, 2))) / 50
        assert best == pytest.approx(np.sum(found.values[rank:] ** 2), rel=1e-6)


def test_the_plain_svd_is_wrong():
    """Many strong changes on inputs that hardly vary, and one on those that do: LoRA needs rank one."""
    rng = np.random.default_rng(0)
    scales = np.array([3.0] + [0.01] * 11)
    update = rng.standard_normal((10, 12))
    x = rng.standard_normal((500, 12)) * scales
    found = ll.checkpoints.update_ranks(np.zeros((10, 12)), update, activations=x)
    assert (found.rank, found.in_metric) == (1, True)
    assert found.plain_rank >= 9
    y = x @ update.T
    lora = [np.sum((y - x @ ll.estimators.fit_lora(x.T, y.T, rank=r).T) ** 2) for r in (0, 1)]
    assert lora[1] < 0.01 * lora[0]
    left, s, right = np.linalg.svd(update)
    plain = left[:, :1] * s[:1] @ right[:1]
    assert np.sum((y - x @ plain.T) ** 2) > 0.5 * lora[0]


@pytest.mark.parametrize("kind", [float, np.float32])
def test_rows_and_moments_say_the_same(kind):
    rng = np.random.default_rng(1)
    x, update = anisotropic(rng, 90, 8), rng.standard_normal((6, 8))
    by_rows = ll.checkpoints.update_ranks(np.zeros((6, 8)), update, activations=x)
    moment = (x.T @ x / 90).astype(kind)
    found = metric.of_moment("m", moment.astype(float), float(np.finfo(kind).eps))
    by_moment = np.linalg.svd(found.seen(update) @ found.factor, compute_uv=False)
    np.testing.assert_allclose(by_moment, by_rows.values, rtol=1e-9 if kind is float else 1e-5)
    few = x[:3]
    single = ll.checkpoints.update_ranks(np.zeros((6, 8)), update, moment=few.T @ few / 3)
    rows = ll.checkpoints.update_ranks(np.zeros((6, 8)), update, activations=few)
    np.testing.assert_allclose(single.values, rows.values, rtol=1e-9)
    q = np.linalg.qr(few.T)[0]
    assert single.unseen == pytest.approx(1 - np.sum((update @ q) ** 2) / np.sum(update**2))
    assert rows.unseen == pytest.approx(single.unseen)
    assert any("never have" in note for note in rows.notes)


@pytest.mark.parametrize("centred", [False, True])
def test_rows_in_blocks_are_rows(centred):
    rng = np.random.default_rng(2)
    x = anisotropic(rng, 70, 6) + 4
    expected = np.cov(x.T, bias=True) if centred else x.T @ x / 70
    for cuts in ([70], [1] * 70, [3, 40, 27], [6, 6, 58]):
        blocks = np.split(x, np.cumsum(cuts)[:-1])
        found = metric.of_rows("x", blocks, centred=centred)
        np.testing.assert_allclose(found.factor @ found.factor.T, expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.variances, np.diag(expected), rtol=1e-10)
        assert (found.samples, found.rank) == (70, 6)


# -- singular values and ranks ----------------------------------------------------------------------------------------


def test_squares_are_used_only_where_they_lose_nothing(monkeypatch):
    """By hand the Gram matrix gets a small value wrong by all of it; ours is then computed again."""
    monkeypatch.setattr(spectrum, "SMALL", 4)
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, 8)))[0] for size in (30, 12))
    mild, steep = np.linspace(1, 2, 8)[::-1], np.logspace(0, -14, 8)
    found = spectrum.singular_values(left * mild @ right.T[:, :8])
    assert found.squared
    np.testing.assert_allclose(found.values, np.linalg.svd(left * mild @ right.T[:, :8])[1], rtol=1e-13)
    tall = left[:, :4] * mild[:4] @ right.T[:4, :8] + left[:, 4:] * 1e-5 @ right.T[4:, :8]
    tall[:, 0] = tall[:, 1] * (1 + 1e-12)
    loose = spectrum.singular_values(tall)
    assert (loose.squared, loose.resolved) == (True, False)
    np.testing.assert_allclose(loose.values[:5], np.linalg.svd(tall)[1][:5], rtol=1e-3)
    matrix = left * steep @ right.T
    square = matrix @ matrix.T
    assert np.sqrt(abs(np.linalg.eigvalsh(square)[-8])) > 10 * steep[-1]
    exact = spectrum.singular_values(matrix[:, :8])
    assert (exact.squared, exact.resolved) == (False, True)
    assert not spectrum.singular_values(left * mild @ right.T[:, :8], exact=True).squared
    np.testing.assert_allclose(exact.values, np.linalg.svd(matrix[:, :8])[1], rtol=1e-12, atol=1e-16)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=12), st.floats(0.01, 0.999))
@settings(deadline=None, max_examples=200)
def test_ranks_for_a_share(values, share):
    values = np.sort(np.array(values))[::-1]
    rank = ranks.rank_for(values, share, 20)
    total = np.sum(values**2)
    if total > 1e-200:
        assert np.sum(values[rank:] ** 2) <= (1 - share) * total * (1 + 1e-12)
        assert rank == 0 or np.sum(values[rank - 1 :] ** 2) >= (1 - share) * total * (1 - 1e-12)
        assert 1 <= ranks.stable_rank(values) <= np.sum(values > 0) * (1 + 1e-9)
    assert ranks.lost(values)[-1] == 0.0


def test_effective_ranks_of_equal_values_count_them():
    values = np.array([2.0] * 5 + [0.0] * 3)
    assert ranks.effective_rank(values) == pytest.approx(5)
    assert ranks.stable_rank(values) == pytest.approx(5)
    assert ranks.rank_for(values, 1.0, 8) == ranks.numerical_rank(values, 8) == 5
    assert ranks.effective_rank(np.zeros(3)) == ranks.stable_rank(np.zeros(3)) == ranks.rank_for(np.zeros(3), 1, 3) == 0


def test_a_share_that_is_kept_exactly_needs_no_more():
    assert ranks.rank_for(np.array([3.0, 1.0]), 0.9, 2) == 1
    assert ranks.rank_for(np.array([3.0, 1.0]), 0.9001, 2) == 2


def test_the_largest_rank_that_pays():
    for dy, dx in itertools.product(range(1, 12), repeat=2):
        pays = [r for r in range(12) if r * (dx + dy) < dx * dy]
        assert ranks.largest_rank(dy, dx) == max(pays)


def test_no_change_needs_no_rank():
    found = ll.checkpoints.update_ranks(np.ones((3, 4)), np.ones((3, 4)))
    assert (found.rank, found.noise, found.change, found.kept(0)) == (0, None, 0.0, 1.0)


# -- noise ------------------------------------------------------------------------------------------------------------

#: A right 5 % point fails each of the tests below with probability 0.001 (two-sided binomial).
LEVEL = 1e-3


def is_5_percent(hits, draws):
    low, high = binom.ppf([LEVEL / 2, 1 - LEVEL / 2], draws, 0.05)
    return low <= hits <= high


def fitted(rng, n, dx, dy, sigma, shift):
    """An update by least squares, its inputs, and noise at its level."""
    x = anisotropic(rng, n, dx, 1.0)
    return least_squares(x, x @ shift.T + sigma * rng.standard_normal((n, dy))), x


@pytest.mark.parametrize(("n", "dx", "dy"), [(60, 20, 30), (25, 20, 12), (12, 20, 16)])
def test_noise_of_known_level_stands_out_in_5_percent(n, dx, dy):
    """Of least squares on anisotropic inputs, also fewer samples than inputs. Power: 5 % read as 10 % fails with
    probability 0.97 or more (400 draws)."""
    rng, hits = np.random.default_rng(dx + n), 0
    for _ in range(400):
        update, x = fitted(rng, n, dx, dy, 0.7, np.zeros((dy, dx)))
        found = ll.checkpoints.update_ranks(np.zeros((dy, dx)), update, activations=x, noise_std=0.7)
        hits += found.noise.rank > 0
    assert is_5_percent(hits, 400)
    assert (found.noise.known_by, found.noise.flagged) == ("noise_std", False)


def near_5_percent(hits, draws, off):
    """`off`: by how much an asymptotic 95 % point may be off in probability, at sizes of ten to thirty."""
    low, high = binom.ppf(LEVEL / 2, draws, 0.05 - off), binom.ppf(1 - LEVEL / 2, draws, 0.05 + off)
    return low <= hits <= high


@pytest.mark.parametrize(("rows", "columns"), [(20, 20), (12, 30)])
def test_the_largest_value_of_noise(rows, columns):
    """The 95 % point by 60,000 draws. Power: the exponent 1/2 for 1/3 makes it 5.7 %, which fails with probability
    0.95."""
    noisy = np.random.default_rng(rows).standard_normal((60_000, rows, columns))
    values = np.linalg.svd(noisy, compute_uv=False)[:, 0] ** 2
    assert near_5_percent(np.sum(values > noise.largest_of_noise(rows, columns)), 60_000, 0.002)


@pytest.mark.parametrize(("rows", "columns", "samples"), [(20, 20, 80), (10, 30, 120), (30, 10, 25)])
def test_noise_of_least_squares_without_a_metric(rows, columns, samples):
    """Its 95 % point by 20,000 draws; its median within what the median of few values may be off."""
    rng = np.random.default_rng(rows)
    largest, median = noise.least_squares_noise(rows, columns, samples)
    wishart = [np.linalg.cholesky(w.T @ w) for w in rng.standard_normal((20_000, samples, columns))]
    noisy = np.linalg.solve(np.array(wishart), rng.standard_normal((20_000, columns, rows)))
    values = np.linalg.svd(noisy, compute_uv=False) ** 2
    assert near_5_percent(np.sum(values[:, 0] > largest), 20_000, 0.004)
    assert np.mean(np.median(values, axis=1)) == pytest.approx(median, rel=1 / min(rows, columns))


def test_samples_that_are_named_are_those_of_the_noise():
    """Inputs of as many other rows say the metric; the noise is that of the samples of the fine-tuning."""
    values, x = np.random.default_rng(0).standard_normal((12, 9)), np.eye(9) * 3
    known = [
        ll.checkpoints.update_ranks(np.zeros((12, 9)), values, activations=x, noise_std=1.0, samples=n)
        for n in (None, 9, 900)
    ]
    assert known[0].noise == known[1].noise
    assert known[2].noise.edge == pytest.approx(known[0].noise.edge / 10)


def test_strong_directions_are_counted_whatever_is_known():
    """Four directions at four times the edge, isotropic inputs: all four ways find them; the median's error rate is
    below 15 % (it is about 10 %; 17 of 100 would come with probability below 0.03)."""
    rng = np.random.default_rng(5)
    n, d, sigma = 400, 40, 1.0
    false = 0
    for _ in range(100):
        x = rng.standard_normal((n, d))
        left, right = (np.linalg.qr(rng.standard_normal((d, 4)))[0] for _ in range(2))
        shift = 4 * sigma * np.sqrt(d / n) * 2 * left @ right.T
        update = least_squares(x, x @ shift.T + sigma * rng.standard_normal((n, d)))
        ways = [{"activations": x, "noise_std": sigma}, {"activations": x}, {"samples": n}, {}]
        counts = [ll.checkpoints.update_ranks(np.zeros((d, d)), update, **way).noise for way in ways]
        assert all(found.rank >= 4 for found in counts)
        false += counts[1].rank > 4
        assert [found.flagged for found in counts] == [False, False, False, True]
    assert false < 17


def test_the_threshold_of_gavish_and_donoho():
    """As the package optht counts by the median, and with known noise where the matrix is square; of others it
    takes the smaller side for the larger one, below the edge of noise."""
    rng = np.random.default_rng(6)
    for rows, columns in [(30, 50), (40, 40), (50, 20)]:
        noisy = rng.standard_normal((rows, columns))
        noisy[:3, :3] += np.diag([40.0, 30.0, 20.0])
        values = np.linalg.svd(noisy, compute_uv=False)
        found = noise.in_metric(values, rows, columns)
        assert found.worth_keeping == optht(min(rows, columns) / max(rows, columns), values) == 3
        known = noise.in_metric(values, rows, columns, 1.0)
        assert known.worth_keeping == 3
        if rows == columns:
            assert known.worth_keeping == optht(1.0, values, 1.0)


@pytest.mark.parametrize("b", [1.0, 0.5, 0.1])
def test_at_the_threshold_keeping_a_direction_gains_nothing(b):
    """A planted x shows as y with overlaps c and d: |y u v' - x|^2 = y^2 - 2 x y c d + x^2, against x^2 without it."""

    def gain(x):
        y = np.sqrt((x + 1 / x) * (x + b / x))
        overlaps = (x**4 - b) / np.sqrt((x**4 + b * x**2) * (x**4 + x**2))
        return 2 * x * y * overlaps - y**2, y

    x = brentq(lambda x: gain(x)[0], b**0.25, 5)
    assert noise.worth_keeping(1000, int(1000 * b)) == pytest.approx(1000 * gain(x)[1] ** 2)


def test_doubts_are_said():
    """Few samples an input, fewer than inputs, few values, and an update that is all signal."""
    values = np.linspace(1, 0.5, 20)
    assert "fewer than 4 samples" in noise.without_metric(values, 20, 20, 60).note
    assert "n = 15" in noise.without_metric(values, 20, 20, 15).note
    assert "too few" in noise.in_metric(values[:4], 4, 9).note
    assert "quarter" in noise.in_metric(np.concatenate([np.full(8, 50.0), values[:12]]), 20, 20).note
    assert noise.without_metric(values, 20, 20, 15).flagged


# -- rounding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "stored"), [("F16", np.float16), ("BF16", ml_dtypes.bfloat16), ("F32", np.float32)])
def test_variances_of_rounding_are_those_of_rounding(kind, stored):
    """Mean squared errors of 40,000 numbers, over what is expected: within six standard errors (of u^2/12 as even
    errors have it: 0.9 of itself each)."""
    numbers = np.random.default_rng(0).standard_normal(40_000)
    kept = numbers.astype(stored).astype(float)
    ratio = np.mean((kept - numbers) ** 2 / error_variances(kept, kind))
    assert ratio == pytest.approx(1, abs=6 * 0.9 / 200)
    assert error_variances(np.zeros(1), kind) == error_variances(np.full(1, 1e-46), kind)


def rounded(array, kind=ml_dtypes.bfloat16):
    return array.astype(kind).astype(float)


def rounding_energy(stored, bits, moment):
    """Mean and standard deviation of |E S^{1/2}|^2 for even errors E of width u = 2^(floor(log2 |w|) - bits).

    Of one entry v = u^2 / 12 is the mean of e^2, and v^2 4/5 its variance; of two, 4 v v' that of 2 e e'.
    """
    v = 4.0 ** (np.floor(np.log2(np.abs(stored.astype(float)))) - bits) / 12
    own, other = np.diagonal(moment), moment - np.diag(np.diagonal(moment))
    variance = 0.8 * np.sum(v**2 @ own**2) + 2 * np.sum((v @ other**2) * v)
    return np.sum(v @ own), np.sqrt(variance)


def test_ranks_of_a_checkpoint_in_few_bits_count_rounding():
    """A change of rank three stored in bf16: by energy it needs dozens, above rounding it has three.

    The energy of the errors that were drawn is what is expected of them: 1e-6 false alarms. Power: u^2 / 12 with u
    twice as large, or half, is rejected.
    """
    rng = np.random.default_rng(0)
    before = rounded(rng.standard_normal((80, 60)))
    shift = 0.02 * rng.standard_normal((80, 3)) @ rng.standard_normal((3, 60))
    after = (before + shift).astype(ml_dtypes.bfloat16)
    found = ll.checkpoints.update_ranks(before, after, share=0.999)
    assert found.rounding.rank == 3
    assert found.rank > 10
    assert any("above rounding" in note for note in found.notes)
    error = after.astype(float) - before - shift
    mean, std = rounding_energy(after, 7, np.eye(60))
    assert abs(np.sum(error**2) - mean) < critical_z(1) * std < mean / 3
    assert found.rounding.share * found.energy == pytest.approx(mean, rel=1e-12)
    wide = ll.checkpoints.update_ranks(before, after.astype(np.float32), share=0.999)
    assert wide.rounding == found.rounding  # as f32 it is bf16 still
    clean = ll.checkpoints.update_ranks(before, before + shift, share=0.999)
    assert (clean.rank, clean.notes) == (3, ())


@pytest.mark.parametrize("in_metric", [False, True])
def test_the_largest_value_of_rounding_is_below_its_edge(in_metric):
    """Of 20 roundings of a matrix with rows of different sizes; and above the edge without one of its halves, of which
    no more than a half is missing. The energy is what is expected: 1e-6 false alarms
    over 40, and errors of half or twice the size would be seen."""
    rng = np.random.default_rng(1)
    x = anisotropic(rng, 200, 50, 1.0) if in_metric else None
    moment = np.eye(50) if x is None else x.T @ x / len(x)
    for _ in range(20):
        true = rng.standard_normal((70, 50)) * np.linspace(0.2, 2, 70)[:, None]
        after = true.astype(np.float16)
        found = ll.checkpoints.update_ranks(true, after, activations=x)
        assert found.rounding.edge / 2 < found.values[0] < 1.05 * found.rounding.edge
        mean, std = rounding_energy(after, 10, moment)
        assert abs(found.energy - mean) < critical_z(40) * std < mean / 2
        assert found.rounding.share == pytest.approx(min(1, mean / found.energy), rel=1e-9)


def test_rows_that_were_not_trained_have_no_rounding():
    rng = np.random.default_rng(2)
    before = rounded(rng.standard_normal((40, 10)))
    after = before.copy()
    after[:2] = rounded(before[:2] + 1)
    found = ll.checkpoints.update_ranks(before, after.astype(ml_dtypes.bfloat16))
    assert found.rounding.share * found.energy == pytest.approx(np.sum(error_variances(after[:2], "BF16")))


# -- a budget ---------------------------------------------------------------------------------------------------------


def exhaustive(values, shapes, most):
    """The largest kept energy under a budget, over all ranks."""
    names = list(values)
    options = [range(min(len(values[n]), ranks.largest_rank(*shapes[n])) + 1) for n in names]
    best = 0.0
    for chosen in itertools.product(*options):
        cost = sum(r * sum(shapes[n]) for r, n in zip(chosen, names, strict=True))
        if cost <= most:
            best = max(best, sum(np.sum(np.square(values[n][:r])) for r, n in zip(chosen, names, strict=True)))
    return best


@st.composite
def problems(draw):
    count = draw(st.integers(1, 4))
    sizes = st.sampled_from([(6, 6), (8, 4), (5, 12), (7, 9), (12, 5)])
    shapes = {f"m{i}": draw(sizes) for i in range(count)}
    number = st.one_of(st.floats(0, 10), st.integers(0, 3).map(float))
    values = {
        name: sorted(draw(st.lists(number, min_size=min(s), max_size=min(s))), reverse=True)
        for name, s in shapes.items()
    }
    return values, shapes, draw(st.integers(0, 200))


@given(problems())
@settings(deadline=None, max_examples=150)
def test_ranks_under_a_budget_are_the_best(problem):
    values, shapes, most = problem
    found = ll.checkpoints.allocate(values, shapes, most)
    best, total = exhaustive(values, shapes, most), sum(np.sum(np.square(v)) for v in values.values())
    assert found.parameters == sum(r * sum(shapes[n]) for n, r in found.ranks.items()) <= most
    kept = sum(np.sum(np.square(values[n][:r])) for n, r in found.ranks.items())
    assert kept == pytest.approx(best, rel=1e-9)
    if total > 0:
        assert found.kept == pytest.approx(kept / total)
        assert found.most == pytest.approx(found.kept)


def test_greedy_alone_is_not_the_best():
    """One large gain that fits only without a small one that is cheaper for what it gives."""
    values, shapes = {"small": [1.1, 0, 0, 0], "large": [1.9, 0, 0, 0]}, {"small": (4, 4), "large": (12, 12)}
    found = ll.checkpoints.allocate(values, shapes, 24)
    assert found.ranks == {"small": 0, "large": 1}
    assert found.kept == pytest.approx(1.9**2 / (1.9**2 + 1.1**2))


def test_an_ended_search_says_by_how_much_it_may_be_short(monkeypatch):
    monkeypatch.setattr(budget, "_MOST_STEPS", 0)
    values, shapes = {"small": [1.1, 0, 0, 0], "large": [1.9, 0, 0, 0]}, {"small": (4, 4), "large": (12, 12)}
    found = ll.checkpoints.allocate(values, shapes, 24)
    assert found.kept < 1.9**2 / (1.9**2 + 1.1**2) <= found.most


def test_a_whole_network_is_allocated_at_once():
    """Two hundred matrices of four costs, a million values, in seconds; nothing is left that would fit."""
    rng = np.random.default_rng(0)
    sizes = [(1024, 1024), (256, 1024), (2816, 1024), (1024, 2816)]
    shapes = {f"{i}.{j}": size for i in range(50) for j, size in enumerate(sizes)}
    values = {name: np.sort(rng.exponential(size=min(size)))[::-1] for name, size in shapes.items()}
    found = ll.checkpoints.allocate(values, shapes, 30_000_001)
    assert found.most <= found.kept * (1 + 1e-9)
    assert found.budget - found.parameters < min(map(sum, sizes))


def test_weights_and_caps_of_a_budget():
    values, shapes = {"a": [3.0, 1.0], "b": [2.0, 1.9]}, {"a": (6, 6), "b": (6, 6)}
    assert ll.checkpoints.allocate(values, shapes, 24).ranks == {"a": 1, "b": 1}
    assert ll.checkpoints.allocate(values, shapes, 24, {"a": 0.1, "b": 1.0}).ranks == {"a": 0, "b": 2}
    assert ll.checkpoints.allocate(values, shapes, 36, most={"a": 2, "b": 0}).ranks == {"a": 2, "b": 0}
    with refused("budget", "an integer >= 0"):
        ll.checkpoints.allocate(values, shapes, -1)
    with refused("values", "large to small"):
        ll.checkpoints.allocate({"a": [1.0, 2.0]}, {"a": (3, 3)}, 5)
    with refused("weights", "names of values"):
        ll.checkpoints.allocate(values, shapes, 5, {"a": 1.0})


# -- PEFT -------------------------------------------------------------------------------------------------------------


def rank_in_peft(configuration, module):
    """As PEFT 0.17 reads it, its own two rules written down: targets by suffix, then `get_pattern_key`."""
    targets = configuration["target_modules"]
    if not (module in targets or any(module.endswith(f".{target}") for target in targets)):
        return 0
    for key in configuration["rank_pattern"]:
        if re.match(rf"(.*\.)?({key})$", module):
            return configuration["rank_pattern"][key]
    return configuration["r"]


@pytest.mark.parametrize(
    "given_ranks",
    [
        {"model.layers.0.q_proj": 4, "model.layers.1.q_proj": 7, "lm_head": 2},
        {"proj": 5, "block.proj": 6, "a.block.proj": 1},
        {"a.b": 2, "a_b": 3, "x.a.b": 4, "x_a.b": 9},
        {"odd+name": 3, "odd[0]": 4, "none": 0},
    ],
)
def test_peft_reads_the_ranks_that_are_meant(given_ranks):
    found = peft.configuration(given_ranks)
    assert {module: rank_in_peft(found, module) for module in given_ranks} == given_ranks
    assert peft.misled(given_ranks) == []
    assert found["alpha_pattern"] == found["rank_pattern"]
    shuffled = peft.configuration(dict(reversed(given_ranks.items())))
    assert {module: rank_in_peft(shuffled, module) for module in given_ranks} == given_ranks


def test_a_module_that_peft_would_take_along_is_named():
    given_ranks = {"proj": 2, "block.proj": 0}
    assert rank_in_peft(peft.configuration(given_ranks), "block.proj") == 2
    assert peft.misled(given_ranks) == ["block.proj"]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "field", "parts"),
    [
        ({"after": np.ones((3, 3))}, "after", ("shape (3, 4)", "(3, 3)")),
        ({"after": np.full((3, 4), np.nan)}, "after", ("finite", "nan at [0, 0]")),
        ({"before": np.ones(3)}, "before", ("a matrix", "shape (3,)")),
        ({"activations": np.ones((5, 3))}, "activations", ("4 inputs", "3", "inputs x outputs")),
        ({"activations": np.zeros((5, 4))}, "activations", ("not all zero",)),
        ({"activations": np.ones((5, 4)), "centred": True}, "activations", ("rows that differ",)),
        ({"activations": np.ones((5, 4)), "moment": np.eye(4)}, "moment", ("", "both")),
        ({"moment": np.diag([1.0, 1, 1, -1])}, "moment", ("positive semidefinite", "-1")),
        ({"moment": np.triu(np.ones((4, 4)))}, "moment", ("symmetric", "asymmetry")),
        ({"moment": np.zeros((4, 4))}, "moment", ("not zero", "zero")),
        ({"share": 0.0}, "share", ("above 0",)),
        ({"share": 1.5}, "share", ("at most 1",)),
        ({"samples": 0}, "samples", ("an integer >= 1",)),
        ({"noise_std": 1.0}, "noise-std", ("activations",)),
        ({"noise_std": 1.0, "moment": np.eye(4)}, "samples", ("how many rows",)),
    ],
)
def test_arrays_that_do_not_fit(words, field, parts):
    arguments = {"before": np.zeros((3, 4)), "after": np.ones((3, 4)), **words}
    with refused(field, *parts):
        ll.checkpoints.update_ranks(**arguments)
