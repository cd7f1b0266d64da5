"""Images out of verified volumes, by qemu-img, compared with the volume afterwards.

Every call states its formats: a probed format would let a hostile disk name the node's files as its backing.
"""

from pathlib import Path
from typing import Final

from app.contract.words import ImageFormat
from app.launch.durable import sync
from app.launch.errors import ToolFailed
from app.launch.image.manifest import Image
from app.launch.machine import Volume
from app.launch.programs import QEMU_IMG, require_program, run_stoppable
from app.launch.threads import Stop

OPTIONS: Final = {
    ImageFormat.RAW: (),
    ImageFormat.QCOW2: ("-o", "compat=1.1"),
    ImageFormat.VMDK: ("-o", "adapter_type=lsilogic,subformat=monolithicSparse"),
    ImageFormat.VHDX: ("-o", "subformat=dynamic"),
}


def make_image(volume: Volume, format_: ImageFormat, folder: Path, stop: Stop) -> Image:
    """Convert a volume into `folder`, compare the two, sum the result up.

    Raises ToolFailed, ToolMissing, and LaunchStopped within a second of `stop`: what was made stays.
    """
    output, tool = folder / f"{volume.disk}.{format_.value}", require_program(QEMU_IMG)
    kind, source = format_.value, str(volume.path)
    convert = [tool, "convert", "-q", "-f", "raw", "-O", kind, *OPTIONS[format_], source, str(output)]
    _run(convert, volume, stop)
    _run([tool, "compare", "-q", "-f", "raw", "-F", kind, source, str(output)], volume, stop)
    output.chmod(0o640)
    sync(output)
    return Image.of(output, format_, volume, stop)


def _run(command: list[str], volume: Volume, stop: Stop) -> None:
    done = run_stoppable(command, stop)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"ended with {done.returncode}"
        raise ToolFailed(f"qemu-img {command[1]} of disk {volume.disk}: {said}")
