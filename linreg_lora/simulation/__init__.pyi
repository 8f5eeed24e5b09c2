"""From draws to means with standard errors."""

from .comparison import Compared, compare
from .composed import Composition, compose
from .curve import Risks, draw_risks
from .methods import monte_carlo
from .perturbed_inputs import InputRise, simulate_rise
from .poisoned import PoisonedRisks, simulate_poisoned
from .sequences import SequenceRisk, SumRisk, simulate_sequence, simulate_sum
from .spectral_norms import SpectralNorms, simulate_norm
from .worst_rises import simulate_worst_rise

__all__ = [
    "Compared",
    "Composition",
    "InputRise",
    "PoisonedRisks",
    "Risks",
    "SequenceRisk",
    "SpectralNorms",
    "SumRisk",
    "compare",
    "compose",
    "draw_risks",
    "monte_carlo",
    "simulate_norm",
    "simulate_poisoned",
    "simulate_rise",
    "simulate_sequence",
    "simulate_sum",
    "simulate_worst_rise",
]
