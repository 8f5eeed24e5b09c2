"""The reference of the public names: a page a package that has a stub, and a page a module that is public itself."""

import ast
import importlib
import inspect
from pathlib import Path

import linreg_lora
from sitemaker import ROOT
from sitemaker.page import Page

PACKAGE = Path(linreg_lora.__file__).parent


def packages() -> list[str]:
    """Packages that users import from: those with a stub, the front door first."""
    return sorted(".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.pyi"))


def pages() -> list[Page]:
    """Of every package, and of every public module that is no such package."""
    found = [_of_package(name) for name in packages()]
    front = importlib.import_module("linreg_lora")
    for name in sorted(front.__all__):
        module = f"linreg_lora.{name}"
        if module not in packages() and inspect.ismodule(getattr(front, name)):
            found.append(_of_module(module))
    return found


def uri(name: str) -> str:
    return f"reference/api/{name}.md"


def _of_package(package: str) -> Page:
    loaded = importlib.import_module(package)
    doors, objects = [], []
    for name in sorted(loaded.__all__, key=lambda name: (name.lower(), name)):
        full = f"{package}.{name}"
        if _is_module(loaded, name):
            has_page = package == "linreg_lora" or full in packages()
            shown = f"[`{full}`](site:{uri(full)})" if has_page else f"`{full}`"
            doors.append(f"- {shown}: {_first_line(full)}")
        else:
            objects.append(f"::: {full}\n")
    text = "\n".join(doors) + "\n\n" + "\n".join(objects)
    return _page(package, _first_line(package), text)


def _of_module(module: str) -> Page:
    """A module, or a package whose modules are imported one by one: what it says itself, and its modules' source."""
    inside = sorted(path for path in _path(module).parent.glob("[a-z]*.py") if _path(module).name == "__init__.py")
    listed = [f"- [`{module}.{path.stem}`]({path.name}): {_first_line(f'{module}.{path.stem}')}" for path in inside]
    said = f"::: {module}\n    options:\n      show_root_heading: false\n"
    return _page(module, "", "\n".join([said, *listed]))


def _is_module(loaded: object, name: str) -> bool:
    folder = Path(loaded.__file__).parent  # type: ignore[attr-defined]
    return (folder / name).is_dir() or (folder / f"{name}.py").exists()


def _page(name: str, said: str, text: str) -> Page:
    content = "\n\n".join(part for part in (f"# {name}", said, text) if part)
    return Page(uri(name), name, _path(name).relative_to(ROOT).as_posix(), content)


def _first_line(module: str) -> str:
    return (ast.get_docstring(ast.parse(_path(module).read_text())) or "").partition("\n\n")[0].replace("\n", " ")


def _path(module: str) -> Path:
    stem = ROOT / module.replace(".", "/")
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
