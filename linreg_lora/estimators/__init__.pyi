"""Fine-tuning methods: data in, update out."""

from .alternating import fit_dora, fit_vera
from .bitfit import fit_bitfit
from .centring import centred
from .fft import fit_fft
from .frozen import fit_frozen_a, fit_frozen_b
from .ia3 import fit_ia3
from .input_scales import fit_input_scales
from .lora import fit_lora
from .restricted import fit_restricted
from .risk import excess_risk, excess_risk_path

__all__ = [
    "centred",
    "excess_risk",
    "excess_risk_path",
    "fit_bitfit",
    "fit_dora",
    "fit_fft",
    "fit_frozen_a",
    "fit_frozen_b",
    "fit_ia3",
    "fit_input_scales",
    "fit_lora",
    "fit_restricted",
    "fit_vera",
]
