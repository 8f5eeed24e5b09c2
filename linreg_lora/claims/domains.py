"""What a claim is about: Gaussian design problems, or matrices; and the numbers that a claims file may hold."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from linreg_lora.claims import registry
from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import Integer, Number, Strict
from linreg_lora.files.problems import Family
from linreg_lora.validation import LARGEST

#: A limit that no claim meets on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_SIZE = 5_000

#: A scale times a condition number is still at most `LARGEST`.
_Moderate = Annotated[float, Field(strict=True, allow_inf_nan=False, le=LARGEST**0.5)]
_Size = Annotated[int, Field(strict=True, ge=1, le=LARGEST_SIZE)]


class Shape(Strict):
    """Sizes of a Gaussian design problem."""

    n: _Size
    dx: _Size
    dy: _Size


class GaussianDesign(Strict):
    """A family of regression problems: every shape with every noise level.

    `least_distance` bounds |n - dx| from below. Covariances have eigenvalues spaced evenly in logarithm with the given
    condition number around `input_scale` (or 1), in a random basis; `pretrained` draws A0 iid N(0, 1).
    """

    regime: Literal["overdetermined", "underdetermined"]
    least_distance: Integer = Field(ge=1)
    shapes: list[Shape] = Field(min_length=1)
    spectrum: Family
    noise_std: list[Annotated[Number, Field(gt=0)]] = Field(min_length=1)
    input_scale: _Moderate = Field(default=1.0, gt=0)
    input_condition: _Moderate = Field(default=1.0, ge=1)
    noise_condition: _Moderate = Field(default=1.0, ge=1)
    pretrained: Annotated[bool, Field(strict=True)] = False
    ridge: Number = Field(default=0.0, ge=0)

    def distance(self, more: float = 0) -> float:
        """The least distance of n, or n + `more`, from dx within the regime; negative outside of it."""
        sign = 1 if self.regime == "overdetermined" else -1
        return min(sign * (shape.n + more - shape.dx) for shape in self.shapes)

    @model_validator(mode="after")
    def _shapes_lie_in_the_domain(self) -> "GaussianDesign":
        if self.spectrum.family == "gaussian":
            raise InvalidInput("spectrum.family", "low-rank, power-law, exponential or log-spaced", "gaussian")
        for shape in self.shapes:
            gap = shape.n - shape.dx if self.regime == "overdetermined" else shape.dx - shape.n
            if gap < self.least_distance:
                raise ValueError(
                    f"{self.regime} shapes with |n - dx| >= least_distance = {self.least_distance}, "
                    f"not n = {shape.n}, dx = {shape.dx}"
                )
            size = min(shape.dx, shape.dy)
            if (self.spectrum.rank or 1) > size:
                raise InvalidInput("spectrum.rank", f"an integer in 1..{size}", self.spectrum.rank)
        return self


class MatrixFamily(Strict):
    """Matrices of the given sizes, drawn so that the registered predicate holds."""

    predicate: str
    sizes: list[tuple[_Size, _Size]] = Field(min_length=1)

    @model_validator(mode="after")
    def _predicate_admits_the_sizes(self) -> "MatrixFamily":
        admits = registry.predicate(self.predicate)
        for rows, columns in self.sizes:
            if not admits(rows, columns):
                raise ValueError(f"sizes that {self.predicate} admits, not {rows} x {columns}")
        return self


def _domain_type(value: Any) -> str:
    predicate = value.get("predicate") if isinstance(value, dict) else getattr(value, "predicate", None)
    return "<matrices>" if predicate is not None else "<design>"


Domain = Annotated[
    Annotated[GaussianDesign, Tag("<design>")] | Annotated[MatrixFamily, Tag("<matrices>")],
    Discriminator(_domain_type),
]


def require_growing_sizes(domain: GaussianDesign | MatrixFamily) -> None:
    """Sizes d, 2 d, 4 d, ... in one proportion, or n alone, and one noise level."""
    if isinstance(domain, MatrixFamily):
        sizes = list(domain.sizes)
    else:
        sizes = [(shape.n, shape.dx, shape.dy) for shape in domain.shapes]
        if len(domain.noise_std) > 1:
            raise ValueError("one noise_std for asymptotic claims, whose cases differ in size only")
    doubled = all(tuple(2 * part for part in small) == large for small, large in pairwise(sizes))
    if isinstance(domain, GaussianDesign):
        doubled |= all(large == (2 * small[0], *small[1:]) for small, large in pairwise(sizes))
    if len(sizes) < 3 or not doubled:
        raise ValueError("at least three sizes, each twice the one before in all or in n alone, for asymptotic claims")
