"""Targets that leave no machine behind, and a store to launch from."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.demo.tiny_disk import Tiny, make_disk
from app.contract.words import ImageFormat
from app.launch.image.driver import ImageSettings, ImageTarget
from app.launch.image.folder import FolderPlace
from app.launch.qemu.driver import QemuSettings, QemuTarget
from tests.launch.replica import Replica


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A disk that boots, shows a login prompt and serves a page."""
    return make_disk(tmp_path_factory.mktemp("tiny") / "tiny.raw", Tiny()).read_bytes()


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica.in_folder(tmp_path / "store")


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[QemuTarget]:
    target = QemuTarget(QemuSettings(tmp_path / "node"))
    yield target
    end_all(target)


@pytest.fixture
def images(tmp_path: Path) -> ImageTarget:
    formats = tuple(ImageFormat)
    return ImageTarget(ImageSettings(FolderPlace(tmp_path / "images"), tmp_path / "work", formats))


def end_all(target: QemuTarget) -> None:
    """Terminate whatever a test left."""
    runs = target.settings.runs
    for folder in sorted(runs.iterdir()) if runs.exists() else ():
        if folder.is_dir():
            asyncio.run(target.terminate(folder.name))
