"""Input laws by name: texts as in t:6, and mappings as in files."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from linreg_lora.errors import InvalidInput
from linreg_lora.input_law.entries import IidEntries
from linreg_lora.input_law.law import FIELD, GAUSSIAN, Gaussian, InputLaw
from linreg_lora.input_law.weighted import (
    CorrelatedSamples,
    MultivariateT,
    SampleWeights,
    ScaleMixture,
    two_point,
    two_point_noise,
)

_FORMS = (
    "gaussian, t:DOF, two-point:LOW:SHARE, two-point-noise:LOW:SHARE, ar1:RHO, rademacher, uniform, laplace, "
    "iid-t:DOF or sparse:DENSITY"
)
_TEXTS: dict[str, tuple[Callable[..., InputLaw], tuple[int, ...]]] = {
    "gaussian": (lambda: GAUSSIAN, (0,)),
    "t": (MultivariateT, (1,)),
    "two-point": (two_point, (1, 2)),
    "two-point-noise": (two_point_noise, (1, 2)),
    "ar1": (CorrelatedSamples, (1,)),
    **{kind: (functools.partial(IidEntries, kind), (0,)) for kind in ("rademacher", "uniform", "laplace")},
    **{kind: (functools.partial(IidEntries, kind), (1,)) for kind in ("iid-t", "sparse")},
}
_LAWS = {law.law: law for law in (Gaussian, MultivariateT, ScaleMixture, SampleWeights, CorrelatedSamples, IidEntries)}


def parse(value: object) -> InputLaw:
    """A law of its text, as in t:6, of its mapping in files, or itself. Raises `InvalidInput`.

    >>> import linreg_lora as ll
    >>> ll.input_law.parse({"law": "ar1", "rho": 0.6})
    CorrelatedSamples(rho=0.6)
    """
    if isinstance(value, InputLaw):
        return value
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if not isinstance(value, str):
        raise InvalidInput(FIELD, _FORMS, value)
    name, *parts = value.strip().lower().replace("_", "-").split(":")
    make, counts = _TEXTS.get(name, (None, ()))
    if make is None or len(parts) not in counts:
        raise InvalidInput(FIELD, _FORMS, value)
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise InvalidInput(FIELD, _FORMS, value) from None
    return make(*numbers)


def _of_mapping(value: Mapping[Any, Any]) -> InputLaw:
    name = value.get("law")
    law = _LAWS.get(name) if isinstance(name, str) else None
    if law is None:
        raise InvalidInput(FIELD, f"law, one of {', '.join(_LAWS)}", value.get("law"))
    fields = {field.name: field for field in dataclasses.fields(law)}
    given = {name: part for name, part in value.items() if name != "law"}
    missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in given]
    if missing or not set(given) <= set(fields):
        received = ", ".join(map(str, given)) or "nothing"
        raise InvalidInput(FIELD, f"law {law.law} with {', '.join(fields) or 'nothing beside it'}", received)
    return law(**given)
