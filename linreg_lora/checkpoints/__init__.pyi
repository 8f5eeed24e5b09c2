from .budget import Allocation, allocate
from .comparison import Comparison, compare_checkpoints
from .update import UpdateRanks, update_ranks

__all__ = ["Allocation", "Comparison", "UpdateRanks", "allocate", "compare_checkpoints", "update_ranks"]
