"""What is shipped: a wheel that works away from its source tree, one version everywhere, and what stays as it is."""

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
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from interface import RECORD, names, recorded
from ruamel.yaml import YAML

from linreg_lora import citation, provenance

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


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
def version(wheel):
    """By the name of the wheel; an editable installation has the one of the day when it was made."""
    return wheel.name.split("-")[1]


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


def test_wheel_contains_the_claims_and_the_license(wheel, version):
    names = zipfile.ZipFile(wheel).namelist()
    assert "linreg_lora/paper_claims.yaml" in names
    assert f"linreg_lora-{version}.dist-info/licenses/LICENSE" in names
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
    (path,) = tmp_path.glob("*.tar.gz")
    name = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    assert version_of(tmp_path / name) == name.removeprefix("linreg_lora-")
    where = run(sys.executable, "-c", "import linreg_lora; print(linreg_lora.__file__)", cwd=tmp_path / name)
    assert Path(where.strip()) == tmp_path / name / "linreg_lora" / "__init__.py"
    collected = run(sys.executable, "-m", "pytest", "--collect-only", "-q", cwd=tmp_path / name)
    assert {path.name for path in (ROOT / "tests").glob("test_*.py")} <= set(re.findall(r"test_\w+\.py", collected))


def test_installed_copy_checks_its_own_claims_from_any_folder(installed, version, tmp_path):
    program = installed / "bin" / "linreg-lora"
    assert run(program, "--version", cwd=tmp_path) == f"linreg-lora {version}\n"
    verdicts = json.loads(run(program, "check", "--only", "prop7-rank-bound", "--format", "json", cwd=tmp_path))
    assert verdicts["as_expected"]
    assert [claim["id"] for claim in verdicts["claims"]] == ["prop7-rank-bound"]
    code = "from linreg_lora.claims import default_path; print(default_path())"
    path = Path(run(installed / "bin" / "python", "-c", code, cwd=tmp_path).strip())
    assert path.is_relative_to(installed)
    assert path.read_bytes() == (ROOT / "paper_claims.yaml").read_bytes()


def version_of(folder):
    """What a build in the folder would call itself."""
    return ProjectMetadata(str(folder), PluginManager()).version


def test_the_version_is_that_of_the_tag(tmp_path):
    """Where there is none, and where there is no Git, a development version; in an archive, that of the archive."""
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@localhost"]
    commit = ["commit", "--quiet", "--allow-empty", "--message", "x"]
    assert version_of(tmp_path) == "0.1.0.dev0"
    run(*git, "init", "--quiet", cwd=tmp_path)
    run(*git, "add", "pyproject.toml", cwd=tmp_path)
    run(*git, *commit, cwd=tmp_path)
    assert version_of(tmp_path) == "0.1.0.dev1"
    run(*git, "tag", "v1.2.3", cwd=tmp_path)
    assert version_of(tmp_path) == "1.2.3"
    run(*git, *commit, cwd=tmp_path)
    assert version_of(tmp_path) == "1.2.4.dev1"
    archive = tmp_path / "linreg_lora-4.5.6"
    archive.mkdir()
    (archive / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (archive / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: linreg-lora\nVersion: 4.5.6\n")
    assert version_of(archive) == "4.5.6"


NOT_INSTALLED = """
import importlib.metadata
known = importlib.metadata.version
def version(name):
    if name == "linreg-lora":
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)
importlib.metadata.version = version
import linreg_lora
print(linreg_lora.__version__)
"""


def test_a_source_tree_that_is_not_installed_says_that_its_version_is_unknown():
    assert run(sys.executable, "-c", NOT_INSTALLED, cwd=ROOT) == "0+unknown\n"


def released():
    """The releases of the changelog, the newest first."""
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"
    return [re.fullmatch(r"(\S+) \(\d{4}-\d\d-\d\d\)", section)[1] for section in sections[1:]]


def test_citation_has_the_version_of_the_newest_release():
    """Until there is one, the one that is being prepared."""
    prepared = PROJECT["tool"]["hatch"]["version"]["raw-options"]["fallback_version"].removesuffix(".dev0")
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == [*released(), prepared][0]


def test_bibtex_has_the_year_of_the_newest_release():
    """Until there is one, that of the licence."""
    years = re.findall(r"^## \S+ \((\d{4})-", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    years += re.findall(r"Copyright \(c\) (\d{4})", (ROOT / "LICENSE").read_text())
    assert int(years[0]) == citation.SOFTWARE_YEAR
    assert f"  year = {{{years[0]}}},\n  version = {{" in citation.software()


def test_bibtex_is_of_the_citation_file_and_keys_are_unique(run):
    known = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    assert known["title"] == citation.SOFTWARE_TITLE
    for entry, reference in zip(citation.PAPERS, known["references"], strict=True):
        authors = tuple(f"{one['family-names']}, {one['given-names']}" for one in reference["authors"])
        assert (entry.title, entry.year, entry.authors) == (reference["title"], reference["year"], authors)
        assert reference["identifiers"][0]["value"] == entry.paper.replace(" ", ":")
        assert f"  url = {{{reference['url']}}}" in entry.bibtex()
    code, out, _ = run("cite")
    assert code == 0
    assert re.findall(r"^@\w+\{(.*),$", out, re.MULTILINE) == ["linreg_lora", "zindari2026", "liu2025"]
    arxiv = "  eprint = {2605.19018},\n  archiveprefix = {arXiv},\n  url = {https://arxiv.org/abs/2605.19018}\n}"
    assert arxiv in out
    assert out.count("  url = ") == 2, "the package has no address"
    assert re.search(r"^% .*biblatex.*misc.*\n@software\{linreg_lora,$", out, re.MULTILINE)
    assert out.count("@") == 3, "BibTeX, which has no comments, takes each for the beginning of an entry"
    assert f"  version = {{{provenance.release()}}}\n" in out, "no version of a commit"
    keys = re.findall(r"^@\w+\{(.*),$", run("cite", "--all")[1], re.MULTILINE)
    assert len(keys) == len(set(keys)) > 10


def test_a_release_makes_one_section_of_fragments_and_of_what_is_unreleased(tmp_path):
    """Fragments come first, by kind; nothing of the changelog is lost, and the fragments are gone."""
    begin = "# Changelog\n\n## Unreleased\n\n"
    rest = (ROOT / "CHANGELOG.md").read_text().removeprefix(begin)
    for name in ("pyproject.toml", "CHANGELOG.md", "changelog.d/template.md.jinja"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    ours = [path for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md"]
    for path in ours:
        (tmp_path / "changelog.d" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "changelog.d" / "+gone.removed.md").write_text("`gone`, which\nis gone.\n")
    run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", "9.8.7", "--date", "2001-02-03", cwd=tmp_path)
    after = (tmp_path / "CHANGELOG.md").read_text()
    assert after.startswith(f"{begin}## 9.8.7 (2001-02-03)\n\n- ")
    assert after.endswith(f"\n{rest}")
    added = after.removesuffix(rest)
    assert "- Removed: `gone`, which\n  is gone." in added
    for path in ours:
        assert "\n  ".join(path.read_text().strip().split("\n")) in added, path.name
    assert [path.name for path in (tmp_path / "changelog.d").iterdir()] == ["template.md.jinja"]


def test_what_the_last_release_promised_is_still_there():
    """docs/deprecation.md: names, parameters, commands, options and keys are added and not renamed."""
    kept = recorded()
    assert len(kept) > 2000
    assert RECORD.read_text() == "".join(f"{name}\n" for name in sorted(kept))
    assert sorted(kept - names()) == []


def test_every_dependency_of_the_extras_is_pinned():
    """`make test` installs with these pins: an unpinned dependency would change under us. It leaves `peft` out."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    assert "peft" not in "".join(extras["dev"])
    wanted = [*project["dependencies"], *(d for name, extra in extras.items() if name != "peft" for d in extra)]
    names = {canonical(re.split(r"[\[<>=!~ ]", requirement)[0]) for requirement in wanted} - {project["name"]}
    pinned = {canonical(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names <= pinned


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()
