"""Which claims a run is about: those of `paper_claims.yaml`, of a file, of other papers, or all of them.

Every file has a false-alarm level of its own; that of a run is their sum.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from linreg_lora.claims.file import default_path, load_claims
from linreg_lora.claims.plugins import installed_plugins
from linreg_lora.claims.schema import ClaimsFile
from linreg_lora.errors import InvalidInput

_PAPERS = Path(__file__).with_name("papers")


class Part(NamedTuple):
    """One claims file of a run."""

    name: str
    path: Path
    file: ClaimsFile


class Collection(NamedTuple):
    """The claims of several files. `file`: all of them as one, whose level is the sum of theirs."""

    parts: tuple[Part, ...]
    file: ClaimsFile


def known_papers() -> dict[str, Path]:
    """Names of the claims files beside `paper_claims.yaml`, of this package and of installed plug-ins, and their paths.

    >>> import linreg_lora as ll
    >>> sorted(ll.claims.known_papers())
    ['hayou-2024', 'linreg-lora']
    """
    own = {_normal(path.parent.name): path for path in sorted(_PAPERS.glob("*/claims.yaml"))}
    theirs = {_normal(plugin.name): plugin.claims for plugin in installed_plugins() if plugin.claims is not None}
    return {**theirs, **own}


def collect_claims(
    claims: Path | str | None = None, *, papers: Sequence[str] = (), everything: bool = False
) -> Collection:
    """The claims of a file, of papers by name, or of everything there is; by default those of `paper_claims.yaml`.

    Raises `InvalidInput` for an unknown name, for what is no claims file, and for an id that two files have.

    >>> import linreg_lora as ll
    >>> found = ll.claims.collect_claims(everything=True)
    >>> [part.name for part in found.parts]
    ['paper_claims.yaml', 'hayou-2024', 'linreg-lora']
    >>> found.file.family_wise_level == sum(part.file.family_wise_level for part in found.parts)
    True
    """
    chosen = _chosen(claims, papers, everything)
    parts = tuple(Part(name, path, load_claims(path)) for name, path in chosen.items())
    if len(parts) == 1:
        return Collection(parts, parts[0].file)
    owners: dict[str, str] = {}
    for name, _, file in parts:
        for claim in (*file.claims, *file.undecidable):
            if claim.id in owners:
                where = f"{owners[claim.id]} has it, {name} wants it"
                raise InvalidInput("claims", "ids that are one claim's in all files of a run", claim.id, where)
            owners[claim.id] = name
    files = [part.file for part in parts]
    merged = ClaimsFile.model_construct(
        schema_version=1,
        family_wise_level=sum(file.family_wise_level for file in files),
        claims=[claim for file in files for claim in file.claims],
        undecidable=[entry for file in files for entry in file.undecidable],
        slips=[slip for file in files for slip in file.slips],
    )
    merged.mark_shipped(claim_id for file in files for claim_id in file.shipped)
    return Collection(parts, merged)


def _chosen(claims: Path | str | None, names: Sequence[str], everything: bool) -> dict[str, Path]:
    """Name -> path, each once."""
    chosen: dict[str, Path] = {}
    if everything or (claims is None and not names):
        chosen[default_path().name] = default_path()
    if claims is not None:
        chosen[Path(claims).name] = Path(claims)
    known = known_papers() if everything or names else {}
    for name in known if everything else names:
        if _normal(name) not in known:
            raise InvalidInput("paper", f"one of {', '.join(known)}", name, _where_seeds_are(name))
        chosen[_normal(name)] = known[_normal(name)]
    return chosen


def _where_seeds_are(name: str) -> str:
    if _normal(name) in {_normal(path.name) for path in _PAPERS.iterdir()}:
        return f"the claims of {name} are in {default_path().name}, which is judged without --paper"
    return ""


def _normal(name: str) -> str:
    """- and _ are one letter."""
    return name.replace("_", "-")
