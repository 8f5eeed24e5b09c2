"""A real browser for tests of pages: Debian's Chromium, headless, driven by Playwright.

`LINREG_LORA_CHROMIUM` names another executable; `LINREG_LORA_REQUIRE_BROWSER=1` makes its absence fail the tests.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
#: A page that takes longer than this many milliseconds for anything has failed.
PATIENCE = 20_000


class Opened(NamedTuple):
    """`problems`: console errors and warnings, exceptions and failed requests; `requests`: every URL asked for."""

    page: "Page"
    problems: list[str]
    requests: list[str]


def executable() -> str | None:
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, [os.environ.get("LINREG_LORA_CHROMIUM", ""), *NAMES])), None)


@contextlib.contextmanager
def launched() -> "Iterator[Browser]":
    """A browser; skips the test where there is none, or fails it where one is required."""
    path = executable()
    if path is None:
        missing = f"no Chromium among {', '.join(NAMES)} on the path (LINREG_LORA_CHROMIUM names another)"
        if os.environ.get("LINREG_LORA_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{missing}, and LINREG_LORA_REQUIRE_BROWSER requires one")
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield running
        finally:
            running.close()


@contextlib.contextmanager
def opened(browser: "Browser", url: str, *, offline: bool = False, **context) -> Iterator[Opened]:
    """A page in a context of its own. `context`: viewport, color_scheme, java_script_enabled, ... of Playwright."""
    with contextlib.closing(browser.new_context(offline=offline, **context)) as own:
        page = own.new_page()
        page.set_default_timeout(PATIENCE)
        problems: list[str] = []
        requests: list[str] = []
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        yield Opened(page, problems, requests)


def eventually(page: "Page", probe: Callable[[], object], expected: object) -> None:
    """Assert that `probe()` comes to equal `expected`: what a page does about a click, it may do a little later.

    Playwright's own `wait_for_function` evaluates strings, which a page's policy may forbid.
    """
    deadline = time.monotonic() + PATIENCE / 1000
    while (found := probe()) != expected and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert found == expected
