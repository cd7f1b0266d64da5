"""Overlays of a domain are converted once, before the domain is there, and not under another's name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.contract.words import Firmware
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.errors import DomainForeign, InstanceDiffers
from app.launch.libvirt.driver import LibvirtTarget
from app.launch.machine import LaunchOrder, MachineSpec
from tests.guests.debian import cache
from tests.guests.guest import blank, run
from tests.launch.domains import libvirt_target
from tests.launch.replica import Replica
from tests.services.libvirt_daemon import LibvirtDaemon

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.service, pytest.mark.timeout(600)]

FACTS = SourceFacts(disks=("/dev/sda",), nics=())
WISHES = Wishes(Firmware.BIOS, macs=())
STRANGER = """\
<domain type="qemu"><name>go2cloud-ins-1</name><memory unit="MiB">64</memory>
<os><type arch="x86_64" machine="q35">hvm</type></os></domain>
"""


@pytest.fixture
def domains(libvirtd: LibvirtDaemon) -> Iterator[LibvirtTarget]:
    """Its appliance is the one that all tests share."""
    (cache() / "appliance").mkdir(exist_ok=True)
    with libvirt_target(libvirtd) as target:
        target.settings.appliance.symlink_to(cache() / "appliance")
        yield target
        target.settings.appliance.unlink()


@pytest.fixture
async def order(domains: LibvirtTarget, tmp_path: Path) -> LaunchOrder:
    """A machine with a filesystem and no system."""
    disk = tmp_path / "data.raw"
    blank(disk, 16 << 20)
    run("mke2fs", "-q", "-F", str(disk))
    volume = await Replica.in_folder(tmp_path / "store").volume(domains, disk.read_bytes())
    return LaunchOrder("ins-1", MachineSpec(memory_mib=64), (volume,))


async def test_a_domain_starts_on_the_overlays_that_were_converted_once(
    domains: LibvirtTarget, order: LaunchOrder
) -> None:
    report = await domains.convert(order, FACTS, WISHES)
    assert "no Linux system" in report.warnings[0]
    assert await domains.find("ins-1") is None
    assert await domains.convert(order, FACTS, WISHES) == report
    found = await domains.launch(order)
    assert (found.folder / "conversion.json").exists()
    assert await domains.convert(order, FACTS, WISHES) == report, "also when the machine runs"
    assert await domains.terminate("ins-1")
    await domains.launch(order)
    with pytest.raises(InstanceDiffers, match="without a conversion"):
        await domains.convert(order, FACTS, WISHES)


async def test_nothing_is_converted_for_a_domain_that_is_not_ours(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, order: LaunchOrder
) -> None:
    libvirtd.define("define", STRANGER)
    try:
        with pytest.raises(DomainForeign):
            await domains.convert(order, FACTS, WISHES)
        assert not (domains.settings.machines / "ins-1").exists()
    finally:
        libvirtd.virsh("undefine", "go2cloud-ins-1")
