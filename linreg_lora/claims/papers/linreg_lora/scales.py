"""Scales of the inputs of A0: their risk where its columns are orthogonal, its limit in n elsewhere, and rivals."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_experiment, register_prediction
from linreg_lora.methods.ia3_in import IA3Inputs
from linreg_lora.problem import Problem
from linreg_lora.theory.decoupled import DecoupledRisk
from linreg_lora.theory.linear_class import LinearClassRisk


def _simulated(problem: Problem, trials: int, seed: int) -> np.ndarray:
    from linreg_lora.simulation.methods import fitted_risks

    return fitted_risks(problem, IA3Inputs(), trials=trials, seed=seed)


# -- orthogonal columns -------------------------------------------------------------------------------------------


def _orthogonal(problem: Problem) -> Problem:
    """The problem with the columns of A0 made orthogonal, dx <= dy; their lengths stay."""
    assert problem.pretrained is not None, "the claim is about scales of a pretrained map"
    directions = np.linalg.qr(problem.pretrained).Q
    return problem.replace(pretrained=directions * np.linalg.norm(problem.pretrained, axis=0))


def _exact(problem: Problem) -> DecoupledRisk:
    found = IA3Inputs().risk_of(_orthogonal(problem))
    assert isinstance(found, DecoupledRisk), "orthogonal columns decouple by output"
    return found


@register_experiment("orthogonal-scales-risk")
def orthogonal_scales_risk(problem: Problem, trials: int, seed: int) -> Sample:
    """Excess risk of IA3 on the inputs, on explicit data, A0 having orthogonal columns."""
    return Sample(_simulated(_orthogonal(problem), trials, seed)[:, None])


@register_prediction("orthogonal-scales-risk.decoupled")
def decoupled(problem: Problem, sample: Sample) -> float:
    """c + sum_j [ b_j + (v_j + b_j) / (n - 2) ], u_j the direction of column j, c what outputs beside them miss."""
    return _exact(problem).risk


@register_prediction("orthogonal-scales-risk.misfit-is-no-noise")
def misfit_is_no_noise(problem: Problem, sample: Sample) -> float:
    """What a scale of input j leaves of the output along a_j is lost, and does not disturb its fit."""
    found = _exact(problem)
    return found.misspecification + sum(one.noise * one.size / (problem.n - one.size - 1) for one in found.outputs)


@register_prediction("orthogonal-scales-risk.first-order")
def first_order(problem: Problem, sample: Sample) -> float:
    """The limit over n, n in place of n - 2."""
    found = _exact(problem)
    return found.misspecification + found.limit / problem.n


# -- any columns --------------------------------------------------------------------------------------------------


def _expansion(problem: Problem) -> LinearClassRisk:
    found = IA3Inputs().risk_of(problem)
    assert isinstance(found, LinearClassRisk), "columns that are not orthogonal do not decouple"
    return found


@register_experiment("scales-excess")
def scales_excess(problem: Problem, trials: int, seed: int) -> Sample:
    """n times the excess of the risk of IA3 on the inputs over that of its best scales, on explicit data."""
    best = _expansion(problem).misspecification
    return Sample(problem.n * (_simulated(problem, trials, seed)[:, None] - best))


@register_prediction("scales-excess.limit")
def limit(problem: Problem, sample: Sample) -> float:
    """Tr H^{-1} J."""
    return _expansion(problem).limit


@register_prediction("scales-excess.noise-alone")
def noise_alone(problem: Problem, sample: Sample) -> float:
    """As if what scales cannot represent were no noise: Tr H^{-1} J for the shift that they learn."""
    return _expansion(problem.replace(task_shift=np.zeros_like(problem.shift), spectrum=None)).limit
