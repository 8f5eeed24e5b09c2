"""Methods by name: lora:4, frozen-a:4, bitfit. Anyone may register more."""

import difflib
import importlib
import inspect
import re
from collections.abc import Callable
from typing import TypeVar

from linreg_lora.errors import InvalidInput
from linreg_lora.methods.method import Method

_Make = TypeVar("_Make", bound=Callable[..., Method])

_BUILT_IN = (
    *("full", "lora", "frozen_a", "frozen_b", "bitfit", "ia3", "ia3_in", "features", "adapter", "lora_xs", "mica"),
    *("svf", "mask", "tangent", "vera", "dora", "prompt", "prefix", "chain", "qlora", "pissa", "lora_ga"),
)
#: Settings that may be given otherwise in Python, and are numbers in a name.
_SETTINGS = ("rank", "count", "every")
_PACKAGE = __name__.rpartition(".")[0]
_makes: dict[str, Callable[..., Method]] = {}


def register_method(name: str) -> Callable[[_Make], _Make]:
    """Decorator: make a method available by `name`, on the command line and in files too.

    It decorates what makes the method, a class or a function, whose parameters are the settings: frozen-a:4 is the one
    registered as frozen-a, called with 4. Settings are numbers. Raises `InvalidInput` for a name that is none, or that
    something else has, saying where both stand.

    >>> import linreg_lora as ll
    >>> @ll.methods.register_method("half-rank")
    ... def half_rank(rank: int) -> ll.methods.Method:
    ...     return ll.methods.LoRA(rank // 2)
    >>> ll.methods.named("half-rank:8").name
    'lora:4'
    """

    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", _normal(name)):
        expected = 'a name of letters, digits and -, as in @register_method("frozen-a")'
        raise InvalidInput("register_method", expected, name)

    def register(make: _Make) -> _Make:
        if not callable(make):
            raise InvalidInput("register_method", "a class or function that makes a Method", make)
        if make.__module__.rpartition(".")[0] != _PACKAGE:
            _load()
        known = _makes.get(_normal(name))
        if known is not None and _place(known) != _place(make):
            raise InvalidInput(
                "register_method",
                f"a name that is free, {name} being {_place(known)}",
                f"{name} again at {_place(make)}",
            )
        _makes[_normal(name)] = make
        return make

    return register


def named(text: str) -> Method:
    """The method of a name: lora:4, frozen-a:4, frozen-b:4, bitfit, ia3, fft, and what is registered beside.

    In a name "-" and "_" are one letter. Raises `InvalidInput` for a name that nobody registered, with those that are
    near, and for settings that do not fit. +bias after a name adds a bias to the method (`WithBias`).

    >>> import linreg_lora as ll
    >>> ll.methods.named("frozen_a:4")
    FrozenA(rank=4, factor=None)
    """
    _load()
    if not isinstance(text, str):
        raise InvalidInput("method", "a Method or its name, as in lora:4", text)
    head, plus, tail = text.rpartition("+")
    if plus and _normal(tail) == "bias":
        return _with_bias(head)
    if plus:
        from linreg_lora.methods.sums import FrozenSum

        return FrozenSum(tuple(named(part) for part in text.split("+")))
    name, *settings = (part.strip() for part in text.split(":"))
    make = _makes.get(_normal(name))
    if make is None:
        near = difflib.get_close_matches(_normal(name), _makes, n=3, cutoff=0.5)
        remedy = f"did you mean {' or '.join(_written(one) for one in near)}?" if near else "register it"
        raise InvalidInput("method", f"one of {', '.join(names())}", text, remedy)
    written = _written(_normal(name))
    expected = f"{written}, the settings being numbers" if ":" in written else f"{written} alone"
    try:
        values = [_number(setting) for setting in settings]
        if len(values) < written.count(":"):
            raise ValueError
        inspect.signature(make).bind(*values)
    except (ValueError, TypeError):
        raise InvalidInput("method", expected, text, _remedy(text)) from None
    try:
        made = make(*values)
    except InvalidInput as error:
        raise InvalidInput("method", f"{error.field}: {error.expected}", text, error.remedy) from None
    if not isinstance(made, Method):
        raise InvalidInput("method", f"a Method from {_place(make)}", type(made).__name__)
    return made


def _with_bias(text: str) -> Method:
    from linreg_lora.methods.with_bias import WithBias

    try:
        return WithBias(named(text))
    except InvalidInput as error:
        raise InvalidInput(error.field, error.expected, f"{text}+bias", error.remedy) from None


def names() -> list[str]:
    """The names that `named` takes, each with what its settings are called.

    >>> import linreg_lora as ll
    >>> [name for name in ll.methods.names() if name.startswith("frozen")]
    ['frozen-a:rank', 'frozen-b:rank']
    """
    _load()
    return [_written(name) for name in sorted(_makes)]


def table() -> dict[str, Callable[..., Method]]:
    """What makes each method, by name: the table itself, in which `register_method` writes."""
    _load()
    return _makes


def of(value: "Method | str") -> Method:
    """A method, or the one of a name. Raises `InvalidInput` for anything else."""
    if isinstance(value, Method):
        name = getattr(value, "name", None)
        if not isinstance(name, str) or not name.strip():
            raise InvalidInput(f"{type(value).__name__}.name", "a text that no other method is called", name)
        try:
            hash(value)
        except TypeError:
            remedy = "make it a frozen dataclass of plain values"
            raise InvalidInput("method", "a Method that can be hashed", type(value).__name__, remedy) from None
        return value
    if isinstance(value, type) and issubclass(value, Method):
        raise InvalidInput("method", "a Method or its name, as in lora:4", value, f"call it: {value.__name__}(...)")
    return named(value)


def each(values: object) -> tuple[Method, ...]:
    """The methods of a list of them or of their names. Raises `InvalidInput` for none, or one that is there twice."""
    if isinstance(values, (str, Method)) or not isinstance(values, (list, tuple)) or not values:
        raise InvalidInput("adapt", "a list of methods or their names, as in [bitfit, lora:4]", values)
    found = tuple(of(value) for value in values)
    seen: set[str] = set()
    for method in found:
        if method.name in seen:
            raise InvalidInput("adapt", "each method once", method.name)
        seen.add(method.name)
    return found


def parameters(method: Method, *arguments: object) -> int:
    """`method.parameters(problem)`, an integer >= 0. Raises `InvalidInput` where it is none."""
    count = method.parameters(*arguments)  # type: ignore[arg-type]
    if isinstance(count, bool) or not hasattr(count, "__index__") or int(count) < 0:
        raise InvalidInput(f"{method.name}.parameters", "an integer >= 0", count)
    return int(count)


def _load() -> None:
    """The package's own methods are registered when they are imported."""
    for module in _BUILT_IN:
        importlib.import_module(f"{_PACKAGE}.{module}")


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[+-]?\d{1,15}", text) else float(text)


def _written(name: str) -> str:
    """The name with its settings: frozen-a:rank."""
    wanted = inspect.signature(_makes[name]).parameters.values()
    needed = [p.name for p in wanted if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    optional = [p.name for p in wanted if p.name in _SETTINGS and p.default is not p.empty]
    return ":".join([name, *needed, *optional])


def _remedy(text: str) -> str:
    return "a method with a given factor is made in Python" if "@" in text else ""


def _place(make: Callable[..., object]) -> str:
    """module:line of a class or function."""
    made = inspect.unwrap(make)
    try:
        return f"{made.__module__}:{inspect.getsourcelines(made)[1]}"
    except (OSError, TypeError):
        code = getattr(made, "__code__", None)
        return f"{made.__module__}:{code.co_firstlineno}" if code else f"{made.__module__}.{made.__qualname__}"
