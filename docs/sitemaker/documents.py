"""Documents of the repository as pages: whole, in chapters, or one section of them."""

import ast
import re
import textwrap

from sitemaker import ROOT
from sitemaker.page import Page, heading, plain, slug

#: Where a formula is computed and tested, by names that hold half of all words.
_WHERE = re.compile(r"^(\*Code:\* .*)$", flags=re.MULTILINE)
THEORY, ERRATA = "docs/theory.md", "docs/errata.md"


def document(path: str, uri: str, title: str | None = None) -> Page:
    """One Markdown file as one page."""
    text = (ROOT / path).read_text()
    return Page(uri, title or heading(text), path, text, whole=True)


def chapters() -> list[Page]:
    """docs/theory.md: what stands before its first section, with the list of chapters, and a page a section."""
    intro, *sections = sections_of((ROOT / THEORY).read_text())
    found = []
    for section in sections:
        title = plain(section.partition("\n")[0].removeprefix("## "))
        # In a page of its own a section's heading is the first, and the ones below it follow.
        text = re.sub(r"^#(#+ )", r"\1", section, flags=re.MULTILINE)
        text = _WHERE.sub(r"\1\n{: data-search-exclude }", text)
        found.append(Page(f"explanation/theory/{slug(title)}.md", title, THEORY, text))
    contents = "\n".join(f"- [{page.title}](site:{page.uri})" for page in found)
    index = Page(
        "explanation/theory/index.md", "The theory", THEORY, f"{intro}\n## Chapters\n\n{contents}\n", whole=True
    )
    return [index, *found]


def measured() -> list[Page]:
    """What benchmarks wrote."""
    found = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    pages = [document(path.relative_to(ROOT).as_posix(), f"documents/benchmarks/results/{path.name}") for path in found]
    # What readers were asked has everybody's words in it.
    return [page._replace(searched=not page.uri.endswith("_questions.md")) for page in pages]


def errata() -> list[Page]:
    """docs/errata.md: what stands before its first paper, whose table leads to a page a paper."""
    intro, *papers = re.split(r'^<a id="([\w.-]+)"></a>\n+', (ROOT / ERRATA).read_text(), flags=re.MULTILINE)
    homes = {name: f"explanation/errata/{name}.md" for name in papers[::2]}
    index = re.sub(
        r"\]\(#([\w.-]+)\)", lambda link: f"](site:{homes[link[1]]})" if link[1] in homes else link[0], intro
    )
    found = [Page("explanation/errata/index.md", "Errata", ERRATA, index, whole=True)]
    for name, text in zip(papers[::2], papers[1::2], strict=True):
        title = plain(text.partition("\n")[0].removeprefix("## ")).partition(":")[0]
        found.append(Page(homes[name], title, ERRATA, re.sub(r"^#(#+ )", r"\1", text, flags=re.MULTILINE)))
    return found


def sections_of(text: str) -> list[str]:
    """A document cut before each heading of the second level that is not in a code block."""
    pieces, fenced = [""], False
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith(("```", "~~~"))
        if line.startswith("## ") and not fenced:
            pieces.append("")
        pieces[-1] += line
    return pieces


def section(path: str, title: str, uri: str, after: str = "", called: str | None = None) -> Page:
    """One section of a document as a page, with its title or another. Raises `ValueError` where there is none."""
    for found in sections_of((ROOT / path).read_text()):
        if found.startswith(f"## {title}\n"):
            text = found.replace(f"## {title}\n", f"## {called or title}\n", 1)
            return Page(uri, called or title, path, re.sub(r"^#(#+ )", r"\1", text, flags=re.MULTILINE) + after)
    raise ValueError(f"{path} has no section {title!r}")


def beginning(path: str, name: str) -> str:
    """The code of a module from its imports to the end of a class or function. Raises `StopIteration` without it."""
    text = (ROOT / path).read_text()
    body = ast.parse(text).body
    first = next(node for node in body if isinstance(node, ast.Import | ast.ImportFrom))
    last = next(node for node in body if getattr(node, "name", None) == name)
    return "\n".join(text.splitlines()[first.lineno - 1 : last.end_lineno])


def changes() -> Page:
    """CHANGELOG.md, with the fragments that no release has yet where a release puts them."""
    page = document("CHANGELOG.md", "changes.md", "Changes")
    fragments = sorted((ROOT / "changelog.d").glob("+*.md"))
    lines = [f"- {textwrap.indent(path.read_text().strip(), '  ').lstrip()}" for path in fragments]
    start = "## Unreleased\n\n"
    return page._replace(text=page.text.replace(start, start + "".join(f"{line}\n" for line in lines), 1))


def gallery() -> Page:
    """figures/README.md with links to each figure's other files."""
    page = document("figures/README.md", "gallery.md", "Gallery")

    def with_files(found: re.Match) -> str:
        name = found[1]
        links = [
            f"[{what}]({name}.{suffix})"
            for suffix, what in (("pdf", "PDF"), ("nc", "data, NetCDF"), ("json", "provenance, JSON"))
            if (ROOT / "figures" / f"{name}.{suffix}").exists()
        ]
        return f"{found[0]}\n\n{' · '.join(links)}"

    return page._replace(text=re.sub(r"^!\[[^\]]*\]\(([\w.-]+)\.png\)$", with_files, page.text, flags=re.MULTILINE))
