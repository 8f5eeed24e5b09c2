"""Gaussian design problems: the domain of most claims."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from linreg_lora import spectra
from linreg_lora.claims.domains import Domain, Size, register_domain
from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import Integer, Number, Strict
from linreg_lora.files.problems import SHAPES, Family
from linreg_lora.problem import Problem
from linreg_lora.validation import LARGEST

#: A scale times a condition number is still at most `LARGEST`.
_Moderate = Annotated[float, Field(strict=True, allow_inf_nan=False, le=LARGEST**0.5)]
#: Seeds of the fixed random matrices that a domain may ask for; the claim is about all of them, one is as good as any.
_BASIS_SEED, _PRETRAINED_SEED = 1, 2


class Shape(Strict):
    """Sizes of a Gaussian design problem."""

    n: Size
    dx: Size
    dy: Size


@register_domain("gaussian-design")
class GaussianDesign(Domain):
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

    def cases(self) -> list[Problem]:
        return [self._problem(shape, noise_std) for shape in self.shapes for noise_std in self.noise_std]

    def dimensions(self) -> list[tuple[int, ...]]:
        return [(shape.n, shape.dx, shape.dy) for shape in self.shapes for _ in self.noise_std]

    def describe(self) -> str:
        (name,) = SHAPES[self.spectrum.family]
        value = f"{name} {getattr(self.spectrum, name):g}"
        shift = value if name == "rank" else f"{self.spectrum.family} with {value}"
        parts = [
            f"{self.regime}, |n - dx| >= {self.least_distance}",
            ", ".join(f"(n {size.n}, dx {size.dx}, dy {size.dy})" for size in self.shapes),
            f"shift: {shift}, scale {self.spectrum.scale:g}",
            f"noise std {', '.join(f'{value:g}' for value in self.noise_std)}",
        ]
        if self.input_scale != 1:
            parts.append(f"input variance {self.input_scale:g}")
        if self.input_condition != 1:
            parts.append(f"condition of Sigma {self.input_condition:g}")
        if self.noise_condition != 1:
            parts.append(f"condition of Sigma_eps {self.noise_condition:g}")
        if self.pretrained:
            parts.append("random A0")
        if self.ridge:
            parts.append(f"ridge {self.ridge:g}")
        return "; ".join(parts)

    def _problem(self, shape: Shape, noise_std: float) -> Problem:
        pretrained = None
        if self.pretrained:
            pretrained = np.random.default_rng(_PRETRAINED_SEED).standard_normal((shape.dy, shape.dx))
        return Problem(
            n=shape.n,
            dx=shape.dx,
            dy=shape.dy,
            spectrum=self.spectrum.values(min(shape.dx, shape.dy)),
            noise_std=noise_std,
            input_covariance=_covariance(shape.dx, self.input_condition, self.input_scale),
            noise_covariance=_covariance(shape.dy, self.noise_condition, 1.0),
            pretrained=pretrained,
            ridge=self.ridge,
        )


def _covariance(size: int, condition: float, scale: float) -> np.ndarray | None:
    if condition == 1:
        return None if scale == 1 else np.full(size, scale)
    values = np.array(spectra.log_spaced(size, condition, scale))[::-1]
    basis = np.linalg.qr(np.random.default_rng(_BASIS_SEED).standard_normal((size, size)))[0]
    return (basis * values) @ basis.T
