"""Targets at a libvirt of the tests that leave no domain behind."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.contract.words import Accelerator
from app.launch.libvirt.domain import PREFIX
from app.launch.libvirt.driver import LibvirtTarget
from app.launch.libvirt.settings import LibvirtSettings
from tests.services.libvirt_daemon import LibvirtDaemon


@contextmanager
def libvirt_target(daemon: LibvirtDaemon, network: str | None = None) -> Iterator[LibvirtTarget]:
    """A target with a pool of its own, emptied at the end."""
    pool = Path(tempfile.mkdtemp(prefix="pool-", dir=daemon.folder))
    pool.chmod(0o711)
    settings = LibvirtSettings(daemon.uri, pool, network=network, accelerator=Accelerator.TCG)
    target = LibvirtTarget(settings)
    try:
        yield target
    finally:
        end_all(target, daemon)
        shutil.rmtree(pool)


def end_all(target: LibvirtTarget, daemon: LibvirtDaemon) -> None:
    """Terminate whatever a test left."""
    for name in daemon.virsh("list", "--all", "--name").split():
        asyncio.run(target.terminate(name.removeprefix(PREFIX)))
