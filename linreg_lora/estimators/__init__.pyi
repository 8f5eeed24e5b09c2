"""Fine-tuning methods: data in, update out."""

from .bitfit import fit_bitfit
from .centring import centred
from .fft import fit_fft
from .frozen import fit_frozen_a, fit_frozen_b
from .ia3 import fit_ia3
from .lora import fit_lora
from .risk import excess_risk, excess_risk_path

__all__ = [
    "centred",
    "excess_risk",
    "excess_risk_path",
    "fit_bitfit",
    "fit_fft",
    "fit_frozen_a",
    "fit_frozen_b",
    "fit_ia3",
    "fit_lora",
]
