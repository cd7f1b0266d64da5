"""Entry point of `go2cloud-agent`."""

import gc
import sys

from app.agent.daemon.freezer.command import WORD


def main() -> None:
    """Carry out the command line and exit with its code.

    The freezer keeps all that it loads in memory, so it loads little. `thaw` may find the disk frozen on
    which byte code is written. What is loaded is no garbage: looking for some in it takes a sixth of the
    start's CPU time.
    """
    if sys.argv[1:2] == [WORD]:
        from app.agent.daemon.freezer.__main__ import main as become_freezer

        return become_freezer(sys.argv[2:])
    if sys.argv[1:2] == ["thaw"]:
        sys.dont_write_bytecode = True
    gc.disable()
    from app.agent.daemon.cli import Streams, run

    gc.freeze()
    gc.enable()
    sys.exit(run(sys.argv[1:], Streams(sys.stdout, sys.stderr)))


if __name__ == "__main__":
    main()
