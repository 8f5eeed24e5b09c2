"""Figures whose files are all there and current: nothing is drawn, written or imported; else they are drawn again."""

import functools
import json
import os
import subprocess
import sys

import pytest

from linreg_lora import figures, provenance
from linreg_lora.figures import current, risk_vs_sample_size

NAME = "risk-vs-sample-size-weak-noise"
PICTURES = {".pdf", ".png"}

regenerate = functools.partial(figures.regenerate, [NAME], trials=64, seed=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a small figure."""
    folder = tmp_path_factory.mktemp("figures")
    data = functools.partial(risk_vs_sample_size.data, sample_sizes=(8, 24, 48), dimension=24, each=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(risk_vs_sample_size.weak_noise, "data", data)
        next(regenerate(folder))
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of it, in which data are never computed again."""

    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(risk_vs_sample_size.weak_noise, "data", never)
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
        os.utime(tmp_path / path.name, ns=(0, 0))
    return tmp_path


def run(folder, **options):
    """The types of the files that a run wrote anew."""
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (paths,) = regenerate(folder, **options)
    assert {path.suffix.strip(".") for path in paths} == set(options.get("formats", figures.USUAL_FORMATS))
    assert all(path.is_file() for path in paths)
    written = {path.suffix for path in folder.iterdir() if before.get(path) != path.stat().st_mtime_ns}
    for path in folder.iterdir():
        os.utime(path, ns=(0, 0))
    return written


def said(folder):
    return json.loads((folder / f"{NAME}.json").read_text())


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nothing_is_drawn_written_or_imported_where_all_is_current(folder):
    """By the command, in a process of its own; the index beside it too has what the provenance says."""
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    code = (
        "import sys\nfrom pathlib import Path\nfrom linreg_lora.cli import main\n"
        f"sys.argv = ['linreg-lora', 'figures', {NAME!r}, '--out', {str(folder)!r}, '--trials', '64', '--seed', '1']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "from linreg_lora import figures\n"
        f"assert {said(folder)['caption']!r} in figures.index(Path({str(folder)!r}))\n"
        "heavy = {'matplotlib', 'xarray', 'pandas', 'jax', 'scipy', 'h5netcdf'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(folder / f"{NAME}.{suffix}") for suffix in figures.USUAL_FORMATS]
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


def test_the_caption_of_other_data_or_code_is_made_anew(folder, monkeypatch):
    right = said(folder)["caption"]
    (folder / f"{NAME}.json").write_text(json.dumps({**said(folder), "caption": "old", "package_sha256": ""}))
    assert "old" in figures.index(folder)
    monkeypatch.setattr(current, "code_hash", lambda name: "other")
    assert right in figures.index(folder)


@pytest.mark.parametrize("damage", [None, b"", b"\x00"], ids=["missing", "empty", "a byte more"])
def test_a_picture_that_is_missing_or_damaged_is_drawn_again(damage, folder):
    before = content(folder)
    picture = folder / f"{NAME}.png"
    if damage is None:
        picture.unlink()
    else:
        picture.write_bytes(picture.read_bytes() * len(damage) + damage)
        os.utime(picture, ns=(0, 0))
    assert run(folder) == PICTURES | {".json"}
    assert content(folder) == before
    assert run(folder) == set()


def test_another_width_is_drawn_and_the_first_again(folder):
    before = content(folder)
    assert run(folder, width=3.25) == PICTURES | {".json"}
    assert {picture["width"] for picture in said(folder)["pictures"].values()} == {3.25}
    assert content(folder)[f"{NAME}.png"] != before[f"{NAME}.png"]
    assert run(folder, width=3.25) == set()
    assert run(folder, formats=("png",)) == {".png", ".json"}
    assert {name: picture["width"] for name, picture in said(folder)["pictures"].items()} == {"pdf": 3.25, "png": None}
    assert run(folder) == PICTURES | {".json"}
    assert content(folder) == before


@pytest.mark.parametrize("what", ["code", "versions", "data", "no record", "no text"])
def test_pictures_of_other_code_versions_or_data_are_drawn_again(what, folder, monkeypatch):
    found = said(folder)
    if what == "code":
        monkeypatch.setattr(provenance, "source_hash", lambda: "other sources")
        monkeypatch.setattr(current, "drawing_hash", lambda name: "other")
    elif what == "versions":
        monkeypatch.setattr(current, "_DRAWING", ("numpy",))
    elif what == "data":
        found["pictures"] = {name: {**one, "data_sha256": "other"} for name, one in found["pictures"].items()}
    elif what == "no record":
        del found["pictures"]
    else:
        found["pictures"] = "none"
    (folder / f"{NAME}.json").write_text(json.dumps(found))
    assert run(folder) == PICTURES | {".json"}
    assert run(folder) == set()


def test_sources_that_changed_elsewhere_draw_nothing(folder, monkeypatch):
    """The style is code that draws, and none that computes."""
    monkeypatch.setattr(provenance, "source_hash", lambda: "other sources")
    assert run(folder) == set()
    assert current.drawing_hash(NAME) != current.code_hash(NAME)


def test_another_type_is_drawn_beside_those_that_are_there(folder):
    assert run(folder, formats=("svg",)) == {".svg", ".json"}
    assert set(said(folder)["pictures"]) == {"pdf", "png", "svg"}
    assert run(folder) == run(folder, formats=("svg",)) == set()
