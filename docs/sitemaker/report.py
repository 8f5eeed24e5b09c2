"""The claims report as a part of the site: judging all claims takes minutes, so it is there where it is asked for."""

import tempfile
from pathlib import Path

from sitemaker import runs
from sitemaker.page import Page

URI, PLACE = "claims-report.md", "files/claims-report.html"


def page() -> bytes:
    """The page that `linreg-lora report` writes."""
    kept = runs.CACHE / f"report-{runs.key('report')}.html"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            runs.run("console", "$ linreg-lora report --out report.html\n", Path(folder))
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes((Path(folder) / "report.html").read_bytes())
    return kept.read_bytes()


def with_link(page: Page) -> Page:
    return page._replace(text=f"{page.text}\n**[The report, judged when this site was built](site:{PLACE})**\n")
