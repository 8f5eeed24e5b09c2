"""What an input law is: an immutable value, written as text and in files."""

import abc
import dataclasses
from typing import Any, ClassVar

#: The field of a problem that holds it, as refusals call it.
FIELD = "input_law"


class InputLaw(abc.ABC):
    """A law of inputs and noise: an immutable value. `Problem.input_law` is one, or its text.

    >>> import linreg_lora as ll
    >>> ll.input_law.parse("t:6")
    MultivariateT(dof=6.0)
    >>> ll.input_law.parse("t:6").text
    't:6'
    """

    law: ClassVar[str]

    @property
    def text(self) -> str:
        """How it is written on the command line; of laws that are not, how it is called."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        return ":".join([self.law, *(f"{value:g}" for value in values if value is not None)])

    def to_dict(self) -> dict[str, Any]:
        """As in files: `law`, and its parameters."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        listed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"law": self.law, **{name: value for name, value in listed.items() if value is not None}}

    def require_samples(self, n: int) -> None:  # noqa: B027
        """Raise `InvalidInput` where the law does not fit n samples; most fit any number."""

    @property
    def is_gaussian(self) -> bool:
        """Whether all samples are alike and Gaussian."""
        return False


@dataclasses.dataclass(frozen=True)
class Gaussian(InputLaw):
    """x ~ N(0, Sigma), eps ~ N(0, Sigma_eps), samples iid."""

    law = "gaussian"

    @property
    def is_gaussian(self) -> bool:
        return True


GAUSSIAN = Gaussian()
