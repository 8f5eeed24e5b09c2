"""What the explorer shows, without its page: settings and links, curves, chunks of draws, pictures and data."""

import asyncio
import itertools
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import linreg_lora as ll
from linreg_lora.cli import grammar
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.explorer import curves, family, family_picture, family_table, picture
from linreg_lora.explorer.family import COMMON, MOST, Members
from linreg_lora.explorer.family_picture import LOOKS, Shown
from linreg_lora.explorer.setting import Family, Setting, from_query
from linreg_lora.explorer.simulate import CHUNK, Drawn, Job, MethodJob
from linreg_lora.explorer.training import against_time
from linreg_lora.explorer.training_view import TrainingView
from linreg_lora.simulation.curve import monte_carlo
from linreg_lora.theory.curve import expected_risk
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.training import risk_over_time

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
        ({"pretrained_seed": "-1"}, "pretrained_seed: expected an integer in 0..2^63-1, received -1"),
        ({"adapt": "froze-a:4"}, "method: expected one of adapter:rank"),
        ({"adapt": "ia3,frozen-a"}, "method: expected frozen-a:rank, the settings being numbers, received frozen-a"),
        ({"adapt": ",".join(f"lora:{r}" for r in range(5, 18))}, f"adapt: expected at most {MOST} methods here"),
    ],
)
def test_a_bad_link_is_refused_in_one_line(query, message):
    def follow():
        family.of_query(query).names(from_query(query, (family.ADAPT, family.SEED)))

    with pytest.raises(InvalidInput) as caught:
        follow()
    assert "\n" not in str(caught.value)
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


def test_against_time_is_the_theory_of_training_or_says_why_there_is_none():
    """A rank above the shift's has its least risk before the end; at the last time what is left is inside the band.

    At the first, x = 0.1 of the strongest mode's exponent and, but with a probability below 1e-9, at most 0.12: the
    linear part of the flow bounds ||D||_F by sqrt(r) g kappa sinh(x) e^x, g = 2, kappa = 1/3.
    """
    shown = against_time(SMALL.replace(n=300, lora=4))
    found = shown.found
    assert found is not None
    problem = SMALL.replace(n=300).problem()
    expected = risk_over_time(problem, 4, found.times, orthogonal=True, draws=24, seed=0)
    np.testing.assert_array_equal(found.risk, expected.risk)
    size = np.sqrt(problem.pretrained_risk)
    moved = 2 * (2 / 3) * np.sinh(0.12) * np.exp(0.12)
    assert 0 < abs(found.risk[0] - size**2) < 2 * size * moved + moved**2
    assert abs(found.risk[-1] - found.end) < 2 * found.stderr[-1]
    assert np.min(found.risk) < 0.9 * found.end
    assert f"trained to the end {found.end:.4g} (dashed); stopped at the best" in shown.caption
    view = TrainingView()
    view.show(shown)
    assert (len(view.path.data["y"]), view.plot.visible) == (len(found.times), True)
    view.show(against_time(SMALL.replace(n=9)))
    assert (len(view.path.data["y"]), view.plot.visible) == (0, False)
    assert "expected n >= dx = 12" in against_time(SMALL.replace(n=9)).caption
    assert against_time(SMALL.replace(ridge=1.0)).reason.startswith("ridge: expected 0")


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


# -- other methods -----------------------------------------------------------------------------------------------


def test_a_link_gives_back_its_methods():
    members = Members((*COMMON, "lora:3+bias", "qlora:4:1"), 7)
    assert family.of_query(members.query()) == members
    assert Members((), 7).query() == {}
    assert from_query(SMALL.query() | members.query(), (family.ADAPT, family.SEED)) == SMALL


def test_r_is_the_rank_of_the_setting_and_each_method_is_there_once():
    members = Members(("frozen-a:r", "Frozen_A:3", "lora:r", "lora:r+bias", "lora:4", "fft", "frozen-b:r+frozen-a:2"))
    names = ("frozen-a:3", "lora:3+bias", "lora:4", "frozen-b:3+frozen-a:2")
    assert members.names(SMALL.replace(lora=3)) == names


#: Of each kind of reduction, of sizes where all apply; dx != dy.
NAMES = ("frozen-a:2", "adapter:2", "qlora:2", "lora:2+bias", "ia3", "ia3-in", "svf", "lora:3", "vera:2", "prompt:2")


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_what_compare_says_with_the_same_seed(name):
    a0 = grammar.problem(n=30, dx=12, dy=10, noise_std=1.0, spectrum="2,2", ridge=0.0, input_spectrum=None,
                         noise_spectrum=None, pretrained_seed=5)  # fmt: skip
    (said,) = ll.compare(a0, [name], computed_by=["theory"])
    found = family.member(SMALL, 5, name)
    assert (found.method, found.parameters, found.dimension) == (name, said.parameters, said.dimension)
    np.testing.assert_equal(found.risk, said.theory.risk)
    assert found.flagged == said.theory.flagged


def test_the_kind_is_that_of_the_table_of_the_family():
    """The documentation says it without a formula; where a class is all maps, risk is exact in any case."""
    text = (Path(__file__).parents[1] / "docs" / "family.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z0-9-]+(?::r)?)` \|.*\| (\w+) \|$", text, re.MULTILINE))
    assert {"frozen-a:r", "ia3-in", "vera:r", "lora:r"} <= set(rows)
    expected = {name.replace(":r", ":2"): {"simulated": "simulation"}.get(kind, kind) for name, kind in rows.items()}
    assert {name: family.member(SMALL, 0, name).kind for name in expected} == expected


@pytest.mark.parametrize("name", ["frozen-a:2", "qlora:2", "lora:7+bias"])
def test_a_curve_against_rank_is_the_method_at_every_rank(name):
    found, own = family.along_ranks(SMALL, 3, name), int(re.findall(r"\d+", name)[0])
    assert set(found.ranks) == {1, 2, 3, 4, 5, 8, 10, own}
    problem = family.problem_of(SMALL, 3)
    for rank, risk in zip(found.ranks.tolist(), found.risk.tolist(), strict=True):
        method = name.replace(f":{own}", f":{rank}")
        assert risk == pytest.approx(ll.expected_risk(problem, method=method).risk, rel=1e-9)


def test_all_rows_frozen_is_fft_and_methods_without_a_rank_have_no_curve():
    found = family.along_ranks(SMALL.replace(dx=10), 0, "frozen-a:2")
    assert (found.ranks[-1], found.risk[-1]) == (10, pytest.approx(10 * 10 / (30 - 10 - 1)))
    for name in ("ia3", "prompt:2", "mask:3", "frozen-b:2+frozen-a:3", "vera:2"):
        assert family.along_ranks(SMALL, 0, name) is None, name


def test_what_has_no_number_says_why():
    below = SMALL.replace(n=9)
    pissa, shift = family.member(below, 0, "pissa:2"), family.member(SMALL.replace(n=3), 0, "frozen-a:2")
    assert (pissa.kind, np.isnan(pissa.risk)) == ("none", True)
    assert pissa.notes[0].startswith("n: expected n >= dx or a ridge > 0 for pissa:2")
    assert (shift.kind, shift.risk) == ("none", np.inf)
    assert "the mean is infinite" in shift.notes[0]


def test_lora_and_fft_beside_the_methods_are_those_of_the_curve():
    found = curves.against_rank(SMALL)
    lora, full = family.reference(found)
    assert (lora.method, lora.parameters, lora.dimension, lora.kind) == ("lora:2", 44, 40, "equivalent")
    assert lora.risk == found.curve.at_rank(2).risk
    assert (full.method, full.parameters, full.kind) == ("fft", 120, "exact")
    assert full.risk == pytest.approx(10 * 12 / (30 - 12 - 1))


def draws_of(job, count):
    async def run():
        with ThreadPoolExecutor(1) as executor:
            return [await job.more(executor) for _ in range(count)]

    return asyncio.run(run())


def test_draws_of_a_method_are_those_of_monte_carlo():
    job = MethodJob(family.problem_of(SMALL, 1), "vera:2", 30, seed=4)
    found = draws_of(job, 2)
    job._next = 100  # whatever the time it took: not more than asked for
    found += draws_of(job, 1)
    assert (found[0].trials, found[-1].trials, job.made) == (8, 30, 30)
    for one in found:
        whole = ll.monte_carlo(job.problem, trials=one.trials, seed=4, method="vera:2")
        np.testing.assert_allclose((one.risk, one.stderr), (whole.risk, whole.stderr), rtol=1e-10)


def test_a_method_without_a_mean_is_not_drawn():
    job = MethodJob(family.problem_of(SMALL.replace(n=3), 0), "frozen-a:2", 64)
    (found,) = draws_of(job, 1)
    assert (found.risk, found.trials, job.made) == (np.inf, 0, 64)
    assert "the mean is infinite" in found.note


def test_common_methods_keep_their_look_and_all_looks_differ():
    assert len(set(LOOKS)) == MOST == len(COMMON)
    names = ("tangent:2", *Members(COMMON[3:]).names(SMALL), "lora:5")
    found = family_picture.looks(names, SMALL)
    assert len(set(found.values())) == len(names)
    assert [found[name] for name in names[1:-1]] == list(LOOKS[3:])


def shown_methods():
    """A curve, a level, and a method that is only simulated."""
    look = family_picture.looks(("frozen-a:7", "ia3", "vera:2"), SMALL)
    drawn = {"vera:2": Drawn(8.25, 0.125, 32)}
    return [
        Shown(family.member(SMALL, 0, name), look[name], family.along_ranks(SMALL, 0, name), drawn.get(name))
        for name in look
    ]


def test_the_table_is_sorted_by_risk_and_says_how_it_is_known():
    shown = shown_methods()
    found = curves.against_rank(SMALL)
    members = [*(one.member for one in shown), *family.reference(found)]
    look = {one.method: LOOKS[0] for one in members} | {"<b>:1": LOOKS[1]}
    note = family.Member("<b>", None, None, float("nan"), "none", notes=("a < b",))
    look["<b>"] = LOOKS[2]
    text = family_table.table([*members, note], look, {"vera:2": Drawn(8.25, 0.125, 32)}, ["<b>:1"])
    rows = re.findall(r"</svg>(.*?)</th>(.*?)</tr>", text)
    risks = {one.method: one.risk for one in members} | {"vera:2": 8.25}
    assert [name for name, _ in rows] == [*sorted(risks, key=risks.get), "&lt;b&gt;", "&lt;b&gt;:1"]
    cells = {name: re.findall(r"<td[^>]*>(.*?)</td>", row) for name, row in rows}
    assert cells["vera:2"] == ["12", "11", "8.25", "32 draws <i>\u00b1 0.25</i>"]
    assert cells["fft"] == ["120", "120", "7.059", "exact"]
    assert cells["&lt;b&gt;:1"] == ["\u2013", "\u2013", "", "computing \u2026"]
    assert "<p>&lt;b&gt;: a &lt; b</p>" in text


def test_pictures_and_data_hold_other_methods():
    found, shown = curves.against_rank(SMALL), shown_methods()
    figure = picture.draw(found, None, shown)
    (axes,) = figure.axes
    names = axes.get_legend_handles_labels()[1]
    assert names[-3:] == ["frozen-a:7, exact", "ia3, exact", "vera:2, 32 draws"]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["frozen-a:7, exact"], shown[0].along.risk)
    np.testing.assert_array_equal(lines["ia3, exact"], shown[1].member.risk)
    low, high = axes.get_ylim()
    assert all(low < value < high for one in shown for value in one.values)
    data = picture.dataset(found, None, shown, seed=0)
    np.testing.assert_array_equal(data["risk_frozen-a:7"].dropna("rank"), shown[0].along.risk)
    assert data["risk_frozen-a:7"].sel(rank=7) == shown[0].member.risk
    np.testing.assert_array_equal(data["risk"].sel(rank=found.curve.ranks), found.curve.risk)
    assert (data["risk_ia3"], data["simulated_vera:2"]) == (shown[1].member.risk, 8.25)
    assert data["flagged"].dtype == bool
    assert data.attrs["pretrained_seed"] == 0


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_panel_says_what_is_late_refuses_what_is_none_and_counts_its_draws():
    from linreg_lora.explorer.family_panel import FamilyPanel
    from linreg_lora.explorer.view import View

    found, view, made, kept = curves.against_rank(SMALL), View(), [], []

    async def run(theory, draws):
        panel = FamilyPanel(theory, draws, lambda change: change(), lambda: kept.append(panel.members), view,
                            Members(("vera:r", "frozen-a:r")))  # fmt: skip
        view.show_ranks(found)
        held = threading.Event()
        theory.submit(held.wait)
        panel.follow(found)
        while "computing" not in str(panel.table.object):
            await asyncio.sleep(0.02)
        assert panel.shown == []
        held.set()
        await panel._task
        assert [one.member.kind for one in panel.shown] == ["simulation", "exact"]
        panel._others.value = "vera:r, ia3"
        await panel._task
        assert kept == [Members(("frozen-a:r", "vera:r", "ia3"))]
        panel._others.value = "vera:r, ia4"
        assert "did you mean ia3" in panel._message.object
        assert panel.members == kept[0]
        await panel.draw(16, made.append)
        return panel.shown, panel.table.object

    with ThreadPoolExecutor(1) as theory, ThreadPoolExecutor(1) as draws:
        shown, table = asyncio.run(run(theory, draws))
    assert [(one.member.method, one.drawn.trials) for one in shown] == [
        (n, 16) for n in ("frozen-a:2", "vera:2", "ia3")
    ]
    assert sum(made) == 3 * 16
    assert "16 draws" in table
    along = family.along_ranks(SMALL, 0, "frozen-a:2")
    drawn = dict(zip(zip(*(view_of(view, "methods")[c] for c in ("name", "r")), strict=True),
                     view_of(view, "methods")["y"], strict=True))  # fmt: skip
    known = {("frozen-a:2", str(rank)): risk for rank, risk in zip(along.ranks, along.risk, strict=True)}
    assert drawn == known | {("ia3", "none"): family.member(SMALL, 0, "ia3").risk}
    assert view_of(view, "methods-drawn")["y"] == [one.drawn.risk for one in shown]
    ends = view.against_rank.y_range
    assert all(ends.start < value < ends.end for one in shown for value in one.values)


def view_of(view, name):
    """The data of a source of the page's plot."""
    return view.against_rank.select_one({"name": name}).data


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
