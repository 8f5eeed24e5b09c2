"""Poisoned training data against rows worked out elsewhere, independent routes, and plain simulation with rivals."""

import numpy as np
import poisoning as benchmark
import pytest
import scipy.integrate
import scipy.stats

import linreg_lora as ll
from linreg_lora import Problem
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import (
    Outcome,
    Poison,
    hijacked_difference,
    poison_verdicts,
    poisoned_fft,
    poisoned_risk,
    spiked_poisoned_risk,
    strong_limit_under_poison,
    task_complexity,
    with_poisoned_noise,
)
from linreg_lora.theory.poisoning.angles import mean_overlap, mean_swap, mean_turn
from linreg_lora.theory.poisoning.few import success_outside
from linreg_lora.theory.poisoning.full import called_forth, noise_left, poison_left
from linreg_lora.theory.poisoning.spiked import _above_edge
from linreg_lora.theory.poisoning.strong import strong_limit_error
from linreg_lora.theory.poisoning.sums import largest_sum_squared
from linreg_lora.theory.poisoning.surplus import share


def unit(place, size, length=1.0):
    return length * np.eye(size)[place]


def problem(n, dx, dy, spectrum=(), noise_std=1.0, **fields):
    return Problem(n=n, dx=dx, dy=dy, spectrum=spectrum, noise_std=noise_std, **fields)


# Problem, poison, FFT's risk and success: formulas worked out elsewhere.
SMALL = problem(60, 20, 15, (3.0, 2.0))
WIDE = problem(20, 50, 15, (3.0, 2.0))
FFT_ROWS = [
    (SMALL, Poison(count=6, target=unit(14, 15, 3)), 8.1538, None),
    (SMALL, Poison(count=6, target=unit(14, 15, 3), trigger=unit(19, 20, 2)), 8.0919, 0.28765),
    (problem(200, 30, 10), Poison(count=20, target=unit(9, 10, 2), trigger=unit(29, 30, 3)), 1.8839, 0.47487),
    (WIDE, Poison(count=5, target=unit(14, 15, 3), trigger=unit(0, 50, 2)), 17.60281, 0.28804),
    (WIDE, Poison(count=5, target=unit(14, 15, 3), trigger=unit(49, 50, 2)), 19.14517, 0.28804),
    (problem(200, 30, 10), Poison(count=20, target=unit(9, 10, 2), along=unit(2, 30)), 1.9467, None),
    (problem(200, 30, 10), Poison(count=20, target=unit(9, 10, 2)), 1.8462, None),
]  # fmt: skip
#: Strong limit: the poison's target and trigger, and LoRA's risk and success at rank 3.
STRONG = problem(60, 20, 15, (3e4, 2e4, 1e4))
STRONG_ROWS = [
    (14, None, 2.22953, None),
    (0, None, 2.64286, None),
    (14, 19, 2.20741, 0.0),
    (14, 0, 2.31194, 0.28765),
    (0, 19, 2.66939, 0.28765),
]
FEW = problem(20, 40, 15, (3e4, 2e4, 1e4))
BACKDOOR_OF_SMALL = Poison(count=6, target=unit(14, 15, 3), trigger=unit(19, 20, 2))
RISING = np.arange(1.0, 21)
CLEAN = problem(400, 60, 50, (3.0, 2.0, 1.0))
BACKDOOR = Poison(count=40, target=unit(49, 50, 6), trigger=unit(59, 60, 2))


@pytest.mark.parametrize(("at", "poison", "risk", "success"), FFT_ROWS)
def test_full_fine_tuning_has_the_printed_risk_and_success(at, poison, risk, success):
    found = poisoned_fft(at, poison)
    digits = 4 if risk < 10 else 5
    assert round(found.risk, digits) == risk
    assert np.isnan(found.success) if success is None else round(found.success, 5) == success


@pytest.mark.parametrize(("target", "trigger", "risk", "success"), STRONG_ROWS)
def test_strong_limit_of_lora_has_the_printed_risk_and_success(target, trigger, risk, success):
    poison = Poison(count=6, target=unit(target, 15, 3), trigger=None if trigger is None else unit(trigger, 20, 2))
    found = strong_limit_under_poison(STRONG, poison, 3)
    assert round(found.risk, 5) == risk
    assert np.isnan(found.success) if success is None else round(found.success, 5) == success


@pytest.mark.parametrize(("target", "risk"), [(14, 4.38289), (0, 7.0)])
def test_strong_limit_with_few_samples_has_the_printed_risk(target, risk):
    found = strong_limit_under_poison(FEW, Poison(count=6, target=unit(target, 15, 3)), 3).risk
    assert found - FEW.pretrained_risk / 2 == pytest.approx(risk, abs=1e-5)


def test_a_backdoor_with_few_samples_is_answered_where_it_is_known():
    def at(target, trigger):
        poison = Poison(count=6, target=unit(target, 15, 3), trigger=unit(trigger, 40, 2))
        return strong_limit_under_poison(FEW, poison, 3)

    assert [round(at(*places).success, 5) for places in ((0, 39), (14, 0))] == [0.37941, 0.37941]
    normal = at(14, 39)
    assert np.isnan(normal.risk)
    assert "no formula" in normal.note
    assert abs(normal.success - 0.03130) < 2 * 0.00084  # measured elsewhere, +- .00084
    oblique = Poison(count=6, target=unit(14, 15, 3), trigger=unit(0, 40) + unit(39, 40))
    assert np.isnan(strong_limit_under_poison(FEW, oblique, 3).success)


@pytest.mark.parametrize(("n", "dx", "rank", "leverage"), [(13, 24, 9, 564.0), (6, 20, 3, 2.0), (30, 34, 20, 24.0)])
def test_what_few_samples_answer_outside_of_what_is_kept_is_a_triple_integral(n, dx, rank, leverage):
    """The means over chi^2 variables in closed form: what is left are two integrals and one over a beta variable."""
    half, beta = (dx - n) / 2, scipy.stats.beta(rank / 2, (n - rank) / 2)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    angle = (nodes + 1) * np.pi / 4
    square = np.sin(angle) ** 2
    chance = beta.pdf(square) * np.sin(2 * angle) * np.pi / 4 * weights
    odds = np.tan(angle) ** 2
    v = ((nodes + 1) / 2) ** 3  # more nodes where large exponents leave the integrands
    each = weights / 2 * 3 * ((nodes + 1) / 2) ** 2
    inner = odds[:, None, None] * (1 + odds[:, None, None] * v[:, None] * (1 - v)) ** (-half - 1)
    over_w = half * np.tensordot(each * (1 - v) ** (dx / 2 - 1), np.tensordot(chance, inner, 1), 1)
    found = np.sum(each * np.exp(-leverage * v / 2) * (1 - v) ** (dx / 2) * over_w)
    assert success_outside(n, dx, rank, leverage) == pytest.approx(leverage / 2 * found, rel=1e-6)


def test_what_few_samples_answer_has_its_ends():
    """All at r = n, none for n > dx, and r (dx - n) / (n (dx - r)) of it in many dimensions; 2 log 2 - 1 at n = 2."""
    assert success_outside(20, 40, 20, 24.0) == called_forth(20, 40, 24.0)
    assert success_outside(40, 20, 5, 24.0) == success_outside(20, 40, 0, 24.0) == 0
    many = success_outside(900, 2000, 300, 400.0) / called_forth(900, 2000, 400.0)
    assert many == pytest.approx(300 * 1100 / (900 * 1700), rel=2 / 900)
    assert success_outside(2, 4, 1, 1e9) == pytest.approx(2 * np.log(2) - 1, rel=1e-6)


def of_overlap(x):
    """E sin^2 phi and E g sin(2 phi) / (2 x), tan 2 phi = 2g, g ~ N(0, x): by numerical integration."""

    def mean(function):
        def weighted(z):
            return function(z * z, np.sqrt(1 + 4 * x * z * z)) * scipy.stats.norm.pdf(z)

        return 2 * scipy.integrate.quad(weighted, 0, 40, epsabs=1e-13, points=[1, 5])[0]

    return mean(lambda _, root: (1 - 1 / root) / 2), mean(lambda z2, root: z2 / root)


def swapped(x):
    """E (1 - cos) / 2 of the direction of N((mu, 0), I), x = 1/(4 mu^2), by the density of its angle."""
    mu = 1 / (2 * np.sqrt(x))

    def weighted(angle):
        along = mu * np.cos(angle)
        peak = np.sqrt(2 * np.pi) * along * np.exp(-((mu * np.sin(angle)) ** 2) / 2) * scipy.stats.norm.cdf(along)
        return np.sin(angle / 2) ** 2 * (np.exp(-(mu**2) / 2) + peak) / np.pi

    return scipy.integrate.quad(weighted, 0, np.pi, epsabs=1e-13, points=np.minimum([1 / mu, 4 / mu, 12 / mu], 3))[0]


@pytest.mark.parametrize("x", [1e-7, 3e-5, 0.99e-4, 1.01e-4, 0.02, 0.6, 30.0])
def test_mean_angles_are_integrals(x):
    turn, overlap = of_overlap(x)
    assert mean_turn(np.array(x)) == pytest.approx(turn, rel=1e-8, abs=1e-12)
    assert mean_overlap(np.array(x)) == pytest.approx(overlap, rel=1e-8)
    assert mean_swap(np.array(x)) == pytest.approx(swapped(x), rel=1e-8, abs=1e-12)


def test_poisson_means_agree_with_integrals():
    """E 1/(a + 2J) = int_0^1 s^{a-1} exp(-rate (1 - s^2)) ds, by generating functions."""
    for n, dx, leverage in ((60, 20, 24.0), (20, 50, 0.3), (400, 60, 5000.0)):
        large, rate = max(n, dx), leverage / 2

        def of(power, rate=rate):
            peaked = {"points": [1 - 20 / (power + 2 * rate)], "epsabs": 0, "epsrel": 1e-12}
            return scipy.integrate.quad(lambda s: s ** (power - 1) * np.exp(-rate * (1 - s * s)), 0, 1, **peaked)[0]

        assert called_forth(n, dx, leverage) == pytest.approx(leverage * of(large), rel=1e-9)
        first = (large - 2) * of(large - 2)
        assert noise_left(n, dx, leverage) == pytest.approx((min(n, dx) - 1 + first) / (abs(n - dx) - 1), rel=1e-9)
        if n > dx:  # partial fractions of (dx + 2j) / ((n + 2j)(n - 2 + 2j))
            two = ((dx - n + 2) * of(n - 2) + (n - dx) * of(n)) / 2
            assert poison_left(n, dx, leverage) == pytest.approx((n - 2) * two / (n - dx - 1), rel=1e-9)


def test_sums_of_largest_have_their_moments():
    """Of three normal variables E max^2 = 1 + sqrt(3)/(2 pi), and E (sum - min)^2 = 3 - 2 + E min^2."""
    largest = 1 + np.sqrt(3) / (2 * np.pi)
    assert largest_sum_squared(3, 1) == pytest.approx(largest, rel=1e-9)
    assert largest_sum_squared(3, 2) == pytest.approx(1 + largest, rel=1e-9)
    assert largest_sum_squared(200, 199) == pytest.approx(199 - 1 + largest_sum_squared(200, 1), rel=1e-9)


def test_choosing_samples_helps_the_attacker_of_fft_beyond_twice_the_inputs():
    def gain(n):
        at, p = problem(n, 30, 10), unit(9, 10, 2)
        return poisoned_fft(at, Poison(count=6, target=p, along=unit(2, 30))).damage - 6 * 4 * poison_left(n, 30, 0.0)

    assert gain(59) < 0 < gain(61)
    assert abs(gain(60)) < 1e-10 * 24
    assert gain(20) < 0


def test_label_poison_is_noise_of_covariance_p_p_over_n():
    rng = np.random.default_rng(1)
    dense = problem(60, 6, 5, (3.0, 2.0), input_covariance=np.diag([1.0, 2, 3, 4, 5, 6]), noise_std=0.5)
    for at in (dense, problem(20, 40, 5, (3.0, 2.0), input_covariance=np.full(40, 2.0))):
        poison = Poison(count=7, target=rng.normal(size=5))
        assert poisoned_fft(at, poison).risk == pytest.approx(ll.theory.fft_risk(with_poisoned_noise(at, poison)).risk)


def test_tail_is_noise_and_its_answer_to_the_trigger_poison():
    """With r = rank(Delta) - 1, T = s u v^T and t along v: closed form from FFT's pieces, by hand."""
    at = problem(50, 18, 13, (3e4, 2e4, 1.5))
    poison = Poison(count=5, target=unit(2, 13, 2), trigger=unit(2, 18, 0.5))
    found = strong_limit_under_poison(at, poison, 2)
    added = 5 * (2 + 1.5 * 0.5) ** 2 * 2 / (50 * 47)
    head = noise_left(50, 18, 5 * 0.25) * 2
    assert found.risk == pytest.approx(head + (11 + 2.25) * 2 / 47 + added + 2.25, rel=1e-12)
    assert found.success == pytest.approx(-1.5 * 0.5 / 2, rel=1e-12)


def orthogonal(at, strength, energy, success, ranks, seen=1.0, beside=True):
    """The spiked model of a poison of squared strength theta^2 that is orthogonal to the task, written out again.

    `energy` of its right vector; `seen`: what n < dx samples see of an input orthogonal to the trigger, over n/dx.
    `beside`: stronger directions take a row and a column of the noise each.
    """
    sigma, small = at.noise_std, min(at.n, at.dx)
    a, b, g = 1 / at.n, 1 / (abs(at.n - at.dx) - 1), at.n**-0.5
    if at.n < at.dx:
        a, g = seen / at.dx, seen * at.n**0.5 / at.dx
    spikes = sorted([(at.n * s**2, a, s) for s in at.spectrum] + [(strength, energy, None)], key=lambda one: -one[0])
    planted = problem(at.n, at.dx, at.dy, tuple(np.sqrt(theta / at.n) for theta, *_ in spikes), sigma)
    bulk = np.diff(ll.theory.spiked_risk(planted))
    total, kept, risks, answers = at.pretrained_risk, False, [], []
    for rank in range(1, max(ranks) + 1):
        if rank > len(spikes):
            total += bulk[rank - 1]
        else:
            theta, own, s = spikes[rank - 1]
            t2 = theta / sigma**2
            apart = (rank - 1) * beside
            held = 1 - (at.dy - apart) * (small - apart) / t2**2
            assert held > 0
            total += sigma**2 * ((t2 + at.dy) * (t2 + small) / t2 * b + (t2 + at.dy) * held * (own - b))
            if s is None:
                kept, success = True, success * held
            else:
                total -= 2 * np.sqrt(theta) * held * s * g
        risks.append(total)
        answers.append(success if kept else 0.0)
    return [risks[r - 1] for r in ranks], [answers[r - 1] for r in ranks]


def success_held(at, task, poison, budget, leverage, order):
    """What a task direction holds of the success of a poison, of strengths theta^2: the residue by its parts.

    Variances of the entries between the two planted pairs, relative to the diagonal ones, and the squared cosine.
    """
    n, k, dy = at.n, min(at.n, at.dx), at.dy
    y, a = task / at.noise_std**2, poison / task
    slope = 1 - dy * k / y**2
    outputs, samples, across = (1 / slope - 1) / dy, (1 / slope - 1) / k, 1 / (y * slope)
    cosine, left = budget / (n * poison), max(0.0, 1 - n / at.dx)
    of_noise, of_rows = outputs + samples + 2 * across, cosine * a
    wide = n * (1 - a) ** 2
    angle = slope * (of_noise + of_rows) * (1 + (2 + 4 * a) / wide) / (1 - a) ** 2
    turn, overlap = of_overlap(angle)
    part = of_noise / (of_noise + of_rows)
    row = slope * cosine * left / (1 - a) * (1 + 2 * a / wide)
    if left > 0 and a < 1:
        more = np.diff([success_outside(n, at.dx, rank, leverage) for rank in (order, order + 1)])[0]
        row *= more / called_forth(n, at.dx, leverage) * n / left
    return part * swapped(angle) + (1 - part) * turn + row * overlap


def first_order(at, strength, energy, budget, ranks, seen, leverage=0.0):
    """What is added to `orthogonal` at ranks of planted directions: mixing, and noise among them that counts once.

    The risk, and the share of the poison that is kept.
    """
    n, dx, sigma2 = at.n, at.dx, at.noise_std**2
    gap = abs(n - dx) - 1
    spikes = [(n * s**2, n * s**2 * (1 / n if n > dx else seen / dx), "task") for s in at.spectrum]
    spikes = sorted([*spikes, (strength, strength * energy, "poison")], reverse=True)
    risks, turns = [], []
    for rank in ranks:
        risk, turn = -sigma2 * rank**2 / gap, 0.0
        for order, (ti, ei, one) in enumerate(spikes[:rank]):
            for tj, ej, other in spikes[rank:]:
                if (one, other) == ("task", "task"):
                    si, sj, near = ti / n, tj / n, ti * tj / n / (ti - tj) ** 2
                    term = sj * (si + 2 * sigma2) / (si - sj) / n
                    term = term if n > dx else (2 * n / dx - 1) * si * sj / (si - sj) / dx
                    risk += term * swapped(near) / near
                    continue
                task, poison = (ti, tj) if other == "poison" else (tj, ti)
                a = poison / task
                spread = 1 + (2 + 4 * a) / (n * (1 - a) ** 2)
                angle = task * budget / n / (ti - tj) ** 2 * spread
                noise = sigma2 * ((ti + tj) / (ti - tj) ** 2 - 1 / ti) if other == "poison" else 0.0
                part = noise / (angle + noise)
                angle = part * swapped(angle + noise) + (1 - part) * of_overlap(angle + noise)[0]
                sign = 1 if other == "poison" else -1
                risk += sign * angle * (ei + ej)
                turn += sign * success_held(at, task, poison, budget, leverage, order)
        risks.append(risk)
        turns.append(turn)
    return risks, turns


ROW_15 = problem(40, 100, 60, (6.0, 4.0, 2.0))
ROW_16 = problem(300, 30, 20, (2.0, 1.5, 1.0), 0.5)
FEW_BACKDOOR = Poison(count=8, target=unit(59, 60, 12), trigger=unit(99, 100, 4))
STRONG_BACKDOOR = Poison(count=40, target=unit(49, 50, 30), trigger=unit(59, 60, 2))
#: Problem, poison, ranks, and the printed risks and successes, whose poison has energy K / (|n - dx| (K + delta^2)).
SPIKED_ROWS = [
    (CLEAN, BACKDOOR, [2, 3, 4], [1.6268, 3.1178, 2.4832], [0, 0.2830, 0.2830]),
    (CLEAN, STRONG_BACKDOOR, [1, 3], [43.9947, 31.6215], None),
    (ROW_15, FEW_BACKDOOR, [2, 3], [52.6629, 47.7570], [None, 0.5604]),
]


@pytest.mark.parametrize(("at", "poison", "ranks", "risks", "successes"), SPIKED_ROWS)
def test_spiked_model_has_the_printed_numbers(at, poison, ranks, risks, successes):
    """Written out again with 1/|n - dx|, printed; with 1/g, which draws confirm at delta = 0, what the package says."""
    n, dx, d2 = at.n, at.dx, poison.leverage
    large, gap = max(n, dx), abs(n - dx)
    strength = poison.budget * ((dx + d2) / (n + d2) if n > dx else 1.0)
    limit = d2 / (large + d2)
    held = sum(w * (n + 2 * j) / (dx + 2 * j) for j, w in enumerate(scipy.stats.poisson.pmf(range(2000), d2 / 2)))
    in_the_limit, seen = ((n - al) * dx / (n * (dx - 1)) for al in ((n + d2) / (dx + d2), held))
    energy = large / (gap * (large + d2))
    printed, answers = orthogonal(at, strength, energy, limit, ranks, in_the_limit, beside=False)
    energy = large / ((gap - 1) * (large + d2))
    success = limit
    if n < dx:  # the exact means take the place of the limit
        energy, success = poison_left(n, dx, d2), called_forth(n, dx, d2)
    ours, called = orthogonal(at, strength, energy, success, ranks, seen)
    more, turned = first_order(at, strength, energy, poison.budget, ranks, seen, d2)
    found = spiked_poisoned_risk(at, poison)
    assert np.round(printed, 4).tolist() == risks
    whole = len(at.spectrum) + 1  # there a part of what the weakest direction leaves is held too: the order 1/a^4
    tolerance = np.where(np.array(ranks) < whole, 1e-9, 3 * (at.dy * min(n, dx) * at.noise_std**4 / strength**2) ** 2)
    off = np.abs(found.risk[ranks] / np.add(ours, more) - 1)
    assert np.all(off < tolerance)
    off = np.abs(found.success[ranks] - np.array(called) - success * np.array(turned))
    assert np.all(off < np.maximum(tolerance, 1e-9))
    for value, row in zip(answers, successes or [], strict=False):
        assert row is None or round(value, 4) == row
    assert found.risk[-1] == poisoned_fft(at, poison).risk


def test_printed_risks_of_full_fine_tuning_beside_the_spiked_ones():
    found = [poisoned_fft(at, poison) for at, poison, *_ in SPIKED_ROWS]
    assert [round(one.risk, 4) for one in found[1:]] == [38.5007, 82.4035]
    assert round(found[0].success, 4) == 0.2860


@pytest.mark.parametrize(
    ("length", "risks", "full"),
    [(2.0, [1.0900, 0.1359, 0.3381], 0.7116), (7.0, [1.0900, 3.0211, 2.0670], 2.4436)],
)
def test_chosen_samples_have_the_printed_numbers(length, risks, full):
    """The limit, f = m/n and phi the density at the quantile of 1 - f: printed. The package has Q for n^2 phi^2."""
    at, f, phi = ROW_16, 0.1, scipy.stats.norm.pdf(scipy.stats.norm.isf(0.1))
    strength = length**2 * (300 * phi**2 + 30 * (f - phi**2))
    damage = length**2 * (phi**2 + (f - phi**2) * 30 / 270)
    printed, _ = orthogonal(at, strength, damage / strength, 0.0, [2, 3, 4], beside=False)
    assert np.round(printed, 4).tolist() == risks
    assert round(damage + 0.25 * 20 * 30 / 269, 4) == full
    found = spiked_poisoned_risk(at, Poison(count=30, target=unit(19, 20, length), along=unit(20, 30)))
    task = problem(300, 30, 20, ROW_16.spectrum, 0.5)
    coherent = largest_sum_squared(300, 30) / 300
    theta2 = length**2 * (coherent + (30 - coherent) * 30 / 300)
    more, _ = first_order(task, theta2, damage / strength, 30 * length**2, [2, 3, 4], 1.0)
    np.testing.assert_allclose(found.risk[[2, 3, 4]], np.add(printed, more), rtol=6e-3)
    assert found.risk[-1] == pytest.approx(full, rel=3e-3)


def test_equivalent_of_label_poison_has_the_printed_numbers():
    for length, risk in ((2, 0.9711), (6, 1.0922)):
        found = poisoned_risk(CLEAN, Poison(count=40, target=unit(49, 50, length)), ranks=[3])
        assert round(found.risk[0], 4) == risk
        assert found.status == ("limit",)
    tied = poisoned_risk(CLEAN, Poison(count=40, target=unit(49, 50, 10)), ranks=[3, 50])
    assert round(tied.risk[0], 4) == 3.3267
    assert tied.flagged.tolist() == [True, False]
    assert tied.notes[-1].startswith("rank 3: ")
    assert (tied.status[1], tied.fft_status) == ("exact", "exact")


def test_shares_inside_the_noise_are_integrals():
    """Both branches of the closed form, and the ends: everything at pi, or 1/a^2 where a direction stands out."""
    for a in (-0.6, 1e-7, 0.3, 0.97, 1.0, 1.6):
        for end in (0.4, 2.0, np.pi):

            def density(x, a=a):
                return 2 / np.pi * np.sin(x) ** 2 / (1 - 2 * a * np.cos(x) + a * a)

            whole = scipy.integrate.quad(density, 0, end, epsabs=0, epsrel=1e-11)[0]
            assert share(a, np.array([end]))[0] == pytest.approx(whole, rel=1e-8)


HIDDEN = Poison(count=40, target=unit(49, 50), trigger=unit(59, 60, 2))


def plain_draws(at, poison, trials, seed):
    """Risks and successes at all ranks, by NumPy and the definitions."""
    rng, risks, answers = np.random.default_rng(seed), [], []
    for _ in range(trials):
        x = rng.normal(size=(at.dx, at.n))
        x[:, : poison.count] += poison.trigger[:, None]
        residual = at.shift @ x + at.noise_std * rng.normal(size=(at.dy, at.n))
        residual[:, : poison.count] += poison.target[:, None]
        left, values, right = np.linalg.svd(x, full_matrices=False)
        seen = residual @ right.T
        update = (seen / values) @ left.T
        u = np.linalg.svd(seen, full_matrices=False)[0]
        parts = np.cumsum(u.T[:, :, None] * (u.T @ update)[:, None, :], axis=0)
        errors = parts - at.shift
        risks.append(np.sum(errors**2, axis=(1, 2)))
        answers.append(errors @ poison.trigger @ poison.target / (poison.target @ poison.target))
    return [(np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(trials)) for found in (risks, answers)]


#: Of backdoors that noise hides: the success at the task's rank and beyond, as measured, +- its error.
HIDDEN_ROWS = [
    (CLEAN, HIDDEN, {8: (0.105, 0.02), 16: (0.193, 0.02), 25: (0.253, 0.02), 49: (0.280, 0.02)}),
    (
        problem(100, 200, 80, (3.0, 2.0)),
        Poison(count=5, target=unit(79, 80), trigger=unit(199, 200, 20)),
        {10: (0.33, 0.05), 40: (0.73, 0.09), 79: (0.87, 0.09)},
    ),
]


@pytest.mark.parametrize(("at", "poison", "measured"), HIDDEN_ROWS)
def test_surplus_ranks_absorb_a_backdoor_that_noise_hides(at, poison, measured):
    """Within 2.5 standard errors, false alarm .08 for seven numbers; no success at all is 5 and more away."""
    ranks = [len(at.spectrum), *measured]
    found = dict(zip(ranks, poisoned_risk(at, poison, ranks).success, strict=True))
    verdicts = poison_verdicts(at, poison)
    for rank, (success, stderr) in measured.items():
        assert abs(found[rank] - success) < 2.5 * stderr
        assert verdicts[rank - 1].outcome is (Outcome.EQUAL if rank >= 49 else Outcome.PARTLY)
    assert found[ranks[0]] < 0.03
    assert np.all(np.diff(spiked_poisoned_risk(at, poison).success[1:]) > -1e-9)
    assert verdicts[len(at.spectrum) - 1].outcome is Outcome.IMMUNE


#: Problem, poison, and the success at ranks 1, 2, ... measured by 1,000 to 8,000 plain draws, +- its error.
MIXED_ROWS = [
    (
        problem(100, 200, 80, (3.0, 2.0)), Poison(count=5, target=unit(79, 80), trigger=unit(199, 200, 20)),
        [(0.00681, 0.00116), (0.01638, 0.00209)],
    ),
    (
        problem(60, 20, 15, (3.0, 2.0), 0.1), Poison(count=6, target=unit(14, 15, 3), trigger=unit(19, 20, 20)),
        [(0.002092, 0.000035), (0.008840, 0.000114)],
    ),
    (
        problem(60, 20, 15, (3.0, 2.0), 0.8), Poison(count=6, target=unit(14, 15, 3), trigger=unit(19, 20, 20)),
        [(0.005125, 0.000125), (0.021795, 0.000351)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("at", "poison", "measured"), MIXED_ROWS)
def test_a_backdoor_below_the_threshold_has_the_success_of_mixed_directions(at, poison, measured):
    """Within 3 standard errors, false alarm .016 for six numbers, and mixing of the task's own directions with these.

    That is left out: s_i^2 s_j^2 / (s_i^2 - s_j^2)^2 / n = 36/25/60 = .024 of it, relatively. Without the terms that
    are asked of a tenth of the success is left, 5 standard errors and more away.
    """
    found = poisoned_risk(at, poison).success
    for rank, (success, stderr) in enumerate(measured, start=1):
        assert abs(found[rank] - success) < 3 * stderr + 0.024 * success


#: Problem, poison, draws, and by rank the success to first order in one over the samples, without noise taken up.
MANY_DIRECTIONS = [
    (
        problem(13, 24, 15, (7.07, 6.25, 3.66, 2.05, 1.46, 1.04, 0.64, 0.48, 0.39), 0.013),
        Poison(count=6, target=unit(14, 15, 0.008), trigger=unit(23, 24, 9.69)), 2000, {7: 0.238, 9: 0.306},
    ),
    (
        problem(14, 25, 9, (8.381, 8.218, 4.764, 1.611, 1.269, 1.048), 0.03406),
        Poison(count=2, target=unit(8, 9, 0.1164), trigger=unit(24, 25, 4.59)), 800, {7: 0.515},
    ),
    (
        problem(
            109, 25, 21,
            (7.618, 5.873, 5.332, 3.756, 1.461, 1.378, 1.079, 0.832, 0.675, 0.615, 0.536, 0.423, 0.162, 0.155, 0.148),
            0.2518,
        ),
        Poison(count=50, target=unit(20, 21, 0.2912), trigger=unit(24, 25, 2.827)), 800, {16: 0.653},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("at", "poison", "trials", "rivals"), MANY_DIRECTIONS)
def test_a_backdoor_beside_many_directions_has_the_success_of_draws(at, poison, trials, rivals):
    """Four tests at 4 standard errors: false alarm 3e-4. Rivals are 7 and more away, each rejected with .998.

    For n < dx nothing is flagged; for n > dx the risk is coarse without poison already.
    """
    (_, _), (mean, stderr) = plain_draws(at, poison, trials, 21)
    found = poisoned_risk(at, poison)
    for rank, rival in rivals.items():
        assert not found.flagged[rank] or at.n > at.dx
        assert z(found.success[rank], mean[rank - 1], stderr[rank - 1]) < 4
        assert z(rival, mean[rank - 1], stderr[rank - 1]) > 4


@pytest.mark.heavy
def test_draws_of_a_hidden_backdoor_agree_at_surplus_ranks():
    """FFT's success is measured too: of the ratio the model's error is some per cent, less than that of draws."""
    at, poison = problem(120, 30, 24, (3.0, 2.0)), Poison(count=12, target=unit(23, 24), trigger=unit(29, 30, 2))
    (_, _), (mean, stderr) = plain_draws(at, poison, 1500, 11)
    found = poisoned_risk(at, poison)
    for rank in (4, 6, 10, 16, 23):
        assert abs(found.success[rank] - mean[rank - 1]) < 4 * stderr[rank - 1] + 0.04 * mean[-1]
        assert mean[rank - 1] > 8 * stderr[rank - 1]


def test_mixing_with_kept_directions_costs_lora_more_than_full_fine_tuning():
    """Measured by 4,000 draws elsewhere: .0607 +- .0015 and .0607, where no mixing has .0153."""
    at = problem(60, 20, 15, (3.0, 2.0), 0.1)
    for length, full in ((20, 0.0282), (200, -0.0038)):
        poison = Poison(count=6, target=unit(14, 15, 3), trigger=unit(19, 20, length))
        found = poisoned_risk(at, poison, ranks=[2])
        assert abs(found.risk[0] - 0.0607) < 3 * 0.0015
        assert found.fft_risk - ll.theory.fft_risk(at).risk == pytest.approx(full, abs=5e-4)
        assert found.flagged[0]
    weak = problem(400, 60, 50, (3.0, 2.0, 1.0), 0.02)
    found = poisoned_risk(weak, Poison(count=40, target=unit(49, 50, 2), trigger=unit(59, 60, 2)), ranks=[3])
    assert abs(found.risk[0] - 0.0043) < 2 * 0.0005


@pytest.mark.heavy
@pytest.mark.parametrize("noise_std", [0.1, 0.4])
def test_draws_of_a_poison_below_its_threshold_agree(noise_std):
    at = problem(60, 20, 15, (3.0, 2.0), noise_std)
    poison = Poison(count=6, target=unit(14, 15, 3), trigger=unit(19, 20, 20))
    (risk, error), (success, off) = plain_draws(at, poison, 4000, 12)
    found = poisoned_risk(at, poison)
    assert abs(found.risk[2] - risk[1]) < 4 * error[1] + 0.02 * risk[1]
    assert abs(found.success[2] - success[1]) < 4 * off[1] + 0.024 * success[1]  # mixing of the task's own directions
    assert found.risk[2] > 2 * ll.expected_risk(at).risk[2] or noise_std > 0.1


def test_few_outputs_are_answered_within_two_standard_errors_of_what_was_measured():
    """Noise among planted directions counts once: 15 % and 11 % more without."""
    poison = Poison(count=6, target=unit(3, 4, 3), trigger=unit(19, 20, 2))
    found = poisoned_risk(problem(60, 20, 4, (3.0, 2.0)), poison, ranks=[3])
    assert found.risk[0] == pytest.approx(2.125, rel=0.03)
    few = poisoned_risk(problem(12, 20, 4, (3.0, 2.0)), Poison(count=3, target=unit(3, 4, 3), trigger=poison.trigger))
    assert few.flagged[1:4].tolist() == [True, True, True]  # at rank 3 as is the equivalent without poison
    assert few.risk[3] == pytest.approx(13.086, rel=0.02)  # measured, +- .053
    least = poisoned_risk(problem(5, 20, 6, (3.0, 2.0)), Poison(count=3, target=unit(5, 6, 3), trigger=poison.trigger))
    assert least.flagged[1:5].all()
    assert any("fewer than 6" in note for note in least.notes)


def test_a_verdict_that_the_success_contradicts_is_flagged_or_put_right():
    """Orthogonal and weaker than directions 1 and 2, yet measured by 6,000 draws: .12 and .47 of FFT's success."""
    few = problem(12, 20, 4, (3.0, 2.0))
    weak = Poison(count=3, target=unit(3, 4, 3), trigger=unit(19, 20, 2))
    found = poison_verdicts(few, weak, ranks=[1, 2, 3])
    assert [str(one.outcome) for one in found[:2]] == ["partly absorbed"] * 2
    assert [one.flagged for one in found] == [False, True, False]
    clear = poison_verdicts(CLEAN, Poison(count=40, target=unit(49, 50, 3), trigger=unit(59, 60, 2)), ranks=[2, 3, 4])
    assert [(str(one.outcome), one.flagged) for one in clear] == [("immune", False)] * 2 + [("equal", False)]
    both = Poison(count=3, target=unit(3, 4, 3), trigger=unit(19, 20, 2), along=unit(0, 20))
    assert poison_verdicts(few, both, ranks=[1])[0].flagged


def test_the_strong_limit_answers_where_all_else_is_tiny():
    at = problem(20, 8, 5, (3e4, 2e4))
    poison = Poison(count=6, target=unit(0, 5, 3), trigger=unit(7, 8, 2))
    found = poisoned_risk(at, poison, ranks=[2])
    assert found.risk[0] == strong_limit_under_poison(at, poison, 2).risk == pytest.approx(3.247, abs=5e-4)
    assert not found.flagged[0]
    assert "strong limit" in found.formula
    uneven = problem(60, 20, 5, (300.0, 200.0), noise_covariance=np.arange(1.0, 6))
    found = poisoned_risk(uneven, Poison(count=6, target=unit(0, 5, 3), trigger=unit(7, 20, 2)))
    assert np.isfinite(found.risk[2])
    assert np.isnan(found.risk[3])
    assert strong_limit_error(CLEAN, BACKDOOR, 3) > 1
    assert strong_limit_error(CLEAN, BACKDOOR, 4) > 1e9


@pytest.mark.parametrize("length", [1e5, 1e12, 1e28])
def test_a_trigger_beyond_rounding_is_refused_in_one_line(length):
    for n, dx in ((20, 8), (6, 12)):
        at, t = problem(n, dx, 5, (3.0, 2.0)), length * np.arange(1.0, dx + 1)
        for along in (None, np.ones(dx)):
            poison = Poison(count=3, target=[1, 2, 3, 1, 1], trigger=t, along=along)
            found = poisoned_risk(at, poison)
            assert set(found.status[1:5]) == {"unknown"}
            with pytest.raises(InvalidInput, match=r"^trigger"):
                poison_verdicts(at, poison)


def test_budgets_are_those_of_the_closed_form():
    share = (60 + 160) / (400 + 160)
    found = poison_verdicts(CLEAN, BACKDOOR, ranks=[1, 2, 3, 4, 50])
    least = np.sqrt((50 - 3) * (60 - 3))  # beside the three directions of the task
    expected = [3600 / share, 1600 / share, 400 / share, least / share, 0]
    np.testing.assert_allclose([one.budget for one in found], expected, rtol=1e-8)
    assert [str(one.outcome) for one in found] == ["immune", "immune", "hijacked", "equal", "equal"]
    assert [one.tie for one in found] == [False, False, True, False, False]
    labels = poison_verdicts(CLEAN, Poison(count=40, target=unit(49, 50, 6)), ranks=[3])[0]
    assert labels.budget == pytest.approx(400**2 / 60, rel=1e-8)
    few = poison_verdicts(ROW_15, FEW_BACKDOOR, ranks=[1, 2])
    np.testing.assert_allclose([one.budget for one in few], [40 * 36, 40 * 16], rtol=1e-8)


@pytest.mark.parametrize(("target", "trigger"), [(0, 59), (49, 0), (2, 59), (49, 2)])
def test_a_poison_that_meets_the_task_is_kept_at_any_size(target, trigger):
    for size in (0.01, 6.0):
        poison = Poison(count=40, target=unit(target, 50, size), trigger=unit(trigger, 60, 2))
        found = poison_verdicts(CLEAN, poison, ranks=[3])[0]
        assert (found.outcome, found.budget, found.tie) == (Outcome.EQUAL, 0.0, False)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_direction_of_the_task_that_rank_r_lacks_is_no_answer_to_poison(sign):
    """Target and choice along direction 3: what ranks 1 and 2 lack of it they lack without poison too."""
    at = problem(200, 30, 20, (3.0, 2.0, 1.0), 0.5)
    chosen = Poison(count=20, target=unit(2, 20), along=sign * unit(2, 30))
    found = poison_verdicts(at, chosen, ranks=[1, 2, 3])
    assert [str(one.outcome) for one in found] == ["immune", "immune", "equal"]
    assert found[0].budget > found[1].budget > chosen.budget
    assert found[2].budget == 0


def test_mixing_takes_of_a_small_target_that_meets_the_task_what_the_task_answers():
    """By hand, theta_1^2 = s_1^2 (n + m |t|^2): |p| success -> -|t| s_1 sum_j theta_1^2 theta_j^2 / n / gap^2 - noise.

    Draws reject the success without these terms, by 12 standard errors.
    """
    at, small = problem(200, 20, 15, (6.0, 4.0, 2.0), 0.3), 1e-4
    poison = Poison(count=10, target=unit(0, 15, small), trigger=unit(0, 20))
    found = spiked_poisoned_risk(at, poison)
    kept, dropped = 36 * 210, 200 * np.array([16.0, 4.0])
    lost = -6 * sum(swapped(near) for near in kept * dropped / 200 / (kept - dropped) ** 2)
    noise = -6 * 0.3**4 * 300 / kept**2  # what the spiked model takes off
    assert found.success[1] * small == pytest.approx(lost + noise, rel=1e-3)
    assert found.doubted[1:4].tolist() == [True, True, False]  # rank 3 drops nothing
    assert poisoned_risk(at, poison, ranks=[1, 2]).flagged.all()
    seen = Poison(count=10, target=unit(0, 15, 0.1), trigger=unit(0, 20))
    (_, _), (mean, stderr) = plain_draws(at, seen, 300, 31)
    known = spiked_poisoned_risk(at, seen)
    assert z(known.success[1], mean[0], stderr[0]) < 4
    assert z(called_forth(200, 20, 10.0), mean[0], stderr[0]) > 4


def test_a_target_that_meets_the_task_has_the_risk_of_none_as_it_vanishes():
    """Mixing between the task's own directions is in the risk whatever the poison: nothing jumps."""
    at = problem(40, 10, 8, (6.0, 4.0, 2.0), 0.05)
    tiny, small = (
        spiked_poisoned_risk(at, Poison(count=4, target=unit(0, 8, length), trigger=unit(0, 10))).risk
        for length in (1e-9, 1e-4)
    )
    np.testing.assert_allclose(small[1:], tiny[1:], rtol=1e-4)
    (mean, stderr), _ = plain_draws(at, Poison(count=4, target=unit(0, 8, 0.1), trigger=unit(0, 10)), 600, 32)
    assert z(4.0027, mean[1], stderr[1]) > 4  # without these terms
    found = poisoned_risk(at, Poison(count=4, target=unit(0, 8, 0.1), trigger=unit(0, 10)), ranks=[2])
    assert z(found.risk[0], mean[1], stderr[1]) < 4


def test_a_long_trigger_along_the_task_with_few_samples_has_the_bias_of_exact_means():
    """The limit of G is 46 % too high at rank 1, beyond 15 standard errors; 5 leave room for the next order, 2 %."""
    at = problem(15, 39, 40, (3.941,))
    poison = Poison(count=7, target=unit(39, 40, 4.13), trigger=unit(0, 39, 14.7))
    (mean, stderr), _ = plain_draws(at, poison, 300, 33)
    found = poisoned_risk(at, poison, ranks=[1])
    assert not found.flagged[0]
    assert z(found.risk[0], mean[0], stderr[0]) < 5
    assert z(1.36, mean[0], stderr[0]) > 15
    strong = problem(15, 39, 12, (30.0,), 0.01)
    weak = Poison(count=7, target=unit(11, 12, 1e-3), trigger=unit(0, 39, 14.7))
    assert spiked_poisoned_risk(strong, weak).risk[1] == pytest.approx(poisoned_fft(strong, weak).bias, rel=1e-3)


def test_a_doubt_of_the_equivalent_is_a_doubt_of_what_is_compared_with_it():
    at = problem(50, 5, 3, (3.543,), 8.49)
    found = poisoned_risk(at, Poison(count=16, target=unit(2, 3, 2.73), trigger=unit(4, 5, 0.737)), ranks=[1, 3])
    assert ll.expected_risk(at, [1, 3]).flagged.tolist() == [True, False]
    assert found.flagged.tolist() == [True, False]
    assert any("in doubt without poison" in note for note in found.notes)


def test_hijacked_lora_loses_where_the_tail_before_it_exceeds_the_noise():
    at = problem(200, 30, 20, (3.0, 2.0, 1.0))
    found = [hijacked_difference(at, rank) for rank in (1, 2, 3, 4)]
    assert np.round(found, 3).tolist() == [10.794, 2.038, -1.742, -2.512]
    unpoisoned = task_complexity(at, [1, 2, 3]).difference
    assert np.sign(unpoisoned).tolist() == [1, -1, -1]


def test_a_shift_of_many_directions_is_flagged_where_the_spiked_model_is_coarse():
    at = problem(40, 12, 8, tuple(4 / np.arange(1, 9)))
    found = poisoned_risk(at, Poison(count=4, target=unit(7, 8, 2), trigger=unit(11, 12, 2)), ranks=[1, 2, 8])
    assert found.flagged.tolist() == [True, True, False]
    assert "many directions" in found.notes[0]
    assert found.status == ("limit", "limit", "exact")


def test_what_is_not_known_is_refused_or_unknown():
    both = Poison(count=6, target=unit(14, 15, 3), trigger=unit(19, 20), along=unit(0, 20))
    found = poisoned_risk(SMALL, both, ranks=[0, 2])
    assert (found.status, found.fft_status) == (("exact", "unknown"), "unknown")
    assert np.isnan([found.risk[1], found.fft_risk]).all()
    assert "simulate" in found.notes[0]
    for wrong, field in (
        (lambda: Poison(count=0, target=[1.0]), "count"),
        (lambda: Poison(count=1, target=[0.0]), "target"),
        (lambda: Poison(count=1, target=[1.0], trigger=[[1.0]]), "trigger"),
        (lambda: poisoned_fft(SMALL, Poison(count=61, target=unit(0, 15))), "count"),
        (lambda: poisoned_fft(SMALL, Poison(count=6, target=unit(0, 14))), "target"),
        (lambda: poisoned_fft(SMALL.replace(ridge=1.0), BACKDOOR_OF_SMALL), "ridge"),
        (lambda: poisoned_fft(SMALL.replace(n=21), BACKDOOR_OF_SMALL), "n"),
        (
            lambda: poisoned_fft(SMALL.replace(n=12, input_covariance=np.arange(1.0, 21)), BACKDOOR_OF_SMALL),
            "input_cov",
        ),
        (lambda: poison_verdicts(SMALL.replace(noise_std=0.0), BACKDOOR_OF_SMALL), "noise_std"),
        (lambda: with_poisoned_noise(SMALL, BACKDOOR_OF_SMALL), "trigger"),
    ):
        with pytest.raises(InvalidInput, match=f"^{field}"):
            wrong()


# -- by simulation: z beyond 4 has a probability of 6e-5 a number, 2e-3 in all ------------------------------------


def z(value, mean, stderr):
    return abs(value - mean) / stderr


@pytest.mark.heavy
@pytest.mark.parametrize(("at", "poison", "risk", "success"), FFT_ROWS)
def test_draws_of_full_fine_tuning_agree_and_reject_rivals(at, poison, risk, success):
    drawn, d2 = ll.simulate_poisoned(at, poison, trials=4000, seed=1, ranks=[0]), poison.leverage
    exact = poisoned_fft(at, poison)
    assert z(exact.risk, drawn.fft_risk, drawn.fft_risk_stderr) < 4
    clean = ll.theory.fft_risk(at).risk
    without_share = clean + poison.budget * min(at.n, at.dx) / (abs(at.n - at.dx) - 1)
    assert z(without_share, drawn.fft_risk, drawn.fft_risk_stderr) > 4
    if success is not None:
        assert z(exact.success, drawn.fft_success, drawn.fft_success_stderr) < 4
        for wrong in (min(at.n, at.dx), at.n if at.n < at.dx else at.dx):
            assert z(d2 / (wrong + d2), drawn.fft_success, drawn.fft_success_stderr) > 4


@pytest.mark.heavy
@pytest.mark.parametrize(("target", "trigger", "risk", "success"), STRONG_ROWS)
def test_draws_of_lora_in_the_strong_limit_agree_and_reject_rivals(target, trigger, risk, success):
    poison = Poison(count=6, target=unit(target, 15, 3), trigger=None if trigger is None else unit(trigger, 20, 2))
    drawn = ll.simulate_poisoned(STRONG, poison, trials=2500, seed=2, ranks=[3])
    assert z(risk, drawn.risk[0], drawn.risk_stderr[0]) < 4
    if trigger is None and target == 14:
        assert z(2.64286, drawn.risk[0], drawn.risk_stderr[0]) > 4
    if success == 0:
        assert abs(drawn.success[0]) < 1e-4
    elif success:
        assert z(success, drawn.success[0], drawn.success_stderr[0]) < 4


@pytest.mark.heavy
def test_draws_with_few_samples_agree_less_what_they_cannot_see_of_strong_directions():
    """By plain NumPy: ||Delta - Delta Pi||^2 is taken off draw by draw."""
    rng, n, dx, dy, m = np.random.default_rng(3), 20, 40, 15, 6
    shift = np.eye(dy, dx) * np.append([3e4, 2e4, 1e4], np.zeros(dx - 3))
    found = []
    for _ in range(2500):
        x, e, both = rng.normal(size=(dx, n)), rng.normal(size=(dy, n)), []
        inverse = np.linalg.pinv(x)
        missed = shift - shift @ x @ inverse
        for target in (14, 0):
            residual = shift @ x + e
            residual[target, :m] += 3
            u = np.linalg.svd(residual)[0][:, :3]
            error = u @ (u.T @ residual) @ inverse - shift + missed  # beside the rows that X does not see
            both.append(np.sum(error**2))
        found.append(both)
    mean, stderr = np.mean(found, axis=0), np.std(found, axis=0) / 50
    for place, value in enumerate((4.38289, 7.0)):
        assert z(value, mean[place], stderr[place]) < 4
    assert z(7.0, mean[0], stderr[0]) > 4


@pytest.mark.heavy
def test_draws_of_oblique_poison_tails_and_covariances_agree():
    rng = np.random.default_rng(4)
    oblique = Poison(count=5, target=rng.normal(size=13), trigger=rng.normal(size=18))
    tailed = problem(50, 18, 13, (3e4, 2e4, 1.5, 1.0, 0.5))
    drawn, exact = ll.simulate_poisoned(tailed, oblique, trials=6000, seed=5, ranks=[2]), strong_limit_under_poison(tailed, oblique, 2)  # fmt: skip  # noqa: E501
    assert z(exact.risk, drawn.risk[0], drawn.risk_stderr[0]) < 4
    assert z(exact.success, drawn.success[0], drawn.success_stderr[0]) < 4
    without = strong_limit_under_poison(tailed.replace(spectrum=(3e4, 2e4)), oblique, 2)
    assert z(without.success, drawn.success[0], drawn.success_stderr[0]) > 4
    mixed = rng.normal(size=(18, 18)) / 4
    noise = rng.normal(size=(13, 13))
    covariances = {"input_covariance": mixed @ mixed.T + np.eye(18), "noise_covariance": noise @ noise.T}
    for at in (
        problem(50, 18, 13, (3.0, 2.0, 1.5), **covariances),
        problem(9, 18, 13, (3.0, 2.0, 1.5), input_covariance=np.full(18, 2.0)),
    ):
        drawn, exact = ll.simulate_poisoned(at, oblique, trials=6000, seed=6, ranks=[0]), poisoned_fft(at, oblique)
        assert z(exact.risk, drawn.fft_risk, drawn.fft_risk_stderr) < 4
        assert z(exact.success, drawn.fft_success, drawn.fft_success_stderr) < 4
    for n in (12, 60):  # chosen samples, in both regimes
        at, chosen = problem(n, 30, 4, (2.0,)), Poison(count=5, target=unit(1, 4, 3), along=rng.normal(size=30))
        drawn, exact = ll.simulate_poisoned(at, chosen, trials=6000, seed=7, ranks=[0]), poisoned_fft(at, chosen)
        assert z(exact.risk, drawn.fft_risk, drawn.fft_risk_stderr) < 4


@pytest.mark.heavy
def test_the_threshold_of_label_poison_has_the_share_dx_over_n():
    """At m |p|^2 = 1440 beside n s_3^2 = 400, theta^2 is 216: rank 3 learns the task, and not the poison."""
    labels = Poison(count=40, target=unit(49, 50, 6))
    drawn = ll.simulate_poisoned(CLEAN, labels, trials=400, seed=8, ranks=[3])
    hijacked = spiked_poisoned_risk(CLEAN, Poison(count=40, target=unit(49, 50, 6 * np.sqrt(400 / 60)))).risk[3]
    assert drawn.risk[0] == pytest.approx(1.0922, rel=0.03)
    assert z(hijacked, drawn.risk[0], drawn.risk_stderr[0]) > 4
    assert hijacked > 2 * drawn.risk[0]


def test_simulation_of_poison_has_its_trivial_ends():
    at = problem(16, 5, 4, (2.0, 1.0), pretrained=np.ones((4, 5)))
    poison = Poison(count=4, target=unit(3, 4, 2), trigger=unit(0, 5), along=unit(1, 5))
    drawn = ll.simulate_poisoned(at, poison, trials=8, seed=0)
    assert drawn.risk[0] == 5.0
    assert drawn.success[0] == pytest.approx(0.0)
    assert drawn.difference[-1] == 0.0
    assert drawn.risk[-1] == drawn.fft_risk
    again = ll.simulate_poisoned(at, poison, trials=5, seed=0, ranks=[2])
    first = ll.simulate_poisoned(at, poison, trials=4, seed=0, ranks=[2])
    assert again.risk[0] != first.risk[0]
    none = ll.simulate_poisoned(at.replace(n=6), poison, trials=4, seed=0, ranks=[0, 2])
    assert none.risk.tolist() == [5.0, np.inf]
    assert "infinite" in none.notes[0]
    with pytest.raises(InvalidInput, match="trials"):
        ll.simulate_poisoned(at, poison, trials=1, seed=0)
    for n, risk in (
        (6, np.inf),
        (5, np.inf),
        (7, None),
    ):  # poison is noise where there is no other: 1/g, g = |n-dx| - 1
        noiseless = ll.simulate_poisoned(at.replace(n=n, noise_std=0.0), poison, trials=4, seed=0, ranks=[0, 2])
        assert noiseless.risk[0] == 5.0
        assert (noiseless.risk[1] == np.inf) == (noiseless.fft_risk == np.inf) == (risk == np.inf)
        assert np.isnan([noiseless.risk_stderr[1], noiseless.fft_risk_stderr]).all()
        assert "here n" in noiseless.notes[0]
        assert noiseless.moments is at.replace(n=n).moments


def test_the_committed_table_is_of_these_formulas():
    lines = benchmark.RESULTS.read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if " +- " in line]
    told = {(name, rank): (float(risk), success) for name, rank, risk, _, _, success, *_ in rows}
    of_labels = 0
    for name, at, poison, ranks in benchmark.ROWS:
        if poison.trigger is None and poison.along is None:
            of_labels += len(ranks)
            continue
        found = poisoned_risk(at, poison, ranks)
        for i, rank in enumerate(ranks):
            risk, success = told[name, str(rank)]
            assert risk == pytest.approx(found.risk[i], abs=5.1e-5)
            assert success == ("-" if poison.trigger is None else f"{found.success[i]:.4f}")
        assert told[name, "FFT"][0] == pytest.approx(found.fft_risk, abs=5.1e-5)
    assert len(told) == sum(len(ranks) + 1 for *_, ranks in benchmark.ROWS)
    assert of_labels == 9


# -- corners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("along", [False, True])
def test_directions_of_thirteen_decades_are_all_looked_at(along):
    s = 3 * np.exp(-np.arange(30.0))
    at = problem(80, 31, 30, s, 1e-12)
    poison = Poison(count=5, target=unit(0, 30, 0.1), trigger=unit(30, 31))
    if along:
        poison = Poison(count=5, target=unit(29, 30, 0.1), along=unit(0, 31))
    found = poison_verdicts(at, poison)
    assert len(found) == 30
    assert all(one.ratio >= 0 and one.budget >= 0 for one in found)
    risk = poisoned_risk(at, poison).risk
    assert np.all((risk > 0) | np.isnan(risk))


@pytest.mark.parametrize("size", [1e-31, 1e-160, 1e-200, 5e-324])
def test_what_is_too_small_to_be_squared_is_refused_in_one_line(size):
    for field in ("target", "trigger", "along"):
        vectors = {"target": unit(0, 5), field: unit(0, 5, size)}
        with pytest.raises(
            InvalidInput, match=rf"^{field}: expected an entry of at least 1e-30 in size, received .*units"
        ):
            Poison(count=3, **vectors)


@pytest.mark.parametrize("size", [1e3, 1e5, 1e7, 1e8, 1e10])
def test_a_risk_that_is_lost_to_rounding_is_not_said(size):
    """LoRA of rank 1 and above keeps the task: what is left is noise and poison, of the order of one."""
    at = problem(30, 6, 5, (size,))
    found = poisoned_risk(at, Poison(count=10, target=unit(0, 5, 3), along=unit(5, 6)))
    said = ~np.isnan(found.risk)
    assert np.all(found.risk[said] > 0.1)
    assert said[[0, 5]].all()
    assert bool(said[1:5].all()) is (size < 1e6)
    lost = any("rounding" in note for note in found.notes)
    assert lost is not bool(said.all())
    assert [one == "unknown" for one in found.status] == (~said).tolist()


@pytest.mark.parametrize(
    ("at", "poison", "measured"),
    [
        (
            problem(65, 15, 8, (3.31, 2.87, 1.32), 2.654),
            Poison(count=3, target=unit(7, 8, 8.18), trigger=unit(14, 15, 4.291)),
            {4: 13.563, 5: 15.524},
        ),
        (
            problem(67, 12, 11, (3.33, 1.81, 1.44, 0.63), 1.383),
            Poison(count=6, target=unit(10, 11, 3.52), trigger=unit(11, 12, 2.999)),
            {5: 3.874},
        ),
    ],
)
def test_what_stands_out_by_less_than_the_edge_fluctuates_is_flagged(at, poison, measured):
    """Means of 4000 plain fits, to a standard error of 0.3 %: the limits are up to 13 % higher there."""
    found, verdicts = poisoned_risk(at, poison), poison_verdicts(at, poison)
    for rank, mean in measured.items():
        assert found.risk[rank] > 1.05 * mean
        assert found.flagged[rank]
        assert verdicts[rank - 1].flagged


def test_the_edge_is_that_of_the_rows_that_data_see():
    few, many = problem(12, 40, 8, (3.0,)), problem(40, 12, 8, (3.0,))
    for place in (1, 3):
        critical = np.sqrt((9 - place) * (13 - place))
        assert _above_edge(critical, place, few) == pytest.approx(0, abs=1e-12)
        assert _above_edge(2 * critical, place, few) == _above_edge(2 * critical, place, many) > 0
