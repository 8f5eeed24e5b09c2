"""The built site is read again: every link leads somewhere in it, no page loads anything from elsewhere, and no markup
is left in its text."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

#: Attributes by which a page loads something, beside links, which are followed by hand.
_LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "link": "href",
    "source": "src",
    "video": "src",
    "object": "data",
}
#: What shows text as it is written.
_AS_WRITTEN = ("code", "math", "pre", "script", "style", "textarea", "title")
#: A table, mathematics or a link that was not made into one.
_MARKUP = re.compile(r"\|-{3,}\||\$\$|\\[a-z]{3,}|\]\(|```")


class Read(NamedTuple):
    ids: set[str]
    links: list[str]
    loads: list[str]
    markup: list[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.read = Read(set(), [], [], [])
        self._as_written = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.read.ids.update(given[name] for name in ("id", "name") if name in given)
        self._as_written += tag in _AS_WRITTEN
        if tag == "a" and "href" in given:
            self.read.links.append(given["href"])
        if _LOADS.get(tag, "") in given:
            self.read.loads.append(given[_LOADS[tag]])

    def handle_endtag(self, tag: str) -> None:
        self._as_written -= tag in _AS_WRITTEN

    def handle_data(self, data: str) -> None:
        if self._as_written == 0:
            self.read.markup.extend(_MARKUP.findall(data))


def read(path: Path) -> Read:
    reader = _Reader()
    reader.feed(path.read_text())
    return reader.read


def faults(site: Path) -> list[str]:
    """One line for each link that leads nowhere, each thing that is loaded from elsewhere, and each page whose text
    has markup in it.

    What has an equals sign after the # is no place: it sets the filters of the claims report.
    """
    found = []
    known = {path.resolve(): read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in known.items():
        name = path.relative_to(site.resolve())
        if page.markup:
            found.append(f"{name} shows {page.markup[0]} as text")
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("data", "javascript"):
                continue
            if parts.scheme or parts.netloc:
                if link in page.loads:
                    found.append(f"{name} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{name} links to {link}, which is not there")
            elif (
                parts.fragment
                and "=" not in parts.fragment
                and target in known
                and unquote(parts.fragment) not in known[target].ids | {"__skip"}
            ):
                found.append(f"{name} links to {link}, which has no such place")
    for style in sorted(site.rglob("*.css")):
        elsewhere = re.findall(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//[^\"')]*", style.read_text())
        found += [f"{style.relative_to(site)} loads {one}" for one in elsewhere]
    return found
