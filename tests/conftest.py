"""What several kinds of tests share."""

import pytest

from tests.chromium import Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium; skipped, with a message, where none is installed."""
    with Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
