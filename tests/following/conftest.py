"""Where live hosts of the tests live: a service, a folder that daemons of other users may enter, images."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Deployment, embedded
from tests.following import database
from tests.following.live_host import sharing_folder


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running service that all tests of this room share."""
    with embedded(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder on a short path that every user may enter."""
    with _open_folder() as made:
        yield made


@contextlib.contextmanager
def _open_folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="g2c-live-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def fresh_data() -> Iterator[Path]:
    """The data of a new MariaDB server."""
    with _open_folder() as made:
        yield database.new_data(made)


@pytest.fixture
def images(place: Path) -> Iterator[Path]:
    """A folder for disk images, whose files can share blocks."""
    with sharing_folder(place) as folder:
        yield folder
