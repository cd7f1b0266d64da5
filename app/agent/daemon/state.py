"""The state directory: who this agent is and which service it belongs to. Small, 0600, written atomically.

    lock             flock: one daemon at a time
    instance         32 random bytes (hex), made once
    enrolment.json   Enrolment

The instance id is derived from `instance`, the boot and the directory's inode: a copy of the directory,
on this host or another, is another instance, which the service then tells apart. What changes with each
pass lies under /run, so that a pass does not dirty the disks that it copies.
"""

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from blake3 import blake3

from app.agent.daemon.errors import StateError
from app.wire.errors import MessageError
from app.wire.jsonform import decode, encode

T = TypeVar("T")

DEFAULT_DIR: Final = Path("/var/lib/go2cloud-agent")
RUN_DIR: Final = Path("/run/go2cloud-agent")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Enrolment:
    """What enrolment gave. `disks` are the paths that were named; none means every physical disk.

    `max_cpu` (percent of one core) and `max_read` (MiB a second) are caps that the host's owner set; 0 for
    none.
    """

    url: str
    server_id: str
    name: str
    credential: str
    fingerprint: str = ""
    allow_plain_http: bool = False
    proxy: str = ""
    disks: tuple[str, ...] = ()
    max_cpu: int = 0
    max_read: int = 0


@dataclass(frozen=True)
class LastPass:
    """The newest pass that was committed, or the newest failure; times are ISO-8601 in UTC."""

    time: str
    checkpoint_id: str = ""
    number: int = 0
    label: str = ""
    seconds: int = 0
    wire_bytes: int = 0
    error: str = ""


class StateDir:
    """The state directory. Raises StateError for whatever is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd = -1

    def __enter__(self) -> Self:
        """Create the directory if need be and lock it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(
                f"the state directory {self.path} cannot be used: {error.strerror}",
                remedy="run as root, or choose another one with --state-dir",
            ) from error
        self._take_lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock_fd)
        self._lock_fd = -1

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock_fd)
            raise StateError(
                f"another agent is running on the state directory {self.path}",
                code="STATE_IN_USE",
                remedy="stop it first, or choose another directory with --state-dir",
            ) from error

    @property
    def is_locked(self) -> bool:
        """Whether a daemon holds the directory."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def instance_id(self) -> str:
        """This agent instance (hex): stable while directory and boot are the same. Needs the lock."""
        path = self.path / "instance"
        if not path.exists():
            _write(path, secrets.token_hex(32).encode())
        status = self.path.stat()
        place = f"{status.st_dev}:{status.st_ino}:{_BOOT_ID.read_text().strip()}"
        return blake3(path.read_bytes() + place.encode()).hexdigest(length=16)

    def enrolment(self) -> Enrolment | None:
        """What enrolment gave; None before it. Raises StateError."""
        return _read(Enrolment, self.path / "enrolment.json")

    def require_enrolment(self) -> Enrolment:
        """What enrolment gave. Raises StateError before it."""
        found = self.enrolment()
        if found is None:
            raise StateError(
                f"{self.path} is not enrolled",
                code="NOT_ENROLLED",
                remedy="run go2cloud-agent enroll --url URL --token TOKEN first",
            )
        return found

    def require_not_enrolled(self) -> None:
        """Raise StateError if the directory is enrolled already."""
        found = self.enrolment()
        if found is not None:
            raise StateError(
                f"{self.path} is already enrolled at {found.url} as {found.name} ({found.server_id})",
                code="ALREADY_ENROLLED",
                remedy="to enrol anew, move the directory away or choose another one with --state-dir",
            )

    def place_aside(self, enrolment: Enrolment) -> Path:
        """Where `set_aside` moves to. Raises StateError if something is there."""
        aside = self.path.with_name(f"{self.path.name}.{enrolment.server_id}")
        if aside.exists():
            raise StateError(
                f"the state directory {self.path} cannot be moved to {aside}: it is there already",
                remedy="move one of them away by hand, or choose another directory with --state-dir",
            )
        return aside

    def set_aside(self, enrolment: Enrolment) -> Path:
        """Move it all into a directory beside it, named after the server it speaks for; it is empty then.

        The new place. Needs the lock, and keeps it. Raises StateError.
        """
        aside = self.place_aside(enrolment)
        try:
            self.path.rename(aside)
        except OSError as error:
            raise StateError(
                f"the state directory {self.path} cannot be moved to {aside}: {error.strerror}",
                remedy="move it away by hand, order another token, and enrol again",
            ) from error
        os.close(self._lock_fd)
        self.__enter__()
        return aside

    def save_enrolment(self, enrolment: Enrolment) -> None:
        """Keep what enrolment gave."""
        _write(self.path / "enrolment.json", encode(enrolment))

    @property
    def run_dir(self) -> Path:
        """The folder for what changes all the time and need not survive a reboot: in memory where this user
        may have one there."""
        if self.path == DEFAULT_DIR:
            return RUN_DIR
        if os.geteuid() != 0:
            return self.path / "run"
        return RUN_DIR / blake3(os.fsencode(self.path.resolve())).hexdigest(length=6)

    @property
    def _last_pass_file(self) -> Path:
        return (RUN_DIR if self.path == DEFAULT_DIR else self.path) / "last-pass.json"

    def last_pass(self) -> LastPass | None:
        """The newest pass since boot. Raises StateError."""
        return _read(LastPass, self._last_pass_file)

    def save_last_pass(self, last: LastPass) -> None:
        """Keep the newest pass for `status`."""
        self._last_pass_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self._last_pass_file, encode(last))


def _read(kind: type[T], path: Path) -> T | None:
    try:
        return decode(kind, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, MessageError) as error:
        raise StateError(
            f"{path} cannot be read: {error}",
            code="STATE_DAMAGED",
            remedy="move the state directory away and enrol again",
        ) from error


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise StateError(
            f"{path} cannot be written: {error.strerror}", remedy=f"make room in {path.parent}"
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that after a crash it holds either all of the old or all of the new bytes.

    Raises OSError; the old file is there as it was then.
    """
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(fd)
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
