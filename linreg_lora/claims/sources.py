"""Where claims are made, and how that is known: no reader can take what was remembered for what was read.

    read       its text was at hand: what the claim quotes is printed there
    abstract   of its text, the abstract or the introduction was
    summary    somebody else's summary was
    memory     nothing was: it `is said to claim` this, and no number of a theorem is trusted
    own        it is ours, or what a source's statement turns into in this model
    unread     nothing is said about it; only what is undecidable has such a source

A claims file states the status of each of its papers once, under `papers`; a claim's own `status` takes precedence.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from linreg_lora.claims.vocabulary import Status
from linreg_lora.errors import InvalidInput
from linreg_lora.files.models import Integer, Strict

#: What older files say: the text was at hand, or it was not and a note says how it is read.
_OLDER_WORDS = {"printed": Status.READ, "reading": Status.SUMMARY}
_KINDS = (
    "theorem theo thm th proposition prop lemma lem corollary corollarie cor equation eqn eq definition defn def "
    "assumption assump asm conjecture conj observation obs claim remark rem algorithm alg chapter chap section sec "
    "figure fig table tab appendix appendice app page"
).replace(" ", "|")
_ORDINALS = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|\\d+(?:st|nd|rd|th)"
#: Between a kind and its number: space, and what typesetting or counting puts there, as in theorem no. $3$.
_BETWEEN = r"(?:[^\w.,;:!?\"'“”‘’–—-]{0,5}|\s?[–—-]\s?(?=\d))"
_NUMBERED = re.compile(
    rf"(?:\b(?i:{_KINDS})s?\.?_?{_BETWEEN}(?i:(?:nos?|nr|num|number)\b\.?{_BETWEEN})?|§+\s*)"
    r"(?:(?:[A-Z]\.?)?\d|[A-Z]\b|[IVXLC]+\b)[\w.]*"
    rf"|\b(?i:{_ORDINALS})[\s~-]+(?i:{_KINDS})\b"
    # The number of an equation alone, and no argument of a function.
    r"|(?<![\w(){}\]^\\])\([1-9]\d{0,2}(?:\.\d+)*[a-z]?\)"
)
#: How a text says that it is from memory.
_HEARSAY = re.compile(r"\b(?:is|are)\s+said\s+to\b")


def _current_word(status: Any) -> Any:
    return _OLDER_WORDS.get(status, status) if isinstance(status, str) else status


_Known = Annotated[Status, BeforeValidator(_current_word)]


class Source(Strict):
    """Where a claim is made. `note`: what we take the source to say; needed where its text was not at hand.

    `status` is that of the paper among the file's `papers`; without these, and without one of its own, `read`. Older
    files say `printed` for read and `reading` for summary.
    """

    paper: str
    locator: str
    status: _Known = Status.READ
    note: str = ""
    _of_others: bool = PrivateAttr(False)

    @property
    def is_a_reading(self) -> bool:
        """Whether what is judged is ours, of a paper of others: our reading of it, or what we say about it."""
        return self.status.is_a_reading or self._of_others

    def mark_whose(self, papers: Mapping[str, Status]) -> None:
        """Note whether a statement of ours is about a paper of others; `papers`: the status of each that is listed."""
        self._of_others = self.status is Status.OWN and papers.get(self.paper, Status.OWN) is not Status.OWN

    @model_validator(mode="after")
    def _readings_are_explained(self) -> "Source":
        if self.status.is_a_reading and not self.note:
            raise ValueError(f"a note that says how the source is read, because its status is {self.status}")
        return self

    def require_words_of_memory(self, *texts: str) -> None:
        """Where the source is known from memory, refuse the number of a theorem, of an equation or of a section, and
        what does not say that it is said to be so."""
        if self.status is not Status.MEMORY:
            return
        for text in (self.locator, self.note, *texts):
            if found := _NUMBERED.search(text):
                remedy = "say in words what the statement is about"
                raise InvalidInput("source", "no numbers of statements known from memory", found[0], remedy)
        if not any(_HEARSAY.search(text) for text in (self.note, *texts)):
            expected = 'what the source "is said to" claim, as it is known from memory'
            raise InvalidInput("source.note", expected, self.note, "as in: It is said to claim that ...")


class Paper(Strict):
    """A source of a claims file, by the name that its claims give it, and how it is known. `note`: says more of that.

    >>> import linreg_lora as ll
    >>> [f"{paper.paper}: {paper.status}" for paper in ll.load_claims().papers[:2]]
    ['arXiv 2605.19018: read', 'arXiv 2505.22355: summary']
    """

    paper: str = Field(min_length=1)
    title: str = ""
    authors: str = ""
    year: Integer | None = Field(default=None, ge=1600, le=2200)
    status: _Known
    note: str = ""


def with_statuses(content: Any) -> Any:
    """The content of a claims file, in which every source that states no status has that of its paper.

    What is no claims file is returned as it is, to be refused where it is read.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("papers"), list):
        return content
    statuses = {
        str(paper.get("paper")): paper["status"]
        for paper in content["papers"]
        if isinstance(paper, Mapping) and "status" in paper
    }
    filled = {
        name: [_with_status(entry, statuses) for entry in content[name]]
        for name in ("claims", "undecidable", "slips")
        if isinstance(content.get(name), list)
    }
    return {**content, **filled}


def _with_status(entry: Any, statuses: Mapping[str, Any]) -> Any:
    source = entry.get("source") if isinstance(entry, Mapping) else None
    if not isinstance(source, Mapping) or "status" in source or str(source.get("paper")) not in statuses:
        return entry
    return {**entry, "source": {**source, "status": statuses[str(source["paper"])]}}


def require_listed(papers: Iterable[Paper], sources: Iterable[Source]) -> None:
    """Refuse papers that are listed twice, and sources whose paper is not listed, unless none is."""
    listed = [paper.paper for paper in papers]
    if not listed:
        return
    for name in listed:
        if listed.count(name) > 1:
            raise InvalidInput("papers", "each paper once", f"{name} twice")
    for name in dict.fromkeys(source.paper for source in sources):
        if name not in listed:
            raise InvalidInput("papers", f"every paper that a source names, so also {name}", ", ".join(listed))
