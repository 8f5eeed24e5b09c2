"""Fine-tuning methods as objects, and how to add one."""

from .bitfit import BitFit
from .chain import Chain
from .displaced import DisplacedBase
from .expected import expected_risk
from .frozen_a import FrozenA
from .frozen_b import FrozenB
from .full import FullFineTuning
from .ia3 import IA3
from .lora import LoRA
from .lora_ga import LoRAGA
from .method import Method, Reduction, Update
from .pissa import PiSSA, QPiSSA
from .prefix import PrefixTuning
from .prompt import PromptTuning
from .qlora import LoftQ, QLoRA
from .registry import named, names, register_method
from .restricted_offset import RestrictedOffset
from .result import MethodRisk
from .with_bias import WithBias

__all__ = [
    "IA3",
    "BitFit",
    "Chain",
    "DisplacedBase",
    "FrozenA",
    "FrozenB",
    "FullFineTuning",
    "LoRA",
    "LoRAGA",
    "LoftQ",
    "Method",
    "MethodRisk",
    "PiSSA",
    "PrefixTuning",
    "PromptTuning",
    "QLoRA",
    "QPiSSA",
    "Reduction",
    "RestrictedOffset",
    "Update",
    "WithBias",
    "expected_risk",
    "named",
    "names",
    "register_method",
]
