"""libvirt's own program, as the way to its daemon: one call, one answer."""

import subprocess
from dataclasses import dataclass
from typing import Final

from app.launch.errors import HypervisorUnreachable, ToolFailed
from app.launch.programs import VIRSH, require_program

ANSWER_SECONDS: Final = 180
"""libvirtd's first answer after its start tries every QEMU of the host, which takes 40 s where KVM hangs."""
_UNCONNECTED: Final = "failed to connect to the hypervisor"


@dataclass(frozen=True)
class Virsh:
    """Calls to the daemon at `uri`."""

    uri: str
    lock: int | None = None
    """A descriptor that calls inherit: its lock is held until the call ended, even when we are killed."""

    def run(self, command: str, *arguments: str) -> str:
        """What a command of virsh prints.

        Raises HypervisorUnreachable, ToolFailed with virsh's words, ToolMissing.
        """
        try:
            done = subprocess.run(
                self._argv(command, arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=ANSWER_SECONDS,
                pass_fds=() if self.lock is None else (self.lock,),
            )
        except subprocess.TimeoutExpired as error:
            raise HypervisorUnreachable(
                f"libvirt at {self.uri} gave no answer to {command} within {ANSWER_SECONDS} s",
                remedy="look at the journal of libvirtd or virtqemud",
            ) from error
        if done.returncode:
            raise self._failed(command, " ".join(done.stderr.replace("error:", "").split()))
        return done.stdout

    def _argv(self, command: str, arguments: tuple[str, ...]) -> list[str]:
        """In no language but the one whose words are compared."""
        return ["env", "LC_ALL=C", require_program(VIRSH), "--quiet", "-c", self.uri, command, *arguments]

    def _failed(self, command: str, said: str) -> HypervisorUnreachable | ToolFailed:
        if _UNCONNECTED in said:
            return HypervisorUnreachable(
                f"libvirt at {self.uri}: {said}",
                remedy="start libvirtd or virtqemud; may this user connect to its socket?",
            )
        return ToolFailed(f"virsh {command} at {self.uri}: {said}")

    def lines(self, command: str, *arguments: str) -> frozenset[str]:
        """What a command prints, as lines."""
        return frozenset(line.strip() for line in self.run(command, *arguments).splitlines() if line.strip())
