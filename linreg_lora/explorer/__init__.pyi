"""The parts of the explorer that know nothing of its page."""

from .curves import AgainstRank, AgainstSamples, against_rank, against_samples, lora_at
from .picture import draw_ranks, draw_samples
from .setting import Family, Setting

__all__ = [
    "AgainstRank",
    "AgainstSamples",
    "Family",
    "Setting",
    "against_rank",
    "against_samples",
    "draw_ranks",
    "draw_samples",
    "lora_at",
]
