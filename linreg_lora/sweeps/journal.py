"""The journal of a sweep: each finished cell, on disk before anyone is told.

One SQLite file in WAL mode. Its header says what is being computed, so that cells of different sweeps are never mixed;
each cell has a checksum, so that a damaged file is noticed. One process at a time may have it open.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from linreg_lora.errors import InvalidInput, LinregLoraError

#: Marks the file as a journal of this package, as seen by `file` and SQLite.
_APPLICATION = 0x4C6F5241
#: Version of the tables below.
_SCHEMA = 1
_TABLES = (
    "CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE cells (
        cell INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, payload BLOB NOT NULL, notes TEXT NOT NULL,
        failure TEXT NOT NULL, checksum BLOB NOT NULL
    )""",
)


_LOCAL = "some network file systems have no locks; give --journal a path on a local disk"
_NO_OTHER = f"wait for it to end; if there is none: {_LOCAL}"


class Entry(NamedTuple):
    """A finished cell: its number, its problem's fingerprint, its numbers and notes; or why it failed."""

    cell: int
    fingerprint: str
    payload: bytes
    notes: str
    failure: str

    @property
    def checksum(self) -> bytes:
        """SHA-256 of everything above."""
        text = "\0".join((str(self.cell), self.fingerprint, self.notes, self.failure)) + "\0"
        return hashlib.sha256(text.encode() + self.payload).digest()


class Journal:
    """An open journal; a context manager that closes it.

    | argument | meaning                                                                                     |
    |----------|---------------------------------------------------------------------------------------------|
    | `path`   | the file; SQLite keeps a second one, path-wal, beside it while it is open                   |
    | `header` | what is computed, one line of text for each aspect; a journal with another one is refused   |
    | `resume` | True: continue the journal if there is one; False: refuse an existing file                  |

    Raises `InvalidInput` in one line for a path that cannot be written, a file that is no journal or is damaged, a
    journal that another process has open, and a header that differs, saying in what.
    """

    def __init__(self, path: Path, header: Mapping[str, str], *, resume: bool = False):
        self.path = path
        new = _created(path)
        if not new and not resume:
            raise InvalidInput("journal", "a path where no file is", str(path), "continue it with resume (--resume)")
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            raise self._refusal(error) from None
        try:
            self._open(header)
            self._cells = {cell for (cell,) in self._database.execute("SELECT cell FROM cells")}
        except sqlite3.Error as error:
            self.close()
            raise self._refusal(error) from None
        except BaseException:
            self.close()
            raise
        if new:
            _persist_name(path)

    def _open(self, header: Mapping[str, str]) -> None:
        execute = self._database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        foreign = InvalidInput("journal", "a journal of this package", str(self.path), "choose another path")
        application = self._one("PRAGMA application_id")
        tables = self._one("SELECT count(*) FROM sqlite_master")
        if application != _APPLICATION and (application != 0 or tables != 0):
            raise foreign
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        if tables == 0:
            execute("BEGIN IMMEDIATE")
            execute(f"PRAGMA application_id = {_APPLICATION}")
            execute(f"PRAGMA user_version = {_SCHEMA}")
            for table in _TABLES:
                execute(table)
            self._database.executemany("INSERT INTO header VALUES (?, ?)", header.items())
            execute("COMMIT")
            return
        execute("BEGIN IMMEDIATE")
        execute("COMMIT")
        if (schema := self._one("PRAGMA user_version")) != _SCHEMA:
            raise InvalidInput("journal", f"a journal of layout {_SCHEMA}", f"layout {schema}", "start a new one")
        if (damage := self._one("PRAGMA quick_check")) != "ok":
            raise self._damaged(damage)
        self._require_same(header, dict(execute("SELECT key, value FROM header")))

    def _require_same(self, ours: Mapping[str, str], its: Mapping[str, str]) -> None:
        for key in (*ours, *its):
            if ours.get(key) != its.get(key):
                raise InvalidInput(
                    "journal",
                    f"one of this sweep, with {key} {_shown(ours.get(key))}",
                    f"one with {key} {_shown(its.get(key))}",
                    f"nothing was changed; give this sweep a path of its own, or delete {self.path}",
                )

    def entries(self) -> list[Entry]:
        """Every finished cell, in order. Raises `InvalidInput` if one is damaged."""
        found = []
        try:
            rows = self._database.execute("SELECT * FROM cells ORDER BY cell").fetchall()
        except sqlite3.Error as error:
            raise self._refusal(error) from None
        for *fields, checksum in rows:
            entry = Entry(*fields)
            if not all(map(isinstance, entry, (int, str, bytes, str, str))) or entry.checksum != checksum:
                raise self._damaged(f"the checksum of cell {entry.cell} differs")
            found.append(entry)
        return found

    def add(self, entries: Iterable[Entry]) -> None:
        """Store finished cells; when this returns they are on disk. Raises `LinregLoraError` if that fails."""
        rows = [(*entry, entry.checksum) for entry in entries]
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise LinregLoraError(
                f"journal: expected room to write {self.path}, received {error}; the {len(self._cells)} cells that it "
                "has are safe: make room and resume (--resume)"
            ) from None
        self._cells.update(row[0] for row in rows)

    def close(self) -> None:
        """Close the file. What was added is on disk whether or not this is called."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _one(self, statement: str):
        return self._database.execute(statement).fetchone()[0]

    def _refusal(self, error: sqlite3.Error) -> InvalidInput:
        text = str(error)
        if "locked" in text:
            return InvalidInput("journal", "one that no other process uses", str(self.path), _NO_OTHER)
        if "locking protocol" in text or "disk I/O" in text:
            return InvalidInput("journal", "a path where files can be locked", str(self.path), f"{text}: {_LOCAL}")
        if "not a database" in text:
            return InvalidInput("journal", "a journal of this package", str(self.path), "choose another path")
        if "malformed" in text or "no such" in text:
            return self._damaged(text)
        return InvalidInput("journal", "a path that can be written", str(self.path), text)

    def _damaged(self, how: str) -> InvalidInput:
        reason = " ".join(how.split())
        return InvalidInput("journal", "an undamaged file", str(self.path), f"{reason}; delete it and start again")


def recorded(path: Path, header: Mapping[str, str]) -> list[Entry]:
    """The finished cells of the journal at `path`; none where there is no file, or an empty one, which stays so.

    Raises `InvalidInput` as opening the journal does.
    """
    if not path.exists() or path.stat().st_size == 0:
        return []
    with Journal(path, header, resume=True) as journal:
        return journal.entries()


def stated(path: Path) -> dict[str, str]:
    """The header of the journal at `path`; empty where there is none that can be read."""
    if not path.exists() or path.stat().st_size == 0:
        return {}
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
            return dict(database.execute("SELECT key, value FROM header"))
    except sqlite3.Error:
        return {}


def _created(path: Path) -> bool:
    """Make an empty file, which SQLite takes for an empty database; False where there is a file already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    except OSError as error:
        raise InvalidInput("journal", "a path that can be written", str(path), error.strerror or "") from None
    return True


def _persist_name(path: Path) -> None:
    """The file's name survives a power cut too, where the system can promise that."""
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _shown(value: str | None, limit: int = 40) -> str:
    if value is None:
        return "not stated"
    if len(value) <= limit:
        return value
    return f"{value[:limit]}... (SHA-256 {hashlib.sha256(value.encode()).hexdigest()[:8]})"
