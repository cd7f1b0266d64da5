"""The real agent program, which is killed where it is told.

    python -m tests.hold.dying_agent ARGUMENTS…

G2C_TEST_DEATHS names a folder. A file `before-STAGE` or `after-STAGE` in it kills the agent before or after
it writes that stage into the journal of its hold, and is removed; `at-commit` kills it when a commit
succeeded, before it takes note of that.
"""

import os
import signal
from pathlib import Path
from typing import Any

from app.agent.daemon.hold.journal import Journal
from app.agent.daemon.hold.record import Record
from app.agent.daemon.service import Session

DEATHS = "G2C_TEST_DEATHS"


def main() -> None:
    """Hang everything in and become the agent."""
    folder = Path(os.environ[DEATHS])
    write, commit = Journal.write, Session.commit

    def dying_write(self: Journal, record: Record) -> None:
        _die(folder / f"before-{record.stage}")
        write(self, record)
        _die(folder / f"after-{record.stage}")

    def dying_commit(self: Session, message: Any) -> Any:
        answer = commit(self, message)
        _die(folder / "at-commit")
        return answer

    vars_of(Journal)("write", dying_write)
    vars_of(Session)("commit", dying_commit)
    from app.agent.daemon.__main__ import main as become

    become()


def _die(order: Path) -> None:
    if order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def vars_of(owner: type) -> Any:
    """What sets a method of a class."""
    return lambda name, method: setattr(owner, name, method)


if __name__ == "__main__":
    main()
