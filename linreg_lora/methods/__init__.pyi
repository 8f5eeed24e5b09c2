"""Fine-tuning methods as objects, and how to add one."""

from .adapter import SerialAdapter
from .bitfit import BitFit
from .decoupled import Decoupled
from .dora import DoRA
from .expected import expected_risk
from .features import Features
from .frozen_a import FrozenA
from .frozen_b import FrozenB
from .full import FullFineTuning
from .ia3 import IA3
from .ia3_in import IA3Inputs
from .lora import LoRA
from .lora_xs import LoRAXS
from .mask import Mask
from .method import Method, Reduction, Update
from .mica import MiCA
from .registry import named, names, register_method
from .restricted import Restricted
from .result import MethodRisk
from .sums import FrozenSum
from .svf import SVF
from .tangent import TangentLoRA
from .vera import VeRA, VeRAInputs, VeRAOutputs

__all__ = [
    "IA3",
    "SVF",
    "BitFit",
    "Decoupled",
    "DoRA",
    "Features",
    "FrozenA",
    "FrozenB",
    "FrozenSum",
    "FullFineTuning",
    "IA3Inputs",
    "LoRA",
    "LoRAXS",
    "Mask",
    "Method",
    "MethodRisk",
    "MiCA",
    "Reduction",
    "Restricted",
    "SerialAdapter",
    "TangentLoRA",
    "Update",
    "VeRA",
    "VeRAInputs",
    "VeRAOutputs",
    "expected_risk",
    "named",
    "names",
    "register_method",
]
