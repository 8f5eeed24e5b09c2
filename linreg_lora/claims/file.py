"""Reads a claims file, or refuses it in one line: field, expected, received.

A claims file is data; nothing in it is ever evaluated.
"""

import importlib.resources
import re
from pathlib import Path
from typing import Any

import pydantic

from linreg_lora.claims import domains, schema
from linreg_lora.claims.schema import ClaimsFile
from linreg_lora.errors import InvalidInput
from linreg_lora.files import yaml

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
    content = yaml.read(Path(path or default_path()), "claims file", largest=LARGEST_FILE, aliases=True)
    return parse_claims(content)


def parse_claims(content: Any) -> ClaimsFile:
    """Validate the content of a claims file.

    >>> import linreg_lora as ll
    >>> try:
    ...     ll.claims.parse_claims([])
    ... except ll.InvalidInput as error:
    ...     print(error)
    claims file: expected a mapping with schema_version, family_wise_level and claims, received []
    """
    if not isinstance(content, dict):
        raise InvalidInput("claims file", "a mapping with schema_version, family_wise_level and claims", content)
    try:
        return ClaimsFile.model_validate(content)
    except pydantic.ValidationError as error:
        raise _first_problem(error, content) from None


def _first_problem(error: pydantic.ValidationError, content: dict) -> InvalidInput:
    problem = error.errors()[0]
    path = [part for part in problem["loc"] if part not in ("GaussianDesign", "MatrixFamily")]
    if len(path) > 1 and path[0] == "claims" and isinstance(path[1], int):
        claim = content["claims"][path[1]]
        name = claim.get("id") if isinstance(claim, dict) else None
        path[1] = name if isinstance(name, str) and name.strip() else path[1]
    field = ".".join(str(part) for part in path) or "claims file"
    context = problem.get("ctx", {}).get("error")
    if isinstance(context, InvalidInput):
        inner = context.field if not path else f"{field}.{context.field}" if path[-1] != context.field else field
        return InvalidInput(inner, context.expected, context.received, context.remedy)
    if problem["type"] == "extra_forbidden":
        *path, unknown = path
        expected = f"fields among {', '.join(_fields(problem['loc'][:-1]))}"
        return InvalidInput(".".join(str(part) for part in path) or "claims file", expected, unknown)
    expected = re.sub("a valid dictionary or instance of .*", "a mapping", problem["msg"].removeprefix("Value error, "))
    received = "nothing" if problem["type"] == "missing" else problem["input"]
    return InvalidInput(field, expected[:1].lower() + expected[1:], received)


def _fields(location: tuple[int | str, ...]) -> list[str]:
    """The fields of the mapping at `location`."""
    inner = {
        "claims": schema.Claim,
        "source": schema.Source,
        "GaussianDesign": domains.GaussianDesign,
        "shapes": domains.Shape,
        "spectrum": domains.SpectrumFamily,
        "MatrixFamily": domains.MatrixFamily,
        "experiment": schema.Experiment,
        "rivals": schema.Rival,
        "undecidable": schema.Undecidable,
        "slips": schema.Slip,
    }
    models = [inner[part] for part in location if isinstance(part, str) and part in inner]
    return list((models[-1] if models else ClaimsFile).model_fields)
