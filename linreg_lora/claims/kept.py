"""Verdicts that are kept: what was judged by this code, of this file, from this seed, need not be judged again.

They are kept in the folder `verdicts` of the cache (`runtime.cache_dir`), one file for each claims file, named by a
hash of all that a verdict depends on: every byte of the package and of the claims file, the versions of Python and of
the libraries, the seed and the budget. A plug-in is code that no hash here knows: with one loaded nothing is kept.
Whatever is wrong with the folder, or with a file in it, is as if nothing were kept.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linreg_lora import runtime
from linreg_lora.claims import plugins
from linreg_lora.claims.vocabulary import Budget, Verdict
from linreg_lora.errors import LinregLoraError
from linreg_lora.files.atomic import write_atomically

if TYPE_CHECKING:
    from linreg_lora.claims.collection import Part
    from linreg_lora.claims.judge import Judgement
    from linreg_lora.claims.schema import Claim

_PACKAGE = Path(__file__).parents[1]
#: What computes numbers; of what is not installed, that.
_LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "optax", "pydantic", "scikit-learn")
#: Files that are kept; of more, the oldest go.
_MOST_FILES = 64
#: Seconds of work that may be lost: files are hashed anew each time that something is kept.
_KEPT_EVERY = 5.0


def folder() -> Path:
    """Where verdicts are kept."""
    return runtime.cache_dir() / "verdicts"


class KeptVerdicts:
    """The verdicts of claims files from one seed and budget, as they were when this was made.

    `parts`: the files (`collect_claims`). Nothing is found, and nothing kept, where a plug-in is loaded.
    """

    def __init__(self, parts: "Sequence[Part]", seed: int, budget: Budget) -> None:
        self._parts, self._rest = tuple(parts), (str(int(seed)), str(budget))
        self._names = self._hashes()
        self._judged: dict[str, dict[str, Any]] = {}
        for name in self._names.values():
            self._judged |= read(name)

    def find(self, claim: "Claim", near: bool) -> "Judgement | None":
        """The judgement of a claim, asked near its cases or not; None where none is kept."""
        found = self._judged.get(claim.id)
        if found is None or found["near"] is not near:
            return None
        return _judgement(found, claim)

    @contextlib.contextmanager
    def keeping(self, near: Callable[[str], bool]) -> "Iterator[Callable[[Judgement], None]]":
        """A function to call with each judgement: they are kept every few seconds, and at the end however that comes.

        `near`: id of a claim -> whether it was asked near its cases.
        """
        waiting: list[Judgement] = []
        began = time.monotonic()

        def learned(judgement: "Judgement") -> None:
            nonlocal began
            waiting.append(judgement)
            if time.monotonic() - began > _KEPT_EVERY:
                self.keep(waiting, near)
                waiting.clear()
                began = time.monotonic()

        try:
            yield learned
        finally:
            self.keep(waiting, near)

    def keep(self, judgements: "Iterable[Judgement]", near: Callable[[str], bool]) -> None:
        """Keep judgements, beside those that are kept; not if code or files have changed since this was made.

        `near`: id of a claim -> whether it was asked near its cases.
        """
        made = {j.claim.id: _content(j, near(j.claim.id)) for j in judgements}
        if not self._names or self._hashes() != self._names:
            return
        for part in self._parts:
            name, ids = self._names[part.name], {claim.id for claim in part.file.claims}
            write(name, read(name) | {claim: content for claim, content in made.items() if claim in ids})

    def _hashes(self) -> dict[str, str]:
        """Name of a part -> the hash of what its verdicts depend on; nothing where that is not known."""
        package = code()
        if package is None:
            return {}
        try:
            return {part.name: hashed([*self._rest, package, part.path.read_bytes()]) for part in self._parts}
        except OSError:
            return {}


def code() -> str | None:
    """A hash of the package, of what computes beside it, and of the flags that it is compiled with.

    None where a plug-in is loaded, which may change what any of them does.
    """
    if plugins.loaded_files() or plugins.installed_plugins():
        return None
    files = sorted(path for path in _PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    listed = [part for path in files for part in (str(path.relative_to(_PACKAGE)), path.read_bytes())]
    return hashed([*listed, *_versions(), os.environ.get("XLA_FLAGS", "")])


@functools.cache
def _versions() -> tuple[str, ...]:
    found = [platform.python_version(), platform.machine()]
    for library in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{library} {version(library)}")
    return tuple(found)


def hashed(parts: Iterable[str | bytes]) -> str:
    """SHA-256 of texts, each with its length, so that none can pass into its neighbour."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()


def write(name: str, content: Mapping[str, Any]) -> None:
    """Keep what JSON can say, and let go of what is oldest."""
    text = json.dumps(content)
    with contextlib.suppress(OSError, LinregLoraError):
        folder().mkdir(parents=True, exist_ok=True)
        write_atomically(folder() / f"{name}.json", json.dumps({"sha256": hashed([text]), "content": text}).encode())
        for old in sorted(folder().glob("*.json"), key=os.path.getmtime)[:-_MOST_FILES]:
            old.unlink(missing_ok=True)


def read(name: str) -> dict[str, Any]:
    """What `write` kept; nothing where there is none, or another byte in it."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads((folder() / f"{name}.json").read_bytes())
        if kept["sha256"] == hashed([kept["content"]]):
            return json.loads(kept["content"])
    return {}


def _content(judgement: "Judgement", near: bool) -> dict[str, Any]:
    """A judgement without its claim, which the claims file has."""
    parts = {field.name: getattr(judgement, field.name) for field in dataclasses.fields(judgement)}
    del parts["claim"]
    rivals = [dataclasses.asdict(rival) for rival in parts["rivals"]]
    comparisons, outside = ([dataclasses.asdict(c) for c in parts[name]] for name in ("comparisons", "outside"))
    return _plain({**parts, "near": near, "rivals": rivals, "comparisons": comparisons, "outside": outside})


def _judgement(content: dict[str, Any], claim: "Claim") -> "Judgement":
    from linreg_lora.claims.evidence import Comparison
    from linreg_lora.claims.judge import Judgement, RivalJudgement

    def comparison(said: dict[str, Any]) -> Comparison:
        return Comparison(**{**said, "verdict": Verdict(said["verdict"])})

    said = {name: value for name, value in content.items() if name != "near"}
    return Judgement(
        **{
            **said,
            "claim": claim,
            "verdict": Verdict(said["verdict"]),
            "comparisons": [comparison(one) for one in said["comparisons"]],
            "outside": [comparison(one) for one in said["outside"]],
            "rivals": [
                RivalJudgement(**{**one, "comparison": comparison(one["comparison"])}) for one in said["rivals"]
            ],
        }
    )


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, which JSON keeps to the bit."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
