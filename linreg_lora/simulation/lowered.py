"""Programs of draws kept lowered, in the cache folder: later processes neither trace nor lower them.

What is kept is the portable form of `jax.export`, named by the hash of all that decides it: this package's code, the
versions of JAX, its configuration, the function, its static values and the shapes of its arrays. XLA compiles that form
in the process that wrote it too, so that every process runs one program and gives the same bits.

Only the command line keeps programs (`runtime.keep_programs`), and the processes that it starts: who imports the
package may change what its functions do, which no hash sees. A program is not kept whose function, or a static value of
it, is not this package's, or cannot be written down in full: a plug-in's law, a function made by another. Where
anything is amiss with a file, or JAX rebuilds programs in another way, the program is traced as ever.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Callable, Hashable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
from jax.tree_util import tree_leaves, tree_structure

import linreg_lora
from linreg_lora import provenance, runtime
from linreg_lora.errors import LinregLoraError
from linreg_lora.files.atomic import write_atomically

#: What JAX does not promise to its other versions: files name theirs.
_OF_THIS_VERSION = (jax.export.DisabledSafetyCheck.custom_call("lapack_dormqr_ffi"),)
#: Parts of an exported program that it is rebuilt from; for the others it has to say what a function of whole arrays on
#: one CPU says, or it is not kept.
_PLAIN: dict[str, Any] = {
    "nr_devices": 1,
    "platforms": ("cpu",),
    "ordered_effects": (),
    "unordered_effects": (),
    "disabled_safety_checks": _OF_THIS_VERSION,
    "uses_global_constants": False,
}
#: Settings of JAX that do not change a program.
_BESIDE = re.compile("cache|log")
#: By description; None where a program cannot be kept, which costs as much to find out as to trace it.
_compiled: dict[str, Callable[..., Any] | None] = {}


def folder() -> Path | None:
    """Where programs are kept; None: nowhere."""
    return runtime.cache_dir() / "lowered" if runtime.keeps_programs() else None


def kept(
    function: Callable[..., Any], static: tuple[Hashable, ...], arguments: tuple[Any, ...], result: Any
) -> Callable[..., Any] | None:
    """The compiled program of `function(*static, *arguments)`, whose values have the structure of the tree `result`.

    None where programs are not kept, or this one cannot be. `arguments` are trees of arrays.
    """
    place = folder()
    if place is None:
        return None
    described = _description(function, static, arguments, result)
    if described is None:
        return None
    if described not in _compiled:
        path = place / f"{hashlib.sha256(described.encode()).hexdigest()}.mlir"
        _compiled[described] = _program(path, described, functools.partial(function, *static), arguments, result)
    program, structure = _compiled[described], tree_structure(result)
    return None if program is None else lambda *values: structure.unflatten(program(*tree_leaves(values)))


def jit(function: Callable[..., Any], static_argnums: tuple[int, ...] = (), result: Any = 0) -> Callable[..., Any]:
    """`jax.jit(function, static_argnums)`, of positional arguments, whose programs are kept where they can be.

    `result` is a tree of the structure of what `function` returns, by default one array.
    """
    traced = jax.jit(function, static_argnums=static_argnums)

    def call(*arguments: Any) -> Any:
        values = tuple(arguments[place] for place in static_argnums)
        arrays = tuple(value for place, value in enumerate(arguments) if place not in static_argnums)
        program = kept(_placed, (function, static_argnums, values), arrays, result)
        return traced(*arguments) if program is None else program(*arrays)

    return call


def _placed(function: Callable[..., Any], places: tuple[int, ...], values: tuple[Any, ...], *arrays: Any) -> Any:
    """`function` of the arrays, with these values put at these places among them."""
    arguments = list(arrays)
    for place, value in sorted(zip(places, values, strict=True), key=lambda placed: placed[0]):
        arguments.insert(place, value)
    return function(*arguments)


def forget() -> None:
    """Let go of the compiled programs of this process; their files stay."""
    _compiled.clear()


def _program(
    path: Path, described: str, function: Callable[..., Any], arguments: tuple[Any, ...], result: Any
) -> Callable[..., Any] | None:
    """The compiled program of the file, or of the function, which it keeps there; None where it cannot be kept."""
    lowered = _rebuilt(_read(path, described), arguments)
    if lowered is None:
        module = _exported(function, arguments, result)
        lowered = _rebuilt(module, arguments)
        if module is None or lowered is None:
            return None
        _write(path, described, module)
    return lowered.compile()


@functools.cache
def _environment() -> str:
    versions = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
    return json.dumps([provenance.source_hash(), versions])


def _description(function: Callable[..., Any], static: tuple[Hashable, ...], arguments: Any, result: Any) -> str | None:
    """All that decides a program, as text; None where not all of it can be written down."""
    try:
        name, static_values = _written(function), _written(static)
    except TypeError:
        return None
    shapes = [str(jax.typeof(leaf)) for leaf in tree_leaves(arguments)]
    trees = [str(tree_structure(tree)) for tree in (arguments, result)]
    settings = {name: repr(value) for name, value in jax.config.values.items() if not _BESIDE.search(name)}
    return json.dumps([_environment(), name, static_values, shapes, trees, settings], sort_keys=True)


def _written(value: Any) -> Any:
    """A static value as JSON that no other value has: one of numbers, texts, functions and frozen dataclasses of this
    package, and tuples of these. Raises `TypeError` for others."""
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    if type(value) is tuple:
        return [_written(item) for item in value]
    named: Any = value if inspect.isfunction(value) else type(value)
    name = f"{named.__module__}.{named.__qualname__}"
    if not _is_ours(named.__module__) or "<" in name:  # <lambda> and f.<locals>.g are names of many functions
        raise TypeError(name)
    if inspect.isfunction(value):
        return name
    return {name: {field.name: _written(getattr(value, field.name)) for field in dataclasses.fields(value)}}


def _is_ours(module: str) -> bool:
    """Whether a module is of the code that the hash is of."""
    return module.partition(".")[0] == linreg_lora.__name__


def _exported(function: Callable[..., Any], arguments: tuple[Any, ...], result: Any) -> bytes | None:
    """The portable form of the program, from flat arrays to flat arrays; None where it says more than is rebuilt."""
    structure = tree_structure(arguments)

    def flat(*leaves: Any) -> tuple[Any, ...]:
        values = function(*structure.unflatten(leaves))
        if tree_structure(values) != tree_structure(result):
            raise TypeError(f"expected values of the structure {tree_structure(result)}, got {tree_structure(values)}")
        return tuple(tree_leaves(values))

    leaves = [jax.typeof(leaf) for leaf in tree_leaves(arguments)]
    try:
        export = jax.export.export(jax.jit(flat, keep_unused=True), disabled_checks=_OF_THIS_VERSION)
        made = export(*(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves))
        plain = all(getattr(made, field) == value for field, value in _PLAIN.items())
        everything = tuple(made.module_kept_var_idx) == tuple(range(len(leaves)))
    except (AttributeError, NotImplementedError, ValueError):
        return None
    if not plain or not everything or any(made.in_shardings_hlo) or any(made.out_shardings_hlo):
        return None
    outputs = [[list(aval.shape), str(aval.dtype)] for aval in made.out_avals]
    head = json.dumps({"outputs": outputs, "convention": made.calling_convention_version})
    return head.encode() + b"\n" + made.mlir_module_serialized


def _rebuilt(content: bytes | None, arguments: tuple[Any, ...]) -> Any:
    """The program, lowered anew from its portable form, for flat arrays; None where that is not possible."""
    if content is None:
        return None
    head, _, module = content.partition(b"\n")
    leaves = tree_leaves(arguments)
    try:
        said = json.loads(head)
        taken = tuple(jax.typeof(leaf) for leaf in leaves)
        shaped: Any = importlib.import_module("jax.core").ShapedArray
        given = tuple(shaped(tuple(shape), np.dtype(dtype)) for shape, dtype in said["outputs"])
        exported = jax.export.Exported(
            fun_name="draws",
            in_tree=tree_structure((tuple(leaves), {})),
            in_avals=taken,
            out_tree=tree_structure(given),
            out_avals=given,
            _has_named_shardings=True,
            _in_named_shardings=(None,) * len(taken),
            _out_named_shardings=(None,) * len(given),
            in_shardings_hlo=(None,) * len(taken),
            out_shardings_hlo=(None,) * len(given),
            mlir_module_serialized=module,
            calling_convention_version=said["convention"],
            module_kept_var_idx=tuple(range(len(taken))),
            _get_vjp=None,
            **_PLAIN,
        )
        return jax.jit(exported.call).lower(*leaves)
    except Exception:  # whatever JAX makes of a form that is not its own
        return None


def _read(path: Path, described: str) -> bytes | None:
    """The portable form in a file; None where there is none, or it is damaged, or of another program."""
    try:
        head, _, content = path.read_bytes().partition(b"\n")
        said = json.loads(head)
        whole = said == {"described": described, "sha256": hashlib.sha256(content).hexdigest()}
    except (OSError, ValueError):
        return None
    return content if whole else None


def _write(path: Path, described: str, content: bytes) -> None:
    head = json.dumps({"described": described, "sha256": hashlib.sha256(content).hexdigest()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, head.encode() + b"\n" + content)
    except (OSError, LinregLoraError):  # a cache that cannot be written is none
        return
