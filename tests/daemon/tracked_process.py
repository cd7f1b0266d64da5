"""A process that tracks a disk until it is killed: run folder, device, size, and where it kills itself."""

import os
import signal
import sys
import time
from pathlib import Path

from app.agent.daemon.tracking.dirty import DirtyMap
from app.agent.daemon.tracking.disks import TrackedDisk
from app.agent.daemon.tracking.intake import Intake
from app.agent.daemon.tracking.tracefs import TraceTracker


def die(*_: object) -> None:
    """End as by an out-of-memory kill."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Start, say what gap there was, end it, and stay."""
    run, device, size, dies_at = sys.argv[1:]
    tracker = TraceTracker(Path(run))
    tracker.start([TrackedDisk("disk", Path(device).stat().st_rdev, 0, int(size))])
    gap = tracker.gap_of("disk")
    if gap:
        tracker.restart("disk")
    if dies_at:
        owner, name = dies_at.split(".")
        setattr({"Intake": Intake, "DirtyMap": DirtyMap}[owner], name, die)
    print(gap or "whole", flush=True)
    while True:
        time.sleep(1)


main()
