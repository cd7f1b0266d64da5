"""`python -m app …` and the `go2cloud` command."""

import sys

from app.cli.command import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
