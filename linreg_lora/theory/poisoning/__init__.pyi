"""Poisoned training data: what label poison and backdoors do to full fine-tuning and to LoRA of each rank."""

from .attack import Poison
from .full import PoisonedFFT, poisoned_fft
from .risk import PoisonedCurve, Status, poisoned_risk
from .spiked import SpikedPoison, spiked_poisoned_risk
from .strong import StrongLimit, strong_limit_under_poison, with_poisoned_noise
from .verdict import Outcome, PoisonVerdict, hijacked_difference, poison_verdicts

__all__ = [
    "Outcome",
    "Poison",
    "PoisonVerdict",
    "PoisonedCurve",
    "PoisonedFFT",
    "SpikedPoison",
    "Status",
    "StrongLimit",
    "hijacked_difference",
    "poison_verdicts",
    "poisoned_fft",
    "poisoned_risk",
    "spiked_poisoned_risk",
    "strong_limit_under_poison",
    "with_poisoned_noise",
]
