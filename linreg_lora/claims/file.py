"""Reads a claims file, or refuses it in one line: field, expected, received.

A claims file is data; nothing in it is ever evaluated.
"""

import importlib.resources
from pathlib import Path
from typing import Any

from linreg_lora.claims.schema import ClaimsFile
from linreg_lora.files import yaml
from linreg_lora.files.models import validated

#: More than any claims file needs, so that a slip of the pen cannot fill the memory.
LARGEST_FILE = 1_000_000


def default_path() -> Path:
    """`paper_claims.yaml` as installed, or at the root of a source checkout.

    >>> import linreg_lora as ll
    >>> ll.claims.default_path().name
    'paper_claims.yaml'
    """
    installed = Path(str(importlib.resources.files("linreg_lora"))) / "paper_claims.yaml"
    return installed if installed.exists() else installed.parent.parent / "paper_claims.yaml"


def load_claims(path: Path | str | None = None) -> ClaimsFile:
    """Read and validate a claims file; None: the package's own.

    Raises `InvalidInput` in one line for anything that is not one.

    >>> import linreg_lora as ll
    >>> claim = ll.load_claims().claims[0]
    >>> f"{claim.id}: {claim.title}"
    'prop1-fft-closed-form: Full fine-tuning is least squares on the residual, nearest to the pretrained map'
    """
    path = Path(path or default_path())
    file = parse_claims(yaml.read(path, "claims file", largest=LARGEST_FILE, aliases=True))
    if _is_shipped(path.resolve()):
        file.mark_shipped(claim.id for claim in file.claims)
    return file


def _is_shipped(path: Path) -> bool:
    return path == default_path().resolve() or path.is_relative_to(Path(__file__).with_name("papers").resolve())


def parse_claims(content: Any) -> ClaimsFile:
    """Validate the content of a claims file.

    >>> import linreg_lora as ll
    >>> try:
    ...     ll.claims.parse_claims([])
    ... except ll.InvalidInput as error:
    ...     print(error)
    claims file: expected a mapping with schema_version, family_wise_level, claims, received []
    """

    def by_id(place: list[int | str]) -> list[int | str]:
        if len(place) > 1 and place[0] == "claims" and isinstance(place[1], int):
            claim = content["claims"][place[1]]
            name = claim.get("id") if isinstance(claim, dict) else None
            if isinstance(name, str) and name.strip():
                return [place[0], name, *place[2:]]
        return place

    return validated(ClaimsFile, content, what="claims file", named=by_id)
