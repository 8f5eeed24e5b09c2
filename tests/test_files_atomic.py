"""Files appear complete or not at all; what was made for nothing is gone."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from linreg_lora.errors import InvalidInput
from linreg_lora.files import atomic


def test_a_file_appears_complete(tmp_path):
    target = tmp_path / "data.json"
    with atomic.atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".json"
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
    atomic.write_atomically(target, b"newer")
    assert target.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_made_for_nothing_is_removed(tmp_path, error):
    made = tmp_path / "some" / "folder"

    def fail(inside=None):
        with atomic.writable_folder(made):
            assert made.is_dir()
            if inside:
                (made / inside).touch()
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(error, match="stop"):
        fail(inside="file")
    assert [path.name for path in made.iterdir()] == ["file"]
    with pytest.raises(error, match="stop"):
        fail()
    assert made.is_dir()
    nameless = made / "new" / ("x" * 300)
    with pytest.raises(InvalidInput, match=r"received .*; File name too long"), atomic.writable_folder(nameless):
        pass
    assert [path.name for path in made.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "data.json"
    target.write_text("old")

    def write():
        with atomic.atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for target in (tmp_path / "missing" / "data.json", file / "data.json", Path("/proc/data.json")):
        with pytest.raises(
            InvalidInput, match=r"^out: expected a path in a folder that can be written, received /"
        ) as caught:
            atomic.write_atomically(target, b"content")
        assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    target = tmp_path / "data.json"
    target.mkdir()
    with pytest.raises(InvalidInput, match=r"^out: expected a path that can be written, received /"):
        atomic.write_atomically(target, b"content")
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    """A file-size limit stands for the disk's end."""
    (tmp_path / "old.nc").write_text("old")
    script = f"""
        import json, resource
        from pathlib import Path
        import numpy as np, xarray as xr
        from linreg_lora.files import atomic
        from linreg_lora.errors import InvalidInput
        dataset = xr.Dataset({{"risk": ("n", np.random.default_rng(0).random(100_000))}})
        refusals = []
        for limit in (100_000, 0):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            for name in ("old.nc", "new.nc"):
                try:
                    atomic.write_dataset(dataset, Path({str(tmp_path)!r}) / name)
                except InvalidInput as error:
                    refusals.append(str(error))
        print(json.dumps(refusals))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    refusals = json.loads(done.stdout)
    assert len(refusals) == 4
    for refusal in refusals:
        assert re.fullmatch(r"out: expected a path that can be written, received /\S+; File too large", refusal)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.nc": "old"}
