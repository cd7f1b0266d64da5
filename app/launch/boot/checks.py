"""What is to be looked at in a launched machine: part of the launch settings."""

import re
from dataclasses import dataclass, field
from typing import Final

from app.contract.words import CheckKind
from app.launch.errors import SettingsWrong

_PATH: Final = re.compile(r"/[!-~]*")
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]+")


@dataclass(frozen=True)
class LoginCheck:
    """A login prompt on the serial line."""

    name: str = "login"
    kind: CheckKind = CheckKind.LOGIN


@dataclass(frozen=True)
class ScreenCheck:
    """The last screenshot shows something. Alone it proves nothing: firmware paints text, too."""

    name: str = "screen"
    kind: CheckKind = CheckKind.SCREEN


@dataclass(frozen=True)
class TcpCheck:
    """The guest accepts connections on one of its forwarded ports."""

    port: int
    name: str = "tcp"
    kind: CheckKind = CheckKind.TCP


@dataclass(frozen=True)
class HttpCheck:
    """The guest answers a GET with this status, and a body in which the pattern is found.

    Of the body the first MiB is looked at. A certificate is not verified: the address is another one here.
    """

    port: int
    path: str = "/"
    status: int = 200
    body: str | None = None
    """A regular expression; its dot matches line ends, too."""
    host: str | None = None
    """The name to ask for, where it is not 127.0.0.1."""
    tls: bool = False
    name: str = "http"
    kind: CheckKind = CheckKind.HTTP

    def __post_init__(self) -> None:
        """Raises SettingsWrong for what is no regular expression, no path, or no name of a host."""
        try:
            re.compile(self.body or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise SettingsWrong(f"check {self.name}: the pattern {self.body!r} is wrong: {error}") from error
        if not _PATH.fullmatch(self.path):
            raise SettingsWrong(
                f"check {self.name}: {self.path!r} is no path of a URL",
                remedy="write other letters as %C3%BC",
            )
        if self.host is not None and not _HOST.fullmatch(self.host):
            raise SettingsWrong(
                f"check {self.name}: {self.host!r} is no name of a host", remedy="write it as www.example.org"
            )


@dataclass(frozen=True)
class ScriptCheck:
    """A program of the operator's, run beside the service, that ends with 0.

    It gets PATH, GO2CLOUD_INSTANCE, GO2CLOUD_ADDRESS (127.0.0.1) and for each forwarded port of the guest
    GO2CLOUD_PORT_<port>. It is tried again until it succeeds or the plan's time is over.
    """

    argv: tuple[str, ...]
    seconds: float = 60
    """For one try; then it and its children are killed."""
    name: str = "script"
    kind: CheckKind = CheckKind.SCRIPT

    def __post_init__(self) -> None:
        """Raises SettingsWrong where there is nothing to run."""
        if not self.argv or self.seconds <= 0:
            raise SettingsWrong(f"check {self.name} has no program, or no time")


@dataclass(frozen=True)
class ImagesCheck:
    """Published images still are what their manifest says; the one check of a target that runs no machine."""

    name: str = "images"
    kind: CheckKind = CheckKind.IMAGES


Check = LoginCheck | ScreenCheck | TcpCheck | HttpCheck | ScriptCheck | ImagesCheck


@dataclass(frozen=True)
class CheckPlan:
    """The checks, all of which must pass, and the patience."""

    checks: tuple[Check, ...] = field(default=(LoginCheck(),))
    seconds: float = 600
    """From the launch until a check that has not passed is a failure. Without KVM, Debian needs 70 s."""
    settle_seconds: float = 5
    """From the last check that passed to the screenshot that is the proof."""
    picture_seconds: float = 5
    """Between screenshots."""

    def __post_init__(self) -> None:
        """Raises SettingsWrong where two checks have one name, or nothing is checked."""
        names = [check.name for check in self.checks]
        if not names or len(set(names)) < len(names):
            raise SettingsWrong(f"the checks {', '.join(names) or '(none)'} need names of their own")
        if min(self.seconds, self.picture_seconds) <= 0 or self.settle_seconds < 0:
            raise SettingsWrong("the checks need time")

    @property
    def ports(self) -> frozenset[int]:
        """The guest's ports that the checks go to: they must be forwarded."""
        return frozenset(check.port for check in self.checks if isinstance(check, TcpCheck | HttpCheck))
