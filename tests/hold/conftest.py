"""A service for each module, and hosts that are held."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hold.held_host import Center, HeldHost, center, held_host


@contextlib.contextmanager
def _open_folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="g2c-hold-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="session")
def running_center() -> Iterator[Center]:
    """The service."""
    with _open_folder() as folder, center(folder / "service") as running:
        yield running


@pytest.fixture
def host(running_center: Center) -> Iterator[HeldHost]:
    """A source host whose agent runs and follows it."""
    with _open_folder() as folder, held_host(folder, running_center) as made:
        yield made
