"""A page of the site before MkDocs sees it."""

import re
from typing import NamedTuple


class Page(NamedTuple):
    """`uri`: its Markdown file in the site. `origin`: the repository's file whose folder its links are relative to.

    `title`: how the navigation calls it. `whole`: links to `origin` lead to this page. `searched`: the search finds it.
    """

    uri: str
    title: str
    origin: str
    text: str
    whole: bool = False
    searched: bool = True


def plain(title: str) -> str:
    """A title without mathematics and code: `$A_0$` is A0."""
    return re.sub(r"\$([^$]*)\$", lambda found: re.sub(r"[_{}\\]", "", found[1]), title).replace("`", "")


def slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", plain(title).lower()).strip("-")


def heading(text: str) -> str:
    """What a document calls itself: its first heading."""
    found = re.search(r"^# (.+)$", text, flags=re.MULTILINE)
    if found is None:
        raise ValueError(f"a document needs a heading of the first level; it begins with {text[:60]!r}")
    return plain(found[1])
