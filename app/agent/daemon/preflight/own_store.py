"""Whether the service that takes the copy keeps its store on a disk that is copied.

The agent does not know where the store is; but a running service holds a file `.lock` open in it, beside the
folders `packs` and `leaves`. Only root sees the open files of others.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.agent.daemon.preflight.subject import MountedOn, Subject
from app.wire.preflight import BLOCKER, Code, Finding, Preflight

_LOCK: Final = "/.lock"
_FOLDERS: Final = ("packs", "leaves")


def check_store(subject: Subject, report: Preflight) -> Preflight:
    """Findings only."""
    found = [
        Finding(
            Code.STORE_ON_DISK,
            BLOCKER,
            each.disk.path,
            f"a go2cloud store lies on it, in {store}"[:1000],
            "move the store to a disk that is not replicated, or leave this disk out with --disk: each "
            "checkpoint would be written into the disk that it is of, and so on without end",
        )
        for store in sorted(set(stores()))
        for each in [_mount_of(subject, store)]
        if each is not None
    ]
    return replace(report, findings=(*report.findings, *found))


def stores(proc: Path = Path("/proc")) -> Iterator[Path]:
    """The folders of the stores that processes of this host have open, as far as this user may see them."""
    for opened in proc.glob("[0-9]*/fd/*"):
        try:
            target = str(opened.readlink())
        except OSError:
            continue  # the process ended, closed it, or belongs to somebody else
        folder = Path(target.removesuffix(_LOCK))
        if target.endswith(_LOCK) and all((folder / name).is_dir() for name in _FOLDERS):
            yield folder


def _mount_of(subject: Subject, folder: Path) -> MountedOn | None:
    """The filesystem of a replicated disk that the folder is on, by the longest mount point; else None."""
    holding = [line for line in subject.mounts if folder.is_relative_to(line.target)]
    if not holding:
        return None
    line = max(enumerate(holding), key=lambda pair: (len(pair[1].target), pair[0]))[1]
    return next((each for each in subject.mounted if each.line.number == line.number), None)
