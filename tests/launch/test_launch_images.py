"""Published images: the same bytes in each format, sums that hold, nothing half-made, nothing of the node."""

import json
import subprocess
from pathlib import Path

import pytest

from app.contract.words import ImageFormat
from app.launch.errors import SettingsWrong
from app.launch.image.driver import ImageSettings, ImageTarget
from app.launch.image.folder import FolderPlace
from app.launch.machine import LaunchOrder, MachineSpec
from tests.launch.hostile import SECRET, hostile_disk
from tests.launch.replica import Replica

pytestmark = pytest.mark.slow


async def test_each_format_holds_a_hostile_disk_as_it_is_and_nothing_of_the_node(
    images: ImageTarget, replica: Replica, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET * 1000)
    content = hostile_disk(secret)
    volume = await replica.volume(images, content)
    found = await images.launch(LaunchOrder("ins-1", MachineSpec(), (volume,)))
    assert [file.name for file in found.files] == [f"dsk-1.{each.value}" for each in ImageFormat]
    for file, form in zip(found.files, ImageFormat, strict=True):
        assert SECRET not in file.read_bytes()
        assert read_back(file, form, tmp_path / "back.raw")[: len(content)] == content
    assert sums_hold(found.folder)
    manifest = json.loads((found.folder / "manifest.json").read_text())
    assert [image["root"] for image in manifest["images"]] == [volume.root] * len(ImageFormat)
    assert manifest["order"]["volumes"][0]["checkpoint"] == "chk-1"


def read_back(file: Path, form: ImageFormat, raw: Path) -> bytes:
    """An image's content."""
    command = ["qemu-img", "convert", "-f", form.value, "-O", "raw", str(file), str(raw)]
    subprocess.run(command, check=True)
    return raw.read_bytes()


def sums_hold(folder: Path) -> bool:
    """What `sha256sum --check` says."""
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder)
    return done.returncode == 0


async def test_a_publishing_that_was_cut_off_is_begun_anew(
    images: ImageTarget, replica: Replica, tmp_path: Path
) -> None:
    volume = await replica.volume(images, bytes(1024 * 1024))
    folder = tmp_path / "images"
    stale = half_made(folder)
    assert await images.find("ins-1") is None
    found = await images.launch(LaunchOrder("ins-1", MachineSpec(), (volume,)))
    assert sums_hold(found.folder)
    assert not stale.exists()
    half_made(folder)
    assert await images.terminate("ins-1")
    assert list(folder.iterdir()) == []


def half_made(folder: Path) -> Path:
    """What a process that was killed while it published left."""
    stale = folder / ".ins-1.partial"
    stale.mkdir(parents=True)
    (stale / "dsk-1.raw").write_bytes(b"half")
    return stale


def test_formats_are_named_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong):
        ImageSettings(FolderPlace(tmp_path), tmp_path, ())
    with pytest.raises(SettingsWrong):
        ImageSettings(FolderPlace(tmp_path), tmp_path, (ImageFormat.RAW, ImageFormat.RAW))
