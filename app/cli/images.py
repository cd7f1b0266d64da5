"""qcow2 files out of verified raw ones, by qemu-img.

Every call states its formats: a probed format would let a hostile disk name files of this host as its
backing. The raw file that is converted has been verified against the root; afterwards qemu-img compares the
two.
"""

import os
import shutil
import subprocess
from pathlib import Path

from app.cli.exits import CommandFailed

TOOL = "qemu-img"


def require_tool() -> str:
    """The path of qemu-img; raises CommandFailed with the package that has it."""
    found = shutil.which(TOOL)
    if found is None:
        raise CommandFailed(
            f"{TOOL} is needed for qcow2 and is not installed", remedy="apt-get install qemu-utils"
        )
    return found


def to_qcow2(raw: Path, output: Path) -> None:
    """Convert and compare; `output` appears under its name only when both succeeded. Raises CommandFailed."""
    tool = require_tool()
    fresh = output.with_name(output.name + ".part")
    try:
        _run([tool, "convert", "-f", "raw", "-O", "qcow2", str(raw), str(fresh)])
        _run([tool, "compare", "-f", "raw", "-F", "qcow2", str(raw), str(fresh)])
        _make_durable(fresh)
        fresh.replace(output)
        _make_durable(output.absolute().parent)
    finally:
        fresh.unlink(missing_ok=True)


def _make_durable(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the storage."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise CommandFailed(f"{TOOL} {command[1]} failed ({done.returncode}): {said}")
