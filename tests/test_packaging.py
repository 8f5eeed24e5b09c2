"""What is shipped: a wheel that works away from its source tree, and one version everywhere."""

import itertools
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from linreg_lora import __version__, citation

ROOT = Path(__file__).parent.parent


def run(*command, cwd):
    """Standard output of a command run in another folder, with nothing of this tree on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel in it; its dependencies are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_wheel_contains_the_claims_and_the_license(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "linreg_lora/paper_claims.yaml" in names
    assert f"linreg_lora-{__version__}.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if name.startswith(("tests", "notebooks", "figures"))]
    package = ROOT / "linreg_lora"
    for source in itertools.chain(
        *(package.rglob(f"*.{suffix}") for suffix in ("py", "html", "css", "js", "yaml", "txt"))
    ):
        assert source.relative_to(ROOT).as_posix() in names


@pytest.mark.heavy
def test_the_tests_of_the_source_archive_can_all_be_collected(tmp_path):
    """All that they import is in it, and comes from it: half a minute."""
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    name = f"linreg_lora-{__version__}"
    with tarfile.open(tmp_path / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    where = run(sys.executable, "-c", "import linreg_lora; print(linreg_lora.__file__)", cwd=tmp_path / name)
    assert Path(where.strip()) == tmp_path / name / "linreg_lora" / "__init__.py"
    collected = run(sys.executable, "-m", "pytest", "--collect-only", "-q", cwd=tmp_path / name)
    assert {path.name for path in (ROOT / "tests").glob("test_*.py")} <= set(re.findall(r"test_\w+\.py", collected))


def test_installed_copy_checks_its_own_claims_from_any_folder(installed, tmp_path):
    program = installed / "bin" / "linreg-lora"
    assert run(program, "--version", cwd=tmp_path) == f"linreg-lora {__version__}\n"
    verdicts = json.loads(run(program, "check", "--only", "prop7-rank-bound", "--format", "json", cwd=tmp_path))
    assert verdicts["as_expected"]
    assert [claim["id"] for claim in verdicts["claims"]] == ["prop7-rank-bound"]
    code = "from linreg_lora.claims import default_path; print(default_path())"
    path = Path(run(installed / "bin" / "python", "-c", code, cwd=tmp_path).strip())
    assert path.is_relative_to(installed)
    assert path.read_bytes() == (ROOT / "paper_claims.yaml").read_bytes()


def test_installed_metadata_have_the_version(installed, tmp_path):
    code = "import importlib.metadata as metadata; print(metadata.version('linreg-lora'))"
    assert run(installed / "bin" / "python", "-c", code, cwd=tmp_path) == f"{__version__}\n"


def test_citation_has_the_version():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == __version__


def test_bibtex_is_of_the_citation_file_and_keys_are_unique(run):
    known = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    assert known["title"] == citation.SOFTWARE_TITLE
    for entry, reference in zip(citation.PAPERS, known["references"], strict=True):
        authors = tuple(f"{one['family-names']}, {one['given-names']}" for one in reference["authors"])
        assert (entry.title, entry.year, entry.authors) == (reference["title"], reference["year"], authors)
        assert reference["identifiers"][0]["value"] == entry.paper.replace(" ", ":")
    code, out, _ = run("cite")
    assert code == 0
    assert re.findall(r"^@\w+\{(.*),$", out, re.MULTILINE) == ["linreg_lora", "zindari2026", "liu2025"]
    assert "  eprint = {2605.19018},\n  archiveprefix = {arXiv}\n}" in out
    keys = re.findall(r"^@\w+\{(.*),$", run("cite", "--all")[1], re.MULTILINE)
    assert len(keys) == len(set(keys)) > 10


def test_changelog_has_a_section_for_what_is_here():
    sections = re.findall(r"^## \[?(\S+?)\]?(?: |$)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] in ("Unreleased", __version__)


def test_every_dependency_of_the_extras_is_pinned():
    """`make test` installs with these pins: an unpinned dependency would change under us. It leaves `peft` out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert "peft" not in "".join(extras["dev"])
    wanted = [*project["dependencies"], *(d for name, extra in extras.items() if name != "peft" for d in extra)]
    names = {canonical(re.split(r"[\[<>=!~ ]", requirement)[0]) for requirement in wanted} - {project["name"]}
    pinned = {canonical(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names <= pinned


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()
