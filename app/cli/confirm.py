"""Asking before something is destroyed."""

import sys
from typing import Annotated

import typer

from app.cli.exits import CommandFailed, Exit

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def sure(question: str, yes: bool) -> None:
    """Ask on a terminal; without one `--yes` is needed. Raises CommandFailed when the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(f"{question} This needs a yes.", remedy="add --yes", code=Exit.USAGE)
    if not typer.confirm(question, err=True):
        raise CommandFailed("left as it is")
