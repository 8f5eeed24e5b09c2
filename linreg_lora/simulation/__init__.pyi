"""From draws to means with standard errors."""

from .curve import Risks, draw_risks, monte_carlo
from .perturbed_inputs import InputRise, simulate_rise

__all__ = ["InputRise", "Risks", "draw_risks", "monte_carlo", "simulate_rise"]
