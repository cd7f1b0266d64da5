"""Whether tracefs works here: the machine by what it says, a disk by a trial.

The trial reads one block of the disk past the page cache and looks whether the kernel reported the completion
under the disk's device number. It needs no knowledge of drivers: one that reports nothing, or reports it of
another device (as native NVMe multipath does), fails it. It never writes.
"""

import contextlib
import mmap
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.disks import TrackedDisk, event_numbers, has_queues, name_of
from app.agent.daemon.tracking.instance import EVENTS, TRACEFS, Instance, mount_tracefs

_LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")
_FILESYSTEMS: Final = Path("/proc/filesystems")
_BLOCK: Final = 4096
_BUFFER_KIB: Final = 64
_PREFIX: Final = "go2cloud-trial-"
_ABANDONED_SECONDS: Final = 60.0
"""A trial takes milliseconds: an older one's agent was killed."""


@dataclass(frozen=True)
class Probe:
    """Whether a method works for a disk; `reason` says why or why not."""

    is_usable: bool
    reason: str


def probe_machine(root: Path = TRACEFS) -> Probe:
    """Whether the kernel lets this process trace block events, and why not."""
    if os.geteuid() != 0:
        return Probe(is_usable=False, reason="the agent does not run as root")
    if "[confidentiality]" in _text(_LOCKDOWN):
        return Probe(is_usable=False, reason="the kernel is locked down to confidentiality")
    if "\ttracefs\n" not in _text(_FILESYSTEMS):
        return Probe(is_usable=False, reason="the kernel was built without tracefs")
    try:
        mount_tracefs(root)
    except TrackingError as error:
        return Probe(is_usable=False, reason=str(error))
    missing = [event for event in EVENTS if not (root / "events/block" / event).is_dir()]
    if missing:
        return Probe(is_usable=False, reason=f"the kernel has no event {missing[0]}")
    return Probe(is_usable=True, reason="the kernel reports completed writes through tracefs")


def probe_disk(disk: TrackedDisk, root: Path = TRACEFS) -> Probe:
    """Whether completions on the disk are reported under its number; includes `probe_machine`."""
    machine = probe_machine(root)
    if not machine.is_usable:
        return machine
    name = name_of(disk.number)
    try:
        count = _completions(disk.number, Path("/dev") / name.replace("!", "/"), root)
    except (TrackingError, OSError) as error:
        return Probe(is_usable=False, reason=f"a trial with {name} failed: {error}")
    if not count:
        return Probe(
            is_usable=False, reason=f"the kernel does not report what completes on {name} (NVMe multipath?)"
        )
    kind = "request" if has_queues(disk.number) else "bio"
    return Probe(is_usable=True, reason=f"a block of {name} was read, and its {kind} was seen to complete")


def _completions(number: int, node: Path, root: Path) -> int:
    """Read a block; the number of completions that the kernel reported of the disk."""
    _remove_abandoned(root)
    instance = Instance(f"{_PREFIX}{secrets.token_hex(4)}", root)
    instance.create(_BUFFER_KIB)
    try:
        instance.trace(event_numbers(number), reads=True)
        _read_block(node)
        return sum(_entries(instance, cpu) for cpu in instance.cpus())
    finally:
        instance.remove()


def _remove_abandoned(root: Path) -> None:
    """Remove the instances of trials that ended half-way: else they would hold their buffers until a reboot.
    One that cannot be removed now is somebody's who looks at it."""
    for path in (root / "instances").glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, TrackingError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                Instance(path.name, root).remove()


def _read_block(node: Path) -> None:
    fd = os.open(node, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, _BLOCK) as buffer:
            os.preadv(fd, [buffer], 0)
    finally:
        os.close(fd)


def _entries(instance: Instance, cpu: int) -> int:
    opened = instance.open_cpu(cpu)
    try:
        stats = opened.stats()
        return stats.entries + stats.lost
    finally:
        opened.close()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
