"""Converting the overlays of a machine before its start: whole, or not at all.

The lock of the run folders is held at the beginning and at the end, since other machines start meanwhile.
"""

import dataclasses
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.launch.conversion.appliance import ApplianceSettings, require_library
from app.launch.conversion.converting import convert
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.durable import sync, write_json
from app.launch.errors import ConversionFailed, InstanceDiffers
from app.launch.locking import locked
from app.launch.machine import LaunchOrder
from app.launch.threads import in_thread
from app.launch.volumenote import require_proved
from app.wire import jsonform


class ConvertibleFolder(Protocol):
    """The folder of a machine, as far as its overlays are converted."""

    @property
    def path(self) -> Path:
        """The folder, there or not."""

    @property
    def converting(self) -> Path:
        """Who converts the overlays: while it is there they are half of one thing and half of another."""

    @property
    def conversion(self) -> Path:
        """The report of the conversion that the overlays went through."""

    @property
    def prepared(self) -> bool:
        """Whether all that the machine starts with was made, and nobody converts it."""

    def overlay(self, number: int) -> Path:
        """What the machine writes to disk `number`."""

    def require_same(self, order: LaunchOrder) -> None:
        """Raises InstanceDiffers where the folder belongs to another order."""


class Convertible(Protocol):
    """A launch that did not come to its start."""

    @property
    def order(self) -> LaunchOrder:
        """The order."""

    @property
    def folder(self) -> ConvertibleFolder:
        """Where its overlays are."""

    def was_started(self) -> bool:
        """Whether its machine was ever started."""

    def prepare(self) -> None:
        """Make the folder and the overlays, where that is not done."""

    def discard(self) -> None:
        """Remove the folder with the overlays; harmless when it is gone."""


@dataclass(frozen=True)
class Converting:
    """One conversion of the disks of a launch, by any driver that works on overlays."""

    launching: Convertible
    lock: Path
    appliance: ApplianceSettings

    async def run(self, facts: SourceFacts, wishes: Wishes) -> ConversionReport:
        """See `Target.convert`."""
        await in_thread(require_library)
        token = uuid.uuid4().hex
        known = await in_thread(self._begin, token)
        if known is not None:
            return known
        try:
            count = len(self.launching.order.volumes)
            overlays = tuple(self._folder.overlay(number) for number in range(count))
            report = await convert(overlays, facts, wishes, self.appliance)
            await in_thread(self._end, token, report)
        except BaseException:
            self._discard(token)
            raise
        return report

    @property
    def _folder(self) -> ConvertibleFolder:
        return self.launching.folder

    def _begin(self, token: str) -> ConversionReport | None:
        """The report of a conversion that was done; else fresh overlays, marked as ours."""
        with locked(self.lock):
            self._folder.require_same(self.launching.order)
            if self._folder.prepared and self._folder.conversion.exists():
                return _read(self._folder.conversion)
            if self.launching.was_started():
                raise InstanceDiffers(
                    f"machine {self.launching.order.instance} was started without a conversion",
                    remedy="terminate it first, or take another id",
                )
            for volume in self.launching.order.volumes:
                require_proved(volume)
            self.launching.discard()
            self.launching.prepare()
            self._folder.converting.write_text(token)
            sync(self._folder.path)
        return None

    def _end(self, token: str, report: ConversionReport) -> None:
        """From now on the overlays count. Raises ConversionFailed where they are another's by now."""
        with locked(self.lock):
            if not self._is_ours(token):
                raise ConversionFailed(
                    f"the disks of {self.launching.order.instance} were taken over by another process",
                    remedy="nothing is lost: that one goes on",
                )
            for number in range(len(self.launching.order.volumes)):
                sync(self._folder.overlay(number))
            write_json(self._folder.conversion, json.loads(json.dumps(dataclasses.asdict(report))))
            self._folder.converting.unlink()
            sync(self._folder.path)

    def _discard(self, token: str) -> None:
        """The overlays are of no use any more."""
        with locked(self.lock):
            if self._is_ours(token):
                self.launching.discard()

    def _is_ours(self, token: str) -> bool:
        return self._folder.converting.exists() and self._folder.converting.read_text() == token


def _read(path: Path) -> ConversionReport:
    return jsonform.build(ConversionReport, json.loads(path.read_text(encoding="utf-8")))
