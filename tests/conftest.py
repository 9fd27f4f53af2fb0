"""What several kinds of tests share."""

import pytest

from tests.chromium import launched


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; skipped, with a message, where none is installed."""
    with launched() as opened:
        yield opened


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What runs in one process where several share out the tests: a file, or all that use the finished study."""
    for item in items:
        group = "finished" if "finished" in item.fixturenames else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: "finished" not in item.fixturenames)
