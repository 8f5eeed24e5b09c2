"""The journal: what is added is there, and nothing that is not this sweep's own journal is touched."""

import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.sweeps.journal import Entry, Journal, recorded

HEADER = {"seed": "0", "trials": "16", "config": "n: 3"}
ENTRIES = [Entry(0, "a", b"\x00\x01", '["note"]', ""), Entry(3, "b", b"", "", "risk: expected finite values")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.journal"


@pytest.fixture
def written(path):
    with Journal(path, HEADER) as journal:
        journal.add(ENTRIES)
    return path


def refused(path, message, header=HEADER, resume=True):
    with pytest.raises(InvalidInput, match=message) as caught:
        Journal(path, header, resume=resume)
    assert len(str(caught.value).splitlines()) == 1


def test_what_was_added_is_there_after_reopening(written):
    with Journal(written, HEADER, resume=True) as journal:
        assert journal.entries() == ENTRIES
        journal.add([Entry(3, "b", b"\x02", "", "")])
        journal.add([Entry(1, "c", b"", "", "")])
    with Journal(written, HEADER, resume=True) as journal:
        payloads = {entry.cell: entry.payload for entry in journal.entries()}
    assert payloads == {0: b"\x00\x01", 1: b"", 3: b"\x02"}


def test_what_was_added_is_there_after_the_process_is_gone(path):
    script = f"""
        import os
        from pathlib import Path
        from linreg_lora.sweeps.journal import Entry, Journal
        journal = Journal(Path({str(path)!r}), {HEADER!r})
        journal.add([Entry(5, "a", b"12", "", "")])
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=60)
    assert [entry.cell for entry in recorded(path, HEADER)] == [5]
    with Journal(path, HEADER, resume=True) as journal:
        assert [entry.cell for entry in journal.entries()] == [5]


def test_resuming_without_a_journal_starts_one(path):
    with Journal(path, HEADER, resume=True) as journal:
        assert journal.entries() == []


def test_a_journal_whose_process_died_before_the_first_write_is_started_anew(path):
    path.touch()
    with Journal(path, HEADER, resume=True) as journal:
        journal.add(ENTRIES)
        assert journal.entries() == ENTRIES


def test_looking_into_a_journal_changes_nothing(written, tmp_path):
    before = written.read_bytes()
    assert recorded(written, HEADER) == ENTRIES
    with pytest.raises(InvalidInput, match="with seed 1, received one with seed 0"):
        recorded(written, {**HEADER, "seed": "1"})
    (tmp_path / "empty").touch()
    assert recorded(tmp_path / "empty", HEADER) == recorded(tmp_path / "missing", HEADER) == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {written.name: before, "empty": b""}
    with Journal(written, HEADER, resume=True), pytest.raises(InvalidInput, match="one that no other process uses"):
        recorded(written, HEADER)


def test_an_existing_file_is_not_overwritten(written):
    refused(written, "a path where no file is", resume=False)
    with Journal(written, HEADER, resume=True) as journal:
        assert journal.entries() == ENTRIES


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({**HEADER, "seed": "1"}, "with seed 1, received one with seed 0; nothing was changed"),
        ({**HEADER, "config": "n: 4" * 50}, "with config n: 4n: 4.*SHA-256.*, received one with config n: 3"),
        ({"seed": "0", "trials": "16"}, "with config not stated, received one with config n: 3"),
        ({**HEADER, "ranks": "1"}, "with ranks 1, received one with ranks not stated"),
    ],
)
def test_a_journal_of_another_sweep_is_refused_saying_what_differs(written, header, message):
    refused(written, message, header)
    with Journal(written, HEADER, resume=True) as journal:
        assert journal.entries() == ENTRIES


def test_one_process_at_a_time(written):
    with Journal(written, HEADER, resume=True):
        refused(written, "one that no other process uses")
        code = "from pathlib import Path; from linreg_lora.sweeps.journal import Journal; "
        code += f"Journal(Path({str(written)!r}), {HEADER!r}, resume=True)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert "one that no other process uses" in done.stderr
    with Journal(written, HEADER, resume=True) as journal:
        assert journal.entries() == ENTRIES


def test_a_new_journal_is_locked_too(path):
    with Journal(path, HEADER):
        refused(path, "one that no other process uses")


@pytest.mark.parametrize("content", [b"problem: 1\n" * 200, b"\x00" * 5000, b"SQLite format 3\x00" + b"\xff" * 2000])
def test_files_that_are_no_journal_are_refused_and_left_alone(path, content):
    path.write_bytes(content)
    refused(path, "journal: expected (a journal of this package|an undamaged file)")
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused_and_left_alone(path):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mine (x)")
    database.commit()
    database.close()
    before = path.read_bytes()
    refused(path, "a journal of this package")
    assert path.read_bytes() == before


def test_another_layout_is_refused(written):
    database = sqlite3.connect(written)
    database.execute("PRAGMA user_version = 99")
    database.close()
    before = written.read_bytes()
    refused(written, "a journal of layout 1, received layout 99")
    assert written.read_bytes() == before


def test_a_changed_number_is_noticed(written):
    database = sqlite3.connect(written)
    database.execute("UPDATE cells SET payload = x'0002' WHERE cell = 0")
    database.commit()
    database.close()
    with Journal(written, HEADER, resume=True) as journal, pytest.raises(InvalidInput, match="checksum of cell 0"):
        journal.entries()


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_refused_in_one_line_or_harmless(path, seed):
    import numpy as np

    with Journal(path, HEADER) as journal:
        journal.add(Entry(i, "f", bytes(range(100)), "", "") for i in range(200))
        intact = journal.entries()
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    if seed % 4 == 0:
        del content[int(rng.integers(1, len(content))) :]
    else:
        for place in rng.integers(0, len(content), 40):
            content[place] ^= int(rng.integers(1, 256))
    path.write_bytes(content)
    found, refusal = [], ""
    try:
        with Journal(path, HEADER, resume=True) as journal:
            found = journal.entries()
    except LinregLoraError as error:
        refusal = str(error)
    assert set(found) <= set(intact)
    assert len(refusal.splitlines()) <= 1


@pytest.mark.parametrize("where", ["folder", "missing/sweep.journal", "file/sweep.journal"])
def test_paths_that_cannot_be_written_are_refused(tmp_path, where):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    refused(tmp_path / where, "journal: expected a path that can be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    refused(tmp_path / "sweep.journal", "a path that can be written, received .*; Permission denied")


def test_a_full_disk_keeps_what_was_there(path):
    """A file-size limit stands for the disk's end."""
    script = f"""
        import resource
        from pathlib import Path
        from linreg_lora.errors import LinregLoraError
        from linreg_lora.sweeps.journal import Entry, Journal
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with Journal(Path({str(path)!r}), {HEADER!r}) as journal:
            try:
                for i in range(1000):
                    journal.add([Entry(i, "a", bytes(1000), "", "")])
            except LinregLoraError as error:
                print(i, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    number, message = done.stdout.split(" ", 1)
    assert done.stderr == ""
    assert len(message.splitlines()) == 1
    assert f"the {number} cells that it has are safe" in message
    with Journal(path, HEADER, resume=True) as journal:
        assert [entry.cell for entry in journal.entries()] == list(range(int(number)))
        journal.add([Entry(int(number), "a", b"", "", "")])
