"""The log of a machine's serial line: each start of the machine has one of its own."""

from pathlib import Path

from app.launch.durable import sync

BEFORE = ".before"
"""Ends the name of the log of the start before; virtlogd takes numbers for its own."""


def begin_log(log: Path) -> None:
    """Have an empty log for the machine that is about to be started; that of the start before is set aside.

    One without a word, as of a start that was refused, does not take the place of what was said before.
    """
    if log.exists() and log.stat().st_size:
        log.replace(log.with_name(log.name + BEFORE))
    log.touch(mode=0o600)
    sync(log.parent)
