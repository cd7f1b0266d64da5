"""Whether the settings can work here: each thing that is missing, by its name."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, FindingSeverity
from app.launch.errors import HypervisorUnreachable, LaunchError, ToolFailed
from app.launch.libvirt.settings import LibvirtSettings
from app.launch.libvirt.virsh import Virsh
from app.launch.programs import QEMU_IMG, VIRSH, require_ovmf, require_program
from app.launch.qemu.accelerator import Verdict, choose
from app.launch.target import TargetFinding

_BRIDGES: Final = Path("/sys/class/net")


def accelerator(settings: LibvirtSettings, virsh: Virsh) -> Verdict:
    """What runs machines: the settings' choice, else KVM where it was tried and libvirt has it, too.

    May try KVM, which takes up to half a minute once a boot of the node. Raises LaunchError.
    """
    if settings.accelerator is not None:
        return Verdict(settings.accelerator, "the settings say so", "", "")
    verdict = choose(settings.verdict)
    if verdict.accelerator is Accelerator.KVM:
        try:
            capabilities(virsh, Accelerator.KVM)
        except ToolFailed as error:
            return Verdict(Accelerator.TCG, error.detail, verdict.boot, verdict.qemu)
    return verdict


def capabilities(virsh: Virsh, kind: Accelerator) -> None:
    """Raises ToolFailed where this libvirt has no q35 machines of that kind."""
    name = "kvm" if kind is Accelerator.KVM else "qemu"
    virsh.run("domcapabilities", "--virttype", name, "--arch", "x86_64", "--machine", "q35")


@dataclass(frozen=True)
class Validation:
    """One look at the settings."""

    settings: LibvirtSettings
    virsh: Virsh

    def findings(self) -> tuple[TargetFinding, ...]:
        """All that was found. What needs libvirt is not looked at where it does not answer."""
        found = [*self._node()]
        try:
            self.virsh.run("version")
        except (HypervisorUnreachable, ToolFailed) as error:
            return (*found, _blocker(error))
        except LaunchError:  # virsh is missing, and was found to be
            return tuple(found)
        return (*found, *self._libvirt())

    def _node(self) -> Iterator[TargetFinding]:
        yield from _raised(lambda: require_program(VIRSH))
        yield from _raised(lambda: require_program(QEMU_IMG))
        yield from _raised(require_ovmf)
        yield from self._folder()
        if self.settings.is_system and os.geteuid() != 0:
            yield TargetFinding(
                FindingSeverity.BLOCKER,
                "USER_UNFIT",
                f"{self.settings.uri} gives its machines' files to a user of its own, and we are not root",
                "run this node as root, or take qemu:///session",
            )

    def _folder(self) -> Iterator[TargetFinding]:
        folder = self.settings.pool_folder
        try:
            for each in (self.settings.machines, self.settings.volumes):
                each.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            text = f"{folder} cannot be used: {error.strerror or error}"
            yield TargetFinding(FindingSeverity.BLOCKER, "FOLDER_UNUSABLE", text)
            return
        closed = [each for each in (folder, *folder.parents) if not each.stat().st_mode & 1]
        if self.settings.is_system and closed:
            yield TargetFinding(
                FindingSeverity.WARNING,
                "FOLDER_CLOSED",
                f"the user that QEMU runs as may not be able to enter {closed[-1]}",
                f"chmod o+x {closed[-1]}, or take a folder below /var/lib/libvirt/images",
            )

    def _libvirt(self) -> Iterator[TargetFinding]:
        yield from self._network()
        try:
            verdict = accelerator(self.settings, self.virsh)
            capabilities(self.virsh, verdict.accelerator)
        except LaunchError as error:
            yield _blocker(error)
            return
        severity, text = FindingSeverity.OK, "machines run under KVM"
        if verdict.accelerator is Accelerator.TCG:
            severity = FindingSeverity.NOTE
            text = f"machines run without KVM, ten times slower: {verdict.reason}"
        yield TargetFinding(severity, f"ACCELERATOR_{verdict.accelerator.name}", text)

    def _network(self) -> Iterator[TargetFinding]:
        network, bridge = self.settings.network, self.settings.bridge
        if network is None and bridge is None:
            text = "neither a network nor a bridge is named: machines can be tested, and not take over"
            yield TargetFinding(FindingSeverity.NOTE, "NETWORK_UNNAMED", text)
        if network is not None and network not in self.virsh.lines("net-list", "--name"):
            yield TargetFinding(
                FindingSeverity.BLOCKER,
                "NETWORK_MISSING",
                f"libvirt has no active network {network!r}",
                f"virsh net-start {network} (and net-autostart), or name another",
            )
        if bridge is not None and not (_BRIDGES / bridge / "bridge").is_dir():
            yield TargetFinding(
                FindingSeverity.BLOCKER,
                "BRIDGE_MISSING",
                f"the node has no bridge {bridge!r}",
                "make the bridge, or name another: ip link show type bridge",
            )


def _raised(call: Callable[[], object]) -> Iterator[TargetFinding]:
    try:
        call()
    except LaunchError as error:
        yield _blocker(error)


def _blocker(error: LaunchError) -> TargetFinding:
    return TargetFinding(FindingSeverity.BLOCKER, error.code, error.detail, error.remedy)
