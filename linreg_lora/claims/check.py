"""Checking a claims file: which claims, in which order, with which seed."""

import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linreg_lora.claims.schema import Claim, ClaimsFile, load
from linreg_lora.errors import InvalidInput
from linreg_lora.seeds import valid_seed

if TYPE_CHECKING:
    from linreg_lora.claims.judge import Judgement


def default_path() -> Path:
    """`paper_claims.yaml` as installed, or at the root of a source checkout."""
    installed = Path(str(importlib.resources.files("linreg_lora"))) / "paper_claims.yaml"
    return installed if installed.exists() else installed.parent.parent / "paper_claims.yaml"


def select(claims: ClaimsFile, only: Sequence[str]) -> list[Claim]:
    """The claims with these ids, in the file's order; all of them when `only` is empty."""
    unknown = sorted(set(only) - {claim.id for claim in claims.claims})
    if unknown:
        raise InvalidInput("only", f"ids of claims ({', '.join(c.id for c in claims.claims)})", ", ".join(unknown))
    return [claim for claim in claims.claims if not only or claim.id in only]


def check(
    path: Path | None = None,
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> "list[Judgement]":
    """Judge the claims of a file (default: the package's own), in its order.

    `only`: ids; `seed`: of all draws; `progress` is called with 1 after each claim. Raises `InvalidInput` for a file
    that is not a claims file.
    """
    claims, seed = select(load(path or default_path()), only), valid_seed(seed)
    from linreg_lora.claims.judge import judge

    judgements = []
    for claim in claims:
        judgements.append(judge(claim, seed))
        progress(1)
    return judgements
