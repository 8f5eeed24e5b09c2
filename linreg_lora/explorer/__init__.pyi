"""The parts of the explorer that know nothing of its page."""

from .curves import AgainstRank, AgainstSamples, against_rank, against_samples, lora_at
from .family import Along, Member, Members, along_ranks, member
from .picture import draw_ranks, draw_samples
from .setting import Family, Setting
from .training import AgainstTime, against_time

__all__ = [
    "AgainstRank",
    "AgainstSamples",
    "AgainstTime",
    "Along",
    "Family",
    "Member",
    "Members",
    "Setting",
    "against_rank",
    "against_samples",
    "against_time",
    "along_ranks",
    "draw_ranks",
    "draw_samples",
    "lora_at",
    "member",
]
