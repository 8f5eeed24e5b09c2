from .flow import gradient_flow
from .recipe import Optimiser, Recipe, Scaling, Schedule
from .result import TrainingRun
from .starts import Start
from .trained import train

__all__ = ["Optimiser", "Recipe", "Scaling", "Schedule", "Start", "TrainingRun", "gradient_flow", "train"]
