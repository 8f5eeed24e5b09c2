"""The documentation site: every page has its source, and what is built can be read, searched and linked to offline.

Building takes minutes, so what needs the built site is heavy.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import launched, opened
from sitemaker import (
    api,
    checked,
    command_line,
    contents,
    docstrings,
    documents,
    links,
    mathematics,
    notebooks,
    report,
    runs,
    search,
)
from sitemaker.page import Page

from linreg_lora.cli import app

ROOT = Path(__file__).parents[1]
PAGES = contents.pages()
#: Public names by their packages, as the stubs say it.
NAMES = {
    f"{'.'.join(stub.parent.relative_to(ROOT).parts)}.{name}"
    for stub in (ROOT / "linreg_lora").rglob("__init__.pyi")
    for node in ast.parse(stub.read_text()).body
    if isinstance(node, ast.Assign)
    for name in ast.literal_eval(node.value)
}


def test_every_page_of_the_navigation_has_a_source_and_a_place_of_its_own():
    assert len({page.uri for page in PAGES}) == len(PAGES) > 60
    for page in PAGES:
        assert (ROOT / page.origin).exists(), page.uri
        assert page.text.lstrip().startswith("# "), page.uri


def test_every_document_is_in_the_navigation():
    written = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md"), *ROOT.glob("notebooks/*.ipynb")]
    assert {path.relative_to(ROOT).as_posix() for path in written} <= {page.origin for page in PAGES if page.whole}


def test_the_chapters_are_the_theory():
    """Nothing of it is lost or moved: but for the list of chapters and the levels of headings they are its text."""
    index, *chapters = documents.chapters()
    parts = [index.text.partition("\n## Chapters\n")[0], *(chapter.text for chapter in chapters)]
    parts = [part.replace("\n{: data-search-exclude }", "") for part in parts]
    assert len(chapters) >= 25

    def lines(text):
        return [line.lstrip("#").strip() for line in text.splitlines() if line.strip()]

    assert lines("\n".join(parts)) == lines((ROOT / "docs" / "theory.md").read_text())


def test_the_errata_have_a_page_a_paper():
    """Nothing of them is lost but the anchors, and the table leads to the pages."""
    index, *papers = documents.errata()
    assert len(papers) >= 35
    assert all(f"](site:{page.uri})" in index.text for page in papers)
    written = re.sub(r'^<a id="[\w.-]+"></a>$', "", (ROOT / "docs" / "errata.md").read_text(), flags=re.MULTILINE)

    def lines(text):
        return [line.lstrip("#").strip() for line in re.sub(r"\]\([^)]*\)", "]()", text).splitlines() if line.strip()]

    assert lines("\n".join([index.text, *(page.text for page in papers)])) == lines(written)


def test_changes_that_no_release_has_yet_are_on_the_page_of_changes():
    text = documents.changes().text
    fragments = [path.read_text().split("\n")[0] for path in (ROOT / "changelog.d").glob("+*.md")]
    assert all(f"\n- {line}" in text.partition("\n## 0")[0] for line in fragments)
    kept = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert [line for line in text.splitlines() if line in set(kept)] == kept


def test_every_public_name_and_every_command_is_in_the_reference():
    said = "\n".join(page.text for page in api.pages())
    missing = {name for name in NAMES if not (f"::: {name}\n" in said or f"`{name}`" in said or f"# {name}\n" in said)}
    assert missing - {"linreg_lora.__version__"} == set()
    commands = {f"linreg-lora {info.name or info.callback.__name__}" for info in app.registered_commands}
    assert commands <= set(re.findall(r"^## `(.*)`$", command_line.page().text, flags=re.MULTILINE))


def test_links_to_a_section_of_the_theory_lead_to_its_chapter():
    """Every one of the repository, and those that lead elsewhere keep their heading."""
    closed, _ = links.closed(PAGES)
    said = {page.uri: page.text for page in closed}
    assert "](explanation/theory/what-is-exact-what-is-a-limit-what-is-observed.md)" in said["index.md"]
    assert "](commands.md#forgetting)" in said["index.md"]
    assert [uri for uri, text in said.items() if "theory/index.md#" in text] == []


def test_links_between_documents_become_links_between_pages_and_lead_to_lines():
    page = Page(
        "a/b.md", "B", "docs/b.md", "[`theory.fft.fft_risk`](../linreg_lora/theory/fft.py) `](x)` [t](theory.md)"
    )
    theory = Page("explanation/theory/index.md", "T", "docs/theory.md", "# T", whole=True)
    (first, *_), files = links.closed([page, theory])
    line = (ROOT / "linreg_lora" / "theory" / "fft.py").read_text().splitlines().index("def fft_risk(problem: Problem) -> FFTRisk:") + 1  # fmt: skip  # noqa: E501
    assert f"](../source/linreg_lora/theory/fft.py.md#__codelineno-0-{line}) `](x)` [t](../explanation/theory/index.md)" in first.text  # fmt: skip  # noqa: E501
    assert files == {}
    with pytest.raises(ValueError, match=r"docs/gone\.md, which is no file"):
        links.closed([page._replace(text="[gone](gone.md)")])


def test_links_are_called_by_titles_and_not_by_names_of_files():
    for page in links.closed(PAGES)[0]:
        if not page.uri.startswith(("source/", "reference/api/")):
            links.outside_code(page.text, lambda piece, uri=page.uri: _no_file_name(piece, uri))


def _no_file_name(piece, uri):
    assert re.findall(r"\[[\w./-]+\.(?:md|ipynb)\]\(", piece) == [], uri
    return piece


def test_the_method_that_is_shown_runs(tmp_path):
    """As a plug-in, in a process of its own: this one may have a method of the name."""
    (page,) = [page for page in PAGES if page.uri == "how-to/add-a-method.md"]
    (code,) = re.findall(r"^```python\n(.*?)^```$", page.text, re.MULTILINE | re.DOTALL)
    (tmp_path / "shown.py").write_text(code)
    problem = ("--n=60", "--dx=6", "--dy=5", "--noise-std=1", "--spectrum=3,2,1", "--trials=8")
    words = ["compare", *problem, "--adapt=first-inputs:4,fft", "--plugin=shown.py"]
    command = [sys.executable, "-c", "from linreg_lora.__main__ import run; run()", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "first-inputs:4" in done.stdout


def test_every_notebook_says_how_to_open_it_and_can_be_downloaded():
    files = notebooks.stored()
    for page in notebooks.pages():
        name = page.origin.removeprefix("notebooks/")
        assert f"`jupyter lab notebooks/{name}`" in page.text.split("\n## ")[0]
        assert f"](site:files/notebooks/{name})" in page.text
        assert files[f"files/notebooks/{name}"] == (ROOT / page.origin).read_bytes()
    assert re.search(r"^\| `notebooks` \| JupyterLab", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)


def test_what_a_notebook_prints_piece_by_piece_is_one_block():
    def printed(text, name="stdout"):
        return {"output_type": "stream", "name": name, "text": text}

    cell = {
        "cell_type": "code",
        "source": "f()",
        "outputs": [printed("a\n"), printed(["b\n"]), printed("c\n", "stderr")],
    }
    title = {"cell_type": "markdown", "source": "# T"}
    text = notebooks._page(notebooks.FOLDER / "x.ipynb", {"cells": [title, cell]}, {}).text
    assert text.endswith("~~~~~~{.text .output}\na\nb\n~~~~~~\n\n~~~~~~{.text .output}\nc\n~~~~~~\n")


def test_what_cannot_be_typeset_or_run_ends_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "CACHE", tmp_path)
    first, second = (
        f"```python run\nfrom pathlib import Path\n{line}\n```\n"
        for line in ("n = Path('x').write_text('7')", "print(Path('x').read_text())")
    )
    shown = runs.with_outputs(f"{first}\n{second}")
    assert shown.endswith("~~~~~~{.text .output}\n7\n~~~~~~\n")
    blocks = "~~~~~~{.text .output .drawn}\n a │ b\n~~~~~~", "~~~~~~{.text .output}\n1\n~~~~~~"
    assert runs.shown_output(" a │ b  \n\n1\n\n") == "\n\n".join(blocks), "a table is not wrapped, what follows is"
    assert runs.shown_output(" \n") == ""
    assert runs.shown_output("\x1b[1mbold\x1b[0m\n") == "~~~~~~{.text .output}\nbold\n~~~~~~"
    command = "linreg-lora risk --n 9 --dx 4 --dy 4 --noise-std 1 --spectrum 1 --ranks none"
    with pytest.raises(RuntimeError, match=r"ended with 2: linreg-lora: .*ranks"):
        runs.with_outputs(f"```console run\n$ {command}\n```\n")
    assert "<math" in mathematics.typeset(r'<span class="arithmatex">\(a &lt; b\)</span>')
    with pytest.raises(ValueError, match="nonsense"):
        mathematics.typeset(r'<div class="arithmatex">\[\nonsense\]</div>')


def test_tables_of_docstrings_stay_tables():
    norm = "| `ridge` | eta ||D||_F^2, [a] |"
    made = docstrings.markdown(f"Of a fit:\n| field   | meaning |\n|---------|---------|\n{norm}\n\na | b")
    assert made.splitlines() == [
        "Of a fit:", "", "| field   | meaning |", "|---------|---------|",
        "| `ridge` | eta &#124;&#124;D&#124;&#124;_F^2, &#91;a&#93; |", "", "a &#124; b",
    ]  # fmt: skip


def test_claims_and_papers_lead_to_what_is_said_of_them():
    page = Page("explanation/errata/a.md", "A", "docs/errata.md", "`a-claim`, `no-claim`, [`a-claim`](x)")
    made = report.with_claims(page, b'<section id="claim-a-claim">')
    assert made.text == "[`a-claim`](site:files/claims-report.html#claim-a-claim), `no-claim`, [`a-claim`](x)"
    text = "# On arXiv 2605.19018\nOf arXiv 2605.19018, as [arXiv 2605.19018](x) says"
    linked = (
        "# On arXiv 2605.19018\nOf [arXiv 2605.19018](https://arxiv.org/abs/2605.19018), as [arXiv 2605.19018](x) says"
    )
    assert links.with_papers(text) == linked


def test_a_block_may_end_with_the_code_that_it_states():
    bad = "$ linreg-lora risk --n 9 --dx 4 --dy 4 --noise-std 1 --spectrum 1 --ranks none\n"
    assert runs.with_outputs(f"```console run exit=2\n{bad}```\n").startswith(f"```console\n{bad}```")
    with pytest.raises(RuntimeError, match="ended with 2"):
        runs.with_outputs(f"```console run exit=1\n{bad}```\n")


def test_pictures_that_a_block_saves_are_shown_below_what_it_prints(tmp_path, monkeypatch):
    """Those of the block alone; a block that comes later, from what is kept, shows its own."""
    monkeypatch.setattr(runs, "CACHE", tmp_path)
    png = b"\x89PNG"
    save = "```python run\nfrom pathlib import Path\nPath('{0}.png').write_bytes({1})\nprint('{0}')\n```\n"
    shown = [
        f'~~~~~~{{.text .output}}\n{name}\n~~~~~~\n\n<img alt="{name}.png" src="data:image/png;base64,iVBORw==">'
        for name in ("one", "two")
    ]
    page = "".join(save.format(name, png) for name in ("one", "two"))
    for _ in range(2):
        made = runs.with_outputs(page)
        assert [made.count(block) for block in shown] == [1, 1]
        assert made.count("<img") == 2
    beside = "```python run\nfrom pathlib import Path\nprint(Path('docs/sweep.yaml').exists())\n```\n"
    assert "\nTrue\n" in runs.with_outputs(beside), "the checkout's documents are there"
    lines = "from matplotlib import pyplot  # {0}", "pyplot.plot([1, 2])", "print(len(pyplot.gca().lines))"
    plot = "\n".join(["```python run", *lines, "```\n"])
    for title in ("one page", "another"):
        assert "\n1\n" in runs.with_outputs(plot.format(title)), "nothing of another page is left in the picture"


def test_the_search_is_repaired_or_the_build_ends(tmp_path):
    with pytest.raises(ValueError, match=r"another script than \[\]"):
        search.repair(tmp_path)
    script = tmp_path / "assets" / "javascripts" / "workers" / "search.1.min.js"
    script.parent.mkdir(parents=True)
    script.write_text("e=e+s+o.id}return e},t.TokenSet.prototype")
    search.repair(tmp_path)
    assert script.read_text() == 'e=e+s+o.id+","}return e},t.TokenSet.prototype'
    with pytest.raises(ValueError, match=r"search\.1\.min\.js"):
        search.repair(tmp_path)


def test_faults_of_a_site_are_found(tmp_path):
    (tmp_path / "b.html").write_text('<p id="here">')
    (tmp_path / "a.html").write_text('<a href="b.html#here"></a><a href="https://arxiv.org"></a><a href="b.html#gone">')
    (tmp_path / "c.html").write_text('<a href="gone.html"></a><script src="https://cdn.example/x.js"></script>')
    (tmp_path / "s.css").write_text(
        "@import 'https://fonts.example/x.css'; p { background: url(data:image/png;base64,) }"
    )
    (tmp_path / "d.html").write_text("<code>|---|---|</code><p>of a | b</p><p>| a |\n|---|</p>")
    assert checked.faults(tmp_path) == [
        "a.html links to b.html#gone, which has no such place",
        "c.html links to gone.html, which is not there",
        "c.html loads https://cdn.example/x.js",
        "d.html shows |---| as text",
        "s.css loads @import 'https://fonts.example/x.css",
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Without running notebooks and judging claims, which tests/test_notebooks.py and tests/test_check.py do."""
    folder = tmp_path_factory.mktemp("site")
    left_out = {"LINREG_LORA_SITE_NOTEBOOKS": "0", "LINREG_LORA_SITE_REPORT": "0"}
    environment = os.environ | left_out | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.heavy
def test_the_site_builds_strictly_and_documents_every_public_name(site):
    """A build with a warning or a fault (`checked.faults`) has failed already."""
    pages = {path: checked.read(path) for path in site.rglob("*.html")}
    assert {page.uri.removesuffix(".md") + ".html" for page in PAGES} <= {
        path.relative_to(site).as_posix() for path in pages
    }
    for page in api.pages():
        wanted = {line.removeprefix("::: ") for line in page.text.splitlines() if line.startswith("::: ")}
        text = (site / page.uri).with_suffix(".html").read_text()
        assert [name for name in wanted if f'id="{name}"' not in text] == [], page.uri
    assert (site / "files" / "note.pdf").read_bytes().startswith(b"%PDF-")
    assert "files/note.pdf" in pages[site / "note.html"].links
    left = [path.name for path in pages if "arithmatex" in (text := path.read_text()) or r"\(\mathrm" in text]
    assert left == []


#: One page of each kind.
KINDS = (
    "index.html", "commands.html", "how-to/fit-your-data.html", "how-to/compare-methods.html",
    "explanation/errata/index.html", "explanation/contested.html", "explanation/family.html", "gallery.html",
    "note.html", "reference/command-line.html", "reference/file-formats.html", "reference/api/linreg_lora.html",
    "notebooks/04_formula.html", "source/linreg_lora/theory/fft.py.html", "contributing.html",
)  # fmt: skip


@pytest.mark.heavy
@pytest.mark.browser
def test_pages_open_from_a_disk_without_a_network_on_a_phone_in_the_dark_and_in_print(site):
    chapters = [f"{page.uri.removesuffix('.md')}.html" for page in documents.chapters()]
    with launched() as browser:
        for name in (*KINDS, *chapters):
            url = (site / name).as_uri()
            colours = set()
            for width, scheme in ((390, "light"), (1280, "dark")):
                view = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
                with opened(browser, url, offline=True, **view) as (page, problems, requests):
                    assert problems == [], name
                    assert not [one for one in requests if not one.startswith(("file:", "data:"))], name
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                    colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
                    page.emulate_media(media="print")
                    assert not page.locator(".md-header").is_visible(), name
            assert len(colours) == 2, name


@pytest.mark.heavy
@pytest.mark.browser
def test_search_finds_without_a_network_or_a_server(site):
    with launched() as browser, opened(browser, (site / "index.html").as_uri(), offline=True) as (page, problems, _):
        page.locator(".md-search__input").click()
        page.locator(".md-search__input").press_sequentially("golden ratio")
        found = page.locator(".md-search-result__link").first
        found.wait_for()
        assert "golden" in page.locator(".md-search-result__list").inner_text().lower()
        assert problems == [], "sitemaker/search.py: of words like r* too, which 'golden r' looks for"


@pytest.mark.heavy
def test_a_build_leaves_the_repository_as_it_was(site):
    """All that a build leaves is ignored: the site, and what is kept for the next build."""
    ignored = ["git", "check-ignore", "site/index.html", ".cache/site/x"]
    assert subprocess.run(ignored, cwd=ROOT, capture_output=True, check=False).stdout.count(b"\n") == 2
