from .advice import Advice, advise
from .choice import RIDGES
from .complexity import EstimatedComplexity, estimated_complexity
from .curve import LeaveOneOut, leave_one_out
from .spectral import Shrinkage, shrinkage

__all__ = [
    "RIDGES",
    "Advice",
    "EstimatedComplexity",
    "LeaveOneOut",
    "Shrinkage",
    "advise",
    "estimated_complexity",
    "leave_one_out",
    "shrinkage",
]
