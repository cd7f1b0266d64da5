"""The map of a disk is replicated by what changed in it: the real agent at the real service."""

import os
from pathlib import Path

from app.wire.tree import LEAF_BYTES
from tests.e2e.deployment import Deployment
from tests.e2e.replica import assert_identical
from tests.e2e.source_host import SourceHost

MIB = 1 << 20
PLACES = [0, 3 * MIB, 300 * MIB, 700 * MIB]
"""In three leaves."""


def write(disk: Path, places: list[int]) -> None:
    """Change a few bytes at each place."""
    with disk.open("r+b") as file:
        for at in places:
            file.seek(at)
            file.write(os.urandom(8))


def test_scattered_changes_cost_less_than_one_leaf_of_the_map(
    embedded_deployment: Deployment, tmp_path: Path
) -> None:
    disk, host = tmp_path / "disk.img", SourceHost(tmp_path / "agent")
    disk.touch()
    os.truncate(disk, 800 * MIB)
    write(disk, PLACES)
    server = host.enroll(embedded_deployment, disk)
    host.sync()
    for _ in range(2):
        write(disk, PLACES)
        host.sync()
        head = assert_identical(embedded_deployment, server, disk)
        assert head.counters.wire_bytes < LEAF_BYTES
