"""The pages of docs/: displayed formulas name their code and their test, commands run, the table is the methods'."""

import ast
import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import linreg_lora as ll
from linreg_lora.methods import registry
from linreg_lora.theory import notes
from linreg_lora.theory.contours import doubt

ROOT = Path(__file__).parent.parent
PAGES = {
    name: (ROOT / "docs" / name).read_text()
    for name in ("theory.md", "family.md", "composition.md", "open-questions.md")
}
LINK = re.compile(r"\[`([\w.]+)`\]\(\.\./([\w./]+)\)")
REFERENCES = sorted({found for text in PAGES.values() for found in LINK.findall(text)})


def is_formula(block):
    return block.strip().startswith("$$")


@pytest.mark.parametrize(
    ("name", "least"), [("theory.md", 20), ("family.md", 7), ("composition.md", 8), ("open-questions.md", 1)]
)
def test_every_formula_has_its_function_and_its_test(name, least):
    formulas, blocks = 0, re.split(r"\n\s*\n", PAGES[name])
    for i, block in enumerate(blocks):
        if is_formula(block):
            formulas += 1
            following = next(b for b in blocks[i + 1 :] if not is_formula(b))
            assert re.match(r"\*Code:\* \[.*· \*Test:\* \[", following.strip()), block
    assert formulas >= least


#: Methods that docs/family.md is about.
FAMILY = {
    "fft", "lora", "frozen-a", "frozen-b", "features", "adapter-full", "adapter", "mica", "lora-xs", "svf", "mask",
    "tangent", "ia3", "ia3-in", "vera-b", "vera-d", "vera", "dora", "bitfit",
}  # fmt: skip
#: What the table of docs/family.md calls a size, with r = 2 on 7 inputs and 5 outputs.
_R, _DX, _DY = 2, 7, 5
SIZES = {
    "dx dy": _DX * _DY, "r (dx + dy)": _R * (_DX + _DY), "r (dx + dy - r)": _R * (_DX + _DY - _R), "r dy": _R * _DY,
    "r dx": _R * _DX, "dy dy": _DY**2, "k dy, k = min(dx, dy)": 25, "2 r dy": 2 * _R * _DY, "r r": _R**2,
    "r (k + dy - r), k = min(dx, dy)": _R * (5 + _DY - _R), "min(dx, dy)": 5, "the entries": 18, "dy": _DY, "dx": _DX,
    "r": _R, "r + dy": _R + _DY, "r + dy - 1": _R + _DY - 1, "r (dx + dy) + dy": _R * (_DX + _DY) + _DY,
    "r (dx + dy - r) + dy": _R * (_DX + _DY - _R) + _DY,
}  # fmt: skip


def test_the_table_of_the_family_is_that_of_the_methods():
    """Each method of the package by its name, its sizes as it says them, and how its risk is found."""
    rows = [line.strip("| ").split(" | ") for line in PAGES["family.md"].splitlines() if line.startswith("| `")]
    own = {name for name, made in registry.table().items() if made.__module__.startswith("linreg_lora.")}
    assert own >= {row[0].strip("`").split(":")[0] for row in rows} >= FAMILY
    rng = np.random.default_rng(0)
    problem = ll.Problem(
        n=30, dx=_DX, dy=_DY, spectrum=(3.0, 2.0), noise_std=1.0, pretrained=rng.standard_normal((_DY, _DX))
    )
    for name, _, parameters, dimension, risk in rows:
        method = ll.methods.named(name.strip("`").replace(":r", ":2"))
        assert (method.parameters(problem), method.dimension(problem)) == (SIZES[parameters], SIZES[dimension]), name
        if risk == "simulated":
            with pytest.raises(ll.InvalidInput, match="whose expected risk theory knows"):
                ll.expected_risk(problem, method=method)
        else:
            words = {"exact": "exact", "equivalent": "equivalent", "expansion": "order in 1/n"}
            assert words[risk] in ll.expected_risk(problem, method=method).formula, name


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


#: Commands of docs/composition.md, each with what it prints; those that draw stand alone.
SHOWN = re.findall(r"^```console\n\$ ([^\n]*)\n(.*?)^```$", PAGES["composition.md"], flags=re.MULTILINE | re.DOTALL)


def same_lines(text):
    return [line.rstrip() for line in text.rstrip().splitlines()]


@pytest.mark.parametrize(("command", "printed"), SHOWN, ids=[command for command, _ in SHOWN])
def test_commands_of_composition_print_what_is_shown(run, command, printed):
    program, *words = shlex.split(command)
    if program == "python":
        assert words[0] == "-c"
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(words[1], {})
        assert same_lines(out.getvalue()) == same_lines(printed)
        return
    code, out, err = run(*words)
    assert (program, code, err) == ("linreg-lora", 0, "")
    assert bool(printed) == ("--trials" not in words)
    if printed:
        assert same_lines(out) == same_lines(printed)


def test_every_section_of_composition_has_one_command():
    sections = re.split(r"^## ", PAGES["composition.md"], flags=re.MULTILINE)[1:]
    assert len(sections) >= 9
    assert [section.count("```console") for section in sections] == [1] * len(sections)


#: Decimals and percentages that prose may have: versions, papers, and a constant of the code.
CLAIMS = [ROOT / "paper_claims.yaml", *ROOT.glob("linreg_lora/claims/papers/*/claims.yaml")]
PAPERS = {name for path in CLAIMS for name in re.findall(r"- paper: arXiv (\S+)", path.read_text())}
TESTED = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
ALLOWED = {*TESTED, *PAPERS, f"{100 * doubt._EDGE:g} %", f"{100 * notes.UNFLAGGED:g} %"}

#: Pages of docs/ that nothing generates.
WRITTEN = (
    *("theory", "family", "composition", "open-questions", "judge-your-paper", "start", "install", "commands", "note"),
    *("where-things-are", "deprecation"),
)


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", *(f"docs/{page}.md" for page in WRITTEN)]
    + [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs" / "how-to").glob("*.md"))],
)
def test_measured_numbers_are_in_generated_files_only(name):
    """Prose has no decimals and no percentages but those above: results stand in files that a command writes."""
    text = (ROOT / name).read_text()
    for skipped in (r"```.*?```", r"\$\$.*?\$\$", r"\$[^$]*\$", r"`[^`]*`", r"\]\([^)]*\)"):
        text = re.sub(skipped, "", text, flags=re.DOTALL)
    assert set(re.findall(r"\d+(?:\.\d+)? ?%|\d+\.\d+", text)) <= ALLOWED
