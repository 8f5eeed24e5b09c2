"""A setting of the explorer: what the sliders say, as a link and as a Problem."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from linreg_lora import spectra, validation
from linreg_lora.errors import InvalidInput
from linreg_lora.files import problems
from linreg_lora.files.models import validated
from linreg_lora.problem import Problem

#: The largest dx and dy here: beyond it a curve no longer follows a slider, nor do draws come in seconds.
LARGEST_DIMENSION = 400


class Family(StrEnum):
    """How the singular values of the task shift decay: those of `files.problems.Family` that have a slider."""

    LOW_RANK = "low-rank"
    POWER_LAW = "power-law"
    EXPONENTIAL = "exponential"


#: The parameter that belongs to each family.
PARAMETERS = {family: problems.SHAPES[family][0] for family in Family}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What the explorer shows. Fields are checked when the setting is made; `InvalidInput` names the field.

    | field                      | symbol | meaning                                                               |
    |----------------------------|--------|-----------------------------------------------------------------------|
    | `n`, `dx`, `dy`            |        | samples, inputs, outputs; dx and dy at most 400                       |
    | `noise`                    | sigma  | noise standard deviation, in units of y                               |
    | `family`                   |        | of the shift's singular values s_i                                    |
    | `rank`, `exponent`, `rate` |        | its parameter: s_i = 1 up to `rank`; i^(-exponent); exp(-rate (i-1))  |
    | `scale`                    |        | s_i is multiplied by it                                               |
    | `ridge`                    | eta    | penalty eta ||D||_F^2                                                 |
    | `lora`                     | r      | LoRA's rank where one rank is shown; FFT where r >= min(n, dx, dy)    |

    >>> import linreg_lora as ll
    >>> setting = ll.explorer.Setting(n=60, dx=24, dy=20, rank=3, scale=2.0)
    >>> setting.shift_in_words
    'low-rank, rank 3, largest singular value 2'
    >>> setting.problem().spectrum
    (2.0, 2.0, 2.0)
    """

    n: int = 120
    dx: int = 60
    dy: int = 60
    noise: float = 1.0
    family: Family = Family.LOW_RANK
    rank: int = 4
    exponent: float = 1.0
    rate: float = 0.5
    scale: float = 2.0
    ridge: float = 0.0
    lora: int = 4

    def __post_init__(self) -> None:
        if self.family not in set(Family):
            raise InvalidInput("family", f"one of {', '.join(Family)}", self.family)
        object.__setattr__(self, "family", Family(self.family))
        for name in ("dx", "dy"):
            if validation.positive_integer(name, getattr(self, name)) > LARGEST_DIMENSION:
                raise InvalidInput(name, f"at most {LARGEST_DIMENSION} here", getattr(self, name),
                                   "linreg-lora risk takes more")  # fmt: skip
        size = min(self.dx, self.dy)
        for name in ("lora", *(["rank"] if self.family is Family.LOW_RANK else [])):
            if validation.positive_integer(name, getattr(self, name)) > size:
                raise InvalidInput(name, f"at most min(dx, dy) = {size}", getattr(self, name))
        for name in ("noise", "scale", "ridge", PARAMETERS[self.family]):
            validation.nonnegative_number(name, getattr(self, name))
        self.problem()

    def problem(self) -> Problem:
        """The Problem: isotropic inputs and noise."""
        return Problem(
            n=self.n, dx=self.dx, dy=self.dy, noise_std=self.noise, ridge=self.ridge, spectrum=self._spectrum()
        )

    @property
    def shift_in_words(self) -> str:
        """The family of the shift's singular values, its parameter, and the largest of them."""
        parameter = PARAMETERS[self.family]
        return f"{self.family}, {parameter} {getattr(self, parameter):g}, largest singular value {self.scale:g}"

    def replace(self, **changes: Any) -> "Setting":
        """A copy with some fields changed, checked anew."""
        return dataclasses.replace(self, **changes)

    def query(self) -> dict[str, str]:
        """The setting as the parameters of a link; `from_query` undoes it exactly."""
        other = set(PARAMETERS.values()) - {PARAMETERS[self.family]}
        fields = (field.name for field in dataclasses.fields(self) if field.name not in other)
        return {name: _text(getattr(self, name)) for name in fields}

    def _spectrum(self) -> spectra.Spectrum:
        shape = PARAMETERS[self.family]
        content = {"family": str(self.family), shape: getattr(self, shape), "scale": self.scale}
        return validated(problems.Family, content, what="family").values(min(self.dx, self.dy))


def from_query(parameters: Mapping[str, str], beside: Sequence[str] = ()) -> Setting:
    """The setting of a link; what it leaves out has its default. Raises `InvalidInput` for what it gets wrong.

    `beside`: parameters that say something else, and are passed over.
    """
    fields = {field.name: field for field in dataclasses.fields(Setting)}
    unknown = [name for name in parameters if name not in fields and name not in beside]
    if unknown:
        raise InvalidInput("link", f"parameters among {', '.join([*fields, *beside])}", unknown[0])
    given = {name: text for name, text in parameters.items() if name in fields}
    return Setting(**{name: _parse(name, type(fields[name].default), text) for name, text in given.items()})


def _parse(name: str, kind: type, text: str) -> Any:
    if kind is Family:
        return text
    read: Callable[[str], Any] = int if kind is int else float
    expected = "an integer" if kind is int else "a number"
    try:
        value = read(text)
    except ValueError:
        raise InvalidInput(name, expected, text) from None
    if not math.isfinite(value):
        raise InvalidInput(name, f"{expected} that is finite", text)
    return value


def _text(value: Any) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
