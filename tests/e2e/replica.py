"""Getting a replica out again and comparing it with its source."""

import os
from pathlib import Path

from app.cli.demo.compare import first_difference
from app.client import replicas, servers
from app.contract.resources.checkpoint import Checkpoint, VerifyResult
from tests.e2e.deployment import Deployment


def head_of(deployment: Deployment, server: str) -> Checkpoint:
    """The newest checkpoint of a server."""
    with deployment.client() as client:
        return client.send(servers.checkpoint(server, servers.LATEST))


def assert_identical(deployment: Deployment, server: str, *sources: Path) -> Checkpoint:
    """Every disk of the head, exported, is its source byte for byte but for omitted ranges; and the stored
    bytes give its root."""
    with deployment.client() as client:
        head = client.send(servers.checkpoint(server, servers.LATEST))
        assert {disk.path for disk in head.disks} == {str(source) for source in sources}
        for disk in head.disks:
            output = deployment.folder / f"export-{disk.disk_id}.img"
            replicas.export_disk(client, head, disk, output)
            assert disk.size_bytes == output.stat().st_size
            assert first_difference(Path(disk.path), output, disk.omitted) is None
            output.unlink()
        result = list(replicas.verify(client, server))[-1]
    assert isinstance(result, VerifyResult)
    assert result.agrees
    return head


def random_disk(path: Path, size: int) -> Path:
    """A disk image of bytes that no compression helps."""
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    return path
