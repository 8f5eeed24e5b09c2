from .advice import Advice, advise
from .choice import RIDGES
from .curve import LeaveOneOut, leave_one_out
from .spectral import Shrinkage, shrinkage

__all__ = ["RIDGES", "Advice", "LeaveOneOut", "Shrinkage", "advise", "leave_one_out", "shrinkage"]
