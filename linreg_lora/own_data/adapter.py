"""A fitted update as a LoRA adapter in PEFT's format: two factors in safetensors, and a configuration.

The adapter of a layer is lora_A (r dx) and lora_B (dy r), and adds alpha / r times lora_B lora_A; alpha = r here.
"""

import json
from pathlib import Path

from linreg_lora.errors import InvalidInput
from linreg_lora.files.atomic import writable_folder, write_atomically
from linreg_lora.files.tensors import write_tensors
from linreg_lora.own_data.advice import Advice

WEIGHTS, CONFIGURATION = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model"


def write_adapter(folder: Path, found: Advice, module: str = "linear") -> list[Path]:
    """Write the update of `module` as an adapter; an offset has no place in it. Raises `InvalidInput` for rank 0."""
    if found.rank == 0:
        raise InvalidInput("save", "an update of rank 1 at least", "rank 0: do not adapt")
    b, a = found.factors
    weights = {f"{_PREFIX}.{module}.lora_A.weight": a, f"{_PREFIX}.{module}.lora_B.weight": b}
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
    with writable_folder(folder):
        write_tensors(folder / WEIGHTS, weights, {"format": "pt"})
        write_atomically(folder / CONFIGURATION, (json.dumps(configuration, indent=2) + "\n").encode())
    return [folder / WEIGHTS, folder / CONFIGURATION]
