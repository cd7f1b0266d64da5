"""Durations on the command line: `90m`, `24h`, `7d`."""

import re
from datetime import timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM = re.compile(r"(\d{1,6})([smhdw])")


def duration(text: str) -> timedelta:
    """Reads a duration; raises typer.BadParameter for anything else."""
    found = _FORM.fullmatch(text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a duration: write such as 90m, 24h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
