"""Fine-tuning methods as objects, and how to add one."""

from .adapter import SerialAdapter
from .bitfit import BitFit
from .chain import Chain
from .decoupled import Decoupled
from .displaced import DisplacedBase
from .dora import DoRA
from .expected import expected_risk
from .features import Features
from .forgetting import Forgotten
from .frozen_a import FrozenA
from .frozen_b import FrozenB
from .full import FullFineTuning
from .ia3 import IA3
from .ia3_in import IA3Inputs
from .lora import LoRA
from .lora_ga import LoRAGA
from .lora_xs import LoRAXS
from .mask import Mask
from .method import Method, Reduction, Update
from .mica import MiCA
from .pissa import PiSSA, QPiSSA
from .prefix import PrefixTuning
from .prompt import PromptTuning
from .qlora import LoftQ, QLoRA
from .registry import named, names, register_method
from .restricted import Restricted
from .restricted_offset import RestrictedOffset
from .result import MethodRisk
from .sums import FrozenSum
from .svf import SVF
from .tangent import TangentLoRA
from .vera import VeRA, VeRAInputs, VeRAOutputs
from .with_bias import WithBias

__all__ = [
    "IA3",
    "SVF",
    "BitFit",
    "Chain",
    "Decoupled",
    "DisplacedBase",
    "DoRA",
    "Features",
    "Forgotten",
    "FrozenA",
    "FrozenB",
    "FrozenSum",
    "FullFineTuning",
    "IA3Inputs",
    "LoRA",
    "LoRAGA",
    "LoRAXS",
    "LoftQ",
    "Mask",
    "Method",
    "MethodRisk",
    "MiCA",
    "PiSSA",
    "PrefixTuning",
    "PromptTuning",
    "QLoRA",
    "QPiSSA",
    "Reduction",
    "Restricted",
    "RestrictedOffset",
    "SerialAdapter",
    "TangentLoRA",
    "Update",
    "VeRA",
    "VeRAInputs",
    "VeRAOutputs",
    "WithBias",
    "expected_risk",
    "named",
    "names",
    "register_method",
]
