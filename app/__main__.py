"""`python -m app …` and the `go2cloud` command."""

import gc
import sys


def main() -> None:
    """Run the command line and leave with its exit code.

    What is loaded is no garbage: looking for some in it, again and again while it is loaded and once more at
    the end, takes a quarter of a short command's CPU time.
    """
    gc.disable()
    from app.cli.command import run

    gc.freeze()
    gc.enable()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
