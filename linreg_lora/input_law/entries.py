"""Inputs with iid entries that are not Gaussian."""

import dataclasses
import math
from collections.abc import Callable

from linreg_lora.errors import InvalidInput
from linreg_lora.input_law.checks import number_above, number_of, put
from linreg_lora.input_law.law import FIELD, InputLaw


@dataclasses.dataclass(frozen=True)
class IidEntries(InputLaw):
    """x = Sigma^{1/2} z with iid entries of z, of mean 0 and variance 1; samples iid, noise Gaussian.

    | `kind`     | `parameter` | entries of z                         | excess kurtosis kappa4    |
    |------------|-------------|--------------------------------------|---------------------------|
    | rademacher | none        | -1 or 1                              | -2                        |
    | uniform    | none        | uniform in [-sqrt 3, sqrt 3]         | -6/5                      |
    | laplace    | none        | Laplace                              | 3                         |
    | iid-t      | dof > 2     | Student t, scaled                    | 6/(dof - 4); inf to dof 4 |
    | sparse     | density p   | N(0, 1/p) with probability p, else 0 | 3/p - 3                   |

    Sparse entries leave all but one entry of a row at 0 now and then: without ridge and with noise no mean exists.

    >>> import linreg_lora as ll
    >>> ll.input_law.IidEntries("rademacher").kurtosis
    -2.0
    """

    law = "iid-entries"
    kind: str
    parameter: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KURTOSES:
            raise InvalidInput(FIELD, f"kind, one of {', '.join(_KURTOSES)}", self.kind)
        needs = self.kind in ("iid-t", "sparse")
        if needs != (self.parameter is not None):
            raise InvalidInput(FIELD, "parameter, a number with iid-t and sparse, none with others", self.parameter)
        if self.kind == "iid-t":
            remedy = "the inputs have no variance otherwise"
            put(self, parameter=number_above("parameter", self.parameter, 2, remedy))
        if self.kind == "sparse":
            density = number_of("parameter", self.parameter)
            if not 0 < density <= 1:
                raise InvalidInput(FIELD, "parameter, a density in (0, 1]", self.parameter)
            put(self, parameter=density)

    @property
    def text(self) -> str:
        return self.kind if self.parameter is None else f"{self.kind}:{self.parameter:g}"

    @property
    def kurtosis(self) -> float:
        """kappa4 = E z^4 - 3."""
        return _KURTOSES[self.kind](self.parameter or 0.0)

    @property
    def is_gaussian(self) -> bool:
        return self.kind == "sparse" and self.parameter == 1

    @property
    def may_be_singular(self) -> bool:
        """Whether designs lack full rank with positive probability."""
        return self.kind in ("rademacher", "sparse") and not self.is_gaussian


_KURTOSES: dict[str, Callable[[float], float]] = {
    "rademacher": lambda _: -2.0,
    "uniform": lambda _: -1.2,
    "laplace": lambda _: 3.0,
    "iid-t": lambda dof: 6 / (dof - 4) if dof > 4 else math.inf,
    "sparse": lambda density: 3 / density - 3,
}
