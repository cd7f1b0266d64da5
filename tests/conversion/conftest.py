"""A target that leaves no machine behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.launch.qemu.driver import QemuSettings, QemuTarget
from tests.guests.debian import cache
from tests.launch.conftest import end_all


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[QemuTarget]:
    """Its appliance is the one that all tests share, since it is large and the same for all."""
    target = QemuTarget(QemuSettings(tmp_path / "node"))
    target.settings.folder.mkdir(mode=0o700)
    (cache() / "appliance").mkdir(exist_ok=True)
    target.settings.appliance.symlink_to(cache() / "appliance")
    yield target
    end_all(target)
