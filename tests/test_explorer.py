"""What the explorer shows, without its page: settings and links, curves, chunks of draws, pictures and data."""

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.explorer import curves, picture
from linreg_lora.explorer.setting import Family, Setting, from_query
from linreg_lora.explorer.simulate import CHUNK, Job
from linreg_lora.simulation.curve import monte_carlo
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.fft import fft_risk

SMALL = Setting(n=30, dx=12, dy=10, rank=2, lora=2)
DECAYING = Setting(n=40, dx=16, dy=16, family=Family.POWER_LAW)


@pytest.mark.parametrize(
    "setting",
    [Setting(), SMALL, DECAYING, Setting(family=Family.EXPONENTIAL, rate=0.1, noise=1 / 3, ridge=1e-7, scale=2.5e3)],
)
def test_a_link_gives_back_its_setting(setting):
    query = setting.query()
    assert from_query(query) == setting
    assert len([name for name in ("rank", "exponent", "rate") if name in query]) == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"n": "0"}, "n: expected an integer >= 1, received 0"),
        ({"n": "many"}, "n: expected an integer, received many"),
        ({"noise": "-1"}, "noise: expected a finite number >= 0, received -1.0"),
        ({"noise": "nan"}, "noise: expected a number that is finite, received nan"),
        ({"dx": "401"}, "dx: expected at most 400 here, received 401; linreg-lora risk takes more"),
        ({"dy": "9", "rank": "10"}, "rank: expected at most min(dx, dy) = 9, received 10"),
        ({"lora": "61"}, "lora: expected at most min(dx, dy) = 60, received 61"),
        ({"family": "flat"}, "family: expected one of low-rank, power-law, exponential, received flat"),
        ({"family": "exponential", "rate": "-2"}, "rate: expected a finite number >= 0, received -2.0"),
        ({"m": "3"}, "link: expected parameters among n, dx, dy"),
    ],
)
def test_a_bad_link_is_refused_in_one_line(query, message):
    with pytest.raises(InvalidInput) as caught:
        from_query(query)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("setting", [SMALL, DECAYING, DECAYING.replace(family=Family.EXPONENTIAL, noise=0.1)])
def test_the_curve_is_the_theory(setting):
    found = curves.against_rank(setting)
    expected = expected_risk(setting.problem(), found.curve.ranks)
    np.testing.assert_array_equal(found.curve.risk, expected.risk)
    tail = [sum(value**2 for value in setting.problem().spectrum[rank:]) for rank in found.curve.ranks]
    np.testing.assert_allclose(found.floor, tail)


def test_drawn_ranks_are_the_first_the_settings_the_shifts_and_spread_out():
    setting = SMALL.replace(n=400, dx=100, dy=100, rank=17, lora=19)
    ranks = curves.against_rank(setting).curve.ranks.tolist()
    assert {*range(6), 17, 19, 100} <= set(ranks)
    assert max(after / before for before, after in itertools.pairwise(ranks[5:])) < 1.7


def test_ranks_above_the_threshold_say_that_no_mean_exists():
    found = curves.against_rank(SMALL.replace(n=12))
    assert "the mean is infinite" in found.summary
    assert np.isfinite(found.curve.risk).tolist() == [rank == 0 for rank in found.curve.ranks]


def test_the_summary_names_the_best_of_the_ranks_drawn():
    assert "LoRA of rank 2 is best" in curves.against_rank(SMALL.replace(n=60)).summary
    assert "rank 0" in curves.against_rank(SMALL.replace(noise=5.0)).summary
    tie = curves.against_rank(SMALL.replace(n=60, noise=0.0)).summary
    assert "no rank drawn beats FFT, whose risk is 0; a risk of 0 has no place on a logarithmic axis" in tie
    assert "no rank drawn beats FFT" in curves.against_rank(SMALL.replace(family="power-law", noise=0.01)).summary


def test_against_samples_is_exact_and_broken_where_no_mean_exists():
    found = curves.against_samples(SMALL)
    assert found.no_mean == (11, 13)
    assert set(found.n[np.isnan(found.fft)].tolist()) == {11, 12, 13}
    at = found.n.tolist().index(30)
    assert found.fft[at] == fft_risk(SMALL.problem()).risk
    assert curves.against_samples(SMALL.replace(ridge=1.0)).no_mean is None


def test_lora_against_n_passes_through_the_curve_against_rank():
    sizes = list(curves.lora_sample_sizes(SMALL))
    assert len(sizes) == len(set(sizes))
    assert {10, 14, 30} <= set(sizes)
    ranks = curves.against_rank(SMALL).curve
    assert curves.lora_at(SMALL, 30) == pytest.approx(float(ranks.at([2]).risk[0]), rel=1e-9)
    assert np.isnan(curves.lora_at(SMALL, 12))
    assert curves.lora_at(SMALL, 1) == pytest.approx(fft_risk(SMALL.problem().replace(n=1)).risk)


def steps(job, take=None):
    async def run():
        found = []
        with ThreadPoolExecutor(1) as executor:
            async for curve in job.run(executor):
                found.append(curve)
                if len(found) == take:
                    break
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("setting", [SMALL, SMALL.replace(n=9), SMALL.replace(n=15, ridge=1e-9)])
def test_a_job_makes_the_first_draws_of_monte_carlo(setting):
    """After each chunk all numbers are those of as many draws of the same seed, up to the order of summation."""
    ranks = [0, 1, 2, 9]
    found = steps(Job(setting.problem(), ranks, 3 * CHUNK, seed=5))
    assert [curve.trials for curve in found] == [CHUNK, 2 * CHUNK, 3 * CHUNK]
    for curve in found:
        whole = monte_carlo(setting.problem(), trials=curve.trials, seed=5, ranks=ranks)
        for name in ("risk", "stderr", "difference", "difference_stderr", "fft_risk", "fft_stderr"):
            np.testing.assert_allclose(getattr(curve, name), getattr(whole, name), rtol=1e-10, err_msg=name)
        assert (curve.seed, curve.notes, curve.formula) == (whole.seed, whole.notes, whole.formula)


def test_seeds_of_jobs_share_no_draws():
    """The second chunk of seed 0 is not the first of seed 1."""
    first, both = steps(Job(SMALL.problem(), [1], 2 * CHUNK, seed=0))
    (other,) = steps(Job(SMALL.problem(), [1], CHUNK, seed=1))
    assert abs(2 * both.risk[0] - first.risk[0] - other.risk[0]) > 1e-6


def test_a_job_stops_where_it_is_left():
    assert len(steps(Job(SMALL.problem(), [1], 100 * CHUNK), take=2)) == 2
    with pytest.raises(InvalidInput, match=f"trials: expected a multiple of {CHUNK}, received 33"):
        Job(SMALL.problem(), [1], 33)


def test_a_job_without_a_mean_says_so():
    (found,) = steps(Job(SMALL.replace(n=12).problem(), [0, 1], CHUNK))
    assert "the mean is infinite" in found.notes[0]
    assert np.isfinite(found.risk).tolist() == [True, False]


def test_pictures_and_data_hold_what_is_shown(tmp_path):
    from linreg_lora.figures import style

    found = curves.against_rank(SMALL)
    (simulated,) = steps(Job(SMALL.problem(), found.curve.ranks.tolist(), CHUNK))
    figure = picture.draw(found, simulated)
    (axes,) = figure.axes
    names = axes.get_legend_handles_labels()[1]
    theory, doubtful = ["least of any update of rank r", "FFT, theory", "LoRA, theory"], "may be off by more than 1 %"
    assert names == [*theory, doubtful, f"simulated, {CHUNK} draws"]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["LoRA, theory"], found.curve.risk)
    assert found.curve.flagged.any()
    np.testing.assert_array_equal(lines[doubtful], found.curve.risk[found.curve.flagged])
    style.save(figure, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 5000
    data = picture.dataset(found, simulated)
    np.testing.assert_allclose(data["risk"], found.curve.risk, rtol=1e-9)
    np.testing.assert_array_equal(data["simulated"], simulated.risk)
    np.testing.assert_array_equal(data["flagged"], found.curve.flagged)
    assert data.attrs["trials"] == CHUNK


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.3, 40, [0.5, 1, 2, 5, 10, 20]), (0.5, 5000, [1, 10, 100, 1000]), (6, 7, [])],
)
def test_ticks_are_round(low, high, expected):
    assert picture.ticks_between(low, high) == pytest.approx(expected)


def test_a_port_that_is_taken_is_refused(monkeypatch):
    import socket

    from linreg_lora.explorer.serve import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidInput, match=r"port: expected a port that is free .* it is taken"):
            serve(taken.getsockname()[1], show=False, announce=print)
    with pytest.raises(InvalidInput, match=r"port: expected an integer in 0\.\.65535, received 70000"):
        serve(70000, show=False, announce=print)


def test_without_panel_the_remedy_is_named(monkeypatch):
    import sys

    from linreg_lora.explorer.serve import serve

    monkeypatch.setitem(sys.modules, "panel", None)
    with pytest.raises(LinregLoraError, match=r"^explore needs Panel: pip install 'linreg-lora\[explore\]'$"):
        serve(0, show=False, announce=print)
