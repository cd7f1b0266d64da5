"""Whether the service that takes the copy keeps its store on a disk that is copied.

The agent does not know where the store is; but a running service holds a file `.lock` open in it, beside the
folders `packs` and `leaves`. Only root sees the open files of others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.mounts import mount_of
from app.agent.daemon.preflight.subject import Subject, SubjectDisk
from app.wire.preflight import BLOCKER, Code, Finding, Preflight

_LOCK: Final = "/.lock"
_FOLDERS: Final = ("packs", "leaves")


def check_store(subject: Subject, report: Preflight) -> Preflight:
    """Findings only."""
    found = [
        Finding(
            Code.STORE_ON_DISK,
            BLOCKER,
            disk.path,
            f"a go2cloud store lies on it, in {store.folder}"[:1000],
            "move the store to a disk that is not replicated, or leave this disk out with --disk: each "
            "checkpoint would be written into the disk that it is of, and so on without end",
        )
        for store in sorted(set(stores()))
        for disk in _disks_below(subject, store)
    ]
    return replace(report, findings=(*report.findings, *found))


@dataclass(frozen=True, order=True)
class OpenStore:
    """A store that a process has open; its folder, as that process sees it, lies on the mount `mount_id`."""

    folder: Path
    mount_id: int


def stores(proc: Path = Path("/proc")) -> Iterator[OpenStore]:
    """The stores that processes of this host have open, as far as this user may see them."""
    for opened in proc.glob("[0-9]*/fd/*"):
        process = opened.parent.parent
        try:
            target = str(opened.readlink())
            folder = Path(target.removesuffix(_LOCK))
            if target.endswith(_LOCK) and _is_store(process, folder):
                yield OpenStore(folder, mount_of(opened.name, process.name))
        except OSError:
            continue  # the process ended, closed it, or belongs to somebody else


def _is_store(process: Path, folder: Path) -> bool:
    """Whether the folder has what a store has, as this process or the one that opened it sees it."""
    seen = (folder, process / "root" / folder.relative_to("/"))
    return any(all((place / name).is_dir() for name in _FOLDERS) for place in seen)


def _disks_below(subject: Subject, store: OpenStore) -> list[SubjectDisk]:
    """The replicated disks that the store's filesystem is on."""
    lines = (line for table in subject.mounts.tables for line in table.lines)
    numbers = {line.number for line in lines if line.mount_id == store.mount_id}
    return [
        disk for disk in subject.disks if any(each.number in numbers for each in subject.mounted_on(disk))
    ]
