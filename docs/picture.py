"""The picture of the house in CONTRIBUTING.md, made from the first lines of the modules.

    python docs/picture.py     writes it between its two marks

`ORDER` is also what a test of the imports holds the package to: nothing imports from its right.
"""

import ast
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "linreg_lora"
BEGIN, END = "<!-- picture: made by docs/picture.py -->", "<!-- end of picture -->"

#: The rooms of the package, in the order in which data flow. A group is a line of the picture of the flow.
ORDER = (
    ("errors", "validation", "seeds", "runtime", "spectra", "covariance", "input_law", "problem", "risk_curve"),
    ("console", "provenance", "files"),
    ("theory", "estimators", "sampling"),
    ("methods",),
    ("simulation", "own_data", "checkpoints", "training"),
    ("sweeps",),
    ("proofs",),
    ("claims", "figures"),
    ("explorer", "report_page", "citation"),
    ("cli",),
    ("__main__",),
)
_WIDTH, _COLUMN = 116, 28


def rooms() -> list[str]:
    """The rooms from left to right."""
    return [room for group in ORDER for room in group]


def first_line(path: Path) -> str:
    """What a module says it is."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def picture() -> str:
    """The tree, a line a module, and the flow."""
    lines = ["linreg_lora/", *_entry("__init__.py", first_line(PACKAGE / "__init__.py"), 1)]
    for room in rooms():
        lines += _folder(PACKAGE / room, 1) if (PACKAGE / room).is_dir() else _module(PACKAGE / f"{room}.py", 1)
    flow = textwrap.wrap(" -> ".join(", ".join(group) for group in ORDER), _WIDTH, break_on_hyphens=False)
    return "\n".join([*lines, "", "Data flow one way; nothing imports from its right:", "", *flow])


def written(document: str) -> str:
    """The document with the picture between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    block = textwrap.indent(picture(), "    ", lambda line: bool(line.strip()))
    block = block.replace("    Data flow one way", "Data flow one way")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def _folder(folder: Path, depth: int) -> list[str]:
    lines = _entry(f"{folder.name}/", first_line(folder / "__init__.py"), depth)
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.is_dir() and (path / "__init__.py").exists():
            lines += _folder(path, depth + 1)
        elif path.suffix == ".py" and path.name != "__init__.py":
            lines += _module(path, depth + 1)
    return lines


def _module(path: Path, depth: int) -> list[str]:
    return _entry(path.name, first_line(path), depth)


def _entry(name: str, text: str, depth: int) -> list[str]:
    head = f"{'  ' * depth}{name}"
    wrapped = textwrap.wrap(text, _WIDTH - _COLUMN, break_on_hyphens=False) or [""]
    first = f"{head:<{_COLUMN - 2}}  {wrapped[0]}".rstrip()
    return [first, *(" " * _COLUMN + line for line in wrapped[1:])]


if __name__ == "__main__":
    contributing = ROOT / "CONTRIBUTING.md"
    contributing.write_text(written(contributing.read_text()))
