"""docs/theory.md: every displayed formula names the function that computes it and the test that checks it."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from linreg_lora.theory import notes
from linreg_lora.theory.contours import doubt

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "theory.md"
BLOCKS = re.split(r"\n\s*\n", PAGE.read_text())
LINK = re.compile(r"\[`([\w.]+)`\]\(\.\./([\w./]+)\)")
REFERENCES = sorted(set(LINK.findall(PAGE.read_text())))


def is_formula(block):
    return block.strip().startswith("$$")


def test_every_formula_has_its_function_and_its_test():
    formulas = 0
    for i, block in enumerate(BLOCKS):
        if is_formula(block):
            formulas += 1
            following = next(b for b in BLOCKS[i + 1 :] if not is_formula(b))
            assert re.match(r"\*Code:\* \[.*· \*Test:\* \[", following.strip()), block
    assert formulas > 20


@pytest.mark.parametrize(("name", "path"), REFERENCES, ids=lambda value: str(value))
def test_the_function_or_test_exists(name, path):
    file = ROOT / path
    assert file.is_file()
    if path.startswith("tests/"):
        assert name in {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
        return
    module = path.removesuffix(".py").replace("/", ".")
    stem = module.removeprefix("linreg_lora.")
    assert name == stem or name.startswith(f"{stem}.")
    value = importlib.import_module(module)
    for part in name.removeprefix(stem).strip(".").split("."):
        value = getattr(value, part) if part else value


#: Decimals and percentages that prose may have: versions, papers, and a constant of the code.
ALLOWED = {"3.11", "2605.19018", "2505.22355", f"{100 * doubt._EDGE:g} %", f"{100 * notes.UNFLAGGED:g} %"}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/theory.md"])
def test_measured_numbers_are_in_generated_files_only(name):
    """Prose has no decimals and no percentages but those above: results stand in files that a command writes."""
    text = (ROOT / name).read_text()
    for skipped in (r"```.*?```", r"\$\$.*?\$\$", r"\$[^$]*\$", r"`[^`]*`", r"\]\([^)]*\)"):
        text = re.sub(skipped, "", text, flags=re.DOTALL)
    assert set(re.findall(r"\d+(?:\.\d+)? ?%|\d+\.\d+", text)) <= ALLOWED
