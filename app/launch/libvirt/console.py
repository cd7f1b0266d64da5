"""A domain, as the watch over its boot sees it."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, BootFailure
from app.launch.boot.phases import NamedFailure
from app.launch.boot.pngreading import SIGNATURE, picture_of_png
from app.launch.boot.screen import Picture
from app.launch.errors import MachineSilent, ToolFailed
from app.launch.libvirt.domain import Domain
from app.launch.libvirt.machinefolder import MachineFolder
from app.launch.libvirt.relay import Relay
from app.launch.machine import Forward
from app.launch.qemu import accelerator
from app.launch.qemu.network import accepted_in
from app.launch.threads import in_thread

_STATUS: Final = json.dumps({"execute": "query-status"})


@dataclass
class LibvirtConsole:
    """See `app.launch.boot.console.Console`."""

    instance: str
    accelerator: Accelerator
    forwards: tuple[Forward, ...]
    domain: Domain
    folder: MachineFolder
    verdict: Path
    """The file of the verdict about KVM."""
    relay: Relay | None = None
    """Of a machine whose ports QEMU does not forward."""
    target: str = "libvirt"

    def __post_init__(self) -> None:
        """One question at a time."""
        self._turn = asyncio.Lock()

    @property
    def serial(self) -> Path:
        """See `Console.serial`."""
        return self.folder.serial

    async def start(self) -> str:
        """See `Console.start`."""
        return f"{self.folder.start()} {await in_thread(self.domain.number)}"

    def after(self) -> float:
        """See `Console.after`."""
        return self.folder.age()

    async def alive(self) -> bool:
        """See `Console.alive`."""
        return await in_thread(self.domain.active)

    async def fault(self) -> NamedFailure | None:
        """See `Console.fault`; an internal error of KVM means that it is not used before the next boot."""
        answer = await self._asked("qemu-monitor-command", self.domain.name, _STATUS)
        status = None if answer is None else json.loads(answer)["return"]["status"]
        if status == "io-error":
            text = f"the machine stopped: its overlay in {self.folder.path} cannot be written to"
            return NamedFailure(BootFailure.NODE_STORAGE_FULL, text)
        if status != "internal-error":
            return None
        reason = f"the machine stopped with an internal error of {self.accelerator}"
        if self.accelerator is Accelerator.KVM:
            await in_thread(accelerator.condemn, self.verdict, reason)
        return NamedFailure(BootFailure.ACCELERATOR_FAILED, reason)

    async def picture(self) -> Picture | None:
        """See `Console.picture`."""
        scratch = self.folder.path / "screen.ppm"
        if await self._asked("screenshot", self.domain.name, str(scratch)) is None:
            return None
        return await in_thread(_read, scratch)

    async def accepted(self, guest: int) -> bool:
        """See `Console.accepted`."""
        if self.relay is not None:
            return self.relay.accepted(guest)
        table = await self._asked("qemu-monitor-command", self.domain.name, "--hmp", "info usernet")
        return table is not None and accepted_in(table, guest)

    def last_words(self) -> str:
        """See `Console.last_words`."""
        return f"QEMU's log is libvirt's qemu/{self.domain.name}.log"

    async def _asked(self, command: str, *arguments: str) -> str | None:
        """The answer about a machine; None where it ended meanwhile. Raises MachineSilent."""
        async with self._turn:
            try:
                return await in_thread(self.domain.virsh.run, command, *arguments)
            except ToolFailed as error:
                if not await self.alive():
                    return None
                raise MachineSilent(error.detail) from error


def _read(scratch: Path) -> Picture:
    """Libvirt says which it writes by the version of QEMU: PNG since 7.1, PPM before."""
    data = scratch.read_bytes()
    return picture_of_png(data) if data.startswith(SIGNATURE) else Picture.of_ppm(data)
