"""How to cite this package and the papers whose claims it checks, as BibTeX."""

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from linreg_lora import provenance


class Entry(NamedTuple):
    """An entry of a bibliography; `paper` as in claims: arXiv and a number, or what else names it."""

    authors: tuple[str, ...]
    title: str
    year: int
    paper: str = ""

    @property
    def key(self) -> str:
        """Family name of the first author and year, as in zindari2026."""
        words = self.authors[0].split(",")[0].strip("{}").split() if self.authors else ["anonymous"]
        family = words[0] if words[-1].endswith(".") else words[-1]
        plain = unicodedata.normalize("NFKD", family).encode("ascii", "ignore").decode()
        return f"{re.sub('[^A-Za-z]', '', plain).lower()}{self.year}"

    def bibtex(self, key: str = "") -> str:
        """The entry; braces keep the title's capitals. `key`: another one than its own."""
        fields = {"title": f"{{{self.title}}}", "author": " and ".join(self.authors), "year": str(self.year)}
        if found := re.fullmatch(r"arXiv (\d{4}\.\d{4,5})", self.paper):
            fields |= {"eprint": found[1], "archiveprefix": "arXiv", "url": f"https://arxiv.org/abs/{found[1]}"}
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@misc{{{key or self.key},\n{lines}\n}}"


#: The two papers whose claims the package began with, with the names of all authors.
PAPERS = (
    Entry(
        ("Zindari, Ali", "Mulayoff, Rotem", "Stich, Sebastian U."),
        "LoRA vs. Full Fine-Tuning: A Theoretical Perspective",
        2026,
        "arXiv 2605.19018",
    ),
    Entry(
        (
            "Liu, Yongkang", "Xu, Xingle", "Nie, Ercong", "Wang, Zijing", "Feng, Shi", "Wang, Daling", "Li, Qian",
            "Schütze, Hinrich",
        ),
        "Look Within or Look Beyond? A Theoretical Comparison Between Parameter-Efficient and Full Fine-Tuning",
        2025,
        "arXiv 2505.22355",
    ),
)  # fmt: skip
SOFTWARE_TITLE = "linreg-lora: LoRA against full fine-tuning in linear regression, computed and checked"
#: Of the newest release; until there is one, of the licence.
SOFTWARE_YEAR = 2026


def software() -> str:
    """The entry of the package, of the release that this version is or is on the way to.

    Its type is biblatex's, as the line above it says. That line has no at sign: for BibTeX one begins an entry, and a
    percent sign no comment.
    """
    return (
        "% The type software is biblatex's; styles of plain BibTeX that do not know it take it as misc.\n"
        f"@software{{linreg_lora,\n  title = {{{{{SOFTWARE_TITLE}}}}},\n"
        f"  author = {{{{The linreg-lora developers}}}},\n  year = {{{SOFTWARE_YEAR}}},\n"
        f"  version = {{{provenance.release()}}}\n}}"
    )


def keyed(entries: Sequence[Entry]) -> dict[str, Entry]:
    """The entries by keys of their own: zhang2025, zhang2025b."""
    found: dict[str, Entry] = {}
    for entry in entries:
        letters = (letter for letter in ("", *string.ascii_lowercase[1:]) if entry.key + letter not in found)
        found[entry.key + next(letters)] = entry
    return found


def bibliography(entries: Sequence[Entry]) -> str:
    """The package, and these entries, each with a key of its own."""
    return "\n\n".join([software(), *(entry.bibtex(key) for key, entry in keyed(entries).items())])


def judged() -> list[Entry]:
    """Every paper of which the package judges claims: the two of `PAPERS`, and the others as their files name them."""
    from linreg_lora.claims.collection import collect_claims

    known = {entry.paper for entry in PAPERS}
    others = []
    for paper in collect_claims(None, papers=[], everything=True).file.papers:
        if paper.paper not in known and paper.year is not None:
            names = re.split(r", | and ", paper.authors or "Anonymous")
            authors = tuple("others" if name == "al." else _written(name.removesuffix(" et al.")) for name in names)
            more = ("others",) if any(name.endswith(" et al.") for name in names) else ()
            others.append(Entry((*authors, *more), paper.title, paper.year, paper.paper))
    return [*PAPERS, *others]


def _written(name: str) -> str:
    """A name in BibTeX; one that ends in an initial, as in Arunan J., stays as it is."""
    return f"{{{name}}}" if name.endswith(".") else name
