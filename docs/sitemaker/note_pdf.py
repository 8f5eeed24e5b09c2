"""The note as a part of the site: compiled for it, whatever lies in docs/note/."""

from note import build

from sitemaker.page import Page

URI, PLACE = "note.md", "files/note.pdf"


def pdf() -> bytes:
    """The note. Raises `note.sources.NotFound`, `OSError` or `typst.TypstError` where it cannot be made."""
    build.prepare()
    (made,) = build.compiled()
    return made


def with_link(page: Page) -> Page:
    """The page of the note, with the note behind its first lines."""
    before, between, after = page.text.partition("\n```console\n")
    return page._replace(text=f"{before}\n**[Read the note (PDF)](site:{PLACE})**\n{between}{after}")
