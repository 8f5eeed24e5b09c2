"""From draws to means with standard errors."""

from .comparison import Compared, compare
from .curve import Risks, draw_risks
from .methods import monte_carlo
from .perturbed_inputs import InputRise, simulate_rise

__all__ = ["Compared", "InputRise", "Risks", "compare", "draw_risks", "monte_carlo", "simulate_rise"]
