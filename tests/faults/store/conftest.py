"""The closing report of the store's fault tests."""

import pytest

from tests.faults.store.store_ledger import Ledger

_LEDGER = pytest.StashKey[Ledger]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was counted."""
    found = config.stash.get(_LEDGER, None)
    if found is not None and found.entries:
        terminalreporter.section("faults of the store")
        for line in found.lines():
            terminalreporter.write_line(line)


@pytest.fixture
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """Where a test notes what it counted."""
    return pytestconfig.stash.setdefault(_LEDGER, Ledger())
