"""No function answers for Gaussian inputs when it was asked about others: each honours `input_law`, or refuses it."""

import importlib
import inspect
import itertools
import pkgutil
import re
import types

import numpy as np
import pytest
from comparisons import critical_z

import linreg_lora as ll
from linreg_lora.claims import registry
from linreg_lora.claims.library import inputs
from linreg_lora.input_law import parse
from linreg_lora.methods import registry as methods
from linreg_lora.methods.bitfit import BitFit
from linreg_lora.problem import Problem
from linreg_lora.theory.extreme_eigenvalues import guaranteed
from linreg_lora.theory.fft import FFTRisk
from linreg_lora.theory.hessian import TangentSpace
from linreg_lora.theory.poisoning import Poison
from linreg_lora.theory.resolvent.above import theta
from linreg_lora.theory.training.filters import Filter

GAUSSIAN = Problem(n=12, dx=5, dy=4, spectrum=(2.0, 1.0), noise_std=0.5, pretrained=1 + np.diag([1.0, 2, 3, 4, 0])[:4])
LAWS = ("t:6", "ar1:0.6", "laplace", "two-point-noise:0.5")
#: Rooms whose functions take problems of users. Figures and the explorer make their own, which are Gaussian.
ROOMS = ("theory", "sampling", "methods", "simulation", "sweeps")

#: Functions that say the same of every law, and why.
LAW_FREE = {
    "theory.input_mean.mean_energy": "mu and Sigma",
    "theory.offsets.without_mean": "a problem of the same law",
    "theory.offsets.risk_with_bias": "Sigma_eps and n",
    "theory.noise_blur.noise_blur": "Delta, Sigma_eps and sizes",
    "theory.capacity.strengths_and_noise": "Delta, Sigma and Sigma_eps",
    "theory.strong_limit.strengths_and_unit_covariance": "Delta, Sigma and the shape of Sigma_eps",
    "theory.strong_limit.strengths_and_unit_noise": "the same",
    "theory.strong_limit.inner_ranks": "ranks",
    "theory.effective.input_variances": "eigenvalues of Sigma",
    "theory.effective.shift_energies": "Delta and Sigma",
    "theory.effective.effective_regularisation": "numbers",
    "theory.equivalent.interior_ranks": "ranks, and which moments exist",
    "theory.best_ridge.search": "about the eigenvalues of X X^T, for a grid of ridges",
    "methods.own_ridge.of": "a problem of the same law",
    "methods.own_ridge.passes_on": "compares reductions",
    "theory.floor.least_risk": "the tail of the spectrum in the metric of Sigma",
    "theory.heavy_tails.rarest": "splits of Sigma; weights have `rare_weights`",
    "theory.training.forgetting_exchange.update_cosine": "Delta and Sigma",
    "theory.training.checks.strengths": "singular values of Delta",
    "theory.hessian.hessian": "the population loss, which sees Sigma alone",
    "theory.hessian.expected_rise": "the same",
    "theory.hessian.gap_without_retraining": "the same",
    "theory.hessian.hessian_gap": "the same",
    "theory.hessian.expected_gap": "the same",
    "theory.hessian.cone_gap": "the same",
    "theory.hessian.expected_gap_at_optimum": "the same",
    "theory.input_perturbation.required_pretrained": "A0",
    "theory.poisoning.attack.isotropic_noise": "Sigma_eps",
    "theory.poisoning.attack.with_noise_of_poison": "a problem of the same law",
    "theory.rescaled.in_units_of_the_inputs": "a problem of the same law",
    "theory.contours.corrected.shares_of": "parts of a solver, which is refused",
    "theory.contours.functionals.assembled": "parts of a problem that `trace` refused",
    "theory.equivalent.solved": "the same",
    "theory.equivalent.rank_of_full_fit": "the ranks of covariances",
    "theory.continued.continued": "a problem of the same law",
    "theory.continual.after_merging": "the same",
    "theory.expected_update.variances": "eigenvalues of Sigma",
    "theory.contours.edges.noise_is_one_band": "Sigma_eps and sizes",
    "theory.contours.doubt.flags": "flags numbers of the equivalent, which refuses",
    "theory.weighted_curve.modes_of": "covariances",
    "sampling.poisoned.stand_in": "a problem of the same law",
    "sampling.rounding.squared_is_safe": "orders of magnitude of signal and noise",
    "sampling.rounding.noise_is_resolved": "the same",
    "sampling.rounding.noise_to_signal": "the same",
    "sampling.rounding.lost_ranks": "the same",
    "methods.factors.require_matrices": "sizes",
    "methods.expected.require_problem": "its type",
    "methods.method.moments_note": "moments, which `Problem.tail_index` argues are alike",
    "methods.method.in_size": "makes the Gaussian problem on purpose, for moments",
    "methods.method.require_same_law": "refuses a law that was lost",
    "methods.expected.answered": "calls what it is given",
    "methods.result.of_curve": "reads off a curve",
    "simulation.comparison.draws_of": "counts draws",
    "simulation.methods.curve_ranks": "counts ranks",
    "simulation.methods.doubt_of_stderr": "moments and rare draws of what `in_size` makes",
    "simulation.draws.require_finite": "checks numbers",
    "sweeps.adapted.ranks": "counts ranks",
    "sweeps.adapted.runs": "counts draws",
}
#: Functions whose answer follows the law. Tests of their numbers: test_theory_weighted, test_input_law.
HONOURED = {
    "theory.offsets.offset_risk",
    "theory.best_ridge.fft_best_ridge",
    "theory.best_ridge.tuned_risk",
    "methods.own_ridge.searched",
    "theory.bitfit.bitfit_risk",
    "theory.contest.winner_at",
    "theory.contest.winning_rank",
    "theory.curve.expected_risk",
    "theory.decisions.best_rank",
    "theory.rank_search.curve_near_best",
    "theory.decisions.ranks_that_beat_fft",
    "theory.crossings.crossover",
    "theory.fft.fft_risk",
    "theory.heavy_tails.unfelt_floor",
    "theory.iid_entries.relative_error",
    "theory.iid_entries.note",
    "theory.iid_entries.entries_fft_risk",
    "theory.other_inputs.fft_risk",
    "theory.other_inputs.expected_risk",
    "theory.rare_weights.rare_weights",
    "theory.rare_weights.unfelt_weights",
    "theory.weighted_curve.lora_risks",
    "theory.weighted_curve.weighted_fft_risk",
    "theory.weighted_fft.overdetermined",
    "theory.weighted_fft.underdetermined",
    "sampling.plan.plan",
    "sampling.poisoned.plan_poisoned",
    "methods.choices.best_under_budget",
    "methods.sample_size.samples_needed",
    "methods.expected.expected_risk",
    "methods.expected.expected_risks",
    "methods.method.reduction_of",
    "simulation.comparison.compare",
    "simulation.comparison.tuned_fft",
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
#: What other parameters are given.
ARGUMENTS = {
    "rank": 2, "ranks": None, "trials": 4, "draws": 4, "seed": 0, "correction": True, "flags": True,
    "input_factor": np.eye(2, 5), "output_factor": np.eye(4, 2), "extremes": guaranteed(GAUSSIAN), "ridge": 0.5,
    "samples": None, "over": "noise_std", "low": 0.1, "high": 1.0, "pretraining": None, "basis": np.eye(4, 2),
    "risk": 1.0, "full": FFTRisk(0.0, 1.0, "none"), "gaussian": FFTRisk(0.0, 1.0, "none"), "inverse_moment": 2.0,
    "loss": "mse", "perturbation_std": 0.1, "update": np.eye(4, 5), "first": np.eye(4, 5), "second": np.zeros((4, 5)),
    "tangent": TangentSpace(np.eye(4, 1), np.eye(5, 1)), "perturbation": np.eye(4, 5),
    "scales": parse("two-point:0.5").scales(12), "times": [1.0],
    "radius": 0.1, "pretrained_std": 0.4, "undone": 0.5, "weight_std": 1.0, "teacher_error": np.zeros((4, 5)),
    "poison": Poison(count=2, target=np.eye(4)[0]),
    "rows": np.eye(2, 5), "columns": np.eye(4, 2), "pieces": [], "generators": np.ones((1, 4, 5)),
    "time": 1.0, "found": Filter.of(1.0), "penalty": 1.0, "start": "kaiming", "scaling": 2.0, "kappa": 1.0,
    "orthogonal": False, "theta": theta(GAUSSIAN), "noise_std": GAUSSIAN.noise_std,
}  # fmt: skip


def public_functions():
    for room in ROOMS:
        package = importlib.import_module(f"linreg_lora.{room}")
        names = [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
        for module in map(importlib.import_module, names):
            for name, function in vars(module).items():
                own = isinstance(function, types.FunctionType) and function.__module__ == module.__name__
                if own and not name.startswith("_") and takes_a_problem(function):
                    yield f"{module.__name__.removeprefix('linreg_lora.')}.{name}", function


def takes_a_problem(function) -> bool:
    return any(p.annotation is Problem for p in inspect.signature(function).parameters.values())


FUNCTIONS = dict(public_functions())
OWN_METHODS = sorted(name for name, made in methods.table().items() if made.__module__.startswith("linreg_lora."))
REFUSED = sorted(set(FUNCTIONS) - HONOURED - set(LAW_FREE))


def test_the_lists_name_functions_that_are_there():
    assert set(FUNCTIONS) >= HONOURED | (set(LAW_FREE) - {"theory.effective.effective_regularisation",
                                                         "methods.expected.require_problem"})  # fmt: skip
    assert not HONOURED & set(LAW_FREE)
    assert len(REFUSED) > 40


def called(function, problem):
    parameters = inspect.signature(function).parameters
    given = {}
    for name, parameter in parameters.items():
        if parameter.annotation is Problem:
            given[name] = problem
        elif parameter.default is parameter.empty or name in ("extremes", "trials"):
            given[name] = ARGUMENTS[name] if parameter.annotation in (int, object) or name != "ranks" else np.ones(1)
    return function(**given)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_honour_a_law_refuses_it(name, law):
    if name == "sampling.directions.plan":
        assert called(FUNCTIONS[name], GAUSSIAN.replace(input_law=law)) is None
        return
    problem = GAUSSIAN.replace(input_law=law, n=3 if name == "theory.bounds.theorem_4" else GAUSSIAN.n)
    with pytest.raises(ll.InvalidInput) as refusal:
        called(FUNCTIONS[name], problem)
    assert refusal.value.field == "input_law"
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", sorted(set(ll.__all__) & {n for n in dir(ll) if callable(getattr(ll, n))}))
def test_no_function_of_the_front_door_is_forgotten(name):
    function = getattr(ll, name)
    if isinstance(function, types.FunctionType) and takes_a_problem(function):
        assert f"{function.__module__.removeprefix('linreg_lora.')}.{function.__name__}" in (
            HONOURED | set(REFUSED) | set(LAW_FREE)
        )


#: Methods that are LoRA on a problem of the same law.
ON_THE_CURVE = {
    "chain": "chain:1:2", "qlora": "qlora:2:5", "loftq": "loftq:2:5", "pissa": "pissa:2", "qpissa": "qpissa:2:5",
}  # fmt: skip
OF_OFFSETS = ("bitfit", "prompt", "prefix")
#: Each method meets one of the laws every time, and each law six methods or seven; the others are heavy.
EVERY_TIME = set(zip(OWN_METHODS, itertools.cycle(LAWS), strict=False))
#: Samples that are correlated, for which no formula of offsets holds.
CORRELATED = "ar1:0.6"


def _with_laws(names):
    """Methods and laws; those that are not in `EVERY_TIME` are heavy. Offsets have no number for one law alone."""
    return [
        pytest.param(
            name,
            law,
            marks=[] if (name, law) in EVERY_TIME or name in OF_OFFSETS else pytest.mark.heavy,
            id=f"{name}-{law}",
        )
        for name in names
        for law in ((CORRELATED,) if name in OF_OFFSETS else LAWS)
    ]


def _written(name):
    method = next(written for written in methods.names() if written.split(":")[0] == name).replace(":rank", ":2")
    method = method.replace(":count", ":2").replace(":directions", ":2").replace(":every", ":2")
    return ON_THE_CURVE.get(name, re.sub(r":[a-z]+", ":2", method))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", sorted({*OWN_METHODS} - {"lora-ga", *ON_THE_CURVE}))
def test_methods_by_theory_have_a_number_for_the_law_or_none(name, law):
    """Formulas of offsets are those of any uncorrelated samples; LoRA and FFT have the curve; the rest is Gaussian."""
    problem, method = GAUSSIAN.replace(input_law=law), _written(name)
    if name in ("lora", "fft"):
        assert ll.expected_risk(problem, method=method).problem == problem
    elif name in OF_OFFSETS and law != CORRELATED:
        assert ll.expected_risk(problem, method=method).risk == ll.expected_risk(GAUSSIAN, method=method).risk
    else:
        reason = "theory knows, received" if name in ("dora", "vera") else "input_law"
        with pytest.raises(ll.InvalidInput, match=reason):
            ll.expected_risk(problem, method=method)


@pytest.mark.parametrize(("name", "law"), _with_laws(sorted(ON_THE_CURVE)))
def test_methods_on_the_curve_have_its_number_for_the_law(name, law):
    problem = GAUSSIAN.replace(input_law=law)
    assert ll.expected_risk(problem, method=_written(name)).problem == problem


@pytest.mark.parametrize(("name", "law"), _with_laws(sorted({*OWN_METHODS} - {"lora", "fft", *ON_THE_CURVE})))
def test_methods_without_a_number_for_the_law_are_simulated(name, law):
    problem = GAUSSIAN.replace(input_law=law)
    if name == "lora-ga":
        assert np.isfinite(ll.monte_carlo(problem, trials=8, seed=0, method="lora-ga:2").risk)
    else:
        (compared,) = ll.compare(problem, [_written(name)], trials=8)
        assert np.isnan(compared.theory.risk)
        assert np.isfinite(compared.simulated.risk)


def test_a_users_reduction_that_loses_the_law_is_refused():
    class Lossy(BitFit):
        name = "lossy"
        expected_risk = ll.Method.expected_risk

        def reduce(self, problem):
            return ll.methods.Reduction(GAUSSIAN, 0.0)

    problem = GAUSSIAN.replace(input_law="t:6")
    with pytest.raises(ll.InvalidInput, match="input_law"):
        ll.expected_risk(problem, method=Lossy())
    assert np.isnan(ll.compare(problem, [Lossy()], computed_by=["theory"])[0].theory.risk)


@pytest.mark.parametrize("name", ["sufficient", "conditional"])
def test_samplers_of_gaussian_statistics_refuse(name):
    with pytest.raises(ll.InvalidInput, match=r"sampler|input_law"):
        ll.monte_carlo(GAUSSIAN.replace(input_law="t:6"), trials=4, seed=0, sampler=name)


def test_experiments_of_claims_refuse_unless_they_say_that_they_draw_any_inputs():
    registry.load_own()
    honest = {name for name in registry.functions()["experiment"] if registry.experiment(name).any_inputs}
    assert honest == {"fft-risk", "lora-minus-fft", "lora-risk-of-inputs"}


def test_controls_have_mean_zero_and_take_most_of_the_spread_of_loras_risk():
    """Level 1e-6."""
    problem, trials, rank = GAUSSIAN.replace(n=40, input_law="two-point:0.25"), 1024, 2
    plain = inputs._draws(problem, rank, trials, 5)
    stderr = np.std(plain.controls, axis=0, ddof=1) / trials**0.5
    assert np.all(np.abs(np.mean(plain.controls, axis=0)) < critical_z(2) * stderr)
    statistic = inputs.lora_risk_of_inputs(problem, trials, 5, share=0.5).statistic[:, 0]
    assert np.var(statistic) < np.var(plain.risk) / 2
    moved = plain.risk - statistic
    assert abs(np.mean(moved)) < critical_z(2) * np.std(moved, ddof=1) / trials**0.5
