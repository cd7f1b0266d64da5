"""Where `go2cloud login` keeps what it got: one file that only its owner can read."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from app.cli.exits import CommandFailed


@dataclass(frozen=True, slots=True)
class Credentials:
    """A service and the token to use with it."""

    url: str
    token: str

    def __repr__(self) -> str:
        """Without the token: a repr ends in logs."""
        return f"Credentials(url={self.url!r})"


def credentials_file() -> Path:
    """`~/.config/go2cloud/credentials.json`, or below XDG_CONFIG_HOME."""
    return Path(typer.get_app_dir("go2cloud")) / "credentials.json"


def load() -> Credentials | None:
    """What was kept; None when nobody is logged in. Raises CommandFailed for a file that cannot be read."""
    file = credentials_file()
    try:
        return Credentials(**json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CommandFailed(
            f"{file} cannot be read: {error}", remedy="log in again: go2cloud login URL"
        ) from error


def keep(credentials: Credentials) -> None:
    """Keep them, readable by the owner only from the first byte on."""
    file = credentials_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(asdict(credentials), stream)
    fresh.replace(file)


def forget() -> None:
    """Remove what was kept; nothing to remove is fine."""
    credentials_file().unlink(missing_ok=True)
