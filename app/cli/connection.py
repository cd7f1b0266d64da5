"""The service that a command talks to: options, then environment, then what `go2cloud login` kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from app.cli import credentials
from app.cli.exits import CommandFailed, Exit
from app.client.transport import Client

ASK_FIRST = "log in: go2cloud login URL, or set GO2CLOUD_URL and GO2CLOUD_TOKEN"


@dataclass(frozen=True, slots=True)
class Target:
    """What the options and the environment say; None where they say nothing."""

    url: str | None
    token: str | None


@contextmanager
def connected(context: typer.Context) -> Iterator[Client]:
    """A client of the service. Raises CommandFailed when none is known."""
    target = context.find_object(Target) or Target(None, None)
    kept = credentials.load()
    url = target.url or (kept.url if kept else None)
    if url is None:
        raise CommandFailed("no go2cloud service is known", remedy=ASK_FIRST, code=Exit.USAGE)
    with Client(url, _token(target, kept, url)) as client:
        yield client


def _token(target: Target, kept: credentials.Credentials | None, url: str) -> str:
    """The token for this URL: a kept one is never sent to another service."""
    if target.token is not None:
        return target.token
    if kept is not None and kept.url.rstrip("/") == url.rstrip("/"):
        return kept.token
    raise CommandFailed(f"there is no token for {url}", remedy=ASK_FIRST, code=Exit.DENIED)
