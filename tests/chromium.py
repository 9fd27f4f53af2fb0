"""A headless Chromium, the system's own, driven by playwright."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Names under which systems install it.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str:
    """The installed Chromium; where none is, the test is skipped, or fails if $DYNALIGN_REQUIRE_CHROMIUM is set."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        message = "no Chromium on this machine: apt-get install chromium"
        if os.environ.get("DYNALIGN_REQUIRE_CHROMIUM"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class Browser:
    """One browser window.

    Parameters
    ----------
    page : playwright.sync_api.Page

    Attributes
    ----------
    problems : list of str
        Console errors, warnings and uncaught exceptions since :meth:`open`.
    requests : list of str
        Addresses that the page asked for, the page's own among them; data and blob URIs are no requests.
    """

    def __init__(self, page):
        self.page, self.problems, self.requests = page, [], []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self._ask(request.url))

    def _hear(self, message) -> None:
        if message.type in ("error", "warning", "assert"):
            self.problems.append(message.text)

    def _ask(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.requests.append(url)

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until it is loaded and its explorer, if it has one, drawn."""
        # An empty page between: otherwise another fragment of the same page would load nothing.
        self.page.goto("about:blank")
        self.problems.clear()
        self.requests.clear()
        self.page.goto(path.resolve().as_uri() + fragment)
        self.page.wait_for_function("!document.querySelector('#sentence:empty')")

    def run(self, expression: str):
        """The value of a JavaScript expression; a promise is awaited."""
        return self.page.evaluate(expression)

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the window and the reader's preference for dark pages."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme="dark" if dark else "light")


@contextmanager
def launched():
    """A :class:`Browser` for the time of the context."""
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Chromium's sandbox refuses root.
        browser = driver.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        yield Browser(browser.new_page())
        browser.close()
