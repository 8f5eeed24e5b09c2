"""The front door: what is public, its types, its examples, and that documents and notebooks use nothing deeper."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import linreg_lora
from linreg_lora.claims import registry
from linreg_lora.methods import registry as methods
from linreg_lora.proofs import steps

ROOT = Path(__file__).parents[1]
PACKAGE = Path(linreg_lora.__file__).parent
#: Packages that users import from: those with a stub.
PUBLIC = sorted(".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.pyi"))
NAMES = [(package, name) for package in PUBLIC for name in importlib.import_module(package).__all__]
OBJECTS = {
    f"{made.__module__}.{made.__qualname__}": made
    for made in (getattr(importlib.import_module(package), name) for package, name in NAMES)
    if inspect.isfunction(inspect.unwrap(made)) or inspect.isclass(made)
}
#: Modules without a stub that users import from as well.
OTHER_DOORS = ("linreg_lora.figures", "linreg_lora.theory.resolvent.above")
#: Packages that mypy would take a minute to read.
NOT_OURS = ("jax", "jaxtyping", "numpy", "scipy", "sympy", "xarray", "pandas", "matplotlib")
#: Beginnings of the names of examples that take a second or more.
SLOW_EXAMPLES = (
    "linreg_lora.simulation.curve.monte_carlo",
    "linreg_lora.simulation.own_ridges.with_own_ridges",
    "linreg_lora.theory.best_ridge.tuned_risk",
    "linreg_lora.theory.resolvent.above.at_rank",
    "linreg_lora.theory.resolvent.above.with_noise",
)
USER_SCRIPT = """\
import linreg_lora as ll

problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
reveal_type(problem)
reveal_type(ll.expected_risk(problem))
reveal_type(ll.expected_risk)
reveal_type(ll.monte_carlo(problem, trials=400, seed=0).at_rank(3).stderr)
reveal_type(ll.theory.fft_risk(problem))
reveal_type(ll.claims.load_claims().claims[0])
reveal_type(ll.estimators.fit_lora)
"""


def test_all_rooms_that_users_enter_have_a_door():
    for room in ("", ".theory", ".estimators", ".claims", ".sweeps"):
        assert f"linreg_lora{room}" in PUBLIC


@pytest.mark.parametrize("package", PUBLIC)
def test_no_name_is_also_a_module(package):
    """Which of the two an import finds would depend on what was imported before."""
    loaded = importlib.import_module(package)
    beside = {path.stem for path in Path(loaded.__file__).parent.iterdir()}
    for name in loaded.__all__:
        assert inspect.ismodule(getattr(loaded, name)) == (name in beside), name


@pytest.mark.parametrize("package", PUBLIC)
def test_the_stub_exports_what_is_there(package):
    """But for the submodules, which are reachable and not exported."""
    loaded = importlib.import_module(package)
    tree = ast.parse(Path(loaded.__file__).with_suffix(".pyi").read_text())
    (exported,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    modules = {name for name in loaded.__all__ if inspect.ismodule(getattr(loaded, name))}
    assert set(loaded.__all__) - modules <= set(exported) <= set(loaded.__all__)


def reported(command, cwd):
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.sub(r"linreg_lora(\.\w+)+\.(?=\w)", "", done.stdout)


@pytest.mark.parametrize("checker", [pytest.param("mypy", marks=pytest.mark.heavy), "pyright"])
def test_type_checkers_see_full_signatures(checker, tmp_path):
    """On a user's script, outside of the project."""
    (tmp_path / "script.py").write_text(USER_SCRIPT)
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\ncache_dir = {tmp_path}\n[mypy-{'.*,'.join(NOT_OURS)}.*]\nfollow_imports = skip\n")
    options = {"mypy": ["--config-file", str(config)], "pyright": ["--pythonpath", sys.executable]}
    said = reported([checker, *options[checker], "script.py"], tmp_path)
    revealed = re.findall(r'(?:Revealed type is|Type of ".*" is) "(.*)"', said)
    assert len(revealed) == 7, said
    problem, curve, function, stderr, fft, claim, fit = revealed
    assert (problem, curve, stderr, claim) == ("Problem", "RiskCurve", "float | None", "Claim")
    assert "FFTRisk" in fft
    assert re.search(r"\(problem: Problem, ranks: .*correction: bool.* -> RiskCurve", function)
    assert re.search(r"\(inputs: .*, outputs: .*, rank: .*, pretrained: .*, ridge: ", fit)


def test_importing_the_package_is_cheap():
    code = "import sys, linreg_lora; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"jax", "numpy", "scipy", "pydantic", "xarray", "matplotlib", "typer", "rich"}


def python_of(document):
    if document.suffix == ".py":
        return document.read_text()
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", document.read_text(), flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    "document",
    [ROOT / "docs" / "how-to" / "use-from-python.md", *sorted((ROOT / "notebooks").glob("*.py"))],
    ids=lambda path: path.name,
)
def test_documents_use_public_names_only(document):
    used = [node for node in ast.walk(ast.parse(python_of(document))) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in used:
        if isinstance(node, ast.Import):
            deeper = [alias.name for alias in node.names if alias.name.startswith("linreg_lora.")]
            assert not deeper
        elif node.module.partition(".")[0] == "linreg_lora":
            assert node.module in (*PUBLIC, *OTHER_DOORS), node.module
            if node.module in PUBLIC:
                assert {alias.name for alias in node.names} <= set(importlib.import_module(node.module).__all__)


def examples_of(made):
    """The examples of an object and, for a class, of what it defines."""
    globs = vars(importlib.import_module(made.__module__)) | {"ll": linreg_lora}
    return [test for test in doctest.DocTestFinder().find(made, made.__name__, globs=globs) if test.examples]


@pytest.fixture
def registries(monkeypatch):
    """What an example registers is gone after it."""
    steps.ids()
    registry.predicate("matrix-pairs")  # either loads the package's own
    methods.names()
    tables = [
        (steps, "_proofs"),
        (methods, "_makes"),
        *((registry, name) for name in ("_predictions", "_experiments", "_predicates", "_domains")),
    ]
    for module, table in tables:
        monkeypatch.setattr(module, table, dict(getattr(module, table)))


def own_examples():
    """(name, example) of all modules: what is not public, too."""
    finder = doctest.DocTestFinder()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        if ">>>" in path.read_text():
            module = importlib.import_module(name)
            for test in finder.find(module, name, globs=vars(module) | {"ll": linreg_lora}):
                if test.examples and not any(test.name == name or test.name.startswith(f"{name}.") for name in OBJECTS):
                    yield test


def ran(test):
    """What an example prints that it should not."""
    assert not any(doctest.SKIP in example.options for example in test.examples)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    printed = []
    runner.run(test, out=printed.append)
    return "".join(printed) if runner.failures else ""


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_examples_of_all_modules_run(slow):
    """Those that are not public, the slow ones apart."""
    tests = [test for test in own_examples() if test.name.startswith(SLOW_EXAMPLES) == slow]
    assert len(tests) >= (len(SLOW_EXAMPLES) if slow else 40)
    assert not [said for test in tests if (said := ran(test))]


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_examples_run(name):
    """Every public function has one; a class has one, or is what a function with one returns."""
    found = examples_of(OBJECTS[name])
    assert found or inspect.isclass(OBJECTS[name]), "an example, please"
    for test in found:
        assert ran(test) == ""
