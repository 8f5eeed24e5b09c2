"""Sparse fine-tuning: the unmasked entries of D are trained."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.methods import decoupled
from linreg_lora.methods.registry import register_method


@register_method("mask")
@dataclasses.dataclass(frozen=True, eq=False)
class Mask(decoupled.Decoupled):
    """D is 0 but at fixed entries; as many parameters as there are. Exact (`theory.decoupled_risk`).

    Give `every`, for the entries (i, j), from 0, with (i + j) mod every = 0, or `entries`, dy x dx of what is trained.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=9, dx=3, dy=2, spectrum=(5.0, 2.0), noise_std=1.0)
    >>> method = ll.methods.Mask(entries=[[True, False, False], [True, False, True]])
    >>> f"{ll.expected_risk(problem, method=method).risk:.3f} = 1 / 7 + 4 + (1 + 4) 2 / 6"
    '5.810 = 1 / 7 + 4 + (1 + 4) 2 / 6'
    """

    every: int | None = None
    entries: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.every is None) == (self.entries is None):
            received = "both" if self.entries is not None else "neither"
            raise InvalidInput("mask", "either every, as in mask:3, or entries", received)
        if self.every is not None:
            object.__setattr__(self, "every", validation.positive_integer("every", self.every))
            return
        array = np.array(self.entries)
        if array.ndim != 2 or array.dtype != np.bool_ or not np.any(array):
            raise InvalidInput(
                "entries", "a dy x dx matrix of True (trained) and False", f"{array.dtype} {array.shape}"
            )
        object.__setattr__(self, "entries", validation.frozen(array))

    @property
    def name(self) -> str:
        """Which, and of given ones the start of their SHA-256."""
        if self.entries is None:
            return f"mask:{self.every}"
        return f"mask@{hashlib.sha256(self.entries.tobytes()).hexdigest()[:8]}"

    def pieces(self, pretrained: Any, dx: int, dy: int) -> list[Any]:
        from linreg_lora.theory.decoupled import Piece

        chosen = self.entries
        if chosen is None:
            assert self.every is not None
            chosen = np.add.outer(np.arange(dy), np.arange(dx)) % self.every == 0
        elif chosen.shape != (dy, dx):
            raise InvalidInput("entries", f"a {dy} x {dx} matrix", f"shape {chosen.shape}")
        rows = np.zeros((dy, int(np.max(np.sum(chosen, axis=1))), dx))
        for own, kept in zip(rows, chosen, strict=True):
            columns = np.flatnonzero(kept)
            own[np.arange(len(columns)), columns] = 1.0
        return [Piece(None, rows)]

    def _key(self) -> tuple[Any, ...]:
        return self.every, None if self.entries is None else (self.entries.shape, self.entries.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, validation.frozen(value) if isinstance(value, np.ndarray) else value)
