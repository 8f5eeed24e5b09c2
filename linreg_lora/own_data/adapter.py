"""A fitted update as a LoRA adapter in PEFT's format: two factors in safetensors, and a configuration.

The adapter of a layer is lora_A (r dx) and lora_B (dy r), and adds alpha / r times lora_B lora_A; alpha = r here. An
offset is the bias of lora_B, which PEFT 0.14 and newer read where the configuration says `lora_bias`.
"""

import json
import re
from pathlib import Path

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.files.atomic import writable_folder, write_atomically
from linreg_lora.files.tensors import write_tensors
from linreg_lora.own_data.advice import Advice

WEIGHTS, CONFIGURATION = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model"
#: Names from the top of a model down, joined by dots.
_MODULE = re.compile(r"[^\s.]+(\.[^\s.]+)*")
#: Of a factor's norm: what single precision may lose. Its numbers are rounded by 6e-8, but below 1e-38 by more.
_LOST = 1e-6


def write_adapter(folder: Path, found: Advice, module: str = "linear") -> list[Path]:
    """Write the update of `module`, a name as in block.score, as an adapter. Raises `InvalidInput` for rank 0, for
    names that are none, and for numbers that single precision does not hold."""
    if not _MODULE.fullmatch(module):
        raise InvalidInput("module", "the name of a layer, as in linear or block.score", module or "nothing")
    if found.rank == 0:
        raise InvalidInput("save", "an update of rank 1 at least", "rank 0: do not adapt")
    b, a = found.factors
    weights = {"lora_A.weight": a, "lora_B.weight": b}
    if np.any(found.offset):
        weights["lora_B.bias"] = found.offset
    for name, array in weights.items():
        _require_single_precision(name, array)
    configuration = {
        "peft_type": "LORA",
        "base_model_name_or_path": None,
        "task_type": None,
        "r": found.rank,
        "lora_alpha": found.rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": [module],
        "use_dora": False,
        "use_rslora": False,
    }
    if "lora_B.bias" in weights:
        configuration["lora_bias"] = True
    with writable_folder(folder):
        named = {f"{_PREFIX}.{module}.{name}": array for name, array in weights.items()}
        write_tensors(folder / WEIGHTS, named, {"format": "pt"})
        write_atomically(folder / CONFIGURATION, (json.dumps(configuration, indent=2) + "\n").encode())
    return [folder / WEIGHTS, folder / CONFIGURATION]


def _require_single_precision(name: str, array: np.ndarray) -> None:
    largest = float(np.max(np.abs(array))) or 1.0
    with np.errstate(over="ignore", under="ignore"):
        lost = array.astype(np.float32).astype(float) / largest - array / largest
    if not np.linalg.norm(lost) <= _LOST * np.linalg.norm(array / largest):
        expected = "an update that single precision holds, from about 1e-38 to 3e38"
        raise InvalidInput("save", expected, f"{name} up to {largest:.3g}", "rescale the inputs or the outputs")
