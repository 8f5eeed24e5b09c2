"""Links between documents of the repository become links between pages; what they lead to joins the site."""

import ast
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from sitemaker import ROOT
from sitemaker.page import Page, heading

#: Files that are copied as they are.
COPIED = (".png", ".svg", ".pdf", ".nc")
#: What pygments calls the languages of files that are shown.
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", ".cff": "yaml"}
#: Folders and files whose contents have a page made of them.
_SHOWN = {"docs/schemas": "reference/file-formats.md"}
_CODE = re.compile(r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$|`+[^`\n]*`+", flags=re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"\[`([\w.]+)`\]\(([^()\s#]+\.py)\)")
_TARGET = re.compile(r"\]\(([^()\s]+)\)")
#: A paper's number, in running text.
_ARXIV = re.compile(r"(?<![\[/\w])arXiv (\d{4}\.\d{4,5})\b(?!\])")
#: A link whose text is a document's name.
_DOCUMENT = re.compile(r"\[(?:[\w.-]+/)*[\w-]+\.(?:md|ipynb)\]\(((?!https?:)[^()\s]+)\)")


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text changed everywhere but in code blocks and code spans."""
    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [change(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, change(text[end:])])


def with_papers(text: str) -> str:
    """The text with the numbers of papers leading to them, but for headings."""
    lines = text.split("\n")
    found = [line if line.startswith("#") else _ARXIV.sub(r"[\g<0>](https://arxiv.org/abs/\1)", line) for line in lines]
    return "\n".join(found)


def closed(pages: list[Page]) -> tuple[list[Page], dict[str, Path]]:
    """The pages and all they lead to, links rewritten; and the files to be copied, by their place in the site.

    A link to a function, as in "[`theory.fft.fft_risk`](../linreg_lora/theory/fft.py)", leads to its line; one to a
    heading of a document that is cut into chapters, as in "theory.md#9-forgetting", to the chapter. A link that is
    called by a document's name, as in "[family.md](family.md)", is called by its title.
    """
    titles = {page.uri: page.title for page in pages}
    homes = _SHOWN | {page.origin: page.uri for page in pages if page.whole}
    waiting, done, files = list(pages), [], {}

    def place(path: str) -> str:
        if path in homes:
            return homes[path]
        full = ROOT / path
        if full.is_dir() and (full / "README.md").exists():
            return place(f"{path}/README.md")
        if not full.is_file():
            raise ValueError(f"a document links to {path}, which is no file of the repository")
        if full.suffix in COPIED or path.startswith("figures/"):
            files[f"files/{path}"] = full
            return f"files/{path}"
        made = _shown(path, full)
        homes[path] = made.uri
        titles[made.uri] = made.title
        waiting.append(made)
        return made.uri

    def rewritten(page: Page) -> str:
        def target(found: re.Match) -> str:
            link = found[1]
            if re.match(r"(https?|mailto):|#", link):
                return found[0]
            path, _, fragment = link.partition("#")
            if path.startswith("site:"):
                uri = path.removeprefix("site:")
            else:
                repository_path = posixpath.normpath(posixpath.join(posixpath.dirname(page.origin), path))
                uri = place(repository_path)
                chapter = posixpath.join(posixpath.dirname(uri), f"{fragment}.md")
                if uri.endswith("/index.md") and chapter in titles:
                    uri, fragment = chapter, ""
                if repository_path.endswith(".py") and fragment:
                    fragment = f"__codelineno-0-{_line(ROOT / repository_path, fragment)}"
            relative = os.path.relpath(uri, posixpath.dirname(page.uri) or ".")
            return f"]({relative}#{fragment})" if fragment else f"]({relative})"

        def titled(found: re.Match) -> str:
            path = found[1].partition("#")[0]
            uri = place(posixpath.normpath(posixpath.join(posixpath.dirname(page.origin), path)))
            return f"[{titles.get(uri, path)}]({found[1]})"

        def named(found: re.Match) -> str:
            return f"[`{found[1]}`]({found[2]}#{found[1].rpartition('.')[2]})"

        return outside_code(
            _NAMED.sub(named, page.text),
            lambda piece: with_papers(_TARGET.sub(target, _DOCUMENT.sub(titled, piece))),
        )

    while waiting:
        page = waiting.pop(0)
        done.append(page._replace(text=page.text if page.uri.startswith("source/") else rewritten(page)))
    return done, files


def _shown(path: str, full: Path) -> Page:
    """A file that has no page in the navigation: a document, or what is shown as code."""
    text = full.read_text()
    if full.suffix == ".md":
        return Page(f"documents/{path}", heading(text), path, text, whole=True)
    fence = "~" * 12
    shown = f'# {path}\n\n{fence}{{.{_LANGUAGES.get(full.suffix, "text")} linenums="1"}}\n{text.rstrip()}\n{fence}\n'
    # MkDocs leaves out what begins with a dot.
    return Page(f"source/{path}.md".replace("/.", "/"), path, path, shown, whole=True, searched=False)


def _line(path: Path, name: str) -> int:
    """Where a function, class, method or constant of a module is defined; its first line where it is the module."""
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, defined) and node.name == name:
            return node.lineno
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in [getattr(target, "id", None) for target in targets]:
            return node.lineno
    return 1
