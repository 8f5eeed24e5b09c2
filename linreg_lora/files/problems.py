"""The problem of a sweep file: its sizes, and its spectra and covariances, as numbers or by family."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from linreg_lora import spectra
from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import Integer, Number, Strict, renamed, validated
from linreg_lora.input_law import GAUSSIAN, IidEntries, parse
from linreg_lora.problem import Problem

#: More than a sweep needs on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_FAMILY = 10_000_000

_Vector = list[Number]
_Matrix = Annotated[list[_Vector], Field(min_length=1)]


class Family(Strict):
    """Singular values, or variances, by family (`spectra`), times `scale`: the one vocabulary of sweep files, claims
    files, the explorer and the command line. As text it is family:shape:scale, as in power-law:1:10.

    | family      | shape        | values                                                          |
    |-------------|--------------|-----------------------------------------------------------------|
    | low-rank    | `rank`       | 1, ..., 1, then zeros                                           |
    | power-law   | `exponent`   | i^(-exponent), i = 1, 2, ...                                    |
    | exponential | `rate`       | exp(-rate i), i = 0, 1, ...                                     |
    | log-spaced  | `condition`  | from sqrt(condition) down to 1 / sqrt(condition), geometrically |
    | gaussian    | `rank, seed` | U V / sqrt(rank), U and V iid N(0, 1); for the task shift alone |
    """

    family: Literal["low-rank", "power-law", "exponential", "log-spaced", "gaussian"]
    rank: Integer | None = Field(default=None, ge=1)
    exponent: Number | None = Field(default=None, ge=0)
    rate: Number | None = Field(default=None, ge=0)
    condition: Number | None = Field(default=None, ge=1)
    seed: Integer | None = Field(default=None, ge=0)
    scale: Number = Field(default=1.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _of_text_or_old_names(cls, content: Any) -> Any:
        if isinstance(content, str):
            return cls.of_text("", content).model_dump(exclude_none=True)
        if not isinstance(content, (Mapping, cls)):
            raise InvalidInput("", "a family, as in {family: power-law, exponent: 1, scale: 10}", content)
        if isinstance(content, Mapping) and content.get("family") == "power-law":
            return renamed(content, "rate", "exponent", "spectrum")
        return content

    @model_validator(mode="after")
    def _has_its_parameters(self) -> "Family":
        own = SHAPES[self.family]
        given = tuple(name for name in _SHAPE_NAMES if getattr(self, name) is not None)
        if given != own:
            raise InvalidInput(
                "parameters", f"{' and '.join(own)} with family {self.family}", ", ".join(given) or "none"
            )
        return self

    @classmethod
    def of_text(cls, field: str, text: str) -> "Family":
        """The family that family:shape:scale says, the scale being 1 where it is left out. Raises `InvalidInput`."""
        name, *numbers = text.strip().replace("_", "-").split(":")
        expected = "family:shape:scale, as in low-rank:4:2, power-law:1:10 or exponential:0.5:3"
        if name not in SHAPES or name == "gaussian" or len(numbers) not in (1, 2):
            raise InvalidInput(field, expected, text)
        (shape,) = SHAPES[name]
        try:
            read = [int(numbers[0]) if shape == "rank" else float(numbers[0]), *map(float, numbers[1:])]
        except ValueError:
            raise InvalidInput(field, expected, text) from None
        content = {"family": name, **dict(zip((shape, "scale"), read, strict=False))}
        return validated(cls, content, what=field, prefix=field)

    def values(self, size: int) -> spectra.Spectrum:
        """The first `size` values, without the zeros of low-rank; not for gaussian. Raises `InvalidInput`."""
        if size > LARGEST_FAMILY:
            raise InvalidInput("family", f"at most {LARGEST_FAMILY} values", size)
        if self.family == "low-rank":
            assert self.rank is not None
            if self.rank > size:
                raise InvalidInput("rank", f"an integer in 1..{size}", self.rank)
            return spectra.low_rank(self.rank, self.scale)
        if self.family == "power-law":
            return spectra.power_law(size, self.exponent or 0.0, self.scale)
        if self.family == "log-spaced":
            return spectra.log_spaced(size, self.condition or 1.0, self.scale)
        return spectra.exponential(size, self.rate or 0.0, self.scale)


#: What belongs to each family besides `scale`, in the order of the fields.
SHAPES = {
    "low-rank": ("rank",),
    "power-law": ("exponent",),
    "exponential": ("rate",),
    "log-spaced": ("condition",),
    "gaussian": ("rank", "seed"),
}
_SHAPE_NAMES = ("rank", "exponent", "rate", "condition", "seed")


def _is_family(value: Any) -> bool:
    return isinstance(value, (dict, Family)) or (isinstance(value, str) and ":" in value)


def _kind(value: Any) -> str:
    if _is_family(value):
        return "<family>"
    if isinstance(value, list):
        return "<matrix>" if any(isinstance(row, list) for row in value) else "<vector>"
    return "<number>"


def _kind_of_spectrum(value: Any) -> str:
    return "<family>" if _is_family(value) else "<vector>"


_Spectrum = Annotated[
    Annotated[Family, Tag("<family>")] | Annotated[_Vector, Tag("<vector>")], Discriminator(_kind_of_spectrum)
]
_Covariance = Annotated[
    Annotated[Family, Tag("<family>")]
    | Annotated[Number, Tag("<number>")]
    | Annotated[_Vector, Tag("<vector>")]
    | Annotated[_Matrix, Tag("<matrix>")],
    Discriminator(_kind),
]


_Law = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[dict[str, Any], Tag("<law>")],
    Discriminator(lambda value: "<law>" if isinstance(value, dict) else "<text>"),
]


_Mean = Annotated[
    Annotated[Number, Tag("<number>")] | Annotated[_Vector, Tag("<vector>")],
    Discriminator(lambda value: "<vector>" if isinstance(value, list) else "<number>"),
]


class ProblemSpec(Strict):
    """The fields of a `Problem`. A covariance is c for c I, a list for a diagonal, a matrix, or a family's diagonal.

    `input_mean` is one number for all inputs, or a list.

    `input_law` is its text, as in t:6, or a mapping, as in {law: ar1, rho: 0.6} (`input_law.InputLaw.to_dict`).
    """

    n: Integer
    dx: Integer
    dy: Integer
    noise_std: Number
    spectrum: _Spectrum | None = None
    input_covariance: _Covariance | None = None
    noise_covariance: _Covariance | None = None
    ridge: Number = 0.0
    task_shift: _Matrix | None = None
    pretrained: _Matrix | None = None
    input_law: _Law | None = None
    input_mean: _Mean | None = None

    def problem(self) -> Problem:
        """The Problem. Raises `InvalidInput` for one that makes no sense."""
        sizes = {"n": self.n, "dx": self.dx, "dy": self.dy, "noise_std": self.noise_std, "ridge": self.ridge}
        Problem(**sizes, spectrum=())
        covariances = {
            "input_covariance": _covariance("input_covariance", self.input_covariance, self.dx),
            "noise_covariance": _covariance("noise_covariance", self.noise_covariance, self.dy),
        }
        isotropic = self.input_covariance is None and self.noise_covariance is None
        law = GAUSSIAN if self.input_law is None else parse(self.input_law)
        isotropic &= not isinstance(law, IidEntries) and self.input_mean is None
        return Problem(
            **sizes,
            **covariances,
            **self._shift(isotropic),
            pretrained=_rows(self.pretrained),
            input_law=law,
            input_mean=_rows(self.input_mean),
        )  # type: ignore[arg-type]

    def _shift(self, isotropic: bool) -> dict[str, Any]:
        given = self.spectrum
        if not isinstance(given, Family):
            return {"spectrum": None if given is None else tuple(given), "task_shift": _rows(self.task_shift)}
        if self.task_shift is not None:
            raise InvalidInput("spectrum", "either spectrum or task_shift", "both")
        if given.family != "gaussian":
            return {"spectrum": tuple(family_values("spectrum", given, min(self.dx, self.dy)).tolist())}
        assert given.rank is not None
        assert given.seed is not None
        matrix, values = _gaussian(self.dx, self.dy, given.rank, given.seed)
        # Where both covariances are multiples of the identity no risk depends on more than the singular values, unless
        # the inputs have a law or a mean that rotations change.
        if isotropic:
            return {"spectrum": tuple((given.scale * values).tolist())}
        return {"task_shift": given.scale * matrix}


def _covariance(field: str, given: Any, size: int) -> np.ndarray | None:
    if given is None:
        return None
    if isinstance(given, Family):
        if given.family == "gaussian":
            raise InvalidInput(f"{field}.family", "low-rank, power-law, exponential or log-spaced", given.family)
        return family_values(field, given, size)
    if isinstance(given, list):
        return _rows(given)
    if size > LARGEST_FAMILY:
        raise InvalidInput(field, f"at most {LARGEST_FAMILY} variances", size)
    return np.full(size, given)


def family_values(field: str, family: Family, size: int) -> np.ndarray:
    """`size` values of a family, zeros included. Raises `InvalidInput` that names the field."""
    try:
        values = np.array(family.values(size))
    except InvalidInput as error:
        raise InvalidInput(f"{field}.{error.field}", error.expected, error.received, error.remedy) from None
    return np.concatenate([values, np.zeros(size - len(values))])


def _rows(given: list | float | None) -> Any:
    """The list as an array where it is one, else as it is, for Problem to refuse."""
    if given is None:
        return None
    try:
        return np.array(given, dtype=float)
    except ValueError:
        return given


@functools.lru_cache(maxsize=16)
def _gaussian(dx: int, dy: int, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The Gaussian task shift and its nonzero singular values."""
    matrix = spectra.gaussian_factors(dx, dy, rank, seed)
    return matrix, np.array(spectra.from_matrix(matrix, rank))
