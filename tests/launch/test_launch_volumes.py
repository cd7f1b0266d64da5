"""Volumes: what a node's filesystem keeps."""

from pathlib import Path

import pytest

from app.launch import volumes
from app.launch.errors import StorageShort
from app.launch.volumes import VolumeFolder
from tests.launch.replica import Replica


async def test_a_volume_that_would_fill_the_filesystem_is_not_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, folder = Replica.in_folder(tmp_path / "store"), VolumeFolder(tmp_path / "volumes")
    disk = replica.put(b"x" * (1 << 20))
    with monkeypatch.context() as short:
        short.setattr(volumes, "LEAST_FREE", 1 << 60)
        short.setattr(volumes, "LEAST_FREE_PART", 1)
        with pytest.raises(StorageShort, match="stay free"):
            await folder.materialise(disk, replica.stream(disk))
    assert not folder.named(disk).path.exists()
    await folder.materialise(disk, replica.stream(disk))
    await folder.drop(folder.named(disk))
    assert list((tmp_path / "volumes").iterdir()) == []
