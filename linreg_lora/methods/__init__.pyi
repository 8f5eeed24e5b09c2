"""Fine-tuning methods as objects, and how to add one."""

from .bitfit import BitFit
from .expected import expected_risk
from .frozen_a import FrozenA
from .frozen_b import FrozenB
from .full import FullFineTuning
from .ia3 import IA3
from .lora import LoRA
from .method import Method, Reduction, Update
from .prefix import PrefixTuning
from .prompt import PromptTuning
from .registry import named, names, register_method
from .restricted_offset import RestrictedOffset
from .result import MethodRisk
from .with_bias import WithBias

__all__ = [
    "IA3",
    "BitFit",
    "FrozenA",
    "FrozenB",
    "FullFineTuning",
    "LoRA",
    "Method",
    "MethodRisk",
    "PrefixTuning",
    "PromptTuning",
    "Reduction",
    "RestrictedOffset",
    "Update",
    "WithBias",
    "expected_risk",
    "named",
    "names",
    "register_method",
]
