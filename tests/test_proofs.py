"""`linreg_lora.proofs`: every step holds, a wrong constant makes its step fail, and the command says which."""

import ast
import dataclasses
import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import sympy

from linreg_lora.claims.file import load_claims
from linreg_lora.errors import InvalidInput
from linreg_lora.proofs import (
    conditional_mean,
    deleted_sample,
    fft_in_n,
    fixed_point,
    golden_ratio,
    hessian_gap,
    rank_dimension,
    sample_worth,
    spiked_model,
    steps,
    truncation_error,
)
from linreg_lora.proofs.algebra import gaussian_mean, negative_terms, sign_defects
from linreg_lora.proofs.steps import Proof, SimulationOnly, Step, Verdict

ROOT = Path(__file__).parent.parent
CHEAP = "lemma-2-square"
SLOW = ("fixed-point", "factor-gradients")


# -- the proofs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proof_id", [pytest.param(name, marks=pytest.mark.heavy if name in SLOW else ()) for name in steps.ids()]
)
def test_every_step_holds(proof_id):
    result = steps.run(steps.find(proof_id))
    assert [(s.step.name, s.detail) for s in result.steps if s.verdict is Verdict.FAILED] == []
    assert result.holds
    assert result.count(Verdict.PROVED) >= 6
    names = [s.step.name for s in result.steps]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("proof_id", steps.ids())
def test_what_rests_on_simulation_says_so_and_names_evidence_that_exists(proof_id):
    for step in steps.find(proof_id).steps:
        if isinstance(step, SimulationOnly):
            (result,) = steps.run(Proof("", "", "", (step,))).steps
            assert result.verdict is Verdict.SIMULATION_ONLY
            assert result.detail == step.evidence
            kind, name = step.evidence.split(" ")
            assert name in {"claim": claims(), "test": known_tests()}[kind]


@functools.cache
def claims():
    return {claim.id for claim in load_claims().claims}


@functools.cache
def known_tests():
    return {
        f"tests/{path.name}::{node.name}"
        for path in (ROOT / "tests").glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }


def without_trace(data, signal, first, q):
    return conditional_mean_error(data, signal, first, 0) + q * data.inverse.trace()


conditional_mean_error = conditional_mean.error
dx, dy, n, r = sample_worth.dx, sample_worth.dy, sample_worth.n, sample_worth.r
t2, m, N = spiked_model.t2, spiked_model.m, spiked_model.N

#: Module, what is replaced, the wrong formula, the step that must fail.
PLANTED = [
    ("lemma_2_square", "CORRECTED", 4, "the square"),
    ("lemma_2_square", "CORRECTED", 4, "no smaller constant"),
    ("lemma_2_square", "CORRECTED", 9, "Theorem 2"),
    ("lemma_2_square", "LEMMA_4", 4, "Lemma 4's five"),
    ("lemma_2_square", "PRINTED", 8, "the printed square is no bound"),
    ("truncation_error", "noise_part", lambda: 4 * truncation_error.r * truncation_error.nu**2, "the constant 8r"),
    ("truncation_error", "low_rank_bound", lambda rho: (truncation_error.r + 3 * rho) * truncation_error.nu**2,
     "the constant r + 4 rank(T)"),
    ("truncation_error", "low_rank_bound", lambda rho: 8 * rho * truncation_error.nu**2, "the constant 5r"),
    ("golden_ratio", "constant", lambda rho: sympy.Integer(4), "the constant"),
    ("golden_ratio", "constant", lambda rho: 1 + rho, "at r = r*"),
    ("golden_ratio", "constant", lambda rho: sympy.Integer(4), "attained"),
    ("golden_ratio", "left_over", lambda kept, taken: golden_ratio.nu - 1, "what is left"),
    ("golden_ratio", "share", lambda swapped: swapped / (golden_ratio.stays + 2 * swapped), "the least of it"),
    ("sample_worth", "frozen_a_ratio", lambda: r * (n - dx) ** 2 / (dx * (n - r) ** 2), "the ratio at finite n"),
    ("sample_worth", "trained_ratio", lambda: r * (dx + dy) / (dx * dy), "trained LoRA"),
    ("fft_in_n", "overdetermined", lambda: fft_in_n.trace * fft_in_n.dx / (fft_in_n.n - fft_in_n.dx),
     "risk above the threshold"),
    ("fft_in_n", "underdetermined_variance", lambda: fft_in_n.trace * fft_in_n.n / (fft_in_n.dx - fft_in_n.n),
     "variance below the threshold"),
    ("fft_in_n", "underdetermined_bias", lambda: fft_in_n.shift, "the bias falls"),
    ("rank_dimension", "tangent_dimension", lambda r, dx, dy: r * (dx + dy), "rank of the tangent map"),
    ("rank_dimension", "tangent_dimension", lambda r, dx, dy: r * (dx + dy), "over-ranking up to full rank"),
    ("rank_dimension", "mixing", lambda: 0 * rank_dimension.sigma, "under-ranking: the cost"),
    ("spiked_model", "location", lambda: t2 + m + N, "location"),
    ("spiked_model", "left_overlap", spiked_model.right_overlap, "left overlap"),
    ("spiked_model", "right_overlap", spiked_model.left_overlap, "right overlap"),
    ("spiked_model", "threshold", lambda: m + N, "detection"),
    ("hessian_gap", "expected_gap", lambda sigma, rows, outputs, columns: hessian_gap.tau**2 * outputs * sigma.trace(),
     "its mean"),
    ("hessian_gap", "unreachable", lambda sigma, rows: sigma, "retraining leaves a Schur complement"),
    ("hessian_gap", "expected_gap_at_optimum", lambda: hessian_gap.tau**2 * hessian_gap.q,
     "at the optimum below the rank of the shift"),
    ("fixed_point", "marchenko_pastur", lambda columns: fixed_point.z - fixed_point.noise * columns,
     "no shift, n > dx"),
    ("fixed_point", "marchenko_pastur", lambda columns: fixed_point.z - fixed_point.noise * columns,
     "no shift, n < dx"),
    ("fixed_point", "fft_equivalent", lambda: fixed_point.dy * fixed_point.noise, "FFT: risk"),
    ("family", "missed", lambda shift, sigma, features: shift * sigma * shift.T, "and its variance is M"),
    ("family", "missed", lambda shift, sigma, features: shift * sigma * shift.T, "features split the loss"),
    ("family", "best_coefficients", lambda shift, sigma, features: shift * features.T,
     "features leave noise that is independent"),
    ("family", "unitary", lambda: sympy.Matrix([1, 1]), "outputs split the loss"),
    ("family", "risk", lambda samples, size, noise, misfit: (noise + misfit) * samples / (samples - size) - noise,
     "the hybrid rule"),
    ("family", "risk", lambda samples, size, noise, misfit: misfit + noise * size / (samples - size - 1), "one output"),
    ("conditional_mean", "error", without_trace, "a sum of squares"),
    ("conditional_mean", "spread", lambda unit, gap: unit / (gap - 1), "n < dx: the mean of q"),
    ("conditional_mean", "spread", lambda unit, gap: (1 + unit) / gap, "n >= dx: the mean of q"),
    ("conditional_mean", "spread", lambda unit, gap: (1 + unit) / gap, "FFT once more"),
    ("deleted_sample", "weight", lambda share: 1 - deleted_sample.h, "with an intercept"),
    ("deleted_sample", "weight", lambda share: 1 / share, "without an intercept"),
    ("deleted_sample", "missed", lambda c, r, share: r - c, "what FFT misses"),
    ("deleted_sample", "inverse_gain", lambda share: share / (1 + share * deleted_sample.h), "the inverse"),
    ("factor_gradients", "gradient_a", lambda b, a, x, residual: -b.T * (residual - b * a * x) * x.T, "gradient in A"),
    ("factor_gradients", "gradient_b", lambda b, a, x, residual: -2 * residual * x.T * a.T, "gradient in B"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name", "wrong", "step"), PLANTED, ids=[f"{module}-{step}" for module, _, _, step in PLANTED]
)
def test_a_wrong_formula_makes_its_step_fail(module, name, wrong, step, monkeypatch):
    monkeypatch.setattr(importlib.import_module(f"linreg_lora.proofs.{module}"), name, wrong)
    proof = steps.find(module.replace("_", "-"))
    (result,) = steps.run(dataclasses.replace(proof, steps=tuple(s for s in proof.steps if s.name == step))).steps
    assert result.verdict is Verdict.FAILED
    assert result.detail.startswith(("difference ", "false", "PolynomialError"))


def test_every_proof_has_a_planted_error():
    assert {module.replace("_", "-") for module, *_ in PLANTED} == set(steps.ids())


# -- the machinery ------------------------------------------------------------------------------------------------

x, y = sympy.symbols("x y", positive=True)


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (0, ""),
        ((x + y) ** 2 - x**2 - 2 * x * y - y**2, ""),
        (sympy.sin(x) ** 2 + sympy.cos(x) ** 2 - 1, ""),
        (True, ""),
        (sympy.true, ""),
        (sympy.zeros(2, 2), ""),
        ([0, sympy.Integer(0), True], ""),
        (x - y, "difference x - y"),
        (1, "difference 1"),
        (False, "false"),
        (sympy.false, "false"),
        (sympy.Matrix([0, x]), "difference x"),
        ([0, [y]], "difference y"),
        (0.0, "TypeError: expected an exact difference or a truth value, received 0.0"),
        (x > y, "TypeError: expected an exact difference or a truth value, received x > y"),
        (None, "TypeError: expected an exact difference or a truth value, received None"),
    ],
)
def test_only_an_exact_zero_or_a_truth_is_a_proof(value, detail):
    (result,) = steps.run(Proof("", "", "", (Step("name", "statement", lambda: value),))).steps
    assert (result.verdict, result.detail) == (Verdict.FAILED if detail else Verdict.PROVED, detail)


def test_a_check_that_raises_fails_and_the_others_still_run():
    def broken():
        raise ZeroDivisionError("no")

    result = steps.run(Proof("", "", "", (Step("a", "", broken), Step("b", "", lambda: 0))))
    assert [s.verdict for s in result.steps] == [Verdict.FAILED, Verdict.PROVED]
    assert result.steps[0].detail == "ZeroDivisionError: no"
    assert not result.holds


def test_tools():
    assert gaussian_mean(3 * x**2 + 2 * x * y + y + 5, [x, y], 7) == 26
    assert gaussian_mean(sympy.Integer(4), [x]) == 4
    with pytest.raises(ValueError, match="degree 3"):
        gaussian_mean(x * y**2, [x, y])
    assert negative_terms((x - y) ** 2) == -2 * x * y
    assert negative_terms((x + y) ** 2) == 0
    assert any(sign_defects((x + 1) / (y - 2)))
    assert not any(sign_defects((x + 1) / (y + 2)))


# -- the command --------------------------------------------------------------------------------------------------


def test_without_id_all_are_listed(run, monkeypatch):
    monkeypatch.setattr(steps, "ids", lambda: [CHEAP, "spiked-model"])
    code, out, err = run("prove")
    assert (code, err) == (0, "")
    assert CHEAP in out
    assert "10 of 10" in out
    assert "20 of 20 steps proved by exact algebra; 4 more rest on simulation only" in out


def test_listing_verifies_nothing(run, monkeypatch):
    monkeypatch.setattr(steps, "run", None)
    code, out, err = run("prove", "--list", "--format", "json")
    assert (code, err) == (0, "")
    assert [proof["id"] for proof in json.loads(out)["proofs"]] == steps.ids()
    assert CHEAP in run("prove", "--list")[1]
    assert run("prove", "nonsense", "--list")[0] == 2


def test_with_id_each_step_has_its_verdict(run):
    code, out, err = run("prove", CHEAP)
    assert (code, err) == (0, "")
    assert out.count("proved") == 10 + 1
    assert "simulation only: claim lemma2-truncation" in out


def test_json(run):
    code, out, err = run("prove", CHEAP, "--format", "json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    (proof,) = content["proofs"]
    assert content["holds"]
    assert (proof["id"], proof["holds"]) == (CHEAP, True)
    assert proof["counts"] == {"proved": 10, "failed": 0, "simulation only": 2}
    verdicts = {step["name"]: (step["verdict"], step["detail"]) for step in proof["steps"]}
    assert verdicts["the square"] == ("proved", "")
    assert verdicts["Lemma 4"] == ("simulation only", "claim lemma4-spectral-norm")


@pytest.mark.parametrize("arguments", [[CHEAP], [CHEAP, "--format=json"]])
def test_a_failing_step_is_named_with_its_difference(arguments, run, monkeypatch):
    monkeypatch.setattr("linreg_lora.proofs.lemma_2_square.CORRECTED", 4)
    code, out, err = run("prove", *arguments)
    assert (code, err) == (1, "")
    assert "the square" in out
    assert "difference -4*nu**2" in out


def test_an_unknown_id_is_one_line(run):
    code, out, err = run("prove", "pythagoras")
    assert (code, out) == (2, "")
    assert err.startswith("linreg-lora: id: expected one of conditional-mean, ")
    assert err.endswith("received pythagoras; linreg-lora prove lists them\n")
    assert len(err.splitlines()) == 1
    with pytest.raises(InvalidInput):
        steps.find("pythagoras")


def test_help_does_not_import_sympy():
    code = """
import sys
sys.argv = ["linreg-lora", "--help"]
from linreg_lora.cli import main
try:
    main()
except SystemExit:
    assert "sympy" not in sys.modules
    print("lazy")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "lazy"
    assert "prove" in done.stdout
