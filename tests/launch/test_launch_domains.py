"""Domains of a real libvirt: nobody else's is touched; ours survive us, take over, and go completely."""

import asyncio
import contextlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.contract.words import Accelerator, DiskBus, Firmware, InstancePurpose, InstanceState
from app.launch.boot.checks import CheckPlan, LoginCheck, ScreenCheck
from app.launch.errors import DomainForeign, InstanceRetired, MachineRefused, SettingsWrong
from app.launch.libvirt.console import LibvirtConsole
from app.launch.libvirt.domain import Domain
from app.launch.libvirt.driver import LibvirtTarget
from app.launch.libvirt.machinefolder import MachineFolder
from app.launch.libvirt.virsh import Virsh
from app.launch.machine import LaunchOrder, MachineSpec, Nic, Volume
from app.store.errors import VolumeBusy
from tests.launch.boot_sector import talking_disk
from tests.launch.domains import libvirt_target
from tests.launch.hostile import GUESSED, SECRET, hostile_disk
from tests.launch.replica import Replica, digest, nothing
from tests.services.libvirt_daemon import LibvirtDaemon

pytestmark = [pytest.mark.root, pytest.mark.service, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
MACHINE = MachineSpec(memory_mib=64, ports=(8080,))
NAME = "go2cloud-ins-1"
STRANGER = """\
<domain type="qemu"><name>go2cloud-ins-1</name><memory unit="MiB">64</memory>
<os><type arch="x86_64" machine="q35">hvm</type></os>{metadata}</domain>
"""
OTHERS = '<metadata><m:machine xmlns:m="urn:go2cloud:machine:1" instance="ins-2" purpose="test"/></metadata>'
NETWORK = '<network><name>office</name><bridge name="virbr-office"/></network>'
LAUNCH = """
import asyncio, sys
from pathlib import Path
from app.contract.words import Accelerator
from app.launch.libvirt.driver import LibvirtTarget
from app.launch.libvirt.settings import LibvirtSettings
from app.launch.machine import LaunchOrder, MachineSpec, Volume
target = LibvirtTarget(LibvirtSettings(sys.argv[1], Path(sys.argv[2]), accelerator=Accelerator.TCG))
volume = Volume("chk-1", "dsk-1", Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
asyncio.run(target.launch(LaunchOrder("ins-1", MachineSpec(memory_mib=64, ports=(8080,)), (volume,))))
"""


@pytest.fixture
def domains(libvirtd: LibvirtDaemon) -> Iterator[LibvirtTarget]:
    with libvirt_target(libvirtd) as target:
        yield target


@pytest.fixture
async def volume(domains: LibvirtTarget, replica: Replica) -> Volume:
    return await replica.volume(domains, b"nothing that boots".ljust(1024 * 1024, b"\0"))


def order_of(*volumes: Volume, machine: MachineSpec = MACHINE) -> LaunchOrder:
    return LaunchOrder("ins-1", machine, volumes)


@pytest.mark.parametrize("metadata", ["", OTHERS], ids=["unmarked", "of-another-instance"])
async def test_a_domain_of_our_name_that_is_not_ours_is_refused_and_left_as_it_is(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, volume: Volume, metadata: str
) -> None:
    libvirtd.define("define", STRANGER.format(metadata=metadata))
    before = libvirtd.virsh("dumpxml", NAME)
    try:
        for refused in (
            domains.launch(order_of(volume)),
            domains.prepare(order_of(volume)),
            domains.find("ins-1"),
            domains.terminate("ins-1"),
        ):
            with pytest.raises(DomainForeign):
                await refused
        assert libvirtd.virsh("dumpxml", NAME) == before
    finally:
        libvirtd.virsh("undefine", NAME)


@pytest.mark.parametrize("after", [0.3, 0.6, 0.9, 1.2, 1.6])
async def test_a_launcher_killed_anywhere_leaves_at_most_one_domain_which_goes_on_and_can_be_ended(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, volume: Volume, after: float
) -> None:
    settings = domains.settings
    words = (settings.uri, settings.pool_folder, volume.path, volume.size, volume.root)
    launcher = [sys.executable, "-c", LAUNCH, *map(str, words)]
    process = await asyncio.create_subprocess_exec(*launcher, cwd=ROOT)
    await asyncio.sleep(after)
    with contextlib.suppress(ProcessLookupError):  # it was faster
        process.kill()
    await process.wait()
    found = await domains.launch(order_of(volume))
    assert found.state is InstanceState.RUNNING
    assert libvirtd.virsh("list", "--all", "--name").split() == [NAME]
    assert await domains.terminate("ins-1")
    assert libvirtd.virsh("list", "--all", "--name").split() == []
    assert [item.name for item in settings.machines.iterdir()] == [".lock"]


@pytest.mark.parametrize("missing", [("order.json",), ("overlay-0.qcow2", "order.json")])
async def test_a_half_made_folder_is_made_anew(
    domains: LibvirtTarget, volume: Volume, missing: tuple[str, ...]
) -> None:
    (overlay,) = await domains.prepare(order_of(volume))
    for name in missing:
        (overlay.parent / name).unlink()
    assert (await domains.launch(order_of(volume))).state is InstanceState.RUNNING


async def test_a_machine_whose_folder_is_gone_is_neither_doubled_nor_lost(
    domains: LibvirtTarget, volume: Volume
) -> None:
    found = await domains.launch(order_of(volume))
    (found.folder / "order.json").unlink()
    with pytest.raises(MachineRefused, match="its folder"):
        await domains.launch(order_of(volume))
    assert await domains.terminate("ins-1")
    assert await domains.find("ins-1") is None


async def test_a_machine_that_ended_goes_on_with_what_was_written(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, volume: Volume
) -> None:
    (overlay,) = await domains.prepare(order_of(volume))
    assert await domains.find("ins-1") is None
    write = ["qemu-io", "-f", "qcow2", "-c", "write -q -P 0x5a 0 4096", str(overlay)]
    await asyncio.to_thread(subprocess.run, write, check=True)
    first = await domains.launch(order_of(volume))
    assert not await domains.power_off("ins-1", 0.1)
    libvirtd.virsh("destroy", NAME)
    ended = await domains.find("ins-1")
    assert ended is not None
    assert ended.state is InstanceState.ENDED
    assert await domains.power_off("ins-1", 0.1)
    again = await domains.launch(order_of(volume))
    assert (again.state, again.folder) == (InstanceState.RUNNING, first.folder)
    read = ["qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -q -P 0x5a 0 4096", str(overlay)]
    done = await asyncio.to_thread(subprocess.run, read, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


async def test_a_domain_that_is_started_again_by_us_or_by_libvirt_has_a_log_and_a_start_of_its_own(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, volume: Volume
) -> None:
    folder = MachineFolder((await domains.launch(order_of(volume))).folder)
    console = LibvirtConsole(
        "ins-1", Accelerator.TCG, (), Domain(Virsh(libvirtd.uri), "ins-1"), folder, domains.settings.verdict
    )
    starts = [await console.start()]
    assert await console.start() == starts[0]
    for again in (domains.launch(order_of(volume)), None):
        libvirtd.virsh("destroy", NAME)
        folder.serial.write_bytes(b"Kernel panic - not syncing\n")
        if again is None:
            libvirtd.virsh("start", NAME)
        else:
            await again
            assert b"Kernel panic" in folder.serial.with_name("serial.log.before").read_bytes()
        assert b"Kernel panic" not in folder.serial.read_bytes()
        starts.append(await console.start())
    assert len(set(starts)) == 3, starts


async def test_a_hostile_header_is_a_raw_disk_to_libvirt_and_to_the_machine(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, replica: Replica, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET * 1000)
    content = hostile_disk(secret)
    volume = await replica.volume(domains, content)
    await domains.launch(order_of(volume))
    query = json.dumps({"execute": "query-named-block-nodes"})
    layers = libvirtd.virsh("qemu-monitor-command", NAME, query)
    assert str(len(content)) in layers
    assert str(GUESSED) not in layers
    assert str(secret) not in layers + libvirtd.virsh("dumpxml", NAME)
    assert volume.path.read_bytes() == content


async def test_an_instance_that_was_retired_never_comes_to_life_again(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, volume: Volume
) -> None:
    await domains.launch(order_of(volume))
    assert await domains.retire("ins-1")
    assert not await domains.retire("ins-1")
    for refused in (domains.launch(order_of(volume)), domains.prepare(order_of(volume))):
        with pytest.raises(InstanceRetired):
            await refused
    assert libvirtd.virsh("list", "--all", "--name").split() == []


async def test_a_volume_is_not_advanced_under_a_machine(
    domains: LibvirtTarget, replica: Replica, volume: Volume
) -> None:
    await domains.launch(order_of(volume))
    later = replica.put(b"something else".ljust(1024 * 1024, b"\0"), checkpoint="chk-2")
    with pytest.raises(VolumeBusy, match="runs on"):
        await domains.advance(volume, later, nothing())
    assert await domains.terminate("ins-1")
    advanced = await domains.advance(volume, later, replica.delta(volume, later))
    assert advanced.path.read_bytes().startswith(b"something else")


@pytest.mark.parametrize("bus", list(DiskBus))
@pytest.mark.parametrize("firmware", list(Firmware))
async def test_every_bus_and_firmware_makes_a_domain_that_runs(
    domains: LibvirtTarget, libvirtd: LibvirtDaemon, replica: Replica, bus: DiskBus, firmware: Firmware
) -> None:
    volumes = (await replica.volume(domains, bytes(4096)), await replica.volume(domains, b"\1" * 4096, "d2"))
    nics = (Nic("52:54:00:00:00:01", "192.168.7.2/24", "192.168.7.1"), Nic("52:54:00:00:00:02"))
    machine = MachineSpec(firmware=firmware, cpus=2, memory_mib=128, nics=nics, ports=(80,), bus=bus)
    found = await domains.launch(order_of(*volumes, machine=machine))
    assert libvirtd.virsh("domstate", NAME).strip() == "running"
    cards = libvirtd.virsh("qemu-monitor-command", NAME, "--hmp", "info network")
    assert cards.count("restrict=on") == 2
    assert all(nic.mac in cards for nic in nics)
    assert (found.folder / "variables.fd").exists() is (firmware is Firmware.UEFI)


async def test_a_machine_that_takes_over_is_on_its_network_starts_with_the_node_and_proves_its_boot(
    libvirtd_apart: LibvirtDaemon, replica: Replica, tmp_path: Path
) -> None:
    libvirtd_apart.define("net-define", NETWORK)
    libvirtd_apart.virsh("net-start", "office")
    with libvirt_target(libvirtd_apart, "office") as target:
        assert not [found for found in await target.validate() if found.code == "NETWORK_MISSING"]
        volume = await replica.volume(target, talking_disk())
        before = digest(volume.path)
        nics = (Nic("52:54:00:aa:bb:cc"),)
        order = LaunchOrder(
            "ins-1", MachineSpec(memory_mib=64, nics=nics), (volume,), InstancePurpose.CUTOVER
        )
        await target.launch(order)
        assert "52:54:00:aa:bb:cc" in libvirtd_apart.virsh("domiflist", NAME)
        assert ["Autostart:", "enable"] in [
            line.split() for line in libvirtd_apart.virsh("dominfo", NAME).splitlines()
        ]
        plan = CheckPlan((LoginCheck(), ScreenCheck()), seconds=100, settle_seconds=1)
        proof = await target.check("ins-1", plan, tmp_path / "evidence")
        assert proof.passed, proof
        assert proof.target == "libvirt"
        assert proof.screenshot is not None
        assert digest(volume.path) == before
        marks = ET.fromstring(libvirtd_apart.virsh("metadata", NAME, "urn:go2cloud:machine:1", "--config"))
        assert (marks.get("instance"), marks.get("purpose")) == ("ins-1", "cutover")
        assert [mark.get("checkpoint") for mark in marks] == ["chk-1"]
        assert await target.terminate("ins-1")
        assert libvirtd_apart.virsh("list", "--all", "--name").split() == []


async def test_a_machine_that_takes_over_without_a_network_is_refused_before_anything_is_made(
    domains: LibvirtTarget, volume: Volume
) -> None:
    order = LaunchOrder("ins-1", MACHINE, (volume,), InstancePurpose.CUTOVER)
    with pytest.raises(SettingsWrong, match="no network"):
        await domains.launch(order)
    assert await domains.find("ins-1") is None
    assert [item.name for item in domains.settings.machines.iterdir()] == [".lock"]
