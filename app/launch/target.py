"""The interface of a target: a place where a checkpoint becomes a machine.

Promises that every driver keeps (the conformance suite in tests/launch holds each to them):

- Each method may be repeated with the same arguments, by another process, after this one was killed anywhere:
  the second call finds what the first one did and goes on. Nothing is made twice.
- A volume is never written to by a machine. It counts only once its root was recomputed from its own bytes.
- Nothing appears under its final name before it is complete and on stable storage.
- What cannot be done raises a LaunchError or VolumeError that names the thing and the remedy.
- Methods are coroutines and block no loop; cancelling one stops it. What it had begun is undone by
  `terminate` or redone by the next call.
"""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from app.contract.words import FindingSeverity
from app.launch.boot.checks import CheckPlan
from app.launch.boot.proof import BootProof
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.machine import DiskContent, Instance, LaunchOrder, MachineSpec, Volume


@dataclass(frozen=True)
class TargetFinding:
    """Something about a target that an operator should know before work begins."""

    severity: FindingSeverity
    code: str
    text: str
    remedy: str | None = None


@dataclass(frozen=True)
class LaunchPlan:
    """What a launch would take; `findings` with a blocker say that it would fail."""

    target: str
    bytes_needed: int
    """At most, for volumes and for what the machine writes or the images hold."""
    bytes_free: int
    findings: tuple[TargetFinding, ...]

    @property
    def possible(self) -> bool:
        """Whether nothing stands in the way."""
        return all(finding.severity is not FindingSeverity.BLOCKER for finding in self.findings)


class Standing(StrEnum):
    """How a volume that is kept up to date stands.

    `PROVED`: verified, and not touched since. `UNSURE`: verified, and it may have been touched since, which
    `verify` finds out. `CHANGING`: on its way from `held` to `wanted`. `WORTHLESS`: to be written from its
    start.
    """

    PROVED = "PROVED"
    UNSURE = "UNSURE"
    CHANGING = "CHANGING"
    WORTHLESS = "WORTHLESS"


@dataclass(frozen=True)
class Held:
    """What a target that is kept up to date has of a disk now."""

    standing: Standing
    held: DiskContent | None = None
    wanted: DiskContent | None = None


class Target(Protocol):
    """A driver with its settings."""

    @property
    def kind(self) -> str:
        """The driver's name: `qemu`, `image`."""

    async def validate(self) -> tuple[TargetFinding, ...]:
        """Look whether the settings can work here: programs, firmware, folders. Changes nothing lasting."""

    async def plan(self, machine: MachineSpec, disks: tuple[DiskContent, ...]) -> LaunchPlan:
        """What launching these disks in this machine would take. Makes nothing."""

    async def materialise(self, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """Write a disk from its export stream (`app.store.export`) and verify it.

        A volume that was made before is verified again from its own bytes and returned, the stream unread.
        Raises VolumeError where the stream or the storage does not give the checkpoint's root.
        """

    async def advance(self, volume: Volume, disk: DiskContent, stream: AsyncIterable[bytes]) -> Volume:
        """Bring a verified volume to another checkpoint by a delta stream (`app.store.delta`) from its root.

        Only what differs is written. It counts as the new disk when every changed place was read back from
        the storage and has its new id: so its root is known from the old tree, which was verified from the
        volume's own bytes, and the changes. `verify` proves it from all of its bytes.

        Until then it counts as neither disk, also when the process dies; the same call goes on. A volume
        that was advanced before is verified again from its own bytes and returned, the stream unread.
        Raises VolumeUnproved where the volume is not the old disk, nor on its way from it to the new one,
        VolumeBusy while a machine runs on it, VolumeError.
        """

    async def verify(self, volume: Volume, disk: DiskContent) -> None:
        """Recompute the volume's root from its own bytes (level v4); machines may run on it meanwhile.

        Raises VolumeUnproved, VolumeDiffers, VolumeBusy while it is advanced.
        """

    def volume(self, disk: DiskContent) -> Volume:
        """The volume that `materialise` or `advance` make of a disk, there or not: what is to be dropped."""

    async def drop(self, volume: Volume) -> None:
        """Remove a volume; harmless when it is gone."""

    async def convert(self, order: LaunchOrder, facts: SourceFacts, wishes: Wishes) -> ConversionReport:
        """Make the order's disks boot in its machine, before the launch; the volumes stay as they are.

        Repeating it gives the first report. After an error nothing of the conversion is left. Raises
        ToolMissing without libguestfs, ConversionFailed, NotConvertible, InstanceDiffers, VolumeUnproved.
        """

    async def launch(self, order: LaunchOrder) -> Instance:
        """Make the instance be there: started, or its images published.

        Raises VolumeUnproved, InstanceDiffers where the id belongs to another order, MachineRefused.
        """

    async def find(self, instance: str) -> Instance | None:
        """The instance as it stands now, or None. From any process."""

    async def check(self, instance: str, plan: CheckPlan, evidence: Path) -> BootProof:
        """Watch the instance until its checks passed, or failed, or the plan's time is over.

        Screenshots, serial log and `proof.json` go into the folder `evidence`, which outlives the instance.
        A failed boot is a proof that says so, not an error. Raises InstanceUnknown.
        """

    async def terminate(self, instance: str) -> bool:
        """End the instance and remove all of it but volumes and evidence; False when there was nothing."""

    async def retire(self, instance: str) -> bool:
        """As `terminate`, and for good: a launch of this instance is refused from now on, also one under way.

        For where something else comes to life after it, and both must not be. Where instances do not run,
        it is the same as `terminate`.
        """


class KeptTarget(Target, Protocol):
    """A target whose volumes are kept up to date with each checkpoint: one place for each disk, for good."""

    async def standing(self, disk: str) -> Held:
        """What the place of a disk holds now. Raises SettingsWrong where the disk has none."""
