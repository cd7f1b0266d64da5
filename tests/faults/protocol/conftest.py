"""The template database of the replays, and the closing report at the end of the run."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.protocol.real_service import make_template
from tests.faults.protocol.report import REPORT


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with the newest schema, to be copied."""
    with asyncio.Runner() as runner:
        return runner.run(make_template(tmp_path_factory.mktemp("template")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was explored in this process."""
    if not REPORT.is_empty:
        terminalreporter.section("protocol: closing report")
        for line in REPORT.lines():
            terminalreporter.write_line(line)
