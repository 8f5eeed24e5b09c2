"""Frozen factors: given as matrices, or the first directions of one Haar-distributed rotation from a fixed seed."""

import functools
import hashlib
from typing import Any, ClassVar

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.seeds import derived_seed

#: Both factors' rotations come from this seed, independent of one another.
FACTOR_SEED = 0
#: Entries of the largest matrices that are taken.
LARGEST_MATRIX = 10**8


class Frozen:
    """The settings of a method with one frozen factor: exactly one of `rank` and `factor`.

    Compared and hashed by value; a given factor is copied and read-only, and its name tells it from others.
    """

    rank: int | None
    factor: np.ndarray | None
    _side: ClassVar[str]

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.factor is None):
            raise InvalidInput(self._side, "either rank or factor", "both" if self.factor is not None else "neither")
        if self.rank is not None:
            object.__setattr__(self, "rank", validation.positive_integer("rank", self.rank))
            return
        what = "r x dx with orthonormal rows" if self._side == "frozen-a" else "dy x r with orthonormal columns"
        array = validation.real_array("factor", self.factor, f"a matrix {what}")
        if array.ndim != 2 or 0 in array.shape:
            raise InvalidInput("factor", f"a matrix {what}", f"shape {array.shape}")
        object.__setattr__(self, "factor", validation.frozen(array))

    @property
    def size(self) -> int:
        """r."""
        if self.factor is None:
            assert self.rank is not None
            return self.rank
        return self.factor.shape[0 if self._side == "frozen-a" else 1]

    @property
    def name(self) -> str:
        """The rank, and of a given factor the start of its SHA-256."""
        if self.factor is None:
            return f"{self._side}:{self.size}"
        return f"{self._side}:{self.size}@{hashlib.sha256(self.factor.tobytes()).hexdigest()[:8]}"

    def rows(self, length: int) -> np.ndarray:
        """The factor's directions as rows, r x `length`."""
        if self.factor is not None:
            return self.factor if self._side == "frozen-a" else self.factor.T
        if self.size > length:
            raise InvalidInput("rank", f"an integer in 1..{length} for {self._side}", self.size)
        return directions(self.size, length, self._side)

    def _key(self) -> tuple[Any, ...]:
        given = None if self.factor is None else (self.factor.shape, self.factor.tobytes())
        return type(self), self.rank, given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, validation.frozen(value) if isinstance(value, np.ndarray) else value)


def require_matrices(problem: Problem) -> None:
    """Raise `InvalidInput` where D or Sigma has more entries than a method with a frozen factor takes."""
    largest = max(problem.dx * problem.dy, problem.dx**2)
    if largest > LARGEST_MATRIX:
        received = f"{largest:.3g} with dx = {problem.dx}, dy = {problem.dy}"
        raise InvalidInput("dx", f"matrices of at most {LARGEST_MATRIX:.0e} entries for a frozen factor", received)


@functools.lru_cache(maxsize=16)
def directions(count: int, length: int, side: str) -> np.ndarray:
    """The first rows of an orthogonal matrix with the Haar law, by QR of a Gaussian one, its signs those of R > 0."""
    rng = np.random.default_rng(derived_seed(FACTOR_SEED, side))
    q, r = np.linalg.qr(rng.standard_normal((count, length)).T)
    return validation.frozen((q * np.sign(np.diagonal(r))).T)
