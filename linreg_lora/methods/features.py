"""Frozen features of the inputs: a linear map of B x is trained."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import restricted
from linreg_lora.methods.registry import register_method


@register_method("features")
@dataclasses.dataclass(frozen=True, eq=False)
class Features(restricted.NeedsPretrained, restricted.Restricted):
    """D = C B, C of minimum norm, or rank at most `inner_rank`; k dy parameters.

    Give `count`, for B the first rows of A0, or `factor`, B itself, k x dx of any norm: unlike the rows of a frozen A
    they need not be orthonormal, which matters with ridge and for n < k.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=9, dx=3, dy=2, spectrum=(5.0, 2.0), noise_std=1.0)
    >>> method = ll.methods.Features(factor=[[7.0, 0.0, 0.0]])
    >>> f"{ll.expected_risk(problem, method=method).risk:.3f} = 2^2 + (2 + 2^2) / 7"
    '4.857 = 2^2 + (2 + 2^2) / 7'
    """

    count: int | None = None
    inner_rank: int | None = None
    factor: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    uses = "takes its features from the rows of A0"

    def __post_init__(self) -> None:
        if (self.count is None) == (self.factor is None):
            raise InvalidInput("features", "either count or factor", "both" if self.factor is not None else "neither")
        for name in ("count", "inner_rank"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, validation.positive_integer(name, getattr(self, name)))
        if self.factor is not None:
            array = validation.real_array("factor", self.factor, "B, a matrix k x dx")
            if array.ndim != 2 or 0 in array.shape:
                raise InvalidInput("factor", "B, a matrix k x dx", f"shape {array.shape}")
            object.__setattr__(self, "factor", validation.frozen(array))

    @property
    def name(self) -> str:
        """How many, and of given ones the start of their SHA-256; the rank of C."""
        of = "" if self.inner_rank is None else f":{self.inner_rank}"
        if self.factor is None:
            return f"features:{self.count}{of}"
        return f"features:{len(self.factor)}{of}@{hashlib.sha256(self.factor.tobytes()).hexdigest()[:8]}"

    def factors(self, pretrained: Any, dx: int, dy: int) -> tuple[Any, Any]:
        if self.factor is not None:
            if self.factor.shape[1] != dx:
                raise InvalidInput("factor", f"B, a matrix k x {dx}", f"shape {self.factor.shape}")
            return None, self.factor
        assert self.count is not None
        self.at_most("count", self.count, dy, "the rows of A0")
        return None, self.given(pretrained)[: self.count]

    def _key(self) -> tuple[Any, ...]:
        given = None if self.factor is None else (self.factor.shape, self.factor.tobytes())
        return self.count, self.inner_rank, given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Features) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, validation.frozen(value) if isinstance(value, np.ndarray) else value)
