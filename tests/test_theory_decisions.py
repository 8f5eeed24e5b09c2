"""Best ranks and crossings: consistent with the curves they come from, and with simulation on both sides."""

import dataclasses
import json

import numpy as np
import pytest
from comparisons import critical_z

from linreg_lora import Problem, monte_carlo
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.theory import crossings, decisions
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.near_ties import near_best

PROBLEM = Problem(n=24, dx=60, dy=20, spectrum=(5.0, 4.0, 3.0), noise_std=1.0)


def test_the_best_rank_and_the_winning_ranks_by_hand():
    """dx = dy = 2, n large: FFT has 4 / (n - 3). Rank 1 has its dimension, 3, over n where the shift has rank 1; where
    it has two singular values, 3 and 1, rank 1 leaves the energy 1, and FFT wins."""
    n = 10**6
    problem = Problem(n=n, dx=2, dy=2, spectrum=(3.0,), noise_std=1.0)
    best = decisions.best_rank(problem)
    assert (best.rank, decisions.ranks_that_beat_fft(problem)) == (1, [1])
    assert (best.risk, best.fft_risk) == pytest.approx((3 / n, 4 / (n - 3)), rel=1e-4)
    two = problem.replace(spectrum=(3.0, 1.0))
    assert decisions.best_rank(two)[:3] == pytest.approx((2, 4 / (n - 3), 4 / (n - 3)))
    assert decisions.ranks_that_beat_fft(two) == []


def test_without_a_mean_only_the_pretrained_map_beats_fft():
    assert decisions.ranks_that_beat_fft(PROBLEM.replace(n=60)) == [0]


@pytest.mark.heavy
def test_a_crossing_in_noise_changes_the_winner_in_simulation():
    """Rank 1 misses most of the shift: FFT wins in weak noise.

    Differences at 0.7 and 1.4 times the crossing have opposite signs by more than z standard errors, level 1e-6 in all.
    """
    (crossing,) = crossings.crossover(PROBLEM, 1, "noise_std", 0.1, 10.0)
    assert crossing.winner_below == "FFT"
    at = PROBLEM.replace(noise_std=crossing.value)
    assert expected_risk(at, [1]).difference[0] == pytest.approx(0, abs=1e-3 * expected_risk(at, [1]).fft_risk)
    z = critical_z(2)
    for factor, sign in ((0.7, 1), (1.4, -1)):
        curve = monte_carlo(PROBLEM.replace(noise_std=factor * crossing.value), trials=512, seed=2, ranks=[1])
        assert sign * curve.difference[0] > z * curve.difference_stderr[0]


@pytest.mark.heavy
def test_a_crossing_in_n_is_the_last_n_before_the_change():
    """In weak noise FFT wins with few samples, and loses near the threshold, where its variance grows without bound."""
    weak = PROBLEM.replace(noise_std=0.5)
    found = crossings.crossover(weak, 1, "n", 5, 56)
    assert found
    for crossing in found:
        n = int(crossing.value)
        before, after = (expected_risk(weak.replace(n=n + step), [1]).difference[0] for step in (0, 1))
        assert (before < 0) == (crossing.winner_below == "LoRA")
        assert (after < 0) != (before < 0)


def test_around_a_crossing_theory_is_sure_where_the_risks_differ_by_more_than_they_may_be_off():
    """LoRA's risk may be off by 1 %, a tenth where it is flagged; FFT's is exact. Ends in noise are found to a
    thousandth, ends in n are the nearest that are sure."""

    def share(**changed):
        curve = expected_risk(PROBLEM.replace(**changed), [1])
        return curve.difference[0] / (curve.risk[0] * (0.1 if curve.flagged[0] else 0.01))

    (crossing,) = crossings.crossover(PROBLEM, 1, "noise_std", 0.1, 10.0)
    lowest, highest = (share(noise_std=end) for end in (crossing.lowest, crossing.highest))
    slope = (lowest - highest) / np.log(crossing.highest / crossing.lowest)
    np.testing.assert_allclose([lowest, highest], [1, -1], rtol=0, atol=2e-3 * slope)
    (crossing,) = crossings.crossover(PROBLEM.replace(noise_std=0.5), 1, "n", 5, 50)
    sure = [share(noise_std=0.5, n=int(n)) for n in (crossing.lowest, crossing.highest)]
    unsure = [share(noise_std=0.5, n=int(n)) for n in (crossing.lowest + 1, crossing.highest - 1)]
    assert sure[0] > 1 >= unsure[0] > unsure[1] >= -1 > sure[1]


@pytest.mark.parametrize(("far", "nearest"), [(10.0, 82.0), (400.0, 118.0)])
def test_the_nearest_whole_number_that_is_sure_is_found_between_points_far_apart(far, nearest):
    """The difference is n - 100, which may be off by 17.5."""
    doubts = dict.fromkeys(map(float, range(1, 500)), 17.5)
    points = [(far, far - 100)]
    assert crossings._sure_from(100.0, points, lambda n: n - 100, doubts, whole=True) == nearest


def test_where_nothing_is_known_theory_is_sure_of_nothing():
    """The winner changes over the threshold, where no mean exists, and over values that theory does not reach."""
    weak = PROBLEM.replace(noise_std=0.5)
    for crossing in crossings.crossover(weak, 1, "n", 40, 200):
        ends = [int(end) for end in (crossing.lowest, crossing.highest) if end is not None]
        assert not np.isnan([expected_risk(weak.replace(n=n), [1]).difference[0] for n in ends]).any()
    points = [(1.0, -1.0), (0.5, -2.0)]
    known, doubts = dict(points), dict.fromkeys((1.0, 0.5), 0.1)
    found = crossings._sure_from(1.5, points, lambda at: known.get(at, np.nan), doubts, whole=False)
    assert found == pytest.approx(1.0, rel=2e-3)


def test_where_the_range_ends_too_near_theory_is_sure_of_nothing_there(run):
    (crossing,) = crossings.crossover(PROBLEM, 1, "noise_std", 0.1, 10.0)
    (near,) = crossings.crossover(PROBLEM, 1, "noise_std", 0.999 * crossing.value, 1.001 * crossing.value)
    assert (near.lowest, near.highest) == (None, None)
    (left,) = crossings.crossover(PROBLEM, 1, "noise_std", 0.1, 1.001 * crossing.value)
    assert left.lowest == pytest.approx(crossing.lowest, rel=2e-3)
    assert left.highest is None


def test_the_range_of_n_decides_which_ranks_exist_not_the_problems_own_n():
    assert crossings.crossover(PROBLEM.replace(n=3), 3, "n", 40, 50) == crossings.crossover(PROBLEM, 3, "n", 40, 50)


@pytest.mark.parametrize("over", ["n", "noise_std"])
def test_two_crossings_between_neighbours_are_found_by_slopes(over, monkeypatch):
    """FFT wins with few and with many samples, LoRA between: a grid that is the two ends sees no change of sign.

    Over the noise theory was found to have no such pair: there the difference is a made one, (log sigma)^2 - 1e-4.
    """
    if over == "n":
        ridged = Problem(n=60, dx=20, dy=8, spectrum=(4.0, 4.0, 4.0, 4.0), noise_std=1.65, ridge=1.0)
        expected = crossings.crossover(ridged, 2, "n", 11, 160)
        assert [crossing.winner_below for crossing in expected] == ["FFT", "LoRA"]
        monkeypatch.setattr(crossings, "_GRID", 2)
        assert crossings.crossover(ridged, 2, "n", 11, 160) == expected
        return
    known = [(u, np.log(u) ** 2 - 1e-4) for u in (0.5, 0.9, 1.15, 2.0)]
    made = (lambda u: np.log(u) ** 2 - 1e-4, lambda u: 2 * np.log(u))
    (turn,) = set(crossings._with_turns(known, *made, whole=False)) - set(known)
    assert 0.99 < turn[0] < 1.01
    assert turn[1] < 0
    # A dip that stays above 0 is none.
    other = [(u, d + 2e-4) for u, d in known]
    assert crossings._with_turns(other, lambda u: np.log(u) ** 2 + 1e-4, made[1], whole=False) == other


def test_no_crossing_is_an_answer(run):
    assert crossings.crossover(PROBLEM, 3, "noise_std", 1.0, 2.0) == []
    words = [
        "--n",
        "24",
        "--dx",
        "60",
        "--dy",
        "20",
        "--spectrum",
        "5,4,3",
        "--rank",
        "3",
        "--over",
        "noise_std",
        "--low",
        "1",
        "--high",
        "2",
    ]
    assert run("crossover", *words)[1] == "no crossing: LoRA of rank 3 wins at every noise_std looked at\n"
    code, out, _ = run("crossover", *words, "--noise-std", "1", "--format", "json")
    found = json.loads(out)
    assert (code, found["crossings"], found["winner"]) == (0, [], "LoRA")


def test_the_winner_where_nothing_crosses_is_the_one_of_less_risk(run):
    """A flat shift, hardly any noise: FFT wins everywhere; and n, which is varied, need not be given."""
    words = [
        "--dx",
        "8",
        "--dy",
        "6",
        "--noise-std",
        "0.1",
        "--spectrum",
        "2,2,2,2",
        "--rank",
        "1",
        "--over",
        "n",
        "--low",
        "20",
        "--high",
        "60",
    ]
    code, out, _ = run("crossover", *words)
    assert (code, out.splitlines()[0]) == (0, "no crossing: FFT wins at every n looked at")
    problem = Problem(n=20, dx=8, dy=6, spectrum=(2.0,) * 4, noise_std=0.1)
    assert float(expected_risk(problem, [1]).difference[0]) > 0
    assert run("crossover", *words[:4], *words[6:])[2].startswith("linreg-lora: noise_std: expected the noise, which")


# -- doubt ------------------------------------------------------------------------------------------------------------

#: Noise that differs by output: the threshold is not known exactly.
NEAR = Problem(n=24, dx=20, dy=16, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, noise_covariance=np.repeat([1.0, 1.2], 8))
NEXT = Problem(n=12, dx=12, dy=12, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=0.01)


def test_answers_from_flagged_numbers_say_so():
    best = decisions.best_rank(NEAR)
    assert best.flagged
    assert "may be off by more than 1 %" in best.note
    assert decisions.ranks_that_beat_fft(NEAR).flagged
    found = crossings.crossover(NEAR, 1, "noise_std", 0.01, 10.0)
    assert [crossing.flagged for crossing in found] == [True] * len(found) != []
    assert found.flagged
    assert "not known within 1 %" in found.note


def test_answers_from_other_numbers_are_not_in_doubt():
    far = NEAR.replace(n=200)
    assert not decisions.best_rank(far).flagged
    assert not decisions.ranks_that_beat_fft(far).flagged
    found = crossings.crossover(far, 1, "noise_std", 0.01, 10.0)
    assert len(found) == 1
    assert not found.flagged
    assert found.note == ""


def test_ranks_near_the_best_are_those_that_errors_of_the_size_promised_can_make_best():
    """Ranks 1, 2 within 1 % each of the best; 4 not; 5 within a tenth, which counts where it is flagged; 0 is exact."""
    curve = expected_risk(NEAR.replace(n=200), [0, 1, 2, 3, 4, 5])
    risk = np.array([1.011, 1.019, 1.02, 1.0, 1.0205, 1.1])
    flags = np.zeros(6, dtype=bool)
    told = dataclasses.replace(curve, risk=risk, difference=risk - 2, flagged=flags)
    assert near_best(told) == [1, 2]
    assert near_best(dataclasses.replace(told, flagged=flags | (told.ranks == 5))) == [1, 2, 5]
    assert near_best(dataclasses.replace(told, risk=risk - (told.ranks == 0) * 0.001)) == [0, 1, 2]
    assert near_best(dataclasses.replace(told, flagged=flags | (told.ranks == 3))) == [0, 1, 2, 4, 5]
    with pytest.raises(InvalidInput, match="curve: expected one by theory, received monte-carlo"):
        near_best(dataclasses.replace(told, computed_by="monte-carlo"))


def test_where_theory_says_nothing_nothing_is_answered():
    """Where Sigma is not quite c I, no exact threshold is known."""
    other = NEXT.replace(input_covariance=1 + 1e-9 * np.arange(12))
    for question in (
        lambda: decisions.best_rank(other),
        lambda: decisions.ranks_that_beat_fft(other),
        lambda: crossings.crossover(other, 1, "noise_std", 0.001, 50),
    ):
        with pytest.raises(NumericalFailure, match=r"received 0.693 \(n = 12, 11.66 inputs resolved\)"):
            question()


def test_a_crossing_over_n_names_where_theory_says_nothing():
    """Around the number of large inputs; by simulation LoRA of rank 1 wins at every n from 2 to 20."""
    steep = Problem(
        n=6, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, input_covariance=np.geomspace(1, 1e-8, 24)
    )
    with pytest.raises(NumericalFailure, match="expected a distance u"):
        crossings.crossover(steep, 1, "n", 2, 20)
    found = crossings.crossover(steep, 1, "n", 2, 60)
    assert found == []
    assert found.flagged
    assert "nothing is known for n from 2 to 2" in found.note


def test_a_crossing_next_to_the_threshold():
    """Simulation (NumPy, 60,000 draws) has it at 0.16; the first order alone had it at 0.185."""
    (crossing,) = crossings.crossover(NEXT, 1, "noise_std", 0.001, 50)
    assert 0.155 < crossing.value < 0.17
    assert crossing.flagged


def test_an_unknown_rank_that_could_not_be_best_takes_nothing_with_it():
    curve = expected_risk(PROBLEM.replace(n=200), [0, 1, 3])
    unknown = dataclasses.replace(curve, risk=np.where(curve.ranks == 1, np.nan, curve.risk))
    assert unknown.best_rank == 3, "rank 1 leaves 4^2 + 3^2"
    with pytest.raises(NumericalFailure, match="rank 3 has no number and could be the best"):
        _ = dataclasses.replace(curve, risk=np.where(curve.ranks == 3, np.nan, curve.risk)).best_rank


def test_one_rank_of_a_curve():
    curve = monte_carlo(PROBLEM, trials=60, seed=0, ranks=[1, 2, 4, 8])
    found = curve.at_rank(4)
    assert (found.rank, found.risk, found.stderr) == (4, curve.risk[2], curve.stderr[2])
    assert (found.difference, found.difference_stderr) == (curve.difference[2], curve.difference_stderr[2])
    assert curve.at_rank(curve.best_rank).risk == np.min(curve.risk)
    theory = expected_risk(NEAR, [1, 16])
    assert [theory.at_rank(rank).flagged for rank in (1, 16)] == theory.flagged.tolist() == [True, False]
    with pytest.raises(InvalidInput, match="ranks of this curve"):
        curve.at_rank(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "n", 1, 2), "rank: expected an integer in 1..19, received 0"),
        ((20, "n", 1, 2), "rank: expected an integer in 1..19, received 20"),
        ((1, "dx", 1, 2), "over: expected noise_std or n, received dx"),
        ((1, "n", 3, 2), "low, high: expected two integers between them"),
        ((1, "n", 40.2, 40.8), "low, high: expected two integers between them"),
        ((1, "n", 40, 1e20), "low, high: expected two integers between them, at most"),
        ((5, "n", 2, 4), "low, high: expected values where LoRA of rank 5 is not FFT and both have a mean"),
        ((5, "n", 59, 61), "low, high: expected values where LoRA of rank 5 is not FFT and both have a mean"),
        ((1, "noise_std", 0, 2), "low, high: expected 0 < low < high"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        crossings.crossover(PROBLEM, *arguments)
