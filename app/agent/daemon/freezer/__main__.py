"""Entry point of the freezer's process: `python -m app.agent.daemon.freezer FD DIRECTORY`."""

import signal
import sys
from pathlib import Path

from app.agent.daemon import priority
from app.agent.daemon.freezer.process import run


def main(arguments: list[str]) -> None:
    """Serve the daemon at the other end of an inherited socket.

    Signals that end other programs do not end this one: it thaws and ends when the daemon does.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    priority.restore()
    run(int(arguments[0]), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
