"""Whether a cut can hold a mounted filesystem still: as its kind says, or by a trial.

The kinds are those whose driver has `freeze_fs` or `freeze_super`, without which the kernel refuses FIFREEZE
(ioctl_fsfreeze in fs/ioctl.c). A trial freezes one filesystem after the other with the freezer that cuts use,
and thaws it at once.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.errors import FreezeError
from app.agent.daemon.freezer.client import BUDGET_SECONDS, Freezer
from app.agent.daemon.state import RUN_DIR

FREEZABLE: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "nilfs2", "gfs2", "bcachefs"}
)
SYNCED: Final = frozenset({"vfat", "msdos", "exfat"})
"""Boot filesystems, which hardly change: they are synced before a cut, and read."""


@dataclass(frozen=True)
class Freezing:
    """`holds` says whether a cut can hold the filesystem still; `note` why, and whether that was tried."""

    holds: bool
    note: str


def told(kind: str, *, is_read_only: bool, cause: str = "") -> Freezing:
    """What the kind says; `cause` is why it was not tried, if it was to be."""
    untried = f"not tried: {cause}" if cause else "not tried"
    if is_read_only:
        return Freezing(True, "it is mounted read-only: nothing is written to it")
    if kind in FREEZABLE:
        return Freezing(True, f"{kind} can be frozen ({untried})")
    if kind in SYNCED:
        return Freezing(False, f"{kind} cannot be frozen: it is synced instead")
    return Freezing(False, f"{kind} is not known to be frozen by the kernel ({untried})")


def try_all(
    filesystems: Iterable[Standing], check_stop: Callable[[], None], run: Path = RUN_DIR
) -> dict[Standing, Freezing]:
    """Freeze and thaw each of them by itself; read-only ones are told of. Raises Stopped.

    `run` is where the freezer keeps its notes.
    """
    freezer, found = Freezer(run), dict[Standing, Freezing]()
    try:
        for each in filesystems:
            check_stop()
            found[each] = _tried(freezer, each)
    finally:
        freezer.close()
    return found


def _tried(freezer: Freezer, standing: Standing) -> Freezing:
    if standing.is_read_only:
        return told(standing.kind, is_read_only=True)
    try:
        if not freezer.is_running:
            freezer.start()
        return _trial(freezer, standing)
    except FreezeError as error:
        if error.code in _NO_VERDICT:
            return told(standing.kind, is_read_only=False, cause=str(error))
        return Freezing(False, str(error))


def _trial(freezer: Freezer, standing: Standing) -> Freezing:
    """Nothing is done between freeze and thaw: this process may log to what is frozen."""
    began = time.monotonic()
    freezer.prepare((standing,))
    frozen = freezer.freeze(BUDGET_SECONDS)
    thawed = freezer.thaw()
    if frozen.unfrozen:
        return Freezing(False, "; ".join(map(str, frozen.outcomes)))
    written_back = frozen.began - began
    return Freezing(
        True,
        f"it was frozen within {_ms(frozen.took)} and thawed {_ms(thawed.seconds)} after the freeze began, "
        f"once its caches were written back in {_ms(written_back)} (tried)",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


_NO_VERDICT: Final = frozenset({"FREEZER_DIED", "FILESYSTEM_UNREACHABLE"})
"""Codes of failures that say nothing about the filesystem."""
