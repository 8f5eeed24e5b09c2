"""What MkDocs calls while it builds the site: `mkdocs.yml` names this file, `sitemaker` does the work.

LINREG_LORA_SITE_NOTEBOOKS=0    notebooks are not run, and say so
LINREG_LORA_SITE_REPORT=0       claims are not judged, and their report is left out
LINREG_LORA_SITE_REPORT=1       the claims of all papers are judged, not those of the package's own file alone
"""

import json
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink
from sitemaker import checked, contents, links, mathematics, note_pdf, notebooks, report, runs, search

_HERE = Path(__file__).parent / "sitemaker"
#: Code that no line is broken within: an option, or a command by its name.
_WHOLE = re.compile(r"<code>(--?[\w-]+|linreg-lora [\w-]+)</code>")
#: A block of commands, and an option in it.
_COMMANDS = re.compile(r'<div class="language-console.*?</div>', flags=re.DOTALL)
_OPTION = re.compile(r"(?<![\w<-])(--?[a-z][\w-]*)(?![^<]*>)")
_ASSETS = ("site.css", "iframe-worker.js")


#: What people look for first, and what has every word in it.
_FIRST, _LAST = ("index.md", "commands.md", "install.md", "how-to/"), ("changes.md", "contributing.md", "documents/")
_LONG = ("explanation/errata/", "explanation/contested.md", "explanation/statements.md", "reference/")
#: Of the documents, what people do look for.
_MEASURED = "documents/benchmarks/results/"


def _search(uri: str) -> dict[str, float]:
    """How much more a page's words count in the search than those of others."""
    if uri.startswith(_FIRST):
        return {"boost": 4}
    return {"boost": 0.25 if uri.startswith(_LAST + _LONG) and not uri.startswith(_MEASURED) else 1}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.nav = contents.navigation(contents.sections())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Everything in docs/ is replaced by the pages made of it."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    pages = {page.uri: page for page in contents.pages()}
    made: dict[str, bytes] = {}
    if os.environ.get("LINREG_LORA_SITE_NOTEBOOKS") != "0":
        executed, pictures = notebooks.executed()
        pages |= {page.uri: page for page in executed}
        made |= pictures
    else:
        made |= notebooks.stored()
    wanted = os.environ.get("LINREG_LORA_SITE_REPORT")
    if wanted != "0":
        made[report.PLACE] = report.page(everything=wanted == "1")
        pages[report.URI] = report.with_link(pages[report.URI])
        for uri, page in pages.items():
            if uri.startswith(("explanation/errata/", "explanation/contested.md", "explanation/statements.md")):
                pages[uri] = report.with_claims(page, made[report.PLACE])
    made[note_pdf.PLACE] = note_pdf.pdf()
    pages[note_pdf.URI] = note_pdf.with_link(pages[note_pdf.URI])
    closed, copied = links.closed([page._replace(text=runs.with_outputs(page.text)) for page in pages.values()])
    for page in closed:
        facts = {"title": page.title, "search": _search(page.uri) if page.searched else {"exclude": True}}
        content = f"---\n{json.dumps(facts)}\n---\n\n{page.text}"
        files.append(File.generated(config, page.uri, content=content))
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    for place, path in copied.items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    for name in _ASSETS:
        files.append(File.generated(config, f"assets/{name}", abs_src_path=str(_HERE / name)))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    def typeset(items: list[AnchorLink]) -> None:
        for item in items:
            item.title = mathematics.typeset_title(item.title)
            typeset(item.children)

    try:
        typeset(list(page.toc))
        html = _COMMANDS.sub(lambda block: _OPTION.sub(r'<span class="whole">\1</span>', block[0]), html)
        return _WHOLE.sub(r'<code class="whole">\1</code>', mathematics.typeset(html))
    except ValueError as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error


def on_post_build(config: MkDocsConfig) -> None:
    """A page for what is not found and a map for search machines are a host's, and there is none."""
    site = Path(config.site_dir)
    for name in ("404.html", "sitemap.xml", "sitemap.xml.gz"):
        (site / name).unlink(missing_ok=True)
    try:
        search.repair(site)
    except ValueError as error:
        raise PluginError(str(error)) from error
    faults = checked.faults(site)
    if faults:
        raise PluginError("\n".join([f"{len(faults)} faults of the built site:", *faults[:60]]))
