"""Entry point of `go2cloud-agent`."""

import sys

from app.agent.daemon.cli import Streams, run


def main() -> None:
    """Carry out the command line and exit with its code."""
    sys.exit(run(sys.argv[1:], Streams(sys.stdout, sys.stderr)))


if __name__ == "__main__":
    main()
