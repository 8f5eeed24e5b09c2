"""What a result was made by: the versions of the libraries, the code that computed it, the revision.

The code of a module is the module and all of the package that it imports, directly or not, as syntax trees without
docstrings: comments, formatting and what stands beside do not change its hash.
"""

import ast
import functools
import hashlib
import subprocess
from importlib.metadata import version
from pathlib import Path

import linreg_lora

_PACKAGE = Path(linreg_lora.__file__).parent
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def versions() -> tuple[str, ...]:
    """What the bits of a result depend on besides its inputs, as in ("linreg-lora 0.1.0", "numpy 2.4.6", ...)."""
    return tuple(f"{package} {found}" for package, found in versions_of("numpy", "scipy", "jax", "jaxlib").items())


def release() -> str:
    """The release that this package is, or is on the way to: "0.1.0" in 0.1.0.dev40+g1a2b3c4 too.

    Not the commit: no file of the repository can name the commit that it is part of. `code_hash` tells code apart.
    """
    return linreg_lora.__version__.partition("+")[0].partition(".dev")[0]


def versions_of(*packages: str) -> dict[str, str]:
    """The release of this package, and the versions of others."""
    return {"linreg-lora": release(), **{package: version(package) for package in packages}}


def code_hash(*modules: str, without: tuple[str, ...] = ()) -> str:
    """SHA-256 of the code of modules, named as in `linreg_lora.theory.fft`: that of their import closure.

    `without`: modules that are left out, with what only they import. Imports inside functions count; what is imported
    by a computed name does not.
    """
    todo, seen = list(modules), set(without)
    closure = []
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            closure.append(module)
            todo += _parsed(module)[1]
    digest = hashlib.sha256()
    for module in sorted(closure):
        digest.update(f"{module}\0{_parsed(module)[0]}\0".encode())
    return digest.hexdigest()


@functools.cache
def source_hash() -> str:
    """SHA-256 of all sources of this package, to the byte: where it is the same, so is every `code_hash`."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def revision(outside_of: Path) -> str | None:
    """The commit of the repository that this package runs from; None where there is none, or the folder is part of it.

    A file inside the repository cannot name the commit that it is part of.
    """
    asked = ["git", "-C", str(_PACKAGE), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)
        top, commit = done.stdout.split("\n")[:2]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return None if outside_of.resolve().is_relative_to(top) else commit


@functools.cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    """The code of one module without docstrings, and the modules of the package that it imports.

    The package itself is no module here: its facade computes nothing, and its version is provenance of its own.
    """
    tree = ast.parse(_path(module).read_text())
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            imported += [name if _is_module(name) else node.module for name in inner]
        elif isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    ours = tuple(dict.fromkeys(name for name in imported if name.startswith("linreg_lora.") and _is_module(name)))
    return ast.unparse(tree), ours


def _path(module: str) -> Path:
    plain = _PACKAGE.joinpath(*module.split(".")[1:])
    return plain / "__init__.py" if plain.is_dir() else plain.with_suffix(".py")


def _is_module(name: str) -> bool:
    return name.startswith("linreg_lora.") and _path(name).is_file()
