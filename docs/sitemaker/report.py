"""The claims report as a part of the site, judged for it: of the package's own file, or of all papers."""

import re
import tempfile
from pathlib import Path

from sitemaker import runs
from sitemaker.page import Page

#: The id of a claim, as documents write it.
_CLAIM = re.compile(r"(?<!\[)`([a-z0-9]+(?:-[a-z0-9]+)+)`(?!\])")
URI, PLACE = "claims-report.md", "files/claims-report.html"


def page(everything: bool = False) -> bytes:
    """The page that `linreg-lora report` writes; `everything`: with `--all`."""
    command = f"$ linreg-lora report {'--all ' if everything else ''}--out report.html\n"
    kept = runs.CACHE / f"report-{runs.key(command)}.html"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            runs.run("console", command, 0, Path(folder))
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes((Path(folder) / "report.html").read_bytes())
    return kept.read_bytes()


def with_link(page: Page) -> Page:
    """The page about the report, with the report behind its first lines."""
    before, between, after = page.text.partition("\n```console\n")
    link = f"**[The report, judged when this site was built](site:{PLACE})**"
    return page._replace(text=f"{before}\n{link}\n{between}{after}")


def with_claims(page: Page, report: bytes) -> Page:
    """The page with the ids of claims leading to what the report says of them."""
    known = set(re.findall(r'id="claim-([a-z0-9.-]+)"', report.decode()))

    def linked(found: re.Match) -> str:
        return f"[{found[0]}](site:{PLACE}#claim-{found[1]})" if found[1] in known else found[0]

    return page._replace(text=_CLAIM.sub(linked, page.text))
