"""The references of `benchmarks/ugly_problems.py` are what they say, by exact formulas and by a route of their own."""

import json
import math

import numpy as np
import pytest
import ugly_designs
import ugly_laws
import ugly_problems

from linreg_lora.problem import Moments, Problem

LINES = [json.loads(line) for line in ugly_problems.OUTPUT.read_text().splitlines()]
BLOCKS = [1.0] * 7 + [1e-3] * 5
KNOWN = [line for line in LINES if not line["no_mean"]]


def test_the_file_holds_the_problems_of_the_script():
    made = [(entry["stratum"], entry["index"], entry["problem"]) for entry in ugly_designs.problems()]
    assert [line["stratum"] for line in LINES] == [stratum for stratum in range(1, 6) for _ in range(60)]
    for line, (stratum, index, problem) in zip(LINES, made, strict=True):
        assert (line["stratum"], line["index"]) == (stratum, index)
        assert line["problem"].keys() == problem.keys()
        for name, value in problem.items():  # eigenvectors, so the last digits, depend on the machine
            np.testing.assert_allclose(line["problem"][name], value, rtol=1e-6, atol=1e-14)


def test_each_is_a_problem_of_the_package_and_both_agree_on_what_exists():
    for line in LINES:
        problem, law = Problem(**line["problem"]), ugly_laws.Law(line["problem"])
        assert (problem.max_rank, problem.input_rank) == (law.max_rank, law.k)
        assert math.isclose(problem.noise_trace, law.noise_trace, rel_tol=1e-12)
        assert line["no_mean"] == (problem.moments is Moments.NO_MEAN)
        assert problem.moments is Moments.FINITE or line["method"] != "draws"


def test_every_mean_is_above_the_least_risk_of_its_rank():
    """No update of rank r has a risk below sum_{i>r} s_i(Delta Sigma^{1/2})^2."""
    for line in KNOWN:
        values = np.linalg.svd(ugly_laws.Law(line["problem"]).seen, compute_uv=False) ** 2
        for rank, mean in zip(line["ranks"], line["lora"]["mean"], strict=True):
            assert mean >= np.sum(values[rank:]) * (1 - 1e-6)


def test_fft_is_exact_where_the_exact_risk_is_known():
    """5 standard errors: false-alarm level 1e-4 for all, where the tails are not heavy."""
    checked = 0
    for line in KNOWN:
        exact = ugly_laws.Law(line["problem"]).exact_fft
        if exact is None or line["fft"]["stderr"] is None or line["heavy"]:
            continue
        # rounded to 7 digits, and without noise the risk may have no variance
        assert abs(line["fft"]["mean"] - exact) <= 5 * line["fft"]["stderr"] + 1e-6 * exact, line
        checked += 1
    assert checked >= 80


def test_forgetting_of_fft_above_the_threshold():
    """||Delta||^2 + Tr(Sigma_eps) Tr(Sigma^{-1}) / (n - dx - 1): ridgeless, n > dx + 3."""
    checked = 0
    for line in KNOWN:
        law = ugly_laws.Law(line["problem"])
        if not law.whitens or line["forgetting"] is None or line["heavy"]:
            continue
        exact = np.sum(law.delta**2) + law.noise_trace * np.sum(1 / law.l) / (law.n - law.k - 1)
        found = line["forgetting"]["fft"]
        assert abs(found["mean"] - exact) <= 5 * found["stderr"] + 1e-6 * exact, line
        checked += 1
    assert checked >= 20


ROUTES = {
    "above": ("draws", "conditional", {"n": 20, "dx": 12, "input_covariance": [0.2 + 0.2 * i for i in range(12)]}),
    "below": ("draws", "conditional", {"n": 12, "dx": 20, "input_covariance": [2.0] * 20}),
    "noise": ("draws", "conditional", {"n": 6, "dx": 13, "noise_covariance": [0.2 + 0.3 * i for i in range(8)]}),
    "infinite variance, above": ("weighted", "conditional", {"n": 12, "dx": 10}),
    "infinite variance, below": ("weighted", "conditional", {"n": 7, "dx": 10}),
    "ridge at the threshold": ("draws", "weighted", {"n": 8, "dx": 8, "ridge": 0.01}),
    "fewer samples than strong inputs": ("draws", "weighted", {"n": 6, "dx": 12, "input_covariance": BLOCKS}),
    "more samples than strong inputs": ("draws", "weighted", {"n": 8, "dx": 12, "input_covariance": BLOCKS}),
}


@pytest.mark.parametrize(("first", "second", "case"), ROUTES.values(), ids=ROUTES)
def test_two_routes_to_one_mean(first, second, case):
    """5 joint standard errors; those are at most 4 % of the mean."""
    problem = {"dy": 8, "spectrum": [3, 2, 1], "noise_std": 0.8, **case}
    one, two = (ugly_problems.reference(problem, 5000, seed, method=m) for seed, m in enumerate((first, second)))
    for a, b in ((one["lora"], two["lora"]), (one["fft"], two["fft"])):
        joint = np.hypot(a["stderr"], b["stderr"])
        assert np.all(np.abs(np.subtract(a["mean"], b["mean"])) <= 5 * joint)
        assert np.all(joint <= 0.04 * np.array(b["mean"]))


PLAIN = {
    "ridge": {"n": 9, "dx": 7, "ridge": 0.7, "input_covariance": [1, 2, 3, 1, 2, 1, 0.1]},
    "ridge, below": {"n": 4, "dx": 7, "ridge": 0.7, "input_covariance": [0.3] * 7},
    "above": {"n": 13, "dx": 7, "input_covariance": [1, 2, 3, 1, 2, 1, 0.1]},
    "below": {"n": 5, "dx": 9, "input_covariance": [1, 2, 3, 1, 2, 1, 0.1, 1, 1]},
}
PLAIN = {name: {"dy": 6, "spectrum": [3, 2, 1], "noise_std": 0.5, **case} for name, case in PLAIN.items()}


@pytest.mark.parametrize("problem", PLAIN.values(), ids=PLAIN)
def test_one_draw_is_the_definition_word_for_word(problem):
    law, ranks = ugly_laws.Law(problem), [1, 2, 3]
    quantities, controls = ugly_problems.whole(law, ranks, True, False, np.random.default_rng(3), 1)
    rng = np.random.default_rng(3)
    inputs = law.root[:, None] * rng.standard_normal((law.k, law.n))
    noise = 0.5 * rng.standard_normal((law.dy, law.n))
    pinv = np.linalg.pinv(inputs) if law.ridge == 0 else inputs.T @ np.linalg.inv(
        inputs @ inputs.T + law.ridge * np.eye(law.k))  # fmt: skip
    update = (law.delta @ inputs + noise) @ pinv
    fit = update @ (inputs @ (law.delta @ inputs + noise).T)
    left = np.linalg.eigh(fit + fit.T)[1][:, ::-1]
    bias = law.delta @ inputs @ pinv
    risks = [np.sum(((bias - law.delta) * law.root) ** 2) + 0.25 * law.dy * np.sum((pinv * law.root) ** 2)]
    forgotten = [np.sum(bias**2) + 0.25 * law.dy * np.sum(pinv**2)]
    for rank in ranks:
        kept = left[:, :rank] @ left[:, :rank].T @ update
        risks.append(np.sum(((kept - law.delta) * law.root) ** 2))
        forgotten.append(np.sum(kept**2))
    np.testing.assert_allclose(quantities[0], [*risks, *forgotten], rtol=1e-9)
    np.testing.assert_allclose(controls[0, 0] + risks[0], np.sum(((update - law.delta) * law.root) ** 2), rtol=1e-9)


def test_control_variates_have_mean_zero():
    """Among them weight - 1 where nearly singular designs are drawn more often."""
    blocks = {"n": 3, "dx": 9, "input_covariance": [1.0] + [1e-2] * 2 + [1e-4] * 6}
    for problem in (*PLAIN.values(), {**PLAIN["above"], **blocks}, {**PLAIN["below"], "n": 9, "ridge": 1e-6}):
        law = ugly_laws.Law(problem)
        controls = ugly_problems.whole(law, [1], False, bool(law.splits), np.random.default_rng(5), 4000)[1]
        assert np.all(np.abs(controls.mean(axis=0)) <= 5 * controls.std(axis=0) / np.sqrt(len(controls)))


def test_the_effective_distance_of_isotropic_inputs():
    """|n - dx + e + 2 i sqrt(dx e)| with e = ridge / variance; n - dx without ridge above the threshold."""
    for n, dx, ridge, scale in ((10, 16, 0.0, 3.0), (18, 16, 0.0, 1.0), (16, 16, 1e-3, 2.0), (40, 16, 7.0, 0.5)):
        problem = {"n": n, "dx": dx, "dy": 2, "spectrum": [], "noise_std": 1, "ridge": ridge}
        e = ridge / scale
        found = ugly_problems.effective_distance({**problem, "input_covariance": [scale] * dx})
        assert math.isclose(found, abs(n - dx + e + 2j * math.sqrt(dx * e)), rel_tol=1e-9)


def test_a_second_seed_agrees():
    """Ten problems redrawn with few draws, 5 joint standard errors."""
    for line in [line for line in KNOWN if not line["heavy"]][7::27]:
        again = ugly_problems.reference(line["problem"], 300, [2, line["stratum"], line["index"]], forgetting=False)
        for name in ("fft", "lora"):
            joint = np.hypot(line[name]["stderr"], again[name]["stderr"])
            assert np.all(np.abs(np.subtract(line[name]["mean"], again[name]["mean"])) <= 5 * joint), line["problem"]
