"""The real agent program, which keeps what its disks held at each freeze, and stops or dies where it is told.

    python -m tests.following.steered_agent ARGUMENTS…

G2C_TEST_STEERING names a folder:

    disk-N          the device and the file behind it, a line each: WITNESS-N is what they held at the freeze
    hold            while this is there, a frozen source is held for ever; `held` says that it is
    die-at-commit   the agent is killed when a commit succeeded, before it takes note of that
    die-after       seconds, counted from the opening of a session: the agent is killed then

An order that was carried out is removed.
"""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from app.agent.daemon import composition
from app.agent.daemon.following import cut
from app.agent.daemon.service import Service, Session
from tests.following.live_host import WitnessFreezer
from tests.services.loop_disks import LoopDisk

STEERING = "G2C_TEST_STEERING"


def main() -> None:
    """Hang everything in and become the agent."""
    folder = Path(os.environ[STEERING])
    disks = [LoopDisk(*map(Path, path.read_text().split("\n"))) for path in sorted(folder.glob("disk-*"))]
    run = Path(os.environ[STEERING]) / "freezer"
    vars(composition)["Freezer"] = lambda *_: WitnessFreezer(run, disks, folder)
    vars(cut)["GRACE_SECONDS"] = 3600.0
    _hold(folder)
    _die_at_commit(folder / "die-at-commit")
    _die_after(folder / "die-after")
    from app.agent.daemon.__main__ import main as become

    become()


def _hold(folder: Path) -> None:
    original = cut._read

    def read(*arguments: Any) -> None:
        original(*arguments)
        while (folder / "hold").exists():
            (folder / "held").touch()
            time.sleep(0.05)

    vars(cut)["_read"] = read


def _die_at_commit(order: Path) -> None:
    original = Session.commit

    def commit(self: Session, message: Any) -> Any:
        answer = original(self, message)
        if order.exists():
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    vars_of(Session)("commit", commit)


def _die_after(order: Path) -> None:
    original = Service.open

    def opened(self: Service, message: Any) -> Any:
        if order.exists():
            seconds = float(order.read_text())
            order.unlink()
            timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        return original(self, message)

    vars_of(Service)("open", opened)


def vars_of(owner: type) -> Any:
    """What sets a method of a class."""
    return lambda name, method: setattr(owner, name, method)


if __name__ == "__main__":
    main()
