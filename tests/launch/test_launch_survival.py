"""The machine belongs to its run folder: our process may be killed anywhere; no stranger is ended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.contract.words import InstanceState
from app.launch.errors import MachineRefused
from app.launch.machine import Instance, LaunchOrder, MachineSpec, Volume
from app.launch.qemu.console import QemuConsole
from app.launch.qemu.driver import QemuSettings, QemuTarget
from app.launch.qemu.process import ProcessRecord, boot_id
from app.launch.qemu.runfolder import RunFolder
from tests.launch.replica import Replica

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MACHINE = MachineSpec(memory_mib=64, ports=(8080,))
LAUNCH = """
import asyncio, os, signal, sys
from pathlib import Path
from app.launch.machine import Instance, LaunchOrder, MachineSpec, Volume
from app.launch.qemu.driver import QemuSettings, QemuTarget
target = QemuTarget(QemuSettings(Path(sys.argv[1])))
volume = Volume("chk-1", "dsk-1", Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
order = LaunchOrder("ins-1", MachineSpec(memory_mib=64, ports=(8080,)), (volume,))
asyncio.run(target.launch(order))
print("launched", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def launcher(target: QemuTarget, volume: Volume) -> subprocess.Popen[str]:
    """A process of its own that launches, and then kills itself the hard way."""
    words = (str(target.settings.folder), str(volume.path), str(volume.size), volume.root)
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def machines(target: QemuTarget) -> list[int]:
    """Processes of QEMU whose log lies in this target's folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                log = (process / "fd/2").readlink()
                is_qemu = (process / "exe").readlink().name.startswith("qemu-system")
            except OSError:
                continue
            if is_qemu and log.is_relative_to(target.settings.runs):
                found.append(int(process.name))
    return found


@pytest.fixture
async def volume(qemu: QemuTarget, replica: Replica) -> Volume:
    return await replica.volume(qemu, b"nothing that boots".ljust(1024 * 1024, b"\0"))


def order_of(volume: Volume) -> LaunchOrder:
    return LaunchOrder("ins-1", MACHINE, (volume,))


async def test_a_machine_outlives_the_kill_of_its_launcher_and_another_process_ends_it(
    qemu: QemuTarget, volume: Volume
) -> None:
    with launcher(qemu, volume) as process:
        said = await asyncio.to_thread(process.communicate)
    assert said[0] == "launched\n"
    assert process.returncode == -signal.SIGKILL
    found = await qemu.find("ins-1")
    assert found is not None
    assert found.state is InstanceState.RUNNING
    assert machines(qemu) == [found.pid]
    assert await qemu.launch(order_of(volume)) == found
    assert await qemu.terminate("ins-1")
    assert machines(qemu) == []


@pytest.mark.parametrize("after", [0.25, 0.4, 0.5, 0.6, 0.7, 0.8])
async def test_a_launcher_killed_anywhere_leaves_at_most_one_machine_which_can_be_ended(
    qemu: QemuTarget, volume: Volume, after: float
) -> None:
    with launcher(qemu, volume) as process:
        await asyncio.sleep(after)
        process.kill()
    found = await qemu.launch(order_of(volume))
    assert machines(qemu) == [found.pid]
    assert await qemu.terminate("ins-1")
    assert machines(qemu) == []
    assert [item.name for item in qemu.settings.runs.iterdir()] == [".lock"]


@pytest.mark.parametrize("missing", [("order.json",), ("process.json",), ("order.json", "process.json")])
async def test_a_half_launched_folder_is_made_anew_or_removed(
    qemu: QemuTarget, volume: Volume, missing: tuple[str, ...]
) -> None:
    first = await qemu.launch(order_of(volume))
    ProcessRecord.read(first.folder / "process.json").kill()  # type: ignore[union-attr]
    for name in missing:
        (first.folder / name).unlink()
    again = await qemu.launch(order_of(volume))
    assert machines(qemu) == [again.pid]
    for name in missing:
        assert (again.folder / name).exists()


async def test_a_stranger_with_the_machines_number_is_left_alone(qemu: QemuTarget, volume: Volume) -> None:
    first = await qemu.launch(order_of(volume))
    record = first.folder / "process.json"
    mine = ProcessRecord.read(record)
    assert mine is not None
    mine.kill()
    with stranger() as other:
        record.write_text(json.dumps({"pid": other.pid, "start": mine.start, "boot": mine.boot}))
        assert await qemu.terminate("ins-1")
        assert other.poll() is None
        other.kill()


def stranger() -> subprocess.Popen[bytes]:
    """A process that is nobody's machine."""
    return subprocess.Popen(["sleep", "60"])


def append(log: Path, words: bytes) -> None:
    with log.open("ab") as file:
        file.write(words)


def own_start() -> int:
    """When this process was started, in ticks since the boot."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


async def test_a_record_of_another_boot_names_no_process() -> None:
    start = own_start()
    assert ProcessRecord(os.getpid(), start, boot_id()).alive()
    assert not ProcessRecord(os.getpid(), start, "another-boot").alive()
    assert not ProcessRecord(os.getpid(), start + 1, boot_id()).alive()
    assert 0 < ProcessRecord(os.getpid(), start, boot_id()).age() < time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_a_prepared_machine_starts_on_the_overlays_that_were_changed(
    qemu: QemuTarget, volume: Volume
) -> None:
    (overlay,) = await qemu.prepare(order_of(volume))
    write = ["qemu-io", "-f", "qcow2", "-c", "write -q -P 0x5a 0 4096", str(overlay)]
    await asyncio.to_thread(subprocess.run, write, check=True)
    assert await qemu.find("ins-1") is None
    assert await qemu.prepare(order_of(volume)) == (overlay,)
    await qemu.launch(order_of(volume))
    await qemu.power_off("ins-1", 0.1)
    read = ["qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -q -P 0x5a 0 4096", str(overlay)]
    done = await asyncio.to_thread(subprocess.run, read, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert await qemu.terminate("ins-1")


async def test_a_machine_that_is_started_again_has_a_log_and_a_start_of_its_own(
    qemu: QemuTarget, volume: Volume
) -> None:
    first = await qemu.launch(order_of(volume))
    log = first.folder / "serial.log"
    before = await QemuConsole.of(RunFolder(first.folder), qemu.settings.verdict).start()
    await asyncio.to_thread(append, log, b"Kernel panic - not syncing\n")
    assert await qemu.launch(order_of(volume)) == first, "it runs"
    assert b"Kernel panic" in log.read_bytes()
    assert await QemuConsole.of(RunFolder(first.folder), qemu.settings.verdict).start() == before
    await qemu.power_off("ins-1", 0.1)
    RunFolder(first.folder).end()
    await qemu.launch(order_of(volume))
    assert b"Kernel panic" not in log.read_bytes()
    assert b"Kernel panic" in log.with_name("serial.log.before").read_bytes()
    assert await QemuConsole.of(RunFolder(first.folder), qemu.settings.verdict).start() != before


async def test_two_targets_launch_the_same_instance_at_once_and_it_is_one(
    qemu: QemuTarget, volume: Volume
) -> None:
    others = [QemuTarget(QemuSettings(qemu.settings.folder)) for _ in range(4)]
    launches = (other.launch(order_of(volume)) for other in others)
    found = await asyncio.gather(*launches, return_exceptions=True)
    pids = {each.pid if isinstance(each, Instance) else None for each in found}
    assert len(pids) == 1, found
    assert machines(qemu) == list(pids)


async def test_a_machine_that_is_refused_says_why_and_keeps_its_overlays(
    qemu: QemuTarget, volume: Volume
) -> None:
    (overlay,) = await qemu.prepare(order_of(volume))
    whole = overlay.read_bytes()
    overlay.write_bytes(b"no overlay any more")
    with pytest.raises(MachineRefused, match="qcow2"):
        await qemu.launch(order_of(volume))
    assert machines(qemu) == []
    overlay.write_bytes(whole)
    assert (await qemu.launch(order_of(volume))).state is InstanceState.RUNNING
