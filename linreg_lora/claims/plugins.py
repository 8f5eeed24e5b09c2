"""Plug-ins: Python files and installed packages that register what claims name.

A plug-in is code, and loading one runs it: a file because somebody names it, an installed package because its entry
points are of the group `linreg_lora.claims`. A module may name a claims file beside it, `CLAIMS = "claims.yaml"`.
"""

import contextlib
import functools
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

from linreg_lora.claims import registry
from linreg_lora.errors import InvalidInput, one_line

GROUP = "linreg_lora.claims"

#: Names of the papers of this package, which no plug-in can take.
OWN_NAMES = frozenset(path.name.replace("_", "-") for path in Path(__file__).with_name("papers").iterdir())
#: The files of plug-ins that were run -> the names of their modules, in that order.
_files: dict[str, str] = {}


class InstalledPlugin(NamedTuple):
    """An entry point of an installed package. `claims`: the file its module names; `problem`: why it is not loaded."""

    name: str
    claims: Path | None
    problem: str


def load_plugin(path: Path | str) -> ModuleType:
    """Run a Python file that registers predictions, experiments, predicates or domains, and return its module.

    Its folder becomes the last of those that imports are looked for in, so that it may have modules beside it. What it
    prints goes to standard error. Raises `InvalidInput` in one line, with nothing registered, where it cannot be run.

    >>> import linreg_lora as ll
    >>> import tempfile
    >>> from pathlib import Path
    >>> code = '''
    ... import linreg_lora as ll
    ... @ll.claims.register_prediction("mine.noise")
    ... def noise(problem: ll.Problem, sample: ll.claims.Sample) -> float:
    ...     return problem.noise_trace
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.py")
    ...     _ = path.write_text(code)
    ...     ll.claims.load_plugin(path).noise.__name__
    'noise'
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput("plugin", "a Python file", str(path), "there is none of this name")
    path = path.resolve()
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return _run(path, _module_name(path))


def loaded_files() -> dict[str, str]:
    """The files whose code registered something here -> the names of their modules, in the order in which they ran.

    Without those that are gone since: no other process can run them.
    """
    return {file: name for file, name in _files.items() if Path(file).is_file()}


def load_as_elsewhere(files: dict[str, str]) -> None:
    """Load what `loaded_files` returned in another process, under the names there, so that objects can be exchanged."""
    installed_plugins()
    for file, name in files.items():
        if file not in _files:
            _run(Path(file), name)


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Runs what the file says: kept bytecode is taken for current where the file changed within a second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _run(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise InvalidInput("plugin", "a Python file, whose name ends in .py", str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _files[str(path)] = name
    try:
        with _registering(f"plugin {path}", path):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        _files.pop(str(path))
        raise
    return module


def blamed(error: BaseException) -> InvalidInput | None:
    """An error that a plug-in's code raised after it was loaded, as one line; None for any other."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _files:
            said = f"line {frame.lineno}: {one_line(str(error)) or 'no message'}"
            return InvalidInput(f"plugin {frame.filename}", "code that runs", type(error).__name__, said)
    return None


def _module_name(path: Path) -> str:
    """The file's own name where that imports it, so that other processes find it too; else one that nothing has."""
    with contextlib.suppress(ImportError, ValueError):
        found = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
        if found is not None and found.origin == str(path):
            return path.stem
    return f"linreg_lora_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


@functools.cache
def installed_plugins() -> tuple[InstalledPlugin, ...]:
    """The plug-ins of installed packages, loaded once, with what is wrong with those that could not be.

    >>> import linreg_lora as ll
    >>> [plugin.problem for plugin in ll.claims.installed_plugins()]
    []
    """
    found: dict[str, importlib.metadata.EntryPoint] = {}
    plugins = []
    for entry in _entry_points():
        name = entry.name.replace("_", "-")
        if name in OWN_NAMES or name in found:
            other = f"{found[name].value} has it" if name in found else "linreg_lora has it"
            refusal = InvalidInput("entry point", "a name that is free", entry.name, f"{other}, {entry.value} wants it")
            plugins.append(InstalledPlugin(entry.name, None, str(refusal)))
            continue
        found[name] = entry
        plugins.append(_installed(entry))
    return tuple(plugins)


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))


def _installed(entry: importlib.metadata.EntryPoint) -> InstalledPlugin:
    try:
        with _registering(f"plug-in {entry.name}, {entry.value}", None):
            module = importlib.import_module(entry.module)
            entry.load()
            _files[str(module.__file__)] = module.__name__
            return InstalledPlugin(entry.name, _claims_of(module), "")
    except InvalidInput as error:
        return InstalledPlugin(entry.name, None, str(error))


def _claims_of(module: ModuleType) -> Path | None:
    """The claims file that a module names, beside it."""
    named = getattr(module, "CLAIMS", None)
    if named is None:
        return None
    path = Path(module.__file__ or "").parent / str(named)
    if not path.is_file():
        raise InvalidInput("CLAIMS", "the name of a file beside the module", str(path))
    return path


@contextlib.contextmanager
def _registering(what: str, path: Path | None) -> Iterator[None]:
    """Whatever goes wrong is `InvalidInput` of `what`, and leaves nothing registered."""
    registry.load_own()
    expected = "a module that registers what claims name"
    before = set(sys.modules)
    try:
        with registry.all_or_nothing(), _forgetting_modules(before), contextlib.redirect_stdout(sys.stderr):
            yield
    except InvalidInput as error:
        raise InvalidInput(what, expected, "a registration that is refused", str(error)) from None
    except SyntaxError as error:
        where = "" if error.lineno is None else f"line {error.lineno}: "
        if where and error.filename not in (None, str(path)):
            where = f"{error.filename}, {where}"
        raise InvalidInput(what, expected, type(error).__name__, f"{where}{error.msg}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        said = one_line(str(error)) or "no message"
        raise InvalidInput(what, expected, type(error).__name__, f"{_line(error, path)}{said}") from None


@contextlib.contextmanager
def _forgetting_modules(before: set[str]) -> Iterator[None]:
    """When the block raises, modules imported in it that registered something run anew when next imported: what they
    registered is forgotten."""
    try:
        yield
    except BaseException:
        tables = (*registry.functions().values(), registry.methods())
        registering = {getattr(made, "__module__", "") for table in tables for made in table.values()}
        for name in registering - before:
            sys.modules.pop(name, None)
        raise


def _line(error: BaseException, path: Path | None) -> str:
    """The last line of the plug-in itself that was running."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {lines[-1]}: " if lines else ""
