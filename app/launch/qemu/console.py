"""A running machine, as the watch over its boot sees it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.contract.words import Accelerator, BootFailure
from app.launch.boot.phases import NamedFailure
from app.launch.boot.screen import Picture
from app.launch.errors import InstanceUnknown, MachineSilent
from app.launch.machine import Forward
from app.launch.qemu import accelerator
from app.launch.qemu.network import accepted_in
from app.launch.qemu.process import ProcessRecord
from app.launch.qemu.qmp import Qmp
from app.launch.qemu.runfolder import RunFolder
from app.launch.threads import in_thread

T = TypeVar("T")


@dataclass
class QemuConsole:
    """See `app.launch.boot.console.Console`."""

    instance: str
    accelerator: Accelerator
    forwards: tuple[Forward, ...]
    folder: RunFolder
    process: ProcessRecord
    verdict: Path
    """The file of the verdict about KVM."""
    target: str = "qemu"

    def __post_init__(self) -> None:
        """One question to the monitor at a time."""
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, folder: RunFolder, verdict: Path) -> "QemuConsole":
        """The machine in a run folder. Raises InstanceUnknown."""
        found = folder.instance()
        if found is None or found.accelerator is None:
            raise InstanceUnknown(f"there is no machine {folder.path.name}", remedy="launch it")
        return cls(found.id, found.accelerator, found.forwards, folder, folder.require_process(), verdict)

    @property
    def serial(self) -> Path:
        """See `Console.serial`."""
        return self.folder.serial

    async def start(self) -> str:
        """See `Console.start`."""
        return f"{self.process.boot} {self.process.start} {self.process.pid}"

    def after(self) -> float:
        """See `Console.after`."""
        return self.process.age()

    async def alive(self) -> bool:
        """See `Console.alive`."""
        return await in_thread(self.process.alive)

    async def fault(self) -> NamedFailure | None:
        """See `Console.fault`; an internal error of KVM means that it is not used before the next boot."""
        status = await self._asked(Qmp.status)
        if status == "io-error":
            text = f"the machine stopped: its overlay in {self.folder.path} cannot be written to"
            return NamedFailure(BootFailure.NODE_STORAGE_FULL, text)
        if status != "internal-error":
            return None
        reason = (
            f"the machine stopped with an internal error of {self.accelerator}. {self.last_words()}".strip()
        )
        if self.accelerator is Accelerator.KVM:
            await in_thread(accelerator.condemn, self.verdict, reason)
        return NamedFailure(BootFailure.ACCELERATOR_FAILED, reason)

    async def picture(self) -> Picture | None:
        """See `Console.picture`."""
        return await self._asked(self._screen)

    async def accepted(self, guest: int) -> bool:
        """See `Console.accepted`."""
        table = await self._asked(Qmp.connections)
        return table is not None and accepted_in(table, guest)

    def last_words(self) -> str:
        """See `Console.last_words`."""
        return self.folder.last_words()

    def _screen(self, monitor: Qmp) -> Picture:
        return monitor.screen(self.folder.path / "screen.ppm")

    async def _asked(self, question: Callable[[Qmp], T]) -> T | None:
        """The monitor's answer; None where the machine ended meanwhile. Raises MachineSilent."""
        async with self._turn:
            try:
                return await in_thread(self._ask, question)
            except MachineSilent:
                if not await self.alive():
                    return None
                raise

    def _ask(self, question: Callable[[Qmp], T]) -> T:
        with Qmp(self.folder.monitor) as monitor:
            return question(monitor)
