"""What several kinds of tests share."""

import hypothesis
import pytest

from tests.chromium import launched

# A machine that is busy is no fault of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; skipped, with a message, where none is installed."""
    with launched() as opened:
        yield opened


#: Tests of the one finished study: the longest, so they come first, and all in one process.
OF_THE_FINISHED_STUDY = ("test_growth.py", "test_own_runs.py", "test_report.py", "test_truth.py")
#: Tests of the one finished tiny study, which come next, in one process too.
OF_THE_TINY_STUDY = ("test_faults.py", "workflow/test_kinds.py", "workflow/test_models.py")


def pytest_collection_modifyitems(items):
    """The longest first."""
    for names in (OF_THE_TINY_STUDY, OF_THE_FINISHED_STUDY):
        items.sort(key=lambda item: not str(item.path).endswith(names))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share out the tests, each takes whole files."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            if file.endswith(OF_THE_FINISHED_STUDY):
                return "finished"
            return "tiny" if file.endswith(OF_THE_TINY_STUDY) else file

    return ByFile(config, log)
