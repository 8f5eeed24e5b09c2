"""Judging: verdicts of every kind, in both directions, the command line, and bugs that the claims must catch."""

import json
import re
import xml.etree.ElementTree as ET

import bugs_of_instruments
import numpy as np
import planted_bugs
import pytest
from test_claims_schema import document

from linreg_lora.claims import judge, registry
from linreg_lora.claims.check import check_claims
from linreg_lora.claims.collection import collect_claims
from linreg_lora.claims.file import default_path, parse_claims
from linreg_lora.claims.judge import judge_claim
from linreg_lora.claims.moves import MOVES
from linreg_lora.claims.registry import Sample
from linreg_lora.claims.show import report
from linreg_lora.claims.vocabulary import Budget, Verdict
from linreg_lora.console import print_table
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem

FAST = ["prop7-rank-bound", "lemma2-truncation", "lemma4-spectral-norm"]


# -- verdicts on known samples ------------------------------------------------------------------------------------


@pytest.fixture
def planted(monkeypatch):
    """Registers an experiment with mean 1 (context: fft = 2) and predictions that are plain numbers."""

    def run(problem, trials, seed):
        rng = np.random.default_rng(seed)
        draws = 1 + 0.1 * rng.standard_normal((trials, 1))
        return Sample(draws, {"fft": np.full(trials, 2.0)}, tolerance=np.full(trials, 1e-9), scale=np.ones(trials))

    def exact(problem, trials, seed):
        ones = np.ones(trials)
        return Sample(ones, {}, tolerance=np.full(trials, 1e-9), scale=ones)

    for name, function, pathwise in (("planted", run, False), ("planted-exact", exact, True)):
        registered = registry.RegisteredExperiment(function, Problem, pathwise, True, ())
        monkeypatch.setitem(registry._experiments, name, registered)
    for value in (0.1, 0.5, 0.98, 1.0, 1.001, 1.02, 1.5):
        registered = registry.RegisteredPrediction(lambda problem, sample, v=value: v, Problem)
        monkeypatch.setitem(registry._predictions, f"value-{value}", registered)


def planted_claim(kind, prediction, rivals, trials=1600, **changes):
    detects = changes.get("detects", 1e-6 if kind == "pathwise" else 0.05)
    changes |= {"detects": detects, "relation": changes.get("relation")}
    if kind == "pathwise":
        changes |= {"false_alarm": 0, "experiment__name": "planted-exact"}
    else:
        changes |= {"experiment__name": "planted"}
    content = document(
        kind=kind,
        prediction=f"value-{prediction}",
        rivals=[{"prediction": f"value-{rival}", "mistake": "planted"} for rival in rivals],
        experiment__trials=trials,
        **changes,
    )
    return parse_claims(content).claims[0]


@pytest.mark.parametrize(
    ("kind", "prediction", "rivals", "changes", "verdict", "reason"),
    [
        ("identity", 1.0, [1.5, 0.5], {}, Verdict.HOLDS, ""),
        ("identity", 1.5, [0.5], {}, Verdict.FAILS, "the evidence is against it"),
        ("identity", 1.0, [1.001], {}, Verdict.INCONCLUSIVE, "the rival value-1.001 differs from the claim by 0.001"),
        ("identity", 1.0, [1.5], {"detects": 1e-4}, Verdict.INCONCLUSIVE, "would decide"),
        ("upper_bound", 1.5, [0.5], {}, Verdict.HOLDS, ""),
        ("upper_bound", 0.5, [0.98], {}, Verdict.FAILS, "the evidence is against it"),
        ("upper_bound", 1.5, [1.0], {}, Verdict.INCONCLUSIVE, "not rejected"),
        ("upper_bound", 0.5, [1.5], {"expected": "fails", "counterexample": "x"}, Verdict.INCONCLUSIVE, "cannot tell"),
        ("qualitative", 1.5, [1.001], {}, Verdict.INCONCLUSIVE, "draws would reject it"),
        ("lower_bound", 0.5, [1.5], {}, Verdict.HOLDS, ""),
        ("lower_bound", 1.5, [1.02], {}, Verdict.FAILS, "the evidence is against it"),
        ("qualitative", 1.5, [0.5], {}, Verdict.HOLDS, ""),
        ("qualitative", 1.5, [0.5], {"detects": 1e-4}, Verdict.INCONCLUSIVE, "would decide"),
        ("qualitative", 0.5, [1.5], {}, Verdict.FAILS, "the evidence is against it"),
        ("qualitative", 1.001, [0.5], {}, Verdict.INCONCLUSIVE, "too few draws"),
        ("pathwise", 1.0, [1.5], {"relation": "equals"}, Verdict.HOLDS, ""),
        ("pathwise", 1.001, [1.5], {"relation": "equals"}, Verdict.FAILS, "the evidence is against it"),
        ("pathwise", 1.5, [0.5], {"relation": "at-most"}, Verdict.HOLDS, ""),
        ("pathwise", 0.98, [0.5], {"relation": "at-most"}, Verdict.FAILS, "the evidence is against it"),
        ("pathwise", 1.5, [1.02], {"relation": "at-most"}, Verdict.INCONCLUSIVE, "not rejected"),
        ("pathwise", 0.5, [1.5], {"relation": "at-least"}, Verdict.HOLDS, ""),
        ("pathwise", 1.02, [1.5], {"relation": "at-least"}, Verdict.FAILS, "the evidence is against it"),
        ("pathwise", 1.0, [1.5], {"relation": "equals", "detects": 1e-10}, Verdict.INCONCLUSIVE, "rounding"),
    ],
)
def test_verdicts(planted, kind, prediction, rivals, changes, verdict, reason):
    judgement = judge_claim(planted_claim(kind, prediction, rivals, **changes), seed=0)
    assert judgement.verdict is verdict, judgement.reason
    assert reason in judgement.reason


def test_an_expected_failure_is_as_expected(planted):
    judgement = judge_claim(planted_claim("identity", 1.5, [0.5], expected="fails", counterexample="all"), seed=0)
    assert judgement.verdict is Verdict.FAILS
    assert judgement.as_expected


def test_a_failing_statement_needs_its_rivals_rejected(planted):
    """The rival 1.0 is the truth: draws that cannot reject it tell nothing about rivals."""
    claim = planted_claim("identity", 1.5, [1.0], expected="fails", counterexample="all")
    judgement = judge_claim(claim, seed=0)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "the rival value-1.0 is not rejected" in judgement.reason


def test_a_reason_says_what_was_measured_and_predicted(planted):
    reason = judge_claim(planted_claim("identity", 1.5, [0.5]), seed=0).reason
    assert re.search(r"measured (0\.99|1\.00)\d* \+- 0\.0025, predicted 1\.5, at n=40 dx=20 dy=10 sigma=1$", reason)


@pytest.mark.parametrize(("prediction", "said"), [(0.1, "10 times loose"), (0.98, "")])
def test_a_loose_bound_is_called_so(planted, prediction, said):
    claim = planted_claim("lower_bound", prediction, [1.5], detects=0.3, resolves={"shift": 1e-3})
    judgement = judge_claim(claim, seed=0)
    assert judgement.verdict is Verdict.HOLDS
    assert report.looseness(judgement) == said


@pytest.mark.parametrize(
    ("printed", "corrected", "rivals", "verdict", "reason"),
    [
        (1.5, 1.0, [1.5], Verdict.HOLDS_WITH_CORRECTION, "example holds instead"),
        (1.5, 0.5, [1.5], Verdict.FAILS, "its correction example: fails"),
        (1.0, 1.0, [1.5], Verdict.HOLDS, ""),
    ],
)
def test_a_correction_is_judged_where_the_printed_statement_fails(planted, printed, corrected, rivals, verdict, reason):
    correction = planted_claim("identity", corrected, rivals)
    claim = planted_claim("identity", printed, [0.5])
    judgement = judge_claim(claim, seed=0, correction=correction)
    assert judgement.verdict is verdict
    assert reason in judgement.reason


@pytest.mark.parametrize(
    ("off", "kind", "verdict", "looks"),
    [
        ([0.5, 0, 0], "identity", Verdict.HOLDS, 2),
        ([0.5, 0.25, 0], "identity", Verdict.HOLDS, 3),
        ([0.5, 0.25, 0.125], "identity", Verdict.INCONCLUSIVE, 3),
        ([0.5, 0.5, 0], "identity", Verdict.FAILS, 2),
        ([0.5, 0.25, 0.125], "upper_bound", Verdict.INCONCLUSIVE, 3),
        ([-0.5, 0, 0], "upper_bound", Verdict.HOLDS, 1),
        ([-0.5, 0, 0], "lower_bound", Verdict.HOLDS, 2),
    ],
)
def test_what_is_suspicious_is_drawn_again(planted, monkeypatch, off, kind, verdict, looks):
    """Means that are off by so much of the detectable discrepancy of the first look: 5 standard errors for 0.5."""
    trials, std = 1600, 0.1
    seen = []

    def run(problem, drawn, seed):
        seen.append((drawn, seed))
        noise = np.tile([-std, std], drawn // 2)
        return Sample(1 + 10 * off[len(seen) - 1] * std / trials**0.5 + noise[:, None])

    entry = registry.RegisteredExperiment(run, Problem, False, True, ())
    monkeypatch.setitem(registry._experiments, "planted", entry)
    rival = 0.5 if kind != "lower_bound" else 1.5
    here = planted_claim(kind, 1.0, [rival], trials=trials, assumes=list(MOVES))
    judgement = judge_claim(here, seed=0)
    assert (judgement.verdict, judgement.looks) == (verdict, looks), judgement.reason
    assert [drawn for drawn, _ in seen] == [trials, 4 * trials, 16 * trials][:looks]
    assert len({seed for _, seed in seen}) == looks
    assert ("drawn again" in judgement.reason) == (verdict is Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("inside", "outside", "verdict"),
    [
        ([0.5], [1.5], Verdict.HOLDS_UNDER),
        ([0.5], [0.25], Verdict.HOLDS),
        ([1.5], [2.5], Verdict.FAILS),
        ([0.5], [1.5, 0.5], Verdict.INCONCLUSIVE),
    ],
)
def test_a_condition_is_tested_on_both_sides(planted, monkeypatch, inside, outside, verdict):
    """The planted statistic has mean 1 where the noise is below 1, and 1.5 above, against a prediction of 1."""
    run = registry.experiment("planted").run

    def shifted(problem, trials, seed):
        sample = run(problem, trials, seed)
        return Sample(sample.statistic + 0.5 * (problem.noise_std > 1), sample.context)

    planted = registry.RegisteredExperiment(shifted, Problem, False, True, ())
    monkeypatch.setitem(registry._experiments, "planted", planted)
    content = document(
        expected="holds-under", condition="little noise", prediction="value-1.0", experiment__name="planted",
        rivals=[{"prediction": "value-0.5", "mistake": "planted"}], domain__noise_std=inside, experiment__trials=1600,
    )  # fmt: skip
    domain = content["claims"][0]["domain"]
    content["claims"][0]["outside"] = {**domain, "noise_std": outside}
    assert judge_claim(parse_claims(content).claims[0], seed=0).verdict is verdict


@pytest.mark.parametrize(
    ("decay", "prediction", "rate", "detects", "verdict", "reason"),
    [
        (1.0, 1.0, 0.9, 0.2, Verdict.HOLDS, ""),
        (1.0, 1.0, 0.9, 0.05, Verdict.FAILS, "the evidence is against it"),
        (1.0, 1.0, 1.1, 0.2, Verdict.FAILS, "the evidence is against it"),
        (0.0, 1.0, 0.5, 0.3, Verdict.FAILS, "the evidence is against it"),
        (1.0, 1.5, 0.5, 0.2, Verdict.FAILS, "the evidence is against it"),
        (1.0, 1.0, 0.999, 0.2, Verdict.INCONCLUSIVE, "would decide"),
    ],
)
def test_a_limit_needs_a_band_and_a_rate(planted, monkeypatch, decay, prediction, rate, detects, verdict, reason):
    """The planted mean is 1 + 8 / (10 (dx / 10)^decay): its error at dx = 80 is 0.1 where it decays, and 0.8 where not.
    The rival 0.5 is outside of every band, so that verdicts are the claim's own; the level is 1e-7."""
    run = registry.experiment("planted").run

    def shifted(problem, trials, seed):
        return Sample(run(problem, trials, seed).statistic + 0.8 * (problem.dx / 10) ** -decay)

    monkeypatch.setitem(
        registry._experiments, "planted", registry.RegisteredExperiment(shifted, Problem, False, True, ())
    )
    claim = planted_claim(
        "asymptotic", prediction, [0.5], rate=rate, detects=detects, domain__shapes=growing(10, 20, 40, 80)
    )
    judgement = judge_claim(claim, seed=0)
    assert judgement.verdict is verdict, judgement.reason
    assert reason in judgement.reason


@pytest.mark.parametrize(("rate", "verdict"), [(0.9, Verdict.HOLDS), (1.1, Verdict.FAILS)])
def test_a_limit_may_be_in_n_alone(planted, monkeypatch, rate, verdict):
    """The planted mean is 1 + 16 / n: its error at n = 320 is 0.05, and falls like 1 / n exactly."""
    run = registry.experiment("planted").run

    def shifted(problem, trials, seed):
        return Sample(run(problem, trials, seed).statistic + 16 / problem.n)

    monkeypatch.setitem(
        registry._experiments, "planted", registry.RegisteredExperiment(shifted, Problem, False, True, ())
    )
    shapes = [{"n": n, "dx": 10, "dy": 7} for n in (40, 80, 160, 320)]
    claim = planted_claim("asymptotic", 1.0, [0.5], trials=12_800, rate=rate, detects=0.2, domain__shapes=shapes)
    judgement = judge_claim(claim, seed=0)
    assert judgement.verdict is verdict, judgement.reason


def growing(*sizes):
    return [{"n": 3 * size, "dx": size, "dy": size} for size in sizes]


def test_a_thorough_check_makes_eight_times_the_draws():
    few, many = (check_claims(only=["lemma4-spectral-norm"], budget=budget)[0] for budget in Budget)
    assert many.comparisons[0].numbers["trials"] == 8 * few.comparisons[0].numbers["trials"]
    assert many.detectable < few.detectable / 2


def test_a_sample_of_nan_decides_nothing(planted, monkeypatch):
    def run(problem, trials, seed):
        return Sample(np.full((trials, 1), np.nan))

    broken = registry.RegisteredExperiment(run, Problem, False, True, ())
    monkeypatch.setitem(registry._experiments, "planted", broken)
    assert judge_claim(planted_claim("identity", 1.0, [1.5]), seed=0).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (np.ones((9, 1)), "returns a Sample, received ndarray"),
        (Sample(np.ones(9)), "draws x columns, received shape (9,)"),
        (Sample(np.ones(())), "received shape ()"),
    ],
)
def test_an_experiment_that_returns_something_else_is_told(planted, monkeypatch, sample, said):
    entry = registry.RegisteredExperiment(lambda *_: sample, Problem, False, True, ())
    monkeypatch.setitem(registry._experiments, "planted", entry)
    with pytest.raises(InvalidInput, match=re.escape(said)):
        judge_claim(planted_claim("identity", 1.0, [1.5]), seed=0)


@pytest.mark.parametrize(("value", "said"), [(0.0, "not to be 0, which `detects` is relative to"), (np.nan, "nan")])
def test_a_prediction_that_nothing_is_relative_to_is_refused(planted, monkeypatch, value, said):
    entry = registry.RegisteredPrediction(lambda *_: value, Problem)
    monkeypatch.setitem(registry._predictions, "value-1.0", entry)
    with pytest.raises(InvalidInput, match=said):
        judge_claim(planted_claim("identity", 1.0, [1.5]), seed=0)


def test_an_experiment_that_fails_is_named(planted, monkeypatch):
    def run(problem, trials, seed):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    broken = registry.RegisteredExperiment(run, Problem, False, True, ())
    monkeypatch.setitem(registry._experiments, "planted", broken)
    with pytest.raises(InvalidInput, match=r"example: expected .* that run, received RuntimeError: RESOURCE"):
        judge_claim(planted_claim("identity", 1.0, [1.5]), seed=0)


def test_the_table_shows_what_looks_like_markup_as_it_is(planted, capsys):
    source = {"paper": "a paper [/red]", "locator": "[bold]", "status": "own"}
    print_table(report.verdict_table([judge_claim(planted_claim("identity", 1.0, [1.5], source=source), seed=0)]))
    assert "a paper [/red] [bold] (ours)" in capsys.readouterr().out


def test_equal_seeds_give_equal_evidence(planted):
    first, second, other = (judge_claim(planted_claim("identity", 1.0, [1.5]), seed=seed) for seed in (1, 1, 2))
    assert first.comparisons == second.comparisons
    assert first.comparisons != other.comparisons


# -- the command line ---------------------------------------------------------------------------------------------


def selected(ids):
    return [part for claim_id in ids for part in ("--only", claim_id)]


def test_json_output(run):
    code, out, _ = run("check", *selected(FAST), "--format", "json")
    content = json.loads(out)
    assert code == 0
    assert [claim["id"] for claim in content["claims"]] == FAST
    for claim in content["claims"]:
        assert {"id", "kind", "verdict", "expected", "evidence", "power", "rivals"} <= set(claim)
        assert claim["verdict"] == claim["expected"] == "holds"
        assert claim["power"]["level"] >= 0.99
        assert claim["rivals"]
        assert all(rival["rejected"] and rival["power"] >= 0.99 for rival in claim["rivals"])


def test_junit_output(run):
    code, out, _ = run("check", *selected(FAST), "--format", "junit")
    suite = ET.fromstring(out)
    assert code == 0
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["failures"] == "0"
    assert [case.attrib["name"] for case in suite] == FAST


def test_a_claim_that_cannot_run_costs_only_itself(run, monkeypatch):
    judged = judge.judge_claim

    def unable(claim, *rest, **more):
        if claim.id == FAST[1]:
            raise InvalidInput(claim.id, "an experiment that runs", "one\nthat does not")
        return judged(claim, *rest, **more)

    reason = f"{FAST[1]}: expected an experiment that runs, received one that does not"
    monkeypatch.setattr(judge, "judge_claim", unable)
    code, out, err = run("check", *selected(FAST), "--format", "json")
    content = json.loads(out)
    assert (code, err) == (2, f"linreg-lora: {reason}\n")
    assert [(claim["id"], claim["verdict"]) for claim in content["claims"]] == [(FAST[0], "holds"), (FAST[2], "holds")]
    assert content["could_not_run"] == [{"id": FAST[1], "reason": reason}]
    assert content["as_expected"] is False
    code, out, err = run("check", *selected(FAST), "--format", "junit")
    suite = ET.fromstring(out)
    assert (code, err) == (2, f"linreg-lora: {reason}\n")
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("3", "0", "1")
    assert [case.attrib["message"] for case in suite.iter("error")] == [reason]
    code, out, err = run("check", *selected(FAST))
    assert (code, err) == (2, f"linreg-lora: {reason}\n")
    assert out.startswith("Claims")
    assert out.splitlines()[-1].endswith(f" rivals rejected; could not run: {FAST[1]}")
    code, out, _ = run("check", *selected(FAST[1:2]))
    assert (code, out) == (2, "")
    with pytest.raises(InvalidInput, match="one that does not"):
        check_claims(only=FAST)


def test_ctrl_c_ends_with_one_line_and_exit_code_2(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(judge, "judge_claim", interrupted)
    assert run("check", *selected(FAST[:1])) == (2, "", "linreg-lora: interrupted\n")


def test_a_claim_that_is_not_as_expected_ends_with_exit_code_1(run, tmp_path):
    text = default_path().read_text(encoding="utf-8")
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace("prediction: truncation.twice-noise", "prediction: truncation.once-noise").replace(
        "{prediction: truncation.once-noise, mistake: the noise counts once}",
        "{prediction: truncation.twice-noise, mistake: planted}",
    ))  # fmt: skip
    arguments = ("check", "--claims", str(path), "--only", "lemma2-truncation")
    code, out, _ = run(*arguments)
    assert code == 1
    assert "fails, expected holds" in out
    code, out, _ = run(*arguments, "--format", "junit")
    assert code == 1
    assert ET.fromstring(out).find("testcase/failure") is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--claims", "missing.yaml"], "claims file: expected a readable UTF-8 file, received missing.yaml"),
        (["check", "--only", "nonsense"], "only: expected ids of claims"),
        (["check", "--seed", "-1", *selected(FAST[:1])], "linreg-lora: seed: expected an integer in 0..2^63-1"),
        (["check", "--format", "xml"], "Invalid value for '--format'"),
    ],
)
def test_what_cannot_run_ends_with_exit_code_2_and_one_line(run, arguments, message):
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


# -- the list and the pages ---------------------------------------------------------------------------------------


def test_the_list_filters_by_verdict_source_and_kind(run):
    code, out, _ = run("claims", "--format", "json")
    everything = json.loads(out)
    assert code == 0
    assert {"lemma2-truncation", "capacity-right-side"} <= {claim["id"] for claim in everything}
    for option, value, field in (("--verdict", "holds-under", "expected"), ("--kind", "identity", "kind")):
        _, out, _ = run("claims", "--format", "json", option, value)
        assert json.loads(out) == [claim for claim in everything if claim.get(field) == value] != []
    _, out, _ = run("claims", "--source", "EQ. 148", "--format", "json")
    assert [claim["id"] for claim in json.loads(out)] == ["eq148-square-as-printed", "lemma2-square"]
    _, out, _ = run("claims", "--verdict", "undecidable-here")
    assert "capacity-right-side" in out
    assert "lemma2-truncation" not in out


def test_a_page_shows_all_that_is_known_of_a_claim(run):
    code, out, _ = run("claims", "show", "lemma2-square")
    assert code == 0
    for part in ("eq. 148", r"8 \|N\|_2^2", "matrix-pairs of 3 x 3", "verdict: holds, expected holds",
                 "a constant below 8", "no smaller constant", "proved"):  # fmt: skip
        assert part in out, part
    code, out, _ = run("claims", "show", "eq148-square-as-printed")
    assert code == 0
    assert "corrected by: lemma2-square" in out
    code, out, _ = run("claims", "show", "capacity-right-side")
    assert code == 0
    assert "undecidable-here" in out
    code, out, _ = run("claims", "show", "factor-balls-lie-in-a-nuclear-ball")
    assert code == 0
    assert "2609.32002" in out, "a claim of another paper's file is found without its name"
    code, out, err = run("claims", "show", "nonsense")
    assert (code, out) == (2, "")
    assert "only: expected ids of claims" in err


def test_the_errata_in_docs_are_those_of_the_claims(run):
    code, out, _ = run("claims", "errata", "--all")
    assert code == 0
    assert out == (default_path().parent / "docs" / "errata.md").read_text()
    for part in ("15.992001", r"8 \|N\|_2^2", "inputs of unit variance", "eq. 152", "capacity-right-side"):
        assert part in out, part


def test_a_page_of_an_unexpected_verdict_exits_with_1(run, monkeypatch, planted):
    broken = registry.prediction("spectral-norm.no-cross-term")
    monkeypatch.setitem(registry._predictions, "spectral-norm.sum-of-roots", broken)
    code, out, _ = run("claims", "show", "lemma4-spectral-norm")
    assert code == 1
    assert "fails" in out


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(8))
def test_every_claim_of_the_package_holds_near_its_cases(part):
    """`check` leaves out what is asked here. Seed 0, fixed; false alarms: those of the files."""
    file = collect_claims(everything=True).file
    ids = [claim.id for claim in file.claims][part::8]
    wrong = [(j.claim.id, j.reason) for j in check_claims(file, only=ids, neighbours=True) if not j.as_expected]
    assert wrong == []


def test_neighbours_are_asked_of_claims_that_do_not_ship(monkeypatch):
    asked = {}
    monkeypatch.setattr(judge, "judge_claim", lambda claim, *_, near: asked.setdefault(claim.id, near))
    own = collect_claims(everything=True).file
    check_claims(own)
    assert set(asked.values()) == {False}
    asked.clear()
    check_claims(own, only=["fft-input-rise"], neighbours=True)
    theirs = parse_claims(document())
    check_claims(theirs)
    assert set(asked.values()) == {True}


# -- planted bugs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bug",
    [pytest.param(bug, marks=[] if bug.quick else pytest.mark.heavy, id=bug.name) for bug in planted_bugs.BUGS],
)
def test_a_planted_bug_is_caught_by_every_claim_that_should(bug):
    if isinstance(bug.plant, bugs_of_instruments.Reworded):
        assert sorted(planted_bugs.caught(bug)) == sorted(bug.catchers)
    else:
        assert planted_bugs.verdicts(bug) == dict.fromkeys(bug.catchers, Verdict.FAILS)


def test_every_module_that_measures_something_has_a_planted_bug():
    measuring = {run.__module__ for run in registry.functions()["experiment"].values()}
    planted = {f"linreg_lora.claims.{bug.plant.name}" for bug in bugs_of_instruments.BUGS}
    assert {name for name in measuring if name.startswith("linreg_lora.")} <= planted


@pytest.mark.parametrize("old", ["risks", "no such words", "_EPS = np.finfo(float).eps"])
def test_a_bug_that_has_no_place_of_its_own_is_refused(old, monkeypatch):
    with pytest.raises(ValueError, match=r"library\.fitted_spectra: expected"):
        bugs_of_instruments.Reworded("library.fitted_spectra", old, f"{old} ", "Nothing.")(monkeypatch)
