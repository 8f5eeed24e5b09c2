"""Judging: verdicts of every kind, in both directions, the command line, and bugs that the claims must catch."""

import json
import xml.etree.ElementTree as ET

import jax
import numpy as np
import pytest
from test_claims_schema import document

from linreg_lora import cli, programs
from linreg_lora.claims import experiments, registry, report
from linreg_lora.claims.check import check, default_path
from linreg_lora.claims.judge import judge
from linreg_lora.claims.registry import Sample
from linreg_lora.claims.schema import Verdict, parse
from linreg_lora.console import print_table
from linreg_lora.errors import InvalidInput
from linreg_lora.estimators import fft as fft_estimator
from linreg_lora.estimators import lora
from linreg_lora.estimators.risk import excess_risk_path
from linreg_lora.problem import Problem
from linreg_lora.running_moments import RunningMoments
from linreg_lora.sampling import gaussian, plan, sufficient
from linreg_lora.theory import fft as fft_theory

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
    for value in (0.5, 0.98, 1.0, 1.001, 1.02, 1.5):
        registered = registry.RegisteredPrediction(lambda problem, sample, v=value: v, Problem)
        monkeypatch.setitem(registry._predictions, f"value-{value}", registered)


def planted_claim(kind, prediction, rivals, trials=1600, **changes):
    changes |= {"detects": changes.get("detects", 0.05), "relation": changes.get("relation")}
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
    return parse(content).claims[0]


@pytest.mark.parametrize(
    ("kind", "prediction", "rivals", "changes", "verdict", "reason"),
    [
        ("identity", 1.0, [1.5, 0.5], {}, Verdict.HOLDS, ""),
        ("identity", 1.5, [0.5], {}, Verdict.FAILS, "the evidence is against it"),
        ("identity", 1.0, [1.001], {}, Verdict.INCONCLUSIVE, "the rival value-1.001 is not rejected"),
        ("identity", 1.0, [1.5], {"detects": 1e-4}, Verdict.INCONCLUSIVE, "would decide"),
        ("upper_bound", 1.5, [0.5], {}, Verdict.HOLDS, ""),
        ("upper_bound", 0.5, [0.98], {}, Verdict.FAILS, "the evidence is against it"),
        ("upper_bound", 1.5, [1.0], {}, Verdict.INCONCLUSIVE, "not rejected"),
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
        ("pathwise", 1.0, [1.5], {"relation": "equals", "detects": 1e-10}, Verdict.INCONCLUSIVE, "too few draws"),
    ],
)
def test_verdicts(planted, kind, prediction, rivals, changes, verdict, reason):
    judgement = judge(planted_claim(kind, prediction, rivals, **changes), seed=0)
    assert judgement.verdict is verdict, judgement.reason
    assert reason in judgement.reason


def test_an_expected_failure_is_as_expected(planted):
    judgement = judge(planted_claim("identity", 1.5, [0.5], expected="fails"), seed=0)
    assert judgement.verdict is Verdict.FAILS
    assert judgement.as_expected


def test_a_sample_of_nan_decides_nothing(planted, monkeypatch):
    def run(problem, trials, seed):
        return Sample(np.full((trials, 1), np.nan))

    broken = registry.RegisteredExperiment(run, Problem, False, True, ())
    monkeypatch.setitem(registry._experiments, "planted", broken)
    assert judge(planted_claim("identity", 1.0, [1.5]), seed=0).verdict is Verdict.INCONCLUSIVE


def test_an_experiment_that_fails_is_named(planted, monkeypatch):
    def run(problem, trials, seed):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    broken = registry.RegisteredExperiment(run, Problem, False, True, ())
    monkeypatch.setitem(registry._experiments, "planted", broken)
    with pytest.raises(InvalidInput, match=r"example: expected .* that run, received RuntimeError: RESOURCE"):
        judge(planted_claim("identity", 1.0, [1.5]), seed=0)


def test_the_table_shows_what_looks_like_markup_as_it_is(planted, capsys):
    source = {"paper": "a paper [/red]", "locator": "[bold]", "status": "own"}
    print_table(report.table([judge(planted_claim("identity", 1.0, [1.5], source=source), seed=0)]))
    assert "a paper [/red] [bold] (ours)" in capsys.readouterr().out


def test_equal_seeds_give_equal_evidence(planted):
    first, second, other = (judge(planted_claim("identity", 1.0, [1.5]), seed=seed) for seed in (1, 1, 2))
    assert first.comparisons == second.comparisons
    assert first.comparisons != other.comparisons


# -- the command line ---------------------------------------------------------------------------------------------


def run_cli(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["linreg-lora", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, *capsys.readouterr()


def selected(ids):
    return [part for claim_id in ids for part in ("--only", claim_id)]


def test_json_output(monkeypatch, capsys):
    code, out, _ = run_cli(monkeypatch, capsys, "check", *selected(FAST), "--format", "json")
    content = json.loads(out)
    assert code == 0
    assert [claim["id"] for claim in content["claims"]] == FAST
    for claim in content["claims"]:
        assert {"id", "kind", "verdict", "expected", "evidence", "power", "rivals"} <= set(claim)
        assert claim["verdict"] == claim["expected"] == "holds"
        assert claim["power"]["level"] >= 0.99
        assert claim["rivals"]
        assert all(rival["rejected"] and rival["power"] >= 0.99 for rival in claim["rivals"])


def test_junit_output(monkeypatch, capsys):
    code, out, _ = run_cli(monkeypatch, capsys, "check", *selected(FAST), "--format", "junit")
    suite = ET.fromstring(out)
    assert code == 0
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["failures"] == "0"
    assert [case.attrib["name"] for case in suite] == FAST


def test_a_claim_that_is_not_as_expected_ends_with_exit_code_1(monkeypatch, capsys, tmp_path):
    text = default_path().read_text(encoding="utf-8")
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace("prediction: truncation.twice-noise", "prediction: truncation.once-noise").replace(
        "{prediction: truncation.once-noise, mistake: the noise counts once}",
        "{prediction: truncation.twice-noise, mistake: planted}",
    ))  # fmt: skip
    arguments = ("check", "--claims", str(path), "--only", "lemma2-truncation")
    code, out, _ = run_cli(monkeypatch, capsys, *arguments)
    assert code == 1
    assert "fails, expected holds" in out
    code, out, _ = run_cli(monkeypatch, capsys, *arguments, "--format", "junit")
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
def test_what_cannot_run_ends_with_exit_code_2_and_one_line(monkeypatch, capsys, arguments, message):
    code, out, err = run_cli(monkeypatch, capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


# -- planted bugs -------------------------------------------------------------------------------------------------


def bug_dof_in_theory(patch):
    exact = fft_theory.overdetermined

    def wrong(problem):
        risk = exact(problem)
        factor = (problem.n - problem.dx - 1) / (problem.n - problem.dx)
        return risk._replace(variance=risk.variance * factor)

    patch.setattr(fft_theory, "overdetermined", wrong)


def bug_dof_in_sampler(patch):
    exact = sufficient.bartlett_factor
    patch.setattr(sufficient, "bartlett_factor", lambda key, size, dof: exact(key, size, dof + 1))


def bug_no_whitening(patch):
    def wrong(inverse, whitened, *, squared):
        update = whitened @ inverse.whitening
        return lora.LoraPath(lora.left_singular_basis(update, inverse.rank, squared=squared), update)

    patch.setattr(lora, "path", wrong)


def bug_no_whitening_of_sufficient_draws(patch):
    exact = programs._risks_of_draw

    def wrong(layout, parameters, key):
        if layout.sampler == "explicit":
            return exact(layout, parameters, key)
        sampled = plan.draw(layout, parameters, key)
        update = sampled.whitened @ sampled.inverse.whitening
        basis = lora.left_singular_basis(update, sampled.inverse.rank, squared=False)
        return excess_risk_path(basis, update, parameters.shift, parameters.sigma_sqrt), exact(layout, parameters, key)[
            1
        ]

    patch.setattr(programs, "_risks_of_draw", wrong)


def bug_covariance_left_out_of_the_reduction(patch):
    exact = plan._overdetermined

    def wrong(problem):
        layout, parameters = exact(problem)
        return layout, parameters._replace(shift=jax.numpy.asarray(problem.shift))

    patch.setattr(plan, "_overdetermined", wrong)


def bug_unseen_directions_too_strong(patch):
    exact = sufficient.tall_design

    def wrong(key, n, rho, rest, dof):
        design = exact(key, n, rho, rest, dof)
        return design.at[-4:].multiply(2.0)

    patch.setattr(sufficient, "tall_design", wrong)


def bug_conditional_mean_of_a_wider_inverse(patch):
    """Of E W^{-1} = I / (dof - size - 1) the 1 is forgotten."""
    exact = programs.conditional_risks

    def wrong(basis, drawn, whitened, numbers):
        away = jax.numpy.where(numbers.n > numbers.dx, 1.0, -1.0)
        return exact(basis, drawn, whitened, numbers._replace(n=numbers.n + away))

    patch.setattr(programs, "conditional_risks", wrong)


def bug_conditional_mean_without_the_unseen(patch):
    exact = programs.conditional_risks

    def wrong(basis, drawn, whitened, numbers):
        return exact(basis, drawn._replace(unseen=None), whitened, numbers)

    patch.setattr(programs, "conditional_risks", wrong)


def bug_ridge_not_square_rooted(patch):
    exact = fft_estimator.pseudo_inverse
    patch.setattr(fft_estimator, "pseudo_inverse", lambda x, ridge=None: exact(x, None if ridge is None else ridge**2))


def bug_stderr_of_one_draw(patch):
    exact = RunningMoments.stderr.fget
    patch.setattr(RunningMoments, "stderr", property(lambda self: exact(self) * np.sqrt(self.count)))


def bug_variance_for_std(patch):
    exact = gaussian.noise
    patch.setattr(
        gaussian, "noise", lambda key, shape, root: exact(key, shape, root**2 if root.ndim == 0 else root @ root)
    )


def bug_std_for_variance_in_theory(patch):
    patch.setattr(Problem, "noise_trace", property(lambda self: float(np.trace(self.sigma_eps)) / self.noise_std))


def bug_pretrained_left_in_residual(patch):
    patch.setattr(fft_estimator, "residual", lambda inputs, outputs, pretrained: outputs)


def bug_weakest_directions_first(patch):
    exact = lora.left_singular_basis
    patch.setattr(lora, "left_singular_basis", lambda *args, **kwargs: exact(*args, **kwargs)[..., ::-1])


def bug_bias_without_unseen_share(patch):
    exact = fft_theory.underdetermined
    patch.setattr(fft_theory, "underdetermined", lambda p: exact(p)._replace(bias=p.pretrained_risk))


BUGS = [
    (bug_dof_in_theory, ["prop3-fft-overdetermined"]),
    (bug_dof_in_sampler, ["prop3-fft-overdetermined"]),
    (bug_no_whitening, ["prop2-lora-closed-form", "prop2-lora-simulated-risk"]),
    (bug_variance_for_std, ["thm1-fft-risk-given-design", "prop5-fft-underdetermined-scaled"]),
    (bug_std_for_variance_in_theory, ["thm1-fft-risk-given-design", "prop3-fft-overdetermined"]),
    (
        bug_pretrained_left_in_residual,
        ["prop1-fft-closed-form", "prop1-fft-nearest-to-pretrained", "prop2-lora-closed-form"],
    ),
    (bug_weakest_directions_first, ["prop2-lora-simulated-risk"]),
    (bug_no_whitening_of_sufficient_draws, ["sufficient-draws-overdetermined", "sufficient-draws-underdetermined"]),
    (bug_covariance_left_out_of_the_reduction, ["sufficient-law-overdetermined"]),
    (bug_unseen_directions_too_strong, ["sufficient-law-underdetermined"]),
    (bug_conditional_mean_of_a_wider_inverse, ["conditional-mean-overdetermined", "conditional-mean-underdetermined"]),
    (bug_conditional_mean_without_the_unseen, ["conditional-mean-underdetermined"]),
    (bug_ridge_not_square_rooted, ["ridge-lora-closed-form"]),
    (bug_stderr_of_one_draw, ["monte-carlo-summary"]),
    (bug_bias_without_unseen_share, ["prop5-fft-underdetermined-scaled"]),
]


def forget_compiled_programs():
    jax.clear_caches()
    experiments._risks.cache_clear()


@pytest.mark.parametrize(("bug", "catchers"), BUGS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_bug_is_caught_by_every_claim_that_should(monkeypatch, bug, catchers):
    forget_compiled_programs()
    bug(monkeypatch)
    try:
        judgements = check(only=catchers)
    finally:
        forget_compiled_programs()
    assert {j.claim.id: j.verdict for j in judgements} == dict.fromkeys(catchers, Verdict.FAILS)
