"""Programs that end when nobody waits for them any more."""

import sys
import threading
import time
from pathlib import Path

import pytest

from app.contract.words import ImageFormat
from app.launch.errors import InstanceDiffers, LaunchStopped
from app.launch.image.converting import make_image
from app.launch.image.manifest import Published, sha256_of
from app.launch.machine import Volume
from app.launch.programs import run_stoppable
from app.launch.threads import Stop


def test_a_program_that_is_stopped_has_ended(tmp_path: Path) -> None:
    stop, beats = Stop(), tmp_path / "beats"
    program = "import sys, time\nwhile True:\n    open(sys.argv[1], 'a').write('x')\n    time.sleep(0.01)"
    ended = threading.Event()

    def tell() -> None:
        while not beats.exists() and not ended.wait(0.01):
            pass
        stop.tell()

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        with pytest.raises(LaunchStopped):
            run_stoppable([sys.executable, "-c", program, str(beats)], stop)
    finally:
        ended.set()
        thread.join()
    size = beats.stat().st_size
    time.sleep(0.1)
    assert beats.stat().st_size == size


def test_what_a_program_says_and_how_it_ends_is_told() -> None:
    program = "import sys\nprint('y' * 200000)\nsys.exit('no')"
    done = run_stoppable([sys.executable, "-c", program], Stop())
    assert (done.returncode, len(done.stdout), done.stderr) == (1, 200_001, "no\n")


def test_an_image_is_neither_made_nor_summed_for_nobody(tmp_path: Path) -> None:
    stop, path = Stop(), tmp_path / "dsk-1.raw"
    path.write_bytes(bytes(1 << 20))
    stop.tell()
    with pytest.raises(LaunchStopped):
        sha256_of(path, stop)
    volume = Volume("chk-1", "dsk-1", path, 1 << 20, "00")
    with pytest.raises(LaunchStopped):
        make_image(volume, ImageFormat.QCOW2, tmp_path, stop)


@pytest.mark.parametrize(
    "text", [b"{}", b"not json", b"[]", b"\xff", b'{"images": [{}], "order": 1}', b"null"]
)
def test_a_manifest_of_somebody_else_is_told_by_its_place(text: bytes) -> None:
    with pytest.raises(InstanceDiffers, match=r"s3://b/manifest\.json is no manifest that go2cloud wrote"):
        Published.parse(text, "s3://b/manifest.json")
