"""Real database (each engine), real folder store, real bus: what the services of a process stand on."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.settings import load_settings
from app.migration.services import Services
from app.store.folder import FolderBackend
from app.store.objects import ObjectStore

GRACE = timedelta(hours=1)


@pytest.fixture
async def services(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Services]:
    """The services of a process whose clock the test moves."""
    settings = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    backend = FolderBackend(tmp_path / "store")
    bus = InProcessBus()
    yield Services(settings, clock, database, bus, ObjectStore(backend, clock=clock, grace=GRACE))
    await bus.close()
    backend.close()


@pytest.fixture(params=["by outboards", "by bases"])
def way(request: pytest.FixtureRequest) -> str:
    """How the service comes to what a patch gives."""
    if request.param == "by bases":
        request.getfixturevalue("without_outboards")
    return str(request.param)
