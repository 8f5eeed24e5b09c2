"""What a claim is about: domains, each a strict model of what a claims file says of it, registered by name.

A file says `domain: {type: NAME, ...}`. Without a type, what has a predicate is of type matrices, and all else of type
gaussian-design.
"""

import inspect
import math
import typing
import warnings
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from linreg_lora.claims import registry, signatures
from linreg_lora.claims.registry import MatrixSize
from linreg_lora.errors import InvalidInput, OldName
from linreg_lora.files.models import Strict, validated
from linreg_lora.problem import Problem

#: A limit that no claim meets on purpose, so that a slip of the pen cannot fill the memory.
LARGEST_SIZE = 5_000
Size = Annotated[int, Field(strict=True, ge=1, le=LARGEST_SIZE)]
#: An error that falls less than this from the first size to the last may as well be that of a wrong limit.
_LEAST_FALL = 1.25

_DESIGN, _MATRICES = "gaussian-design", "matrices"
_Model = TypeVar("_Model", bound="type[Domain]")


class Case(Protocol):
    """One problem of a domain: hashable and immutable, as a NamedTuple or a frozen dataclass is.

    `description`: one short line that tells a domain's cases apart; `fingerprint`: what its draws are seeded by, so
    equal ones share their draws. Asymptotic claims need a `size` too, which grows from case to case.
    """

    @property
    def description(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...


class Domain(Strict):
    """A family of cases. A domain of another kind derives from it, has its own fields, and says its `cases`.

    >>> import linreg_lora as ll
    >>> ll.claims.load_claims().claims[0].domain.describe().split(";")[0]
    'overdetermined, |n - dx| >= 16'
    """

    def cases(self) -> list[Any]:
        """Every case, in the order in which they are judged. The annotation says their type: `-> list[MyCase]`."""
        raise NotImplementedError

    def describe(self) -> str:
        """The domain in words."""
        content = self.model_dump(exclude_defaults=True)
        return ", ".join(f"{name} {value}" for name, value in content.items() if name != "type")

    def dimensions(self) -> list[tuple[int, ...]]:
        """The sizes of every case: a rank lies below the least, and limits double them. Empty: neither."""
        return []

    def neighbours(self) -> list[Any]:
        """Cases near the listed ones, where what is true of these is true too (`claims.neighbours`).

        Designs need none: the engine knows what moves there.
        """
        return []

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_type(cls, value: Any, handler: Callable[[Any], Any]) -> Any:
        if cls is not Domain or not isinstance(value, Mapping):
            return handler(value)
        name, fields = _type_and_fields(value)
        return validated(registry.domain(name).model, fields, what="")

    @model_serializer(mode="wrap")
    def _with_its_type(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"type": registry.name_of_domain(type(self)), **handler(self)}


def register_domain(name: str) -> Callable[[_Model], _Model]:
    """Decorator: make a kind of domain available to claims files, as `domain: {type: NAME, ...}`.

    The class derives from `Domain`; experiments and predictions about it take its cases.

    >>> import linreg_lora as ll
    >>> from typing import NamedTuple
    >>> class Dice(NamedTuple):
    ...     sides: int
    ...     @property
    ...     def description(self) -> str:
    ...         return f"a die with {self.sides} sides"
    ...     @property
    ...     def fingerprint(self) -> str:
    ...         return f"die {self.sides}"
    >>> @ll.claims.register_domain("dice")
    ... class DiceOf(ll.claims.Domain):
    ...     sides: list[int]
    ...     def cases(self) -> list[Dice]:
    ...         return [Dice(sides) for sides in self.sides]
    >>> [case.description for case in DiceOf(sides=[4, 6]).cases()]
    ['a die with 4 sides', 'a die with 6 sides']
    """

    registry.require_name("domain", name)

    def register(model: _Model) -> _Model:
        if not (isinstance(model, type) and issubclass(model, Domain)):
            raise InvalidInput("domain", "a class that derives from Domain", model, f"in {signatures.place(model)}")
        registry.add_domain(name, model, _case_type(model))
        return model

    return register


def case_type(domain: Domain) -> type:
    """The type of a domain's cases."""
    return registry.domain(registry.name_of_domain(type(domain))).case


def require_growing_sizes(domain: Domain, rate: float) -> None:
    """Sizes d, 2 d, 4 d, ... in one proportion or in the first number alone, and nothing else that differs.

    So many that an error like d^-rate falls by `_LEAST_FALL` at least.
    """
    sizes, case = domain.dimensions(), case_type(domain)
    doubled = all(tuple(2 * part for part in small) == large for small, large in pairwise(sizes))
    doubled |= all(large == (2 * small[0], *small[1:]) for small, large in pairwise(sizes))
    if len(sizes) < 3 or not doubled:
        raise ValueError(
            "at least three sizes, each twice the one before in all or in n alone, and one noise_std, for asymptotic "
            "claims"
        )
    if (sizes[-1][0] / sizes[0][0]) ** rate < _LEAST_FALL:
        raise ValueError(f"sizes over which an error falls {_LEAST_FALL:g} times at the stated rate, or a higher rate")
    if case is not Problem and not _has(case, "size"):
        raise ValueError(f"cases with a size, along which limits are taken, for asymptotic claims, not {case.__name__}")


def _type_and_fields(value: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The name of a domain's type, and what else a file says of it."""
    fields = dict(value)
    if "type" in fields:
        return fields.pop("type"), fields
    predicate = fields.get("predicate")
    if predicate is None:
        return _DESIGN, fields
    if predicate in _were_predicates():
        fields.pop("predicate")
        warnings.warn(f"domain.predicate: {predicate} is a type now: write type: {predicate}", OldName, stacklevel=2)
        return predicate, fields
    return _MATRICES, fields


def _were_predicates() -> tuple[str, ...]:
    """Domains that posed as matrices of a predicate of their name."""
    return ("deep-networks",)


def _case_type(model: type[Domain]) -> type:
    annotation = signatures.resolved(model.cases.__annotations__.get("return"), model.cases)
    (case,) = typing.get_args(annotation) or (None,)
    where = f"in {signatures.place(model)}"
    if model.cases is Domain.cases or not isinstance(case, type):
        raise InvalidInput("domain", "a method cases(self) -> list[CASE]", model.__name__, where)
    if case is not Problem:
        missing = [name for name in ("description", "fingerprint") if not _has(case, name)]
        if missing or case.__hash__ is None:
            remedy = f"a NamedTuple or a frozen dataclass will do, {where}"
            received = f"{case.__name__}, without {' and '.join(missing) or 'a hash'}"
            raise InvalidInput("domain", "cases with a hash, a description and a fingerprint", received, remedy)
    return case


def _has(case: type, name: str) -> bool:
    return hasattr(case, name) or any(name in inspect.get_annotations(base) for base in case.__mro__)


@register_domain(_MATRICES)
class MatrixFamily(Domain):
    """Matrices of the given sizes, drawn so that the registered predicate holds."""

    predicate: str
    sizes: list[tuple[Size, Size]] = Field(min_length=1)

    @model_validator(mode="after")
    def _predicate_admits_the_sizes(self) -> "MatrixFamily":
        admits = registry.predicate(self.predicate)
        for rows, columns in self.sizes:
            if not admits(rows, columns):
                raise ValueError(f"sizes that {self.predicate} admits, not {rows} x {columns}")
        return self

    def cases(self) -> list[MatrixSize]:
        return [MatrixSize(rows, columns) for rows, columns in self.sizes]

    def neighbours(self) -> list[MatrixSize]:
        admits, rows, columns = registry.predicate(self.predicate), *min(self.sizes, key=math.prod)
        near = [(rows + 1, columns + 2), (rows + 2, columns + 1), (rows + 1, columns + 1), (rows + 2, columns + 2)]
        found = [MatrixSize(*size) for size in near if size not in self.sizes and admits(*size)]
        return found[:1]

    def describe(self) -> str:
        return f"{self.predicate} of {', '.join(size.description for size in self.cases())}"

    def dimensions(self) -> list[tuple[int, ...]]:
        return [*self.sizes]
