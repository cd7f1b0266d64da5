"""Ceph's own program `rbd`: one call, one answer, and its errors by name.

The bindings of Debian (python3-rbd) are for the system's Python only; krbd and rbd-nbd need a kernel and
rights that a container does not have. `rbd` ends with the errno of what went wrong.
"""

import errno
import json
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from app.kit.errors import Go2CloudError
from app.launch.errors import CephRefused, CephUnreachable, StorageShort, ToolFailed
from app.launch.programs import CEPH, RBD, require_program
from app.launch.rbd.settings import RbdSettings
from app.store.errors import VolumeBusy

CONNECT_SECONDS: Final = 20
ANSWER_SECONDS: Final = 60
WORK_SECONDS: Final = 6 * 3600
"""For removing and shrinking images, which goes through all of their objects."""
_POOL_MISSING: Final = ("error opening pool", "error setting namespace", "' does not exist.")
_BUSY: Final = (errno.EBUSY, errno.EROFS, errno.ESHUTDOWN)


@dataclass(frozen=True)
class RbdCommand:
    """Calls with the settings' cluster, client and pool."""

    settings: RbdSettings
    connect_seconds: int = CONNECT_SECONDS

    def argv(self, command: str, *arguments: str) -> list[str]:
        """The call, in no language but the one whose words are compared."""
        patience = ["--client-mount-timeout", str(self.connect_seconds), "--admin-socket", ""]
        program = ["env", "LC_ALL=C", require_program(RBD)]
        return [*program, *self._cluster(), *patience, *command.split(), *arguments]

    def run(self, command: str, *arguments: str, seconds: float = ANSWER_SECONDS) -> str:
        """What a command of rbd prints.

        Raises CephUnreachable, CephRefused, VolumeBusy, StorageShort, ToolFailed, ToolMissing.
        """
        done = self._done(command, arguments, seconds)
        if done.returncode:
            raise self.failed(command, done.returncode, done.stderr)
        return done.stdout

    def found(self, command: str, *arguments: str) -> str | None:
        """The same; None where the pool is there and the thing is not."""
        done = self._done(command, arguments, ANSWER_SECONDS)
        if done.returncode == errno.ENOENT and not _lacks_pool(done.stderr):
            return None
        if done.returncode:
            raise self.failed(command, done.returncode, done.stderr)
        return done.stdout

    def listed(self, command: str, *arguments: str) -> Any:
        """What a command prints as JSON; its form is that command's."""
        return json.loads(self.run(command, *arguments, "--format", "json"))

    def free_bytes(self) -> int:
        """Bytes that the pool can still take, as Ceph estimates it. Raises as `run`."""
        patience = ["--connect-timeout", str(self.connect_seconds)]
        argv = [require_program(CEPH), *self._cluster(), *patience, "df", "--format", "json"]
        done = self._ended("df", argv, ANSWER_SECONDS)
        if done.returncode:
            raise self.failed("df", done.returncode, done.stderr)
        pools = json.loads(done.stdout)["pools"]
        return next(
            (int(each["stats"]["max_avail"]) for each in pools if each["name"] == self.settings.pool), 0
        )

    def _cluster(self) -> list[str]:
        return ["-c", str(self.settings.conf), "--id", self.settings.client]

    def _done(
        self, command: str, arguments: tuple[str, ...], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        return self._ended(command, self.argv(command, *arguments), seconds)

    def _ended(self, command: str, argv: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise self.silent(command, seconds) from error

    def silent(self, command: str, seconds: float) -> CephUnreachable:
        """The error for a cluster that goes on with nothing for so long."""
        return CephUnreachable(
            f"Ceph went on with nothing of rbd {command} in pool {self.settings.pool} for {seconds:.0f} s",
            remedy="look at the cluster: ceph health detail",
        )

    def failed(self, command: str, code: int, stderr: str) -> Go2CloudError:
        """The error for a call that ended with this errno and these words."""
        pool, client = self.settings.pool, f"client.{self.settings.client}"
        text = f"rbd {command} in pool {pool} as {client}: {_said(stderr) or errno.errorcode.get(code, code)}"
        if "config file" in stderr or "keyring" in stderr:
            return CephRefused(
                f"{text}; {self.settings.conf}",
                remedy=f"put ceph.conf and the keyring of {client} there, readable for the user of go2cloud",
            )
        if code in (errno.ETIMEDOUT, errno.ENOTCONN):
            return CephUnreachable(
                text, remedy="look at mon_host in ceph.conf, the net, the monitors: ceph status"
            )
        if code in (errno.EPERM, errno.EACCES):
            caps = f"mon 'profile rbd' osd 'profile rbd pool={pool}' mgr 'profile rbd'"
            return CephRefused(
                f"{text}: not permitted", remedy=f"ceph auth caps {client} {caps}; compare its key"
            )
        if _lacks_pool(stderr):
            return CephRefused(
                f"Ceph has no {self.settings.spec('').rstrip('/')}, or not for {client}",
                remedy=f"ceph osd pool create {pool} && rbd pool init {pool}; rbd namespace create",
            )
        if code in _BUSY:
            return VolumeBusy(text, remedy="end what has the image open (rbd status), then try again")
        if code in (errno.ENOSPC, errno.EDQUOT):
            return StorageShort(text, remedy=f"free space in the cluster, or raise the quota of pool {pool}")
        return ToolFailed(text)


def _lacks_pool(stderr: str) -> bool:
    return any(words in stderr for words in _POOL_MISSING)


def _said(stderr: str) -> str:
    """rbd's own words, without what its libraries log."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    own = [line.removeprefix("rbd: ") for line in lines if line.startswith("rbd: ")]
    return "; ".join(own or lines[-2:])
