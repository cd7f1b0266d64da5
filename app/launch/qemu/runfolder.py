"""The run folder of a machine: everything that there is of it.

    <runs>/.lock                one launch or terminate at a time
    <runs>/<instance>/
        order.json              the order, how it is accelerated, its ports; written when all else is made
        process.json            which process it is; written by the process itself before it becomes QEMU
        overlay-0.qcow2 …       what the machine wrote, on top of its volumes
        variables.fd            its UEFI variables
        converting, conversion.json
                                who converts the overlays, and what came of it: one of them, or none
        serial.log, qemu.log    what the machine, and what QEMU said since the start
        serial.log.before       what the machine said at the start before
        qmp.sock                QEMU's monitor

A folder without process.json has no process: the lock is held until QEMU exists (see `starter`).
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from app.contract.words import Accelerator, InstanceState
from app.kit.errors import Json
from app.launch.boot.proof import document
from app.launch.durable import sync, write_json
from app.launch.errors import InstanceDiffers, InstanceRetired, InstanceUnknown, ToolFailed
from app.launch.machine import Forward, Instance, LaunchOrder, require_name
from app.launch.qemu.process import ProcessRecord

LAST_WORDS = 2000


@dataclass(frozen=True)
class RunFolder:
    """The folder of one instance, there or not."""

    path: Path

    @classmethod
    def of(cls, runs: Path, instance: str) -> "RunFolder":
        """The folder of an instance. Raises SettingsWrong for an id that is no file name."""
        return cls(runs / require_name(instance, "an instance"))

    @property
    def serial(self) -> Path:
        """What the machine wrote to its serial line."""
        return self.path / "serial.log"

    @property
    def log(self) -> Path:
        """What QEMU itself said."""
        return self.path / "qemu.log"

    @property
    def monitor(self) -> Path:
        """QEMU's monitor."""
        return self.path / "qmp.sock"

    @property
    def record(self) -> Path:
        """Which process it is."""
        return self.path / "process.json"

    @property
    def variables(self) -> Path:
        """The UEFI variables."""
        return self.path / "variables.fd"

    def overlay(self, number: int) -> Path:
        """What the machine wrote to disk `number`."""
        return self.path / f"overlay-{number}.qcow2"

    @property
    def converting(self) -> Path:
        """Who converts the overlays: while it is there they are half of one thing and half of another."""
        return self.path / "converting"

    @property
    def conversion(self) -> Path:
        """The report of the conversion that the overlays went through."""
        return self.path / "conversion.json"

    @property
    def prepared(self) -> bool:
        """Whether everything that the machine starts with was made."""
        return (self.path / "order.json").exists() and not self.converting.exists()

    def process(self) -> ProcessRecord | None:
        """The machine's process, if there ever was one."""
        return ProcessRecord.read(self.record)

    def require_process(self) -> ProcessRecord:
        """The machine's process. Raises InstanceUnknown."""
        process = self.process()
        if process is None:
            raise InstanceUnknown(
                f"there is no machine {self.path.name}", remedy="it was terminated, or never launched"
            )
        return process

    def write_order(self, order: LaunchOrder, accelerator: Accelerator, forwards: Iterable[Forward]) -> None:
        """Note what is about to be started."""
        write_json(
            self.path / "order.json",
            {
                "order": document(order),
                "accelerator": accelerator.value,
                "forwards": [[forward.guest, forward.host] for forward in forwards],
            },
        )

    def _noted(self) -> dict[str, Json] | None:
        try:
            noted: dict[str, Json] = json.loads((self.path / "order.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return noted

    def require_same(self, order: LaunchOrder) -> None:
        """Raises InstanceDiffers where the folder belongs to another order."""
        noted = self._noted()
        if noted is not None and noted["order"] != document(order):
            raise InstanceDiffers(
                f"instance {order.instance} exists with other disks or another machine",
                remedy="terminate it first, or take another id",
            )

    def instance(self) -> Instance | None:
        """The instance as it stands; None where there is none, or only half of one."""
        noted, process = self._noted(), self.process()
        if noted is None or process is None:
            return None
        alive = process.alive()
        pairs = noted["forwards"]
        assert isinstance(pairs, list), "written as a list"
        found = Instance(
            id=self.path.name,
            target="qemu",
            state=InstanceState.RUNNING if alive else InstanceState.ENDED,
            folder=self.path,
            accelerator=Accelerator(str(noted["accelerator"])),
            forwards=tuple(Forward(int(guest), int(host)) for guest, host in pairs),
            pid=process.pid,
        )
        return found if alive else replace(found, pid=None, said=self.last_words())

    def last_words(self) -> str:
        """The end of what QEMU said."""
        return (
            self.log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:].strip()
            if self.log.exists()
            else ""
        )

    def end(self) -> None:
        """End the machine's process, leave the rest; harmless when there is none. The lock must be held."""
        process = self.process()
        if process is not None:
            process.kill()

    @property
    def tombstone(self) -> Path:
        """What says, beside the folder, that the instance is gone for good."""
        return self.path.with_name(f".{self.path.name}.retired")

    def require_not_retired(self) -> None:
        """Raises InstanceRetired. The lock must be held."""
        if self.tombstone.exists():
            raise InstanceRetired(
                f"instance {self.path.name} was ended for good", remedy="launch another, under a new id"
            )

    def retire(self) -> None:
        """Let the instance never be launched again, also by whoever is about to. The lock must be held."""
        write_json(self.tombstone, {"instance": self.path.name})

    def require_removed(self) -> bool:
        """End the machine and remove the folder; False when there was nothing. The lock must be held."""
        if not self.path.exists():
            return False
        self.end()
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            raise ToolFailed(f"{self.path} cannot be removed: {error}", remedy="remove the folder") from error
        sync(self.path.parent)
        return True
