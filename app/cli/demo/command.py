"""`go2cloud demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Keep disk, export, store and logs there.", file_okay=False, writable=True
        ),
    ] = None,
) -> None:
    """Run the main job end to end on this machine, without root, and prove the replica."""
    from rich.console import Console

    from app.cli.demo.run import run_demo

    run_demo(Console(), keep)
