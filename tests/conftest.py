"""Fixtures for all tests: real services, started once a run, when the first test asks for one.

No property is held to a time: on a busy machine an example takes what it takes.
"""

import pytest
from hypothesis import settings

from app.store import outboard

pytest_plugins = [
    "tests.services.mariadb_server",
    "tests.services.redis_server",
    "tests.services.databases",
    "tests.services.libvirt_daemon",
    "tests.services.ceph_cluster",
    "tests.services.galera_cluster",
    "tests.services.redis_sentinels",
]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def without_outboards(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package was built without a compiler."""
    monkeypatch.setattr(outboard, "_library", lambda: None)
