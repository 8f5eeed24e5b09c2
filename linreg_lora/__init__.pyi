"""What users need, with its types; each name is loaded when it is first used."""

from . import (
    checkpoints,
    claims,
    estimators,
    explorer,
    figures,
    files,
    input_law,
    methods,
    own_data,
    proofs,
    sampling,
    simulation,
    spectra,
    sweeps,
    theory,
    training,
)
from .claims.check import check_claims
from .claims.file import load_claims
from .errors import InvalidInput, LinregLoraError, NumericalFailure
from .methods.choices import BestUnderBudget, best_under_budget
from .methods.expected import expected_risk
from .methods.method import Method
from .methods.result import MethodRisk
from .methods.sample_size import SamplesNeeded, samples_needed
from .own_data.regressors import FullFineTuningRegressor, LoRARegressor
from .problem import Moments, Problem, Regime
from .proofs.steps import prove
from .risk_curve import RankRisk, RiskCurve
from .simulation.comparison import Compared, compare
from .simulation.curve import Risks, draw_risks
from .simulation.methods import monte_carlo
from .simulation.perturbed_inputs import simulate_rise
from .simulation.poisoned import PoisonedRisks, simulate_poisoned
from .simulation.sequences import SequenceRisk, simulate_sequence
from .simulation.spread import Spread, risk_spread
from .sweeps.curves import sweep
from .sweeps.executors import local_processes
from .sweeps.phase import phase_grid
from .theory.crossings import crossover
from .theory.decisions import best_rank, ranks_that_beat_fft
from .theory.expected_update import MeanUpdate, mean_update
from .theory.forgetting import expected_forgetting
from .theory.sensitivity import Sensitivity, Slope, sensitivity

__version__: str

__all__ = [
    "BestUnderBudget",
    "Compared",
    "FullFineTuningRegressor",
    "InvalidInput",
    "LinregLoraError",
    "LoRARegressor",
    "MeanUpdate",
    "Method",
    "MethodRisk",
    "Moments",
    "NumericalFailure",
    "PoisonedRisks",
    "Problem",
    "RankRisk",
    "Regime",
    "RiskCurve",
    "Risks",
    "SamplesNeeded",
    "Sensitivity",
    "SequenceRisk",
    "Slope",
    "Spread",
    "best_rank",
    "best_under_budget",
    "check_claims",
    "checkpoints",
    "claims",
    "compare",
    "crossover",
    "draw_risks",
    "estimators",
    "expected_forgetting",
    "expected_risk",
    "explorer",
    "figures",
    "files",
    "input_law",
    "load_claims",
    "local_processes",
    "mean_update",
    "methods",
    "monte_carlo",
    "own_data",
    "phase_grid",
    "proofs",
    "prove",
    "ranks_that_beat_fft",
    "risk_spread",
    "samples_needed",
    "sampling",
    "sensitivity",
    "simulate_poisoned",
    "simulate_rise",
    "simulate_sequence",
    "simulation",
    "spectra",
    "sweep",
    "sweeps",
    "theory",
    "training",
]
