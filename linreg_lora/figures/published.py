"""Which figures of the papers are redrawn here, by the papers' own numbers."""

from typing import NamedTuple


class Published(NamedTuple):
    """A figure of a paper: its number there, and what is drawn here."""

    paper: str
    number: str
    name: str
    differs: str = ""


#: In the order of the paper's numbers. `differs`: what is not the paper's own setting.
PUBLISHED = (
    Published("arXiv 2605.19018", "1a", "risk-vs-sample-size-strong-noise", "sigma = 10, which the paper does not say"),
    Published("arXiv 2605.19018", "1b", "risk-vs-noise-underdetermined", "n = 50, where the released script has 1000"),
    Published("arXiv 2605.19018", "10a", "risk-vs-sample-size-weak-noise"),
    Published("arXiv 2605.19018", "10b", "risk-vs-noise-overdetermined"),
    Published("arXiv 2605.19018", "11", "risk-vs-true-rank", "without rank 32, which is FFT"),
    Published("arXiv 2605.19018", "12", "risk-vs-spectral-decay"),
)


def named(word: str) -> str:
    """The name of a figure of this package: `word` itself, or that of figure-11 and the like."""
    for one in PUBLISHED:
        if word.lower().replace(" ", "-") in (f"figure-{one.number}", f"{one.paper.split()[-1]}:{one.number}"):
            return one.name
    return word


def of(name: str) -> list[Published]:
    """The papers' figures that one of this package redraws."""
    return [one for one in PUBLISHED if one.name == name]
