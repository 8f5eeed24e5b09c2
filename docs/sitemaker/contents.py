"""What the site has, in the order of its navigation."""

from collections.abc import Sequence
from typing import NamedTuple

from sitemaker import api, command_line, documents, formats, notebooks
from sitemaker.documents import document, section
from sitemaker.page import Page

_USERS = "tests/users_methods.py"
_METHOD = """
## One that runs

Full fine-tuning of the first inputs alone, whose risk is that of another problem; the tests add it from outside of the
package:

```python
{source}
```

`linreg-lora compare --plugin FILE.py --adapt first-inputs:4,fft ...` has it beside the others. Of a method that theory
does not know, `name`, `parameters` and `fit` are enough: [`OneScale`](tests/users_methods.py). With a claim, as a
package that is installed: [a plug-in](docs/example_plugin/README.md).
"""
_FIGURE = """
What each part takes and returns, with an example that runs:
[`FigureModule`](site:reference/api/linreg_lora.figures.md).
"""


class Section(NamedTuple):
    """A part of the navigation: its title, its pages, and sections within it."""

    title: str
    parts: "Sequence[Page | Section]"


def sections() -> list[Section]:
    """All pages of the navigation, notebooks without their outputs. Nothing is run and MkDocs is not needed."""
    return [
        Section(
            "Start",
            [
                document("docs/start.md", "index.md", "Start here"),
                document("README.md", "overview.md", "Overview"),
                document("docs/install.md", "install.md"),
                document("docs/commands.md", "commands.md"),
                document("docs/where-things-are.md", "where-things-are.md"),
            ],
        ),
        Section(
            "How to",
            [
                document("docs/how-to/reproduce-a-figure.md", "how-to/reproduce-a-figure.md"),
                document("docs/judge-your-paper.md", "how-to/judge-a-paper.md", "Judge a paper"),
                document("docs/how-to/fit-your-data.md", "how-to/fit-your-data.md"),
                document("docs/how-to/use-from-python.md", "how-to/use-from-python.md"),
                document("docs/how-to/compare-methods.md", "how-to/compare-methods.md"),
                document("docs/how-to/run-a-sweep.md", "how-to/run-a-sweep.md"),
                document("docs/how-to/write-claims.md", "how-to/write-claims.md"),
                section(
                    "CONTRIBUTING.md",
                    "How to add a method",
                    "how-to/add-a-method.md",
                    _METHOD.format(source=documents.beginning(_USERS, "FirstInputs")),
                    "Add a method",
                ),
                section("CONTRIBUTING.md", "How to add a figure", "how-to/add-a-figure.md", _FIGURE, "Add a figure"),
            ],
        ),
        Section(
            "Explanation",
            [
                Section("The theory", documents.chapters()),
                *(
                    document(f"docs/{name}.md", f"explanation/{name}.md")
                    for name in ("family", "composition", "open-questions", "statements", "contested")
                ),
                Section("Errata", documents.errata()),
            ],
        ),
        Section("Notebooks", notebooks.pages()),
        Section(
            "Results",
            [
                documents.gallery(),
                document("docs/claims-report.md", "claims-report.md"),
                document("docs/note.md", "note.md"),
                Section("Measured", documents.measured()),
            ],
        ),
        Section(
            "Reference",
            [
                command_line.page(),
                formats.page(),
                document("docs/deprecation.md", "reference/deprecation.md"),
                Section("Python", api.pages()),
            ],
        ),
        Section("Contributing", [document("CONTRIBUTING.md", "contributing.md"), documents.changes()]),
    ]


def pages(of: Sequence[Page | Section] | None = None) -> list[Page]:
    """The pages of all sections, in their order."""
    found = []
    for part in sections() if of is None else of:
        found += [part] if isinstance(part, Page) else pages(part.parts)
    return found


def navigation(of: Sequence[Page | Section]) -> list[dict]:
    """The same for MkDocs. A section's index has no title of its own."""
    found = []
    for part in of:
        if isinstance(part, Page):
            found.append(part.uri if part.uri.endswith("/index.md") else {part.title: part.uri})
        else:
            found.append({part.title: navigation(part.parts)})
    return found
