"""What a device holds before it is written for the first time, and who has it."""

import subprocess
from pathlib import Path
from typing import Final

from app.launch.device.place import Place
from app.launch.programs import require_program
from app.wire.chunks import MIB, is_zero

_NOTHING_FOUND: Final = 2
"""How blkid ends when it knows nothing of what it sees."""
_LOOKS: Final = 64


def what_holds(path: Path, place: Place) -> str | None:
    """What lies on a device or in a file, in words; None where it seems empty.

    blkid knows filesystems, partition tables, RAID, LVM, LUKS; besides, 64 KiB are looked at in 64 places
    over the whole length. Raises ToolMissing, OSError.
    """
    if not place.size:
        return None
    return _signature(path) or _bytes(path, place.size)


def _signature(path: Path) -> str | None:
    command = [require_program("blkid"), "--probe", "--output", "export", str(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == _NOTHING_FOUND or not done.stdout.strip():
        return None
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    what = f"a {found['TYPE']} filesystem or volume" if "TYPE" in found else "a signature"
    if "PTTYPE" in found:
        what = f"a partition table ({found['PTTYPE']})"
    label = found.get("LABEL") or found.get("UUID") or found.get("PTUUID")
    return f"{what}, {label}" if label else what


def _bytes(path: Path, size: int) -> str | None:
    with path.open("rb", buffering=0) as file:
        for number in range(_LOOKS):
            at = number * max(0, size - MIB // 16) // (_LOOKS - 1) // 512 * 512
            file.seek(at)
            if not is_zero(file.read(MIB // 16)):
                return f"data of an unknown kind at byte {at}"
    return None


def loop_device_of(path: Path) -> str | None:
    """The loop device that a file lies below, if there is one."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found = Path(backing.read_text(encoding="utf-8").strip())
        except OSError:
            continue  # it was detached meanwhile
        if found.exists() and path.exists() and found.samefile(path):
            return f"/dev/{backing.parts[3]}"
    return None
