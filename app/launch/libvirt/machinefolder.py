"""The folder of a machine: all that there is of it beside its domain.

    <pool_folder>/machines/.lock            one launch or terminate at a time
    <pool_folder>/machines/<instance>/
        order.json              the order, how it is accelerated, its ports; written when all else is made
        started.json            when it was last started, on a clock that nobody sets
        domain.xml              what libvirt was told
        overlay-0.qcow2 …       what the machine wrote, on top of its volumes
        variables.fd            its UEFI variables
        converting, conversion.json
                                who converts the overlays, and what came of it: one of them, or none
        serial.log              what the machine said since its start
        serial.log.before       what it said at the start before
    <pool_folder>/machines/.<instance>.retired      it is gone for good

Folders can be entered by everybody and listed by us alone, since QEMU runs as another user, to which libvirt
gives the files.
"""

import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.contract.words import Accelerator, InstancePurpose
from app.kit.errors import Json
from app.launch.boot.proof import document
from app.launch.durable import sync, write_json
from app.launch.errors import InstanceDiffers, InstanceRetired, ToolFailed
from app.launch.machine import Forward, LaunchOrder, require_name
from app.launch.qemu.process import boot_id

ENTERED: Final = 0o711


@dataclass(frozen=True)
class Noted:
    """What the folder says of its machine."""

    order: Json
    purpose: InstancePurpose
    ports: tuple[int, ...]
    """Of the guest, that are to be reached."""
    volumes: frozenset[Path]
    """That its overlays are on top of."""
    address: str | None
    """What the guest's first card has, where the order says so."""
    accelerator: Accelerator
    forwards: tuple[Forward, ...]

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Noted":
        """Read `order.json`."""
        order = found["order"]
        machine = order["machine"]
        first = machine["nics"][0]["address"] if machine["nics"] else None
        return cls(
            order=order,
            purpose=InstancePurpose(order["purpose"]),
            ports=tuple(machine["ports"]),
            volumes=frozenset(Path(volume["path"]) for volume in order["volumes"]),
            address=first and first.partition("/")[0],
            accelerator=Accelerator(found["accelerator"]),
            forwards=tuple(Forward(int(guest), int(host)) for guest, host in found["forwards"]),
        )


@dataclass(frozen=True)
class MachineFolder:
    """The folder of one instance, there or not."""

    path: Path

    @classmethod
    def of(cls, machines: Path, instance: str) -> "MachineFolder":
        """The folder of an instance. Raises SettingsWrong for an id that is no file name."""
        return cls(machines / require_name(instance, "an instance"))

    @property
    def serial(self) -> Path:
        """What the machine wrote to its serial line."""
        return self.path / "serial.log"

    @property
    def variables(self) -> Path:
        """The UEFI variables."""
        return self.path / "variables.fd"

    @property
    def description(self) -> Path:
        """What libvirt was told."""
        return self.path / "domain.xml"

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
        return self.noted() is not None and not self.converting.exists()

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

    def overlay(self, number: int) -> Path:
        """What the machine wrote to disk `number`."""
        return self.path / f"overlay-{number}.qcow2"

    def make(self) -> None:
        """Make the folder anew, empty."""
        self.remove()
        self.path.mkdir()
        self.path.chmod(ENTERED)

    def note(self, order: LaunchOrder, accelerator: Accelerator, forwards: Iterable[Forward]) -> None:
        """Note what is about to be started."""
        pairs: list[Json] = [[forward.guest, forward.host] for forward in forwards]
        noted: dict[str, Json] = {"order": document(order), "accelerator": accelerator, "forwards": pairs}
        write_json(self.path / "order.json", noted)

    def noted(self) -> Noted | None:
        """What was noted; None where the folder is not there, or only half of it."""
        try:
            found = json.loads((self.path / "order.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Noted.of(found)

    def require_same(self, order: LaunchOrder) -> None:
        """Raises InstanceDiffers where the folder belongs to another order."""
        noted = self.noted()
        if noted is not None and noted.order != document(order):
            raise InstanceDiffers(
                f"instance {order.instance} exists with other disks or another machine",
                remedy="terminate it first, or take another id",
            )

    def note_start(self) -> None:
        """Note that the machine is being started now."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        write_json(self.path / "started.json", {"boot": boot_id(), "seconds": now})

    def start(self) -> str:
        """When it was last started by us, and the boot of the node; only these two are the same as before."""
        noted = self.path / "started.json"
        return f"{boot_id()} {noted.read_text(encoding='utf-8') if noted.exists() else ''}"

    def age(self) -> float:
        """Seconds since the machine was started, by a clock that counts from the node's boot.

        A machine that libvirt started with the node is as old as that boot.
        """
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            found = json.loads((self.path / "started.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return now
        return now - float(found["seconds"]) if found["boot"] == boot_id() else now

    def remove(self) -> bool:
        """Remove the folder; False when there was none. The lock must be held."""
        if not self.path.exists():
            return False
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            raise ToolFailed(f"{self.path} cannot be removed: {error}", remedy="remove the folder") from error
        sync(self.path.parent)
        return True


def folders(machines: Path) -> tuple[MachineFolder, ...]:
    """All that are there, half-made ones too."""
    if not machines.exists():
        return ()
    return tuple(MachineFolder(each) for each in sorted(machines.iterdir()) if each.is_dir())
