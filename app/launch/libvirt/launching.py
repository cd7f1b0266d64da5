"""Making and starting the machine of an order; the lock is held by the caller."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, Firmware, InstancePurpose
from app.launch.boot.seriallog import begin_log
from app.launch.durable import sync
from app.launch.errors import MachineRefused, ToolFailed
from app.launch.libvirt.description import Description
from app.launch.libvirt.domain import Domain
from app.launch.libvirt.machinefolder import ENTERED, MachineFolder
from app.launch.libvirt.settings import LibvirtSettings
from app.launch.machine import LaunchOrder
from app.launch.overlays import make_overlay
from app.launch.programs import require_ovmf
from app.launch.qemu.network import free_forwards

PORT_TRIES: Final = 5
_PORT_TAKEN: Final = "Could not set up host forwarding rule"


@dataclass(frozen=True)
class Launching:
    """One launch."""

    settings: LibvirtSettings
    domain: Domain
    folder: MachineFolder
    order: LaunchOrder
    accelerator: Accelerator

    @property
    def _takes_over(self) -> bool:
        return self.order.purpose is InstancePurpose.CUTOVER

    def prepare(self) -> None:
        """Make what the machine writes to: overlays, UEFI variables. A half-made folder is made anew.

        Nothing to do where that is done. Raises ToolMissing, ToolFailed, and SettingsWrong for an order that
        cannot be described.
        """
        if self.folder.prepared:
            return
        self._description().text(())
        self.folder.make()
        for number, volume in enumerate(self.order.volumes):
            make_overlay(self.folder.overlay(number), volume)
        if self.order.machine.firmware is Firmware.UEFI:
            shutil.copyfile(require_ovmf().variables, self.folder.variables)
        sync(self.folder.path)
        self.folder.note(self.order, self.accelerator, ())

    def was_started(self) -> bool:
        """Whether its machine was ever started, or at least defined."""
        return self.domain.exists()

    def discard(self) -> None:
        """Remove the folder with the overlays; harmless when it is gone."""
        self.folder.remove()

    def start(self) -> None:
        """Define the domain and start it; other ports where somebody took one of ours.

        Raises MachineRefused with what libvirt and QEMU said.
        """
        self._let_in()
        begin_log(self.folder.serial)
        for _ in range(PORT_TRIES):
            self._define()
            said = self._started()
            if said is None:
                return self.keep()
            if _PORT_TAKEN not in said:
                break
        raise MachineRefused(
            f"machine {self.order.instance} did not start: {said}",
            remedy=f"the domain {self.domain.name} is left for a look: virsh start {self.domain.name}",
        )

    def keep(self) -> None:
        """Let a machine that takes the source's place start with the node. May be repeated."""
        if self._takes_over:
            self.domain.virsh.run("autostart", self.domain.name)

    def _define(self) -> None:
        forwards = () if self._takes_over else free_forwards(self.order.machine.ports)
        self.folder.note(self.order, self.accelerator, forwards)
        self.folder.description.write_text(self._description().text(forwards), encoding="utf-8")
        try:
            self.domain.virsh.run("define", "--validate", str(self.folder.description))
        except ToolFailed as error:
            raise MachineRefused(f"machine {self.order.instance}: {error.detail}") from error

    def _started(self) -> str | None:
        """None where the machine runs, else what was said instead."""
        self.folder.note_start()
        try:
            self.domain.virsh.run("start", self.domain.name)
        except ToolFailed as error:
            return None if self.domain.active() else error.detail
        return None

    def _description(self) -> Description:
        return Description(self.settings, self.domain, self.folder, self.order, self.accelerator)

    def _let_in(self) -> None:
        """Let QEMU's user reach its files: libvirt gives it them and not the way there."""
        for folder in (self.folder.path, *(volume.path.parent for volume in self.order.volumes)):
            _open_way(folder, self.settings.pool_folder)


def _open_way(folder: Path, above: Path) -> None:
    while folder != above and folder.is_relative_to(above):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode & 0o777 | ENTERED)
        folder = folder.parent
