"""No function answers for centred inputs when it was asked about others: each honours `input_mean`, or refuses it."""

import inspect
import types

import numpy as np
import pytest
from test_input_law_everywhere import FUNCTIONS, GAUSSIAN, ON_THE_CURVE, OWN_METHODS, called, takes_a_problem

import linreg_lora as ll
from linreg_lora.claims import registry
from linreg_lora.methods.method import Method

MEAN = np.array([1.0, -0.5, 0.0, 2.0, 0.3])
PROBLEM = GAUSSIAN.replace(input_mean=MEAN)

#: Functions that say the same of every mean, and why.
MEAN_FREE = {
    "theory.capacity.strengths_and_noise": "Delta, Sigma and Sigma_eps",
    "theory.strong_limit.strengths_and_unit_covariance": "Delta, Sigma and the shape of Sigma_eps",
    "theory.strong_limit.strengths_and_unit_noise": "the same",
    "theory.strong_limit.inner_ranks": "ranks",
    "theory.effective.input_variances": "eigenvalues of Sigma",
    "theory.effective.shift_energies": "Delta and Sigma",
    "theory.training.checks.strengths": "singular values of Delta",
    "theory.equivalent.interior_ranks": "ranks, and which moments exist",
    "theory.equivalent.solved": "parts of a solver, which is refused",
    "theory.equivalent.rank_of_full_fit": "the ranks of covariances",
    "theory.best_ridge.search": "about the eigenvalues of X X^T, for a grid of ridges",
    "theory.input_perturbation.required_pretrained": "A0",
    "theory.iid_entries.relative_error": "the kurtosis, n and dx",
    "theory.iid_entries.note": "the same",
    "theory.poisoning.attack.isotropic_noise": "Sigma_eps",
    "theory.poisoning.attack.with_noise_of_poison": "a problem of the same law",
    "theory.noise_blur.noise_blur": "Delta, Sigma_eps and sizes",
    "theory.rare_weights.rare_weights": "weights of samples",
    "theory.rare_weights.unfelt_weights": "the same",
    "theory.rescaled.in_units_of_the_inputs": "a problem with the mean in the same units",
    "theory.continued.continued": "a problem of the same mean",
    "theory.continual.after_merging": "the same",
    "theory.expected_update.variances": "eigenvalues of Sigma",
    "theory.contours.corrected.shares_of": "parts of a solver, which is refused",
    "theory.contours.functionals.assembled": "parts of a problem that `trace` refused",
    "theory.contours.edges.noise_is_one_band": "Sigma_eps and sizes",
    "theory.contours.doubt.flags": "flags numbers of the equivalent, which refuses",
    "theory.weighted_curve.modes_of": "covariances",
    "sampling.poisoned.stand_in": "a problem of the same mean",
    "sampling.rounding.squared_is_safe": "orders of magnitude of signal and noise, the mean's with them",
    "sampling.rounding.noise_is_resolved": "the same",
    "sampling.rounding.noise_to_signal": "the same",
    "sampling.rounding.lost_ranks": "the same",
    "methods.factors.require_matrices": "sizes",
    "methods.expected.answered": "calls what it is given",
    "methods.method.moments_note": "moments, which `Problem.tail_index` argues are alike",
    "methods.method.in_size": "makes the centred problem on purpose, for moments",
    "methods.method.require_same_law": "refuses a law that was lost",
    "methods.own_ridge.of": "a problem of the same mean",
    "methods.own_ridge.passes_on": "compares reductions",
    "methods.result.of_curve": "reads off a curve",
    "simulation.comparison.draws_of": "counts draws",
    "simulation.methods.curve_ranks": "counts ranks",
    "simulation.methods.doubt_of_stderr": "moments and rare draws of what `in_size` makes",
    "simulation.draws.require_finite": "checks numbers",
    "sweeps.adapted.ranks": "counts ranks",
    "sweeps.adapted.runs": "counts draws",
}
#: Functions whose answer follows the mean. Tests of their numbers: test_input_mean.
HONOURED = {
    "theory.bitfit.bitfit_risk",
    "theory.contest.winner_at",
    "theory.contest.winning_rank",
    "theory.curve.expected_risk",
    "theory.crossings.crossover",
    "theory.decisions.best_rank",
    "theory.rank_search.curve_near_best",
    "theory.decisions.ranks_that_beat_fft",
    "theory.fft.fft_risk",
    "theory.floor.least_risk",
    "theory.heavy_tails.rarest",
    "theory.heavy_tails.unfelt_floor",
    "theory.input_mean.expected_risk",
    "theory.input_mean.fft_risk",
    "theory.input_mean.mean_energy",
    "theory.offsets.offset_risk",
    "theory.offsets.risk_with_bias",
    "theory.offsets.without_mean",
    "sampling.plan.plan",
    "sampling.poisoned.plan_poisoned",
    "methods.expected.expected_risk",
    "methods.expected.expected_risks",
    "methods.choices.best_under_budget",
    "methods.sample_size.samples_needed",
    "methods.method.reduction_of",
    "methods.own_ridge.searched",
    "simulation.comparison.compare",
    "simulation.curve.draw_risks",
    "simulation.curve.monte_carlo",
    "simulation.curve.continued",
    "simulation.methods.monte_carlo",
    "simulation.methods.simulated_risks",
    "simulation.methods.fitted",
    "simulation.methods.fitted_risks",
    "simulation.perturbed_inputs.simulate_rise",
    "simulation.poisoned.draw_poisoned",
    "simulation.poisoned.simulate_poisoned",
    "simulation.spread.risk_spread",
    "simulation.spread.spreads_of",
    "simulation.statistic.mean_of",
    "sweeps.adapted.risks_of",
    "sweeps.curves.run_cell",
    "sweeps.phase.phase",
}
REFUSED = sorted(set(FUNCTIONS) - HONOURED - set(MEAN_FREE))


def test_the_lists_name_functions_that_are_there():
    assert set(FUNCTIONS) >= HONOURED | set(MEAN_FREE)
    assert not HONOURED & set(MEAN_FREE)
    assert len(REFUSED) > 40


@pytest.mark.parametrize("name", REFUSED)
def test_what_knows_centred_inputs_only_refuses_a_mean(name):
    if name == "sampling.directions.plan":
        assert called(FUNCTIONS[name], PROBLEM) is None
        return
    with pytest.raises(ll.InvalidInput) as refusal:
        called(FUNCTIONS[name], PROBLEM.replace(n=3 if name == "theory.bounds.theorem_4" else PROBLEM.n))
    assert refusal.value.field == "input_mean"
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", sorted(n for n in ll.__all__ if isinstance(getattr(ll, n), types.FunctionType)))
def test_no_function_of_the_front_door_is_forgotten(name):
    function = getattr(ll, name)
    if takes_a_problem(function):
        known = HONOURED | set(REFUSED) | set(MEAN_FREE)
        assert f"{function.__module__.removeprefix('linreg_lora.')}.{function.__name__}" in known


@pytest.mark.parametrize("name", OWN_METHODS)
def test_methods_by_theory_have_a_number_for_a_mean_or_none(name):
    """And with a bias that of the centred problem, if they train no offset themselves."""
    settings = [p for p in inspect.signature(ll.methods.registry.table()[name]).parameters.values()
                if p.kind is not p.KEYWORD_ONLY]  # fmt: skip
    method = ll.methods.named(ON_THE_CURVE.get(name, f"{name}:1" if settings else name))
    if name in ("lora", "fft", "bitfit", "prompt", "prefix", *ON_THE_CURVE):
        assert ll.expected_risk(PROBLEM, method=method).problem == PROBLEM
    elif refuses(method, GAUSSIAN) == "":
        assert refuses(method, PROBLEM).startswith("input_mean")
        (compared,) = ll.compare(PROBLEM, [method], trials=8)
        assert np.isnan(compared.theory.risk)
        assert np.isfinite(compared.simulated.risk)
    if not method.has_offset and refuses(method, GAUSSIAN.replace(n=11)) == "":
        found = ll.expected_risk(PROBLEM, method=f"{method.name}+bias")
        centred = ll.expected_risk(GAUSSIAN.replace(n=11), method=method)
        np.testing.assert_allclose(found.risk, (1 + 1 / 12) * centred.risk + PROBLEM.noise_trace / 12, rtol=1e-12)


def refuses(method: Method, problem: ll.Problem) -> str:
    """The refusal of a method's theory in one line; empty where it has a number."""
    try:
        ll.expected_risk(problem, method=method)
    except ll.InvalidInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize("law", ["t:6", "laplace", "two-point-noise:0.5"])
def test_other_laws_with_a_mean_are_simulated_and_refused_by_theory(law):
    problem = PROBLEM.replace(input_law=law)
    for ask in (ll.expected_risk, ll.theory.fft_risk, ll.theory.fft_best_ridge):
        with pytest.raises(ll.InvalidInput, match="input_mean"):
            ask(problem)
    assert ll.expected_risk(problem, method="bitfit").risk == ll.theory.bitfit_risk(PROBLEM).risk
    assert np.isfinite(ll.monte_carlo(problem, trials=8, seed=0).fft_risk)


@pytest.mark.parametrize("name", ["sufficient", "conditional"])
def test_samplers_of_centred_statistics_refuse(name):
    with pytest.raises(ll.InvalidInput, match=r"sampler|input_mean"):
        ll.monte_carlo(PROBLEM, trials=4, seed=0, sampler=name)


def test_experiments_of_claims_refuse_unless_they_say_that_they_draw_any_mean():
    registry.load_own()
    honest = {name for name in registry.functions()["experiment"] if registry.experiment(name).any_mean}
    assert honest == {"method-risk", "method-minus-method"}
