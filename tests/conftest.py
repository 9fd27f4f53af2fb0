"""What several kinds of tests share."""

import pytest

from tests.chromium import launched


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; skipped, with a message, where none is installed."""
    with launched() as opened:
        yield opened
