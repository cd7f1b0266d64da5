"""Time to login: the product's test boot, and QEMU started by hand on a copy of the same disk."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.client import targets, tests
from app.client.transport import Client
from app.contract.resources.launch import LaunchSettingsUpdate, LoginCheck
from app.contract.words import BootPhase, CheckKind, ConversionMode, Firmware
from app.launch.boot.phases import SerialReader
from bench.launch.operator import done, seconds, step_seconds
from bench.launch.results import Booted
from bench.live.replica import Replica
from bench.live.scene import Scene
from bench.network import End
from bench.peers.registry import OURS
from bench.processes import ProcessFailed

BY_HAND: Final = "QEMU by hand"
MEMORY: Final = 256 << 20
MACHINE: Final = LaunchSettingsUpdate(
    cpus=1,
    memory_bytes=MEMORY,
    firmware=Firmware.BIOS,
    nics=(),
    checks=(LoginCheck(kind=CheckKind.LOGIN),),
    conversion=ConversionMode.OFF,
)
"""The disk boots as it is: conversion, whose time depends on the system, is left out."""
_ACCELERATION: Final = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max,-cx16"),
}
"""Without cx16 under TCG: with it Linux 6.12 panics at random."""
_LOOK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Booting:
    """The case; the replica is of the tiny disk."""

    scene: Scene
    client: Client
    replica: Replica

    def play(self) -> Iterator[Booted]:
        """All runs, both in turn. Raises ProcessFailed."""
        done(self.client, self.client.send(targets.validate("qemu")))  # tries KVM, once a boot of the node
        self.replica.copy_once()
        self.client.send(tests.set_settings(self.replica.server, 0, MACHINE))
        for _ in range(self.scene.plan.runs):
            ours = self._test()
            yield ours
            yield by_hand(self.scene, self.replica.disk.backing, ours.accelerator)

    def _test(self) -> Booted:
        job = done(self.client, self.client.send(tests.order(self.replica.server)))
        found = self.client.send(tests.get(self.replica.server))
        done(self.client, self.client.send(tests.terminate(self.replica.server)))
        phases = {seen.phase.value: seen.after for seen in found.phases}
        steps, whole = step_seconds(job), seconds(job.created_at, job.finished_at)
        return Booted(OURS, found.accelerator or "", phases, steps, whole)


def by_hand(scene: Scene, disk: Path, accelerator: str) -> Booted:
    """Start QEMU as one would, and read its serial line. Raises ProcessFailed where no prompt comes."""
    copy, serial = scene.folder / "by-hand.raw", scene.folder / "by-hand.log"
    shutil.copyfile(disk, copy)
    serial.write_bytes(b"")
    began = time.monotonic()
    process = scene.processes.start(End.TARGET, _command(copy, serial, accelerator))
    try:
        phases = _phases(serial, began)
    finally:
        process.stop()
        copy.unlink()
    return Booted(BY_HAND, accelerator, {phase.value: after for phase, after in phases.items()}, {}, None)


def _command(disk: Path, serial: Path, accelerator: str) -> list[str]:
    """`graphics=off` lets SeaBIOS write to the serial line, as the product does."""
    return [
        *("qemu-system-x86_64", "-nodefaults", "-machine", "q35,graphics=off", *_ACCELERATION[accelerator]),
        *("-smp", "1", "-m", f"{MEMORY >> 20}M", "-vga", "std", "-display", "none"),
        *("-drive", f"file={disk},format=raw,if=virtio", "-serial", f"file:{serial}"),
    ]


def _phases(serial: Path, began: float) -> dict[BootPhase, float]:
    """The seconds from `began` to each phase, once the last one was seen."""
    reader, offset = SerialReader(), 0
    while BootPhase.LOGIN not in reader.phases:
        after = time.monotonic() - began
        if after > _PATIENCE_SECONDS or reader.failure is not None:
            raise ProcessFailed(f"QEMU shows no login prompt after {after:.0f} s: {reader.failure}")
        with serial.open("rb") as file:
            file.seek(offset)
            piece = file.read()
        offset += len(piece)
        reader.feed(piece, after)
        time.sleep(_LOOK_SECONDS)
    return reader.phases
