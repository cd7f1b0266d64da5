"""A libvirt that cannot work is found before work begins, and each thing that is missing has a name."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.words import Accelerator, FindingSeverity, InstancePurpose
from app.kit.clock import SystemClock
from app.kit.settings import LaunchingSettings
from app.launch.errors import HypervisorUnreachable, SettingsWrong
from app.launch.libvirt.driver import LibvirtTarget
from app.launch.libvirt.settings import LibvirtSettings
from app.launch.machine import DiskContent, MachineSpec
from app.migration.targets.kind import Opening
from app.migration.targets.kinds import KINDS
from app.migration.targets.settings import checked
from tests.launch.domains import libvirt_target
from tests.services.libvirt_daemon import LibvirtDaemon

NOWHERE = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"


@pytest.fixture
def settings(libvirtd: LibvirtDaemon) -> Iterator[LibvirtSettings]:
    with libvirt_target(libvirtd) as target:
        yield target.settings


async def codes(settings: LibvirtSettings, *severities: FindingSeverity) -> list[str]:
    """What is found, of some severities."""
    found = await LibvirtTarget(settings).validate()
    assert all(each.remedy for each in found if each.severity is FindingSeverity.WARNING)
    return [each.code for each in found if each.severity in severities]


BLOCKER = FindingSeverity.BLOCKER


@pytest.mark.root
@pytest.mark.service
async def test_each_missing_thing_is_a_blocker_of_its_own(settings: LibvirtSettings) -> None:
    assert await codes(settings, BLOCKER) == []
    assert await codes(replace(settings, network="none"), BLOCKER) == ["NETWORK_MISSING"]
    assert await codes(replace(settings, bridge="br-none"), BLOCKER) == ["BRIDGE_MISSING"]
    assert await codes(replace(settings, uri=NOWHERE), BLOCKER) == ["HYPERVISOR_UNREACHABLE"]
    assert await codes(replace(settings, accelerator=Accelerator.KVM), BLOCKER) == ["TOOL_FAILED"]
    file = settings.pool_folder / "file"
    file.write_text("no folder")
    assert await codes(replace(settings, pool_folder=file), BLOCKER) == ["FOLDER_UNUSABLE"]


@pytest.mark.root
@pytest.mark.service
async def test_a_folder_that_another_user_cannot_enter_is_warned_of(settings: LibvirtSettings) -> None:
    closed = settings.pool_folder / "closed"
    closed.mkdir(mode=0o700)
    inside = replace(settings, pool_folder=closed / "pool")
    assert await codes(inside, FindingSeverity.WARNING) == ["FOLDER_CLOSED"]
    closed.chmod(0o711)
    assert await codes(inside, FindingSeverity.WARNING) == []


@pytest.mark.root
@pytest.mark.service
async def test_a_libvirt_that_went_away_says_so_and_says_nothing_about_its_machines(
    settings: LibvirtSettings,
) -> None:
    gone = LibvirtTarget(replace(settings, uri=NOWHERE))
    for asked in (gone.find("ins-1"), gone.terminate("ins-1")):
        with pytest.raises(HypervisorUnreachable, match="failed to connect"):
            await asked


@pytest.mark.root
@pytest.mark.service
async def test_a_configured_target_is_the_driver_and_keeps_volumes_of_cutovers_apart(
    settings: LibvirtSettings, tmp_path: Path
) -> None:
    configured = checked(
        "libvirt",
        {"node": "a", "uri": settings.uri, "folder": str(settings.pool_folder), "accelerator": "tcg"},
    )
    disk = DiskContent("chk-1", "dsk-1", 512, bytes(32))
    places = []
    for purpose in InstancePurpose:
        opening = Opening(LaunchingSettings(folder=tmp_path), SystemClock(), purpose, tmp_path)
        target = KINDS["libvirt"].open(configured, opening)
        assert target.kind == "libvirt"
        assert (await target.plan(MachineSpec(memory_mib=64), (disk,))).possible
        places.append(target.volume(disk).path.relative_to(settings.pool_folder).parts[0])
    assert places == ["volumes", "cutovers"]


@pytest.mark.parametrize(
    "uri",
    ["qemu+ssh://root@host/system", "qemu:///other", "xen:///system", "qemu+tcp://10.0.0.1/system", "", "-v"],
)
def test_a_libvirt_that_is_not_this_nodes_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong):
        LibvirtSettings(uri, tmp_path)


def test_settings_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong):
        LibvirtSettings("qemu:///system", tmp_path, network="default", bridge="br0")
    with pytest.raises(SettingsWrong):
        LibvirtSettings("qemu:///system", tmp_path, bridge="../br0")
    with pytest.raises(SettingsWrong, match="absolute"):
        LibvirtSettings("qemu:///system", Path("pool"))
