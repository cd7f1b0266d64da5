"""The public function: overlays in, a report out."""

import time
from pathlib import Path

from app.launch.conversion.appliance import Appliance, ApplianceSettings, GuestError, started
from app.launch.conversion.applying import apply
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.inspecting import inspect
from app.launch.conversion.planning import plan
from app.launch.conversion.report import ConversionReport
from app.launch.errors import ConversionFailed, WishImpossible
from app.launch.threads import in_thread


async def convert(
    overlays: tuple[Path, ...], facts: SourceFacts, wishes: Wishes, settings: ApplianceSettings
) -> ConversionReport:
    """Make the system on these overlays (qcow2, all disks in the machine's order) boot in the wished machine.

    Only what is needed is changed, and a second run changes nothing. Disks without a system that is found are
    left alone, with a warning. After an error, or a cancel, the overlays are of no use: make them anew.
    Raises ToolMissing, ConversionFailed, and WishImpossible for addresses, or a cloud-init, that the guest
    cannot have.
    """
    running: list[Appliance] = []
    try:
        return await in_thread(_convert, overlays, facts, wishes, settings, running)
    finally:
        for appliance in running:
            appliance.kill()


def _convert(
    overlays: tuple[Path, ...],
    facts: SourceFacts,
    wishes: Wishes,
    settings: ApplianceSettings,
    running: list[Appliance],
) -> ConversionReport:
    began = time.monotonic()
    with started(overlays, settings, running) as guest:
        try:
            inspection = inspect(guest, facts)
        except GuestError as error:
            raise ConversionFailed(f"the disks cannot be read: {error}") from error
        planned = plan(inspection, facts, wishes)
        if planned.refusals:
            raise WishImpossible(
                f"the disks are not changed: {'; '.join(planned.refusals)}",
                remedy="change the source, or what is asked for: go2cloud server launch-settings",
            )
        apply(guest, planned, settings.user)
    return ConversionReport.of(inspection, planned, time.monotonic() - began)
