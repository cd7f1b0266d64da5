"""Real machines: what a good guest proves, what it cannot reach, and the names of the ways to fail."""

import asyncio
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from app.cli.demo.tiny_disk import SERVE, Tiny, make_disk
from app.contract.words import (
    Accelerator,
    BootFailure,
    BootPhase,
    DiskBus,
    Firmware,
    InstancePurpose,
    InstanceState,
)
from app.launch.boot.checks import CheckPlan, HttpCheck, LoginCheck, ScreenCheck, ScriptCheck, TcpCheck
from app.launch.boot.proof import BootProof
from app.launch.boot.screen import Picture
from app.launch.machine import Instance, LaunchOrder, MachineSpec, Nic, Volume
from app.launch.qemu.driver import QemuTarget
from app.launch.qemu.qmp import Qmp
from tests.launch.hostile import GUESSED, MIB, SECRET, hostile_disk
from tests.launch.replica import Replica, digest

pytestmark = pytest.mark.slow

REACH = """\
for place in 127.0.0.1:8080 {places}; do
  echo | nc -w 3 ${{place%:*}} ${{place#*:}} > /dev/null && echo reached $place
done > /www/reach.html
(head -c 4 /dev/vdb; cat /sys/block/vdb/size) > /www/second.html
"""
"""The guest tries its own web server, for which it must succeed, and services of the node."""


def is_png(path: Path, width: int, height: int) -> bool:
    """Whether a file is a PNG of that size whose pixels can be unpacked."""
    data = path.read_bytes()
    at = data.index(b"IDAT")
    pixels = zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")])
    size = (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    return data.startswith(b"\x89PNG") and size == (width, height) and len(pixels) == (width * 3 + 1) * height


@pytest.fixture
def listeners() -> Iterator[list[str]]:
    """Services of the node: one on its loopback, one on every address that it has."""
    with ExitStack() as stack:
        places = []
        for address, seen in (("127.0.0.1", "10.0.2.2"), ("0.0.0.0", own_address())):
            server = stack.enter_context(closing(socket.create_server((address, 0))))
            places.append(f"{seen}:{server.getsockname()[1]}")
        yield places


def own_address() -> str:
    """An address of the node that is not its loopback, or its loopback where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


async def test_a_uefi_guest_proves_itself_and_reaches_nothing_of_the_node(
    qemu: QemuTarget, replica: Replica, tmp_path: Path, listeners: list[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET * 1000)
    start = SERVE + REACH.format(places=" ".join(listeners))
    disk = make_disk(tmp_path / "tiny.raw", Tiny(start)).read_bytes()
    volumes = (
        await replica.volume(qemu, disk),
        await replica.volume(qemu, hostile_disk(secret), "dsk-hostile"),
    )
    before = [digest(volume.path) for volume in volumes]
    machine = MachineSpec(firmware=Firmware.UEFI, memory_mib=256, ports=(8080, 8081))
    found = await qemu.launch(LaunchOrder("ins-uefi", machine, volumes))
    plan = CheckPlan(
        (
            LoginCheck(),
            TcpCheck(8080),
            HttpCheck(8080, body="4711", name="page"),
            HttpCheck(8080, path="/reach.html", body=r"\Areached 127.0.0.1:8080\n\Z", name="reach"),
            HttpCheck(8080, path="/second.html", body=r"\AQFI.+4096\n\Z", name="hostile"),
            ScreenCheck(),
            ScriptCheck(("sh", "-c", f'test "$GO2CLOUD_PORT_8080" = {found.forwards[0].host}')),
        ),
        seconds=100,
        settle_seconds=1,
    )
    evidence = tmp_path / "evidence"
    proof = await qemu.check("ins-uefi", plan, evidence)
    assert proof.passed, proof
    assert [seen.phase for seen in proof.phases] == list(BootPhase)
    assert [seen.after for seen in proof.phases] == sorted(seen.after for seen in proof.phases)
    shot = proof.screenshot
    assert shot is not None
    assert not shot.blank
    assert is_png(evidence / shot.file, shot.width, shot.height)
    assert (evidence / "thumbnail.png").exists()
    assert "tiny login:" in proof.serial_tail
    assert_confined(found.pid)
    await qemu.terminate("ins-uefi")
    assert [digest(volume.path) for volume in volumes] == before


async def test_a_machine_of_a_cutover_reaches_others(
    qemu: QemuTarget, replica: Replica, tmp_path: Path
) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    machine = MachineSpec(memory_mib=256, ports=(8080,))
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        start = SERVE + f"sleep 1; echo | nc -w 3 10.0.2.2 {port} > /www/reach.html\n"
        disk = make_disk(tmp_path / "tiny.raw", Tiny(start)).read_bytes()
        volume = await replica.volume(qemu, disk)
        await qemu.launch(LaunchOrder("ins-1", machine, (volume,), InstancePurpose.CUTOVER))
        reached = HttpCheck(8080, path="/reach.html", body="hello")
        proof = await qemu.check("ins-1", CheckPlan((reached,), seconds=60), tmp_path / "evidence")
    assert proof.passed, proof


def assert_confined(pid: int | None) -> None:
    """The machine's process is not root, has no capability, a system call filter, and limits."""
    assert pid is not None
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max address space" in limits
    assert "unlimited" not in next(line for line in limits.splitlines() if line.startswith("Max file size"))


async def test_a_port_that_nobody_listens_on_is_not_open(
    qemu: QemuTarget, replica: Replica, tiny: bytes, tmp_path: Path
) -> None:
    """The forwarder accepts in the guest's stead: a connection alone must not count."""
    machine = MachineSpec(memory_mib=256, ports=(22, 8080), bus=DiskBus.VIRTIO_BLK)
    await qemu.launch(LaunchOrder("ins-1", machine, (await replica.volume(qemu, tiny),)))
    up = CheckPlan((LoginCheck(), TcpCheck(8080)), seconds=180, settle_seconds=0)
    patience = (await qemu.check("ins-1", up, tmp_path / "evidence")).seconds + 10
    checks = (LoginCheck(), TcpCheck(8080), TcpCheck(22, name="ssh"))
    plan = CheckPlan(checks, seconds=patience, settle_seconds=0)
    proof = await qemu.check("ins-1", plan, tmp_path / "evidence")
    results = {result.name: result.passed for result in proof.checks}
    assert results == {"login": True, "tcp": True, "ssh": False}
    assert proof.reason is BootFailure.CHECK_FAILED
    assert "port 22" in proof.detail


@pytest.mark.parametrize(
    ("tiny", "firmware", "reason", "words"),
    [
        (None, Firmware.BIOS, BootFailure.NO_BOOTABLE_DEVICE, "No bootable device"),
        (Tiny(loader=False), Firmware.BIOS, BootFailure.NO_BOOTABLE_DEVICE, "nothing followed"),
        (Tiny(loader=False), Firmware.UEFI, BootFailure.NO_BOOTABLE_DEVICE, ""),
        (Tiny(options="rdinit=/none root=/dev/none"), Firmware.BIOS, BootFailure.KERNEL_PANIC, "panic"),
        (Tiny(options="tinyroot=none"), Firmware.BIOS, BootFailure.INITRAMFS_SHELL, "(initramfs)"),
        (Tiny(start="poweroff -f\n"), Firmware.BIOS, BootFailure.MACHINE_ENDED, "ended"),
    ],
    ids=["empty-disk", "no-loader-bios", "no-loader-uefi", "panic", "initramfs", "powered-off"],
)
async def test_a_broken_guest_fails_by_its_name_with_a_screenshot(
    qemu: QemuTarget,
    replica: Replica,
    tmp_path: Path,
    tiny: Tiny | None,
    firmware: Firmware,
    reason: BootFailure,
    words: str,
) -> None:
    disk = bytes(MIB) if tiny is None else make_disk(tmp_path / "broken.raw", tiny).read_bytes()
    proof = await boot(qemu, await replica.volume(qemu, disk), firmware, tmp_path / "evidence")
    assert (proof.passed, proof.reason) == (False, reason), proof
    assert words in proof.detail
    assert proof.remedy
    shot = proof.screenshot
    assert shot is not None
    assert is_png(tmp_path / "evidence" / shot.file, shot.width, shot.height)


async def boot(qemu: QemuTarget, volume: Volume, firmware: Firmware, evidence: Path) -> BootProof:
    machine = MachineSpec(firmware=firmware, memory_mib=256)
    await qemu.launch(LaunchOrder("ins-broken", machine, (volume,)))
    return await qemu.check("ins-broken", CheckPlan(seconds=60, picture_seconds=2), evidence)


async def test_a_guest_with_an_address_of_its_own_is_reached_there(
    qemu: QemuTarget, replica: Replica, tmp_path: Path
) -> None:
    start = "ifconfig eth0 192.168.7.20 netmask 255.255.255.0\n" + SERVE
    disk = make_disk(tmp_path / "static.raw", Tiny(start)).read_bytes()
    nic = Nic("52:54:00:aa:bb:cc", "192.168.7.20/24", "192.168.7.1")
    machine = MachineSpec(memory_mib=256, nics=(nic,), ports=(8080,))
    order = LaunchOrder("ins-static", machine, (await replica.volume(qemu, disk),))
    await qemu.launch(order)
    plan = CheckPlan((HttpCheck(8080, body="4711"),), seconds=120, settle_seconds=0)
    proof = await qemu.check("ins-static", plan, tmp_path / "evidence")
    assert proof.passed, proof
    assert proof.accelerator in {each.value for each in Accelerator}


async def test_a_hostile_header_is_a_raw_disk_to_the_machine_itself(
    qemu: QemuTarget, replica: Replica, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET * 1000)
    content = hostile_disk(secret)
    volume = await replica.volume(qemu, content)
    found = await qemu.launch(LaunchOrder("ins-1", MachineSpec(memory_mib=64), (volume,)))
    with Qmp(found.folder / "qmp.sock") as monitor:
        layers = str(monitor.execute("query-named-block-nodes"))
    assert str(len(content)) in layers
    assert str(GUESSED) not in layers
    assert str(secret) not in layers
    assert volume.path.read_bytes() == content


async def test_a_machine_that_ended_is_started_again_on_what_it_wrote(
    qemu: QemuTarget, replica: Replica, tiny: bytes
) -> None:
    order = LaunchOrder("ins-1", MachineSpec(memory_mib=64), (await replica.volume(qemu, tiny),))
    first = await qemu.launch(order)
    with Qmp(first.folder / "qmp.sock") as monitor:
        assert monitor.status() == "running"
        assert isinstance(monitor.screen(first.folder / "scratch"), Picture)
        monitor.quit()
    ended = await ended_instance(qemu)
    assert ended is not None
    assert ended.state is InstanceState.ENDED
    again = await qemu.launch(order)
    assert again.state is InstanceState.RUNNING
    assert again.pid != first.pid


async def ended_instance(qemu: QemuTarget) -> Instance | None:
    """The instance, once its machine ended."""
    for _ in range(100):
        found = await qemu.find("ins-1")
        if found is None or found.state is not InstanceState.RUNNING:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the machine does not end")


@pytest.mark.parametrize("bus", list(DiskBus))
@pytest.mark.parametrize("firmware", list(Firmware))
async def test_every_bus_and_firmware_makes_a_machine_that_runs(
    qemu: QemuTarget, replica: Replica, bus: DiskBus, firmware: Firmware
) -> None:
    volumes = (await replica.volume(qemu, bytes(MIB)), await replica.volume(qemu, b"\1" * MIB, "dsk-2"))
    machine = MachineSpec(firmware=firmware, cpus=2, memory_mib=128, ports=(80,), bus=bus)
    found = await qemu.launch(LaunchOrder("ins-1", machine, volumes))
    with Qmp(found.folder / "qmp.sock") as monitor:
        assert monitor.status() == "running"
        disks = str(monitor.execute("query-block"))
    assert "disk0" in disks
    assert "disk1" in disks
