"""Ranks as PEFT's configuration says them: `rank_pattern`, whose keys are patterns of names of modules.

PEFT takes for a module the first key that matches the end of its name, from a dot on, as a regular expression
`(.*\\.)?(key)$`. Names are their own keys where a longer name comes before those that it ends in, and where of two as
long the one with fewer dots comes first, since a dot stands for any letter.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_WEIGHT = ".weight"
_FACTOR = re.compile(r"(.*\.)?lora_(embedding_)?[AB](\..*)?")


def module_of(tensor: str) -> str | None:
    """The module whose weight a tensor is: its name without `.weight`; None for others, which PEFT does not adapt."""
    name = tensor.removesuffix(_WEIGHT)
    return name if name != tensor and name else None


def is_factor(tensor: str) -> bool:
    """Whether a tensor is A or B of an adapter, as PEFT names them. Only their product is determined: (B G, G^-1 A) is
    the same update."""
    return _FACTOR.fullmatch(tensor) is not None


def configuration(ranks: Mapping[str, int]) -> dict[str, Any]:
    """Arguments of PEFT's LoraConfig for ranks by module: those of rank 0 are no targets; alpha is the rank, so that
    the update is B A."""
    ordered = sorted((name for name, rank in ranks.items() if rank > 0), key=lambda name: (-len(name), name.count(".")))
    pattern = {_key(name): ranks[name] for name in ordered}
    default = max(pattern.values(), default=0)
    return {
        "r": default,
        "lora_alpha": default,
        "target_modules": sorted(ordered),
        "rank_pattern": pattern,
        "alpha_pattern": dict(pattern),
    }


def misled(ranks: Mapping[str, int]) -> list[str]:
    """Modules that PEFT would give another rank than meant: those of rank 0 whose names end in a target's."""
    found = configuration(ranks)
    return [name for name, rank in ranks.items() if rank_by_peft(found, name) != rank]


def rank_by_peft(found: Mapping[str, Any], module: str) -> int:
    """The rank that PEFT gives a module by a configuration; 0 where it is no target."""
    if not _is_target(module, found["target_modules"]):
        return 0
    first = next((key for key in found["rank_pattern"] if re.match(rf"(.*\.)?({key})$", module)), None)
    return found["r"] if first is None else found["rank_pattern"][first]


def _is_target(module: str, targets: Iterable[str]) -> bool:
    return any(module == target or module.endswith(f".{target}") for target in targets)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w.\-]+", name) else re.escape(name)
