"""Which method within a budget, how many samples, and how far single data sets lie from the mean."""

import itertools
import json

import numpy as np
import pytest
import scipy.stats
from comparisons import critical_z
from refusals import refused

import linreg_lora as ll
from linreg_lora.errors import InvalidInput

PROBLEM = ll.Problem(n=40, dx=14, dy=9, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
SIZES = ["--n=40", "--dx=14", "--dy=9", "--spectrum=3,2,1", "--noise-std=1"]


@pytest.mark.parametrize("budget", [0, 9, 23, 50, 100, 126, 10**6])
def test_no_method_in_the_budget_is_better(budget):
    """Against a search written out: every rank of four methods, and those without one."""
    names = [f"lora:{r}" for r in range(10)] + [f"frozen-a:{r}" for r in range(1, 15)]
    names += [f"frozen-b:{r}" for r in range(1, 10)] + ["bitfit", "fft"]
    each = [ll.expected_risk(PROBLEM, method=name) for name in names]
    within = [one for one in each if one.parameters <= budget]
    least = min(within, key=lambda one: (one.risk, one.parameters))
    found = ll.best_under_budget(PROBLEM, budget, ["lora", "frozen-a", "frozen-b", "bitfit", "fft"])
    assert (found.method, found.parameters) == (least.method, least.parameters)
    assert found.risk == pytest.approx(least.risk, rel=1e-9)
    assert ll.best_under_budget(PROBLEM, budget).risk <= found.risk * (1 + 1e-9)
    assert [one.risk for one in found.each] == sorted(one.risk for one in found.each)


def test_more_parameters_do_no_worse():
    risks = [ll.best_under_budget(PROBLEM, budget).risk for budget in range(0, 140, 20)]
    assert all(b <= a for a, b in itertools.pairwise(risks))


def test_methods_that_change_the_base_are_searched_where_they_are_named():
    a0 = np.random.default_rng(0).standard_normal((9, 14))
    known = PROBLEM.replace(pretrained=a0)
    found = ll.best_under_budget(known, 60, ["qlora", "pissa"])
    each = [ll.expected_risk(known, method=f"{name}:{r}").risk for name in ("qlora", "pissa") for r in (1, 2)]
    assert found.risk == pytest.approx(min(each))
    everything = ll.best_under_budget(known, 60)
    assert not any(one.method.startswith(("qlora", "pissa")) for one in everything.each)
    with refused("parameters", "a budget that some method fits", "60 parameters"):
        ll.best_under_budget(PROBLEM, 60, ["qlora"])


@pytest.mark.parametrize(
    ("budget", "methods", "field"),
    [(-1, None, "parameters"), (2.5, None, "parameters"), (5, ["fft"], "parameters"), (5, [], "methods"),
     (5, "lora", "methods"), (5, ["chain"], "methods"), (5, ["lora:2"], "methods")],
)  # fmt: skip
def test_budgets_that_are_none_are_refused(budget, methods, field):
    with refused(field):
        ll.best_under_budget(PROBLEM, budget, methods)


@pytest.mark.parametrize("method", ["lora:3", "frozen-b:3"])
def test_one_sample_less_does_not_do(method):
    reached = ll.expected_risk(PROBLEM.replace(n=10**6), method=method).risk
    for target in (reached + 0.5, reached + 2.0):
        found = ll.samples_needed(PROBLEM, target, method)
        at, before = (ll.expected_risk(PROBLEM.replace(n=n), method=method).risk for n in (found.n, found.n - 1))
        assert at <= target < before
        assert found.risk == at


#: Problems whose risk of FFT is not monotone in n, the first with its threshold far below max(dx, dy).
TALL = ll.Problem(n=1, dx=10, dy=100, spectrum=(3.0,), noise_std=0.01)
NOT_MONOTONE = {
    "pole of few inputs": (TALL, (9.0, 8.0, 3.0, 0.05)),
    "bump of a small ridge": (TALL.replace(ridge=1e-6, noise_std=0.05), (9.0, 8.5, 3.0, 0.3)),
    "double descent": (ll.Problem(n=1, dx=40, dy=30, spectrum=(3.0,) * 3, noise_std=0.1), (26.0, 20.0, 7.0, 1.0)),
    "monotone with a ridge": (
        ll.Problem(n=1, dx=40, dy=30, spectrum=(3.0,) * 3, noise_std=0.1, ridge=4.0),
        (20.0, 1.0),
    ),
    "no noise": (ll.Problem(n=1, dx=10, dy=8, spectrum=(3.0,), noise_std=0.0), (5.0, 0.5, 0.0)),
}


@pytest.mark.parametrize("name", NOT_MONOTONE)
def test_samples_needed_is_a_search_over_every_n(name):
    """n: one more than the last number that does not do; `fewer`: the first that does, where that is another."""
    problem, targets = NOT_MONOTONE[name]
    curve = {n: ll.theory.fft_risk(problem.replace(n=n)).risk for n in range(1, 401)}
    for target in targets:
        last = max((n for n, risk in curve.items() if not risk <= target), default=0)
        first = min(n for n, risk in curve.items() if risk <= target)
        assert last < 400
        found = ll.samples_needed(problem, target, "fft")
        assert (found.n, found.fewer) == (last + 1, first if first < last else None), target
        assert found.risk == curve[found.n]


def test_samples_of_fft_are_those_of_its_formula():
    """Tr(Sigma_eps) dx / (n - dx - 1) <= risk, solved for n."""
    for target in (0.1, 1.0, 7.0):
        assert ll.samples_needed(PROBLEM, target, "fft").n == int(np.ceil(9 * 14 / target)) + 15


def test_a_risk_out_of_reach_says_what_many_samples_leave():
    with refused("risk", "one that lora:1 reaches", "many samples leave 5"):
        ll.samples_needed(PROBLEM, 1.0, "lora:1")
    with refused("risk", "a finite number >= 0"):
        ll.samples_needed(PROBLEM, -1.0, "lora:1")
    with pytest.raises(InvalidInput, match="whose expected risk theory knows, received lora-ga:1"):
        ll.samples_needed(PROBLEM, 1.0, "lora-ga:1")
    assert ll.samples_needed(PROBLEM, 14.0, "lora:0").n == 1


def test_the_spread_is_that_of_plain_fits():
    """Quantiles and standard deviation of 2000 draws against 2000 of plain NumPy: 1e-6 false alarms over six.

    The logarithm of a standard deviation has the variance (kurtosis - 1) / (4 draws). Power: a deviation that is off by
    a half is rejected, in all but 1e-6 of cases.
    """
    found = ll.risk_spread(PROBLEM, "lora:2", trials=2000, seed=1)
    rng, risks = np.random.default_rng(2), []
    for _ in range(2000):
        x = rng.standard_normal((14, 40))
        full = (PROBLEM.shift @ x + rng.standard_normal((9, 40))) @ np.linalg.pinv(x)
        u = np.linalg.svd(full @ x)[0][:, :2]
        risks.append(np.sum((u @ (u.T @ full) - PROBLEM.shift) ** 2))
    for share, level in found.quantiles.items():
        below = np.mean(np.array(risks) <= level)
        assert abs(below - share) < critical_z(6) * np.sqrt(2 * share * (1 - share) / 2000)
    bound = critical_z(6) * np.sqrt(2 * (scipy.stats.kurtosis(risks, fisher=False) - 1) / (4 * 2000))
    assert abs(np.log(found.std / np.std(risks, ddof=1))) < bound < np.log(1.5) / 2
    low, high = found.median_interval
    assert low < found.quantiles[0.5] < high


@pytest.mark.parametrize(("trials", "lowest"), [(5, False), (6, True)])
def test_few_draws_do_not_bound_the_median(trials, lowest):
    """Five draws lie on one side of it with probability 1/16, more than one in twenty; six with 1/32."""
    low, high = ll.risk_spread(PROBLEM, "lora:2", trials=trials, seed=0).median_interval
    assert (low > 0, np.isfinite(high)) == (lowest, lowest)


def test_where_no_variance_exists_quantiles_do():
    found = ll.risk_spread(PROBLEM.replace(n=17), "fft", trials=64, seed=0)
    assert np.isnan(found.std)
    assert "variance is infinite" in found.note
    assert np.isinf(ll.risk_spread(PROBLEM.replace(n=14), "fft", trials=64, seed=0).mean)
    assert np.isfinite(list(found.quantiles.values())).all()


def test_compare_searches_a_budget(run):
    code, out, err = run("compare", *SIZES, "--budget=50", "--method=theory", "--format=json")
    assert (code, err) == (0, "")
    said, found = json.loads(out), ll.best_under_budget(PROBLEM, 50)
    assert (said["best"]["method"], said["best"]["parameters"]) == (found.method, found.parameters)
    assert [row["method"] for row in said["methods"] if row["asked"] is not None] == [one.method for one in found.each]
    assert said["methods"][0]["theory"]["risk"] == pytest.approx(found.risk)
    assert any(line.startswith("ia3: pretrained") for line in said["best"]["left_out"])
    code, out, err = run("compare", *SIZES, "--budget=50", "--adapt=bitfit,frozen-b", "--trials=8", "--spread")
    assert (code, err) == (0, "")
    assert "least risk: frozen-b" in out
    assert "5 % to 95 % of data sets" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--budget=-1"], "parameters"),
        (["--budget=50", "--adapt=lora:2"], "methods"),
        (["--budget=50", "--ridge=auto"], "ridge"),
        (["--budget=3", "--adapt=fft"], "parameters"),
    ],
)
def test_budgets_on_the_command_line_are_refused_in_one_line(run, words, field):
    code, out, err = run("compare", *SIZES, *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert f"{field}: expected" in err


def test_spread_in_json(run):
    code, out, _ = run("compare", *SIZES, "--adapt=lora:2,ia3", "--trials=40", "--spread", "--format=json")
    assert code == 0
    rows = {row["method"]: row["spread"] for row in json.loads(out)["methods"]}
    direct = ll.risk_spread(PROBLEM, "lora:2", trials=40, seed=0)
    assert rows["lora:2"]["quantiles"]["0.5"] == pytest.approx(direct.quantiles[0.5])
    assert rows["ia3"]["note"].startswith("pretrained: expected A0")
    tuned = ll.risk_spread(PROBLEM.replace(ridge=ll.theory.fft_best_ridge(PROBLEM).ridge), "fft", trials=40, seed=0)
    assert rows["fft (best ridge)"]["quantiles"]["0.5"] == pytest.approx(tuned.quantiles[0.5])
    nothing = ["--n=16", "--dx=6", "--dy=5", "--noise-std=1", "--spectrum=", "--adapt=fft", "--spread"]
    rows = json.loads(run("compare", *nothing, "--trials=8", "--format=json")[1])["methods"]
    assert [row["method"] for row in rows] == ["fft (best ridge)", "fft"]
    assert rows[0]["spread"] == {"note": "no update is best, and its risk is the same for all data sets"}
    assert (rows[0]["best_ridge"], rows[0]["theory"]["risk"], rows[0]["forgetting"]["value"]) == (None, 0.0, 0.0)


def test_samples_on_the_command_line(run):
    words = ["--dx=40", "--dy=30", "--noise-std=0.1", "--spectrum=3,3,3"]
    code, out, err = run("samples", *words, "--risk=7", "--adapt=fft,bitfit", "--format=json")
    assert (code, err) == (0, "")
    fft, bitfit = json.loads(out)["methods"]
    problem = ll.Problem(n=1, dx=40, dy=30, spectrum=(3.0, 3.0, 3.0), noise_std=0.1)
    found = ll.samples_needed(problem, 7.0, "fft")
    assert (fft["n"], fft["fewer"], fft["risk"]) == (found.n, found.fewer, pytest.approx(found.risk)) == (43, 32, 6)
    assert bitfit["n"] is None
    assert "many samples leave 27" in bitfit["note"]
    refusals = {
        "--risk=-1": "risk: expected",
        "--risk=nan": "risk: expected",
        "--adapt=lora:31": "rank: expected",
        "--adapt=ia3": "pretrained: expected",
        "--adapt=none": "method: expected",
    }
    for wrong, field in refusals.items():
        usual = [word for word in ("--risk=7", "--adapt=fft") if not wrong.startswith(word[:6])]
        code, out, err = run("samples", *words, *usual, wrong)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert field in err


def test_ranks_that_do_not_apply_do_not_end_the_search():
    """MiCA's minor space is tied below dy - dx outputs, and a tangent space at equal singular values."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((12, 4))
    minor = np.linalg.svd(base)[0][:, 4:]
    problem = ll.Problem(
        n=40, dx=4, dy=12, noise_std=1.0, pretrained=base, task_shift=8 * minor @ rng.standard_normal((8, 4))
    )
    found = ll.best_under_budget(problem, 32, ["mica", "bitfit"])
    assert (found.method, found.parameters) == ("mica:8", 32)
    none = ll.best_under_budget(problem, 31, ["mica", "bitfit"])
    assert none.method == "bitfit"
    assert none.left_out[0].startswith("mica:1: ")


def test_where_inputs_have_a_mean_biases_are_searched():
    problem = PROBLEM.replace(input_mean=np.full(PROBLEM.dx, 4.0))
    found = {one.method: one.risk for one in ll.best_under_budget(problem, 34).each}
    assert found["lora:1+bias"] < 0.9 * found["lora:1"]
    named = ll.best_under_budget(problem, 34, ["lora+bias"])
    assert (named.method, named.risk) == ("lora:1+bias", found["lora:1+bias"])


def test_ties_to_rounding_go_to_fewer_parameters():
    """A serial adapter is LoRA where A0 has full column rank, dy > dx, and more samples than inputs."""
    base = np.random.default_rng(1).standard_normal((30, 24))
    problem = ll.Problem(n=60, dx=24, dy=30, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, pretrained=base)
    found = ll.best_under_budget(problem, 120, ["adapter", "lora"])
    risks = [ll.expected_risk(problem, method=f"{name}:2").risk for name in ("adapter", "lora")]
    assert risks[0] == pytest.approx(risks[1], rel=1e-9)
    assert (found.method, found.parameters) == ("lora:2", 108)


def test_expansions_refuse_where_the_next_order_is_a_quarter():
    rng = np.random.default_rng(1)
    base = rng.standard_normal((8, 12))
    problem = ll.Problem(
        n=4, dx=12, dy=8, noise_std=0.3, pretrained=base,
        task_shift=base * rng.standard_normal(12) / 2 + 0.4 * rng.standard_normal((8, 12)),
    )  # fmt: skip
    refused = ll.compare(problem, ["ia3-in"], computed_by=["theory"])[0].theory
    assert np.isnan(refused.risk)
    assert "samples for an expansion in 1/n" in refused.notes[0]
    assert ll.best_under_budget(problem, 24).method != "ia3-in"
    many = ll.expected_risk(problem.replace(n=400), method="ia3-in")
    assert "whose next order is some" in many.notes[0]
