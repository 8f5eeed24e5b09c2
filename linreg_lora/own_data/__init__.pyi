from .advice import Advice, advise
from .curve import LeaveOneOut, leave_one_out

__all__ = ["Advice", "LeaveOneOut", "advise", "leave_one_out"]
