"""Exit codes, and what an error looks like on a terminal.

0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 timeout. An error is one line on stderr and, where there is
one, a line that says what to do.
"""

from enum import IntEnum

import typer
from pydantic import ValidationError

from app.client.errors import ClientError, NotAuthenticated, NotFound, NotPermitted, TimedOut
from app.kit import errors as kit
from app.kit.settingserror import SettingsError
from app.wire.errors import WireError


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    TIMEOUT = 5


class CommandFailed(Exception):
    """A command that could not do its work, for a reason of its own."""

    def __init__(self, detail: str, *, remedy: str | None = None, code: Exit = Exit.FAILED) -> None:
        """`detail` names the thing, `remedy` what to do."""
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.code = code


KNOWN = (CommandFailed, ClientError, kit.Go2CloudError, WireError, SettingsError, ValidationError)
"""What commands raise on purpose; anything else is a defect and shows its trace."""

_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (NotFound, Exit.NOT_FOUND),
    (kit.NotFound, Exit.NOT_FOUND),
    (NotAuthenticated, Exit.DENIED),
    (NotPermitted, Exit.DENIED),
    (kit.Unauthenticated, Exit.DENIED),
    (kit.Forbidden, Exit.DENIED),
    (TimedOut, Exit.TIMEOUT),
)


def report(error: Exception) -> Exit:
    """Say on stderr what went wrong; the exit code that belongs to it."""
    if isinstance(error, ValidationError):
        return _wrong_input(error)
    typer.echo(f"error: {error}", err=True)
    remedy = getattr(error, "remedy", None)
    if remedy:
        typer.echo(f"  try: {remedy}", err=True)
    if isinstance(error, CommandFailed):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)


def _wrong_input(error: ValidationError) -> Exit:
    """What a resource would not take, by the name of its member; never the value, which may be a secret."""
    for each in error.errors(include_input=False, include_url=False):
        typer.echo(f"error: {'.'.join(str(part) for part in each['loc'])}: {each['msg']}", err=True)
    return Exit.USAGE
