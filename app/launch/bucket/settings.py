"""Which bucket, and the keys to it.

Keys stand in a file of the node in the form of AWS's shared credentials, so that neither the database nor an
answer of the API has them:

    [archive]
    aws_access_key_id = …
    aws_secret_access_key = …
    aws_session_token = …          where the keys are temporary ones

A target names the section. The file is read at each use: keys that were changed hold from then on.
"""

import configparser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.launch.errors import SettingsWrong

FILE_KEY: Final = "LAUNCH.S3_CREDENTIALS"
PART_BYTES: Final = 64 << 20
"""Of a part of an upload: 640 GiB in the ten thousand that S3 takes; larger files have larger parts."""


@dataclass(frozen=True)
class AccessKeys:
    """What requests are signed with."""

    access: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class BucketSettings:
    """A bucket, what our keys in it begin with, how it is reached, and where the access keys stand."""

    bucket: str
    prefix: str = ""
    """Without a slash at its ends; empty for none."""
    endpoint: str | None = None
    """`http(s)://host[:port]`; AWS where it is None."""
    region: str = "us-east-1"
    credentials: str = "default"
    """The section of the file."""
    credentials_file: Path | None = None
    part_bytes: int = PART_BYTES

    def __str__(self) -> str:
        """The address, without keys."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def url(self) -> str:
        """The endpoint's URL, without a slash at its end."""
        return self.endpoint or f"https://s3.{self.region}.amazonaws.com"

    def key(self, name: str) -> str:
        """The whole key of `name`, which is below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def access_keys(self) -> AccessKeys:
        """The keys as the file has them now. Raises SettingsWrong that names what lacks."""
        section = self._section()
        keys = {name: section.get(f"aws_{name}") or "" for name in ("access_key_id", "secret_access_key")}
        for name, value in keys.items():
            if not value:
                raise SettingsWrong(
                    f"section [{self.credentials}] of {self.credentials_file} has no aws_{name}",
                    remedy="write the keys of a user who may list, read, write and delete in the bucket",
                )
        token = section.get("aws_session_token")
        return AccessKeys(keys["access_key_id"], keys["secret_access_key"], token or None)

    def _section(self) -> configparser.SectionProxy:
        if self.credentials_file is None:
            raise SettingsWrong(
                f"{FILE_KEY} names no file on this node, so that there are no keys to {self}",
                remedy=f"write one with a section [{self.credentials}]: see docs/targets.md",
            )
        found = _read(self.credentials_file)
        if not found.has_section(self.credentials):
            there = ", ".join(found.sections()) or "none"
            raise SettingsWrong(
                f"{self.credentials_file} has no section [{self.credentials}]; it has: {there}",
                remedy="add the section, or correct the target's setting credentials",
            )
        return found[self.credentials]


def _read(path: Path) -> configparser.ConfigParser:
    """The file's sections; what cannot be read as such is told without its lines, which may be keys."""
    parser = configparser.ConfigParser(interpolation=None, default_section="", strict=True)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsWrong(
            f"{FILE_KEY} {path} cannot be read: {error.strerror}",
            remedy="put it there, readable for the service's user",
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        at = f" (line {line})" if line else ""
        raise SettingsWrong(
            f"{FILE_KEY} {path} is no file of keys{at}: {type(error).__name__}",
            remedy="write sections with aws_access_key_id and aws_secret_access_key",
        ) from None  # the error cites the file
    return parser
