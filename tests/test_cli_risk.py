"""`linreg-lora risk`: what it prints, and that every failure is one line and exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comparisons import critical_z

from linreg_lora import __version__, monte_carlo
from linreg_lora.cli import complexity_report, grammar, risk_report
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.sampling.pretrained import drawn_pretrained
from linreg_lora.theory.crossings import Crossing, Crossings
from linreg_lora.theory.discarded import discarded_signal
from linreg_lora.theory.forgetting import expected_forgetting

COMMAND = Path(sys.executable).with_name("linreg-lora")
OPTIONS = {"n": "30", "dx": "6", "dy": "5", "spectrum": "3,2,1", "noise-std": "0.5"}


def arguments(*flags, **options):
    merged = {**OPTIONS, **{name.replace("_", "-"): value for name, value in options.items()}}
    return ["risk", *(f"--{name}={value}" for name, value in merged.items() if value is not None), *flags]


@pytest.fixture
def run_json(run):
    def call(*args):
        code, out, err = run(*args, "--format=json")
        assert (code, err) == (0, "")
        return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    return call


def installed(*args, timeout=60.0):
    return subprocess.run([COMMAND, *args], capture_output=True, text=True, timeout=timeout)


def assert_one_line(code, out, err):
    assert code == 2
    assert out == ""
    assert err.startswith("linreg-lora: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


# -- output -----------------------------------------------------------------------------------------------------


def test_the_installed_command_prints_the_documented_json():
    done = installed(*arguments("--format=json", ranks="0,1,5", trials="32", seed="4"))
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert set(result) == {"problem", "ranks", "monte_carlo", "theory", "fft"}
    assert result["ranks"] == [0, 1, 5]
    assert {"mean", "stderr", "trials"} <= set(result["monte_carlo"])
    assert {"risk", "formula"} <= set(result["theory"])
    curve = monte_carlo(
        Problem(n=30, dx=6, dy=5, spectrum=(3, 2, 1), noise_std=0.5), trials=32, seed=4, ranks=[0, 1, 5]
    )
    assert result["monte_carlo"]["mean"] == curve.risk.tolist()
    assert result["monte_carlo"]["stderr"] == curve.stderr.tolist()
    assert result["monte_carlo"]["trials"] == 32
    assert result["monte_carlo"]["seed"] == 4


def test_json_holds_the_problem_and_both_methods(run_json):
    result = run_json(*arguments(trials="32", input_spectrum="1,2,3,4,5,6"))
    assert result["problem"]["regime"] == "overdetermined"
    assert result["problem"]["moments"] == "mean and variance exist"
    assert result["ranks"] == [0, 1, 2, 3, 4, 5]
    simulated, theory = result["monte_carlo"], result["theory"]
    for name in ("mean", "stderr", "difference", "difference_stderr"):
        assert len(simulated[name]) == 6
    assert len(theory["risk"]) == 6
    assert simulated["mean"][0] == theory["risk"][0] == 9 * 1 + 4 * 2 + 1 * 3
    assert simulated["mean"][5] == result["fft"]["monte_carlo"]["mean"]
    assert theory["risk"][5] == result["fft"]["theory"]["risk"]
    assert theory["formula"].endswith(f"FFT: {result['fft']['theory']['formula']}")
    assert simulated["note"] == ""


def test_ridge_auto_gives_each_rank_its_own_in_theory_and_simulation(run, run_json):
    """Least risks are not above those without ridge; theory and simulation agree within 2 % and z standard errors,
    level 1e-6 over the ranks."""
    options = {"noise_std": "2", "trials": "200", "ridge": "auto"}
    result, plain = run_json(*arguments(**options)), run_json(*arguments(**options | {"ridge": "0"}))
    ridges = result["best_ridge"]
    assert (ridges[0], ridges[5]) == (0, result["fft"]["best_ridge"])
    assert ridges[5] == pytest.approx(6 * 5 * 2**2 / 14)
    assert "best_ridge" not in {*plain, *plain["fft"]}
    least, theory = np.array(plain["theory"]["risk"]), np.array(result["theory"]["risk"])
    assert np.all(theory <= least)
    assert theory[5] < 0.9 * least[5]
    simulated, error = (np.array(result["monte_carlo"][name]) for name in ("mean", "stderr"))
    assert np.all(np.abs(simulated - theory) <= 0.02 * theory + critical_z(6) * error)
    alone = run_json(*arguments(**options, method="monte-carlo"))
    assert alone["monte_carlo"] == result["monte_carlo"]
    assert alone["best_ridge"] == ridges
    _, table, _ = run(*arguments(**options, ranks="1"))
    assert "each rank and FFT with its best ridge" in " ".join(table.split())
    assert "best ridge" in table.splitlines()[2] + table.splitlines()[1] + table.splitlines()[3]


def test_ridge_auto_goes_without_forgetting(run):
    assert_one_line(*run(*arguments("--forgetting", ridge="auto")))


def test_json_lists_what_is_in_doubt(run, run_json):
    """Near the threshold with a ridge all of theory is; next to it there is none, and the reason is there."""
    inputs = "1,1.01,1.02,1.03,1.04,1.05"
    options = {"n": 12, "ranks": "0,1,5", "ridge": "1", "method": "theory", "input_spectrum": inputs}
    result = run_json(*arguments("--forgetting", **options))
    assert result["theory"]["flagged"] == result["forgetting"]["flagged"] == [1, 5]
    assert result["fft"]["theory"]["flagged"] is result["forgetting"]["fft_flagged"] is True
    assert result["theory"]["best_rank_flagged"] is True
    assert result["theory"]["ranks_that_beat_fft_flagged"] is False, "no risk is near FFT's"
    assert "may be off by more than 1 %" in result["forgetting"]["note"]
    _, table, _ = run(*arguments("--forgetting", **options))
    assert "* may be off by more than 1 %" in table
    options |= {"n": 6, "ridge": "1e-3"}
    result = run_json(*arguments("--forgetting", **options))
    assert result["theory"]["risk"][1:] == result["forgetting"]["theory"][1:] == [None, None]
    assert result["fft"]["theory"]["risk"] is result["fft"]["forgetting"] is result["theory"]["best_rank"] is None
    assert result["theory"]["ranks_that_beat_fft"] is None
    assert "expected a distance u" in result["theory"]["note"]
    assert "expected a distance u" in result["forgetting"]["note"]


def test_every_option_reaches_the_problem(run_json):
    options = {"ridge": "0.5", "input_spectrum": "1,2,3,4,5,6", "noise_spectrum": "1,2,1,2,1"}
    described = run_json(*arguments(method="theory", **options))["problem"]
    assert described.pop("regime") == "overdetermined"
    assert described.pop("moments") == "mean and variance exist"
    assert Problem(**described) == Problem(
        n=30, dx=6, dy=5, spectrum=(3, 2, 1), noise_std=0.5, ridge=0.5,
        input_covariance=np.arange(1.0, 7), noise_covariance=[1, 2, 1, 2, 1],
    )  # fmt: skip


def test_theory_names_the_best_rank_and_the_winners(run, run_json):
    result = run_json(*arguments(method="theory"))["theory"]
    risks = result["risk"]
    assert result["best_rank"] == int(np.argmin(risks)) == 3
    assert result["ranks_that_beat_fft"] == [r for r in range(5) if risks[r] < risks[5]]
    table = run(*arguments(method="theory"))[1]
    assert "best of these ranks by theory: 3" in " ".join(table.split())


def test_the_best_rank_stands_above_a_long_table_too(run):
    """Of 20 ranks or more; at 19 there is one line, below."""
    for ranks, above in (("0-18", False), ("0-19", True)):
        _, out, _ = run(*arguments(n="60", dx="24", dy="24", ranks=ranks, method="theory"))
        before, _, after = (" ".join(part.split()) for part in out.partition("┏"))
        assert "best of these ranks by theory: 3; ranks that beat FFT: " in after
        assert ("best of these ranks by theory: 3; ranks that beat FFT: " in before) is above


#: Ranks 4, 6 and 7 are within 1 % each of the best, 5, and rank 3, twelve per cent above, is flagged.
TIED = {"n": "100", "dx": "20", "dy": "20", "spectrum": "power-law:1:4", "noise-std": "1", "ranks": "2-8"}


def test_ranks_that_theory_cannot_tell_from_the_best_are_named_and_what_the_draws_say_of_them(run, run_json):
    """By 200 draws rank 3 is 12 of the summed standard errors above rank 5, and none of the others is below: that the
    draws of another seed say otherwise has a probability below 1e-10, and below 1e-3, of normal means.
    """
    theory = run_json(*arguments(method="theory", **TIED))["theory"]
    assert (theory["best_rank"], theory["near_best"], theory["flagged"]) == (5, [3, 4, 6, 7], [3, 4])
    table = " ".join(run(*arguments(method="theory", **TIED))[1].split())
    assert "cannot tell rank 3-4, 6-7 from 5: risks may be off by 1 %, those with * by a tenth" in table
    assert "by the draws" not in table
    drawn = " ".join(run(*arguments(trials="200", **TIED))[1].split())
    assert "cannot tell rank 3-4, 6-7 from 5" in drawn
    assert "by the draws rank 3 is worse than 5" in drawn
    assert "is better than 5" not in drawn
    assert "in doubt, which beat FFT: at rank 3-4 it may be otherwise" in drawn
    assert "may be better than" not in drawn


def test_complexity_is_printed_beside_the_risks(run, run_json):
    options = {"method": "theory", "spectrum": "3,2,0.3", "ranks": "0,2,3,5"}
    found = run_json(*arguments(**options))["theory"]["complexity"]
    expected = 0.09 * 23 / (0.25 * (6 - 2) * (5 - 2))
    assert found["closed"] == [None, pytest.approx(expected), 0.0, None]
    assert found["sure"] == [None, True, True, None]
    assert found["window"][1] == [None, pytest.approx(7 + 23 / expected)]
    assert found["noise_std"][1] == pytest.approx(0.5 * expected**0.5)
    table = " ".join(run(*arguments(**options))[1].split())
    assert f"{expected:.5g}" in table
    assert "below 1 LoRA beats FFT" in table
    assert "?" not in table
    options |= {"spectrum": "3,0.31,0.3", "ranks": "2", "noise_std": "0.4"}
    assert f"{0.09 * 23 / (0.16 * 12):.5g} ?" in run(*arguments(**options))[1]
    refused = run_json(*arguments(**options | {"ridge": "1"}))["theory"]["complexity"]
    assert refused["closed"] == [None]
    assert refused["note"].startswith("ridge: expected 0, received 1")
    assert found["odds"] == [None] * 4
    problem = Problem(n=30, dx=6, dy=5, spectrum=(3.0, 0.31, 0.3), noise_std=0.4, ridge=1.0)
    solved = discarded_signal(problem, [2])
    assert refused["odds"] == [pytest.approx(solved.odds[0])]
    assert refused["odds_flagged"] == solved.flagged.tolist()
    table = " ".join(run(*arguments(**options | {"ridge": "1"}))[1].split())
    assert f"{solved.odds[0]:.5g}" in table
    assert "~ complexity: the odds that what a rank drops is signal, by formula" in table


def test_crossings_have_their_closed_form_beside_them(run, run_json):
    sizes = ["--dx=6", "--dy=5", "--spectrum=3,2,0.3", "--n=30", "--noise-std=0.5", "--rank=2"]
    found = run_json("crossover", *sizes, "--over=n", "--low=8", "--high=90")
    (solved,), (closed,) = found["crossings"], found["closed_form"]
    assert closed == {"value": pytest.approx(7 + 0.25 * 12 / 0.09), "sharp": True, "within": True}
    assert abs(solved["value"] / closed["value"] - 1) < 0.05
    assert (
        "in closed form, by C_r = 1: noise_std = 0.41533"
        in run("crossover", *sizes, "--over=noise_std", "--low=0.2", "--high=0.8")[1]
    )
    ridge = run_json("crossover", *sizes, "--ridge=1", "--over=n", "--low=8", "--high=20")
    assert ridge["closed_form"] == []
    assert ridge["closed_form_note"].startswith("ridge: ")
    words = ["crossover", "--dx=6", "--dy=5", "--spectrum=3,2,0.3", "--noise-std=0.5", "--rank=2", "--over=n"]
    for low in (2, 6):  # at n = rank and at n = dx there is no closed form, at the crossing there is
        assert run_json(*words, f"--low={low}", "--high=90")["closed_form"] == found["closed_form"]
    uneven = [*words, "--input-spectrum=2,1,1,1,1,1", "--low=4", "--high=90"]
    assert len(run_json(*uneven)["closed_form"]) == 1
    beyond = run_json(*words, "--low=8", "--high=20")
    assert [one["within"] for one in beyond["closed_form"]] == [False]
    lines = run(*words, "--low=8", "--high=20")[1].splitlines()
    assert lines[0] == "no crossing: LoRA of rank 2 wins at every n looked at"
    assert lines[1] == "a wider range, --low to --high, may have one: the closed form's lies outside"
    assert lines[2].endswith("(outside of the range)")
    assert lines[3] == complexity_report.SAID_WHICH


@pytest.mark.parametrize("sharp", [True, False])
@pytest.mark.parametrize("flagged", [True, False])
def test_of_two_crossings_it_is_said_which_to_take(capsys, sharp, flagged):
    """That of the risks, unless it is in doubt and the closed form is not."""
    crossings = Crossings([Crossing(710.0, "LoRA", flagged)], flagged, "near a threshold" if flagged else "")
    closed = complexity_report.ClosedCrossings((complexity_report.ClosedCrossing(723.77, sharp),), "")
    risk_report.crossings_text(crossings, 8, "n", closed)
    which = complexity_report.SAID_WHICH_IN_DOUBT if flagged and sharp else complexity_report.SAID_WHICH
    assert capsys.readouterr().out.splitlines()[-1] == which


def test_forgetting_is_printed_when_asked_for(run, run_json):
    before = np.array([1.0, 2, 3, 4, 5, 6])
    options = {"method": "theory", "pretraining_spectrum": ",".join(map(str, before))}
    result = run_json(*arguments("--forgetting", **options))
    expected = expected_forgetting(Problem(n=30, dx=6, dy=5, spectrum=(3, 2, 1), noise_std=0.5), None, before)
    assert result["forgetting"]["theory"] == expected.forgetting.tolist()
    assert result["fft"]["forgetting"] == expected.fft_forgetting == result["forgetting"]["theory"][-1]
    assert "excess risk that the update causes on pretraining inputs" in " ".join(
        run(*arguments("--forgetting", **options))[1].split()
    )
    assert "forgetting" not in run_json(*arguments(method="theory"))
    assert_one_line(*run(*arguments(**options)))
    for wrong in ({**options, "pretraining_spectrum": "1,2"}, {"method": "theory", "dx": "10001"}):
        code, out, err = run(*arguments("--forgetting", **wrong))
        assert_one_line(code, out, err)
        assert f"{'dx' if 'dx' in wrong else 'pretraining-spectrum'}: expected" in err


@pytest.mark.parametrize(
    ("method", "key", "absent"), [("theory", "theory", "monte_carlo"), ("monte-carlo", "monte_carlo", "theory")]
)
def test_a_single_method_prints_only_its_own(run_json, method, key, absent):
    result = run_json(*arguments(method=method, trials="16", ranks="1"))
    assert key in result
    assert absent not in result
    assert set(result["fft"]) == {key}


@pytest.mark.parametrize("n", [5, 6, 7])
def test_json_has_nulls_and_a_note_where_no_mean_exists(run_json, n):
    result = run_json(*arguments(n=n, trials="16"))
    assert result["problem"]["moments"] == "the mean is infinite"
    pretrained, *others = result["monte_carlo"]["mean"]
    assert pretrained == 14.0
    assert set(others) == {None}
    assert set(result["monte_carlo"]["stderr"][1:]) == {None}
    assert result["theory"]["risk"] == [14.0, *[None] * len(others)]
    assert result["fft"]["monte_carlo"] == {"mean": None, "stderr": None}
    assert result["fft"]["theory"]["risk"] is None
    for method in ("monte_carlo", "theory"):
        note = result[method]["note"]
        assert "the mean is infinite" in note
        assert f"here n = {n} and dx = 6" in note
        assert "no formula" not in note


@pytest.mark.parametrize("n", [3, 4])
def test_json_has_means_without_standard_errors_where_only_the_variance_is_infinite(run_json, n):
    result = run_json(*arguments(n=n, trials="16", method="monte-carlo", input_spectrum="1,2,3,4,5,6"))
    assert None not in result["monte_carlo"]["mean"]
    assert result["monte_carlo"]["stderr"][0] == 0.0
    assert set(result["monte_carlo"]["stderr"][1:]) == {None}
    assert "no standard error exists" in result["monte_carlo"]["note"]


def test_the_table_says_that_the_mean_is_infinite(run):
    code, out, err = run(*arguments(n="6", trials="16"))
    assert (code, err) == (0, "")
    assert "the mean is infinite" in " ".join(out.split())
    [row] = [line for line in out.splitlines() if "FFT" in line and "│" in line]
    assert [cell.strip() for cell in row.split("│")[3:5]] == ["infinite", "none"]
    assert row.split("│")[-2].strip() == "infinite"


def test_the_table_has_a_line_for_every_rank_and_one_for_fft(run):
    code, out, err = run(*arguments(method="theory", ranks="0,5"))
    assert (code, err) == (0, "")
    assert "Excess risk, overdetermined: n = 30, dx = 6, dy = 5, noise std 0.5, ridge 0" in " ".join(out.split())
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    value = f"{0.25 * 5 * 6 / 23:.5g}"
    assert rows[-3:] == [["LoRA", "0", "14"], ["LoRA", "5", value], ["FFT", "-", value]]


@pytest.mark.parametrize("spectrum", ["", " "])
def test_an_empty_spectrum_is_no_shift(run_json, spectrum):
    result = run_json(*arguments(spectrum=spectrum, method="theory", ranks="0"))
    assert result["theory"]["risk"] == [0.0]


def test_theory_of_fft_needs_no_jax():
    script = (
        "import sys\n"
        f"sys.argv = ['linreg-lora', *{arguments('--method=theory', ranks=0)!r}]\n"
        "from linreg_lora.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "False"


def test_version_and_help(run):
    done = installed("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"linreg-lora {__version__}\n", "")
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert "risk" in out
    code, out, err = run("risk", "--help")
    assert (code, err) == (0, "")
    for option in ("--n", "--dx", "--dy", "--noise-std", "--spectrum", "--ranks", "--ridge", "--method", "--format"):
        assert option in out


# -- refusals ---------------------------------------------------------------------------------------------------

REFUSED = [
    *[({name: value}, f"{name}: expected an integer >= 1, received {value}")
      for name in ("n", "dx", "dy") for value in ("0", "-3")],
    *[({name: value}, f"'--{name}'")
      for name in ("n", "dx", "dy", "trials", "seed") for value in ("abc", "1.5", "nan", "")],
    *[({name: value}, f"{name.replace('-', '_')}: expected a finite number >= 0, received {float(value)}")
      for name in ("noise-std", "ridge") for value in ("-1", "nan", "inf")],
    *[({name: "abc"}, f"'--{name}'") for name in ("noise-std", "ridge")],
    ({"spectrum": "nan,1"}, "spectrum: expected"),
    ({"spectrum": "inf"}, "all finite, received (inf,)"),
    ({"spectrum": "2,-1"}, "received (2.0, -1.0); drop the signs"),
    ({"spectrum": "1,2"}, "received (1.0, 2.0); sort it from large to small"),
    ({"spectrum": "1,1,1,1,1,1"}, "at most min(dx, dy) = 5 singular values, "),
    ({"spectrum": "abc"}, "or family:shape:scale, received abc"),
    ({"spectrum": "3,,1"}, "received 3,,1"),
    ({"spectrum": "3;2\n1"}, "received 3;2 1"),
    ({"input-spectrum": "1,2"}, "input-spectrum: expected 6 variances or a 6 x 6 symmetric"),
    ({"input-spectrum": "1,1,1,1,1,-1"}, "smallest eigenvalue -1"),
    ({"input-spectrum": "1,1,1,1,1,nan"}, "all finite"),
    ({"input-spectrum": "0,0,0,0,0,0"}, "received zero"),
    ({"input-spectrum": "a,b"}, "or family:shape:scale, received a,b"),
    ({"noise-spectrum": "1,2"}, "noise-spectrum: expected 5 variances"),
    ({"noise-spectrum": "1,1,1,1,-1"}, "smallest eigenvalue -1"),
    ({"noise-spectrum": "x"}, "noise-spectrum: expected comma-separated numbers"),
    ({"ranks": "6"}, "ranks: expected integers in 0..5 (the largest is min(n, dx, dy), where LoRA is FFT)"),
    ({"ranks": "-1,2"}, "received [-1]"),
    ({"ranks": "1.5"}, "ranks: expected integers and ranges of them, as in 1-8,16, received 1.5"),
    ({"ranks": "abc"}, "received abc"),
    ({"ranks": ""}, "ranks: expected integers and ranges of them"),
    ({"n": "20000", "dx": "20000", "dy": "20000"}, "ranks: expected a choice of ranks, being more than 10000"),
    ({"dx": "10000001"}, "dx: expected an integer <= 10000000, received 10000001"),
    ({"ranks": "99999999999999999999"}, "received 99999999999999999999"),
    ({"trials": "1"}, "trials: expected at least 2, so that a standard error exists, received 1"),
    ({"trials": "0"}, "trials: expected an integer >= 1, received 0"),
    ({"seed": "-1"}, "seed: expected an integer in 0..2^63-1, received -1"),
    ({"seed": "9" * 30}, "seed: expected an integer in 0..2^63-1"),
    ({"method": "guess"}, "'guess' is not one of 'monte-carlo', 'theory', 'both'"),
    ({"format": "xml"}, "'xml' is not one of 'table', 'json'"),
    *[({name: None}, f"Missing option '--{name}'") for name in OPTIONS],
]  # fmt: skip


@pytest.mark.parametrize(("options", "fragment"), REFUSED, ids=[str(options) for options, _ in REFUSED])
def test_bad_options_are_one_line(run, options, fragment):
    code, out, err = run(*arguments(**options))
    assert_one_line(code, out, err)
    assert fragment in err


@pytest.mark.parametrize(
    ("args", "fragment"),
    [
        (["guess"], "No such command 'guess'"),
        ([""], "No such command ''"),
        (["--guess"], "No such option: --guess"),
        (arguments("--guess"), "No such option: --guess"),
        (arguments("--nois", "1"), "No such option: --nois"),
        (arguments("extra"), "unexpected extra argument"),
        (arguments("--ridge"), "'--ridge' requires an argument"),
    ],
    ids=["command", "no command", "root option", "option", "abbreviation", "argument", "no value"],
)
def test_unknown_words_are_one_line(run, args, fragment):
    code, out, err = run(*args)
    assert_one_line(code, out, err)
    assert fragment in err


@pytest.mark.parametrize(
    "args",
    [
        arguments("--n", "abc"),
        arguments(n="abc"),
        arguments("--n", "12", "--n", "abc"),
        ["risk", "--n", "12", *arguments()[1:], "--n=abc"],
    ],
    ids=["two words", "one word", "given twice", "given twice, one word"],
)
def test_complaints_about_a_number_show_the_number(run, args):
    code, out, err = run(*args)
    assert_one_line(code, out, err)
    assert err.endswith("received 'abc'\n")


@pytest.mark.parametrize("options", [{"seed": "-1"}, {"trials": "1"}, {"trials": "0"}], ids=str)
@pytest.mark.parametrize("n", ["6", "30"])
def test_bad_requests_are_refused_also_where_nothing_is_drawn(run, n, options):
    assert_one_line(*run(*arguments(n=n, **options)))


def assert_answer_or_one_line(code, out, err):
    if code == 0:
        assert err == ""
        json.loads(out)
    else:
        assert_one_line(code, out, err)


LARGE = "1" + "0" * 15
EDGES = {
    "noise-std": {"noise-std": "1e200"},
    "noise-spectrum": {"noise-spectrum": "1e308,1e308,1e308,1e308,1e308"},
    "spectrum": {"spectrum": "1e200"},
    "n": {"n": "1" + "0" * 400},
    "large ridge": {"ridge": "1e308"},
    "tiny ridge": {"ridge": "1e-300"},
    "tiny ridge at the threshold": {"n": "6", "ridge": "1e-300"},
    "dimensions": {"n": LARGE, "dx": LARGE, "dy": LARGE},
}


@pytest.mark.parametrize("options", EDGES.values(), ids=EDGES)
def test_numbers_at_the_edge_of_the_float_range_end_in_an_answer_or_one_line(run, options):
    assert_answer_or_one_line(*run(*arguments("--method=theory", "--format=json", **options)))


def test_input_variances_at_the_edge_of_the_float_range_end_at_all():
    """In a process of its own, with a time limit: the search for kappa must not run for ever."""
    done = installed(
        *arguments("--method=theory", "--format=json", "--input-spectrum=" + "1e308," * 5 + "1", ridge="1"), timeout=10
    )
    assert_answer_or_one_line(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "args", [arguments(n="0"), arguments(spectrum="1,2"), arguments(n="abc"), ["guess"]], ids=lambda args: args[-1]
)
def test_the_installed_command_fails_in_one_line(args):
    done = installed(*args)
    assert_one_line(done.returncode, done.stdout, done.stderr)


# -- the grammar ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "ranks"), [("1-3,5", [1, 2, 3, 5]), ("0", [0]), (" 2 - 3 ", [2, 3]), ("4-4", [4])])
def test_ranks_are_numbers_and_ranges(text, ranks):
    assert grammar.ranks(text) == ranks


@pytest.mark.parametrize("text", ["3-1", "1-", "-", "1,,2", "a", "1-2-3", "1.0"])
def test_ranks_that_are_none_are_refused(text):
    with pytest.raises(InvalidInput) as caught:
        grammar.ranks(text)
    assert caught.value.field == "ranks"


def test_one_grammar(run_json):
    """Families for spectra and variances; - and _ are one letter in options, choices and families."""
    written = run_json(*arguments(spectrum="2,2,0,0,0", input_spectrum="2,2,2,2,2,2", method="theory"))
    other = [word.replace("--noise-std", "--noise_std") for word in arguments(spectrum="low_rank:2:2", method="theory")]
    assert run_json(*other, "--input-spectrum=power-law:0:2", "--ranks=0-5") == written
    assert run_json(*arguments(method="monte_carlo", trials="16"))["monte_carlo"]["trials"] == 16


def test_a_picture_is_drawn_beside_the_text(run, tmp_path):
    path = tmp_path / "curve.svg"
    assert run(*arguments(method="theory"), "--picture", str(path))[0] == 0
    drawn = path.read_text()
    for words in ("LoRA, theory", "FFT, theory", "n = 30, dx = 6, dy = 5, noise = 0.5"):
        assert words in drawn
    crossing = ["crossover", *arguments()[1:], "--rank=2", "--over=noise_std", "--low=0.1", "--high=10"]
    assert run(*crossing, "--picture", str(path))[0] == 0
    assert "LoRA of rank 2, theory" in path.read_text()


@pytest.mark.parametrize("name", ["curve.gif", "curve", "missing/curve.png", ""])
def test_a_picture_that_cannot_be_is_refused_before_the_work(run, tmp_path, name):
    code, out, err = run(*arguments(), "--picture", str(tmp_path / name))
    assert_one_line(code, out, err)
    assert "picture: expected" in err
    assert list(tmp_path.iterdir()) == []


ATTACK = ["attack", "--n=400", "--dx=60", "--dy=50", "--spectrum=3,2,1", "--noise-std=1", "--count=40"]


def test_an_attack_is_answered_by_rank_with_verdicts_and_budgets(run, run_json):
    words = [*ATTACK, "--target=outside:6", "--trigger=outside:2", "--method=theory", "--ranks=2-4"]
    found = run_json(*words)
    assert [one["outcome"] for one in found["verdicts"]] == ["immune", "hijacked", "equal"]
    assert [round(one["budget"]) for one in found["verdicts"]] == [4073, 1018, 132]
    assert found["theory"]["flagged"] == [3]
    assert found["theory"]["status"] == ["limit"] * 3
    assert round(found["fft"]["theory"]["success"], 4) == 0.2860
    assert found["poison"]["target"][49] == 6
    assert found["poison"]["budget"] == 1440
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "hijacked *" in out
    assert [one["flagged"] for one in found["verdicts"]] == [False, True, False]
    assert "4072.7" in out
    explicit = run_json(*ATTACK, "--target=0,5", "--choose=2", "--method=theory", "--ranks=2")
    assert explicit["poison"]["along"][1] == 1
    assert explicit["verdicts"][0]["outcome"] == "equal"
    unsure = ["attack", "--n=50", "--dx=5", "--dy=3", "--noise-std=8.49", "--spectrum=3.543", "--count=16"]
    unsure += ["--target=outside:2.73", "--trigger=outside:0.737", "--method=theory", "--ranks=1,3"]
    doubted = run_json(*unsure)["theory"]
    assert (doubted["unpoisoned_flagged"], doubted["flagged"]) == ([1], [1])
    assert "18.236 *" in run(*unsure)[1]


def test_perturbed_inputs_are_answered_by_rank_with_theory(run, run_json):
    """FFT's random rise is exact: tau^2 (||A0 + Delta||^2 + dy dx / (n - dx - 1)); norms as worked out elsewhere."""
    words = [
        "attack",
        "--n=200",
        "--dx=40",
        "--dy=30",
        "--spectrum=3,2,1",
        "--noise-std=1",
        "--count=5",
        "--target=1:1",
    ]
    words += ["--ranks=1,4,30", "--perturb=2", "--pretrained-std=0.4"]
    found = run_json(*words, "--method=theory")["perturbed_inputs"]
    moved = 0.4 * drawn_pretrained(0, 30, 40) + np.eye(30, 40) * np.append([3, 2, 1], np.zeros(37))
    assert found["fft"]["theory"]["random"] == pytest.approx(4 * (np.sum(moved**2) + 1200 / 159))
    assert found["theory"]["random"][2] == found["fft"]["theory"]["random"]
    assert round(found["theory"]["norm"][0], 4) == 4.8859
    assert round(found["fft"]["theory"]["norm"], 4) == 4.9322
    assert found["theory"]["norm"][1] is None
    assert found["theory"]["large_radius"][0] == pytest.approx(4 * found["theory"]["norm"][0] ** 2)
    drawn = run_json(*words, "--method=monte-carlo", "--trials=40")["perturbed_inputs"]["monte_carlo"]
    for kind in ("random", "norm"):  # z beyond 4 is a chance of 1e-4; norms are limits, off by some 1 %
        off = abs(drawn[kind][0] - found["theory"][kind][0])
        assert off < 4 * drawn[f"{kind}_stderr"][0] + (0.01 * drawn[kind][0] if kind == "norm" else 0)
    assert drawn["worst"][0] > drawn["norm"][0] ** 2 * 4
    assert drawn["worst_difference"][0] < -4 * drawn["worst_difference_stderr"][0]
    assert found["theory"]["norm_flagged"] == [1, 30]  # of one A0: off by some alpha = 0.4, a mean over A0 being given
    assert found["fft"]["theory"]["norm_flagged"]
    still = run_json(*words[:-1], "--pretrained-std=0.01", "--method=theory")["perturbed_inputs"]["theory"]
    assert still["norm_flagged"] == []
    table = run(*words, "--method=theory")[1]
    assert "norm by theory" in table
    assert "4.8859 *" in table


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["--target=outside"], "target: expected outside:6, 2:6 or comma-separated numbers"),
        (["--target=outside:0"], "target: expected a positive length after outside:"),
        (["--target=4:1"], "target: expected outside, or the number of a direction of the shift in 1..3, received 4"),
        (["--target=0,0"], "target: expected a vector of finite numbers, not all 0"),
        (["--target=1:1", "--trigger=nan"], "trigger: expected a vector of finite numbers"),
        (["--target=1:1", "--choose=1:1"], "choose: expected random, outside, 2 or comma-separated numbers"),
        (["--target=1:1", "--choose=0,0"], "choose: expected a vector"),
        (["--target=1:1", "--perturb=-1"], "perturb: expected"),
        (["--target=1:1", "--perturb=1", "--n=60", "--choose=1"], "perturb: expected a problem whose updates have a"),
        (["--target=1:1", "--count=401"], "count: expected at most n = 400 poisoned samples, received 401"),
        (["--target=1:1", "--input-law=t:6", "--method=theory"], "input-law: expected gaussian"),
    ],
)
def test_a_bad_attack_is_one_line(run, words, fragment):
    code, out, err = run(*ATTACK, *words)
    assert_one_line(code, out, err)
    assert fragment in err
