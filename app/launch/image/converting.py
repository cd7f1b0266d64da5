"""Images out of verified volumes, by qemu-img, compared with the volume afterwards.

Every call states its formats: a probed format would let a hostile disk name the node's files as its backing.
"""

import subprocess
from pathlib import Path
from typing import Final

from app.contract.words import ImageFormat
from app.launch.durable import sync
from app.launch.errors import ToolFailed
from app.launch.image.manifest import Image
from app.launch.machine import Volume
from app.launch.programs import QEMU_IMG, require_program

OPTIONS: Final = {
    ImageFormat.RAW: (),
    ImageFormat.QCOW2: ("-o", "compat=1.1"),
    ImageFormat.VMDK: ("-o", "adapter_type=lsilogic,subformat=monolithicSparse"),
    ImageFormat.VHDX: ("-o", "subformat=dynamic"),
}


def make_image(volume: Volume, format_: ImageFormat, folder: Path) -> Image:
    """Convert a volume into `folder`, compare the two, sum the result up. Raises ToolFailed, ToolMissing."""
    output, tool = folder / f"{volume.disk}.{format_.value}", require_program(QEMU_IMG)
    kind, source = format_.value, str(volume.path)
    _run([tool, "convert", "-q", "-f", "raw", "-O", kind, *OPTIONS[format_], source, str(output)], volume)
    _run([tool, "compare", "-q", "-f", "raw", "-F", kind, source, str(output)], volume)
    output.chmod(0o640)
    sync(output)
    return Image.of(output, format_, volume)


def _run(command: list[str], volume: Volume) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"ended with {done.returncode}"
        raise ToolFailed(f"qemu-img {command[1]} of disk {volume.disk}: {said}")
