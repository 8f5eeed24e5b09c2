"""The house is as it is drawn: every module has a room, nothing imports from its right, CONTRIBUTING shows the tree."""

import ast
from pathlib import Path

import picture
import pytest

PACKAGE = picture.PACKAGE
#: Inside rooms, from left to right. A folder that is not named here has no order of its own.
INSIDE = {
    "theory": ("contours", "bands", "functionals", "resolvent", "equivalent"),
    "claims": (
        "vocabulary",
        "signatures",
        "settings",
        "registry",
        "domains",
        "designs",
        "schema",
        "file",
        "plugins",
        "collection",
        "judge",
        "processes",
        "check",
        "kept",
        "library",
        "papers",
        "show",
    ),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports(source: str) -> list[str]:
    """The modules of the package that a source imports, wherever the statement stands."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the module in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in MODULES else name.rpartition(".")[0] for name in names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.partition(".")[0] == "linreg_lora"]


def backward(name: str, source: str) -> list[str]:
    """What a module imports from its right."""
    order = picture.rooms()
    found = []
    for target in imports(source):
        ours, its = ([*module.split("."), "", ""][1:3] for module in (name, target))
        if not ours[0] or not its[0]:
            continue
        right = order.index(its[0]) > order.index(ours[0])
        inside = INSIDE.get(ours[0], ())
        if ours[0] == its[0] and ours[1] in inside and its[1] in inside:
            right = inside.index(its[1]) > inside.index(ours[1])
        found += [f"{name} imports {target}"] if right else []
    return found


def test_every_module_has_a_room():
    rooms = {name.split(".")[1] for name in MODULES if "." in name}
    assert sorted(picture.rooms()) == sorted(rooms)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_imports_from_its_right(name):
    assert backward(name, MODULES[name].read_text()) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("linreg_lora.problem", "from linreg_lora.theory.floor import least_risk"),
        ("linreg_lora.theory.curve", "def f():\n    from linreg_lora import simulation"),
        ("linreg_lora.sampling.plan", "import linreg_lora.sweeps.grid"),
        ("linreg_lora.theory.contours.cuts", "from linreg_lora.theory.equivalent import equivalent"),
        ("linreg_lora.claims.judge", "from linreg_lora.claims.show import report"),
    ],
)
def test_a_step_back_is_seen(name, source):
    assert len(backward(name, source)) == 1


def test_contributing_shows_the_tree():
    text = (picture.ROOT / "CONTRIBUTING.md").read_text()
    assert picture.written(text) == text, "python docs/picture.py"
    named = set(picture.picture().split())
    assert {path.name for path in MODULES.values()} <= named
