"""A freezer holds all filesystems still or none, and nothing stays frozen, whoever dies."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.agent.daemon.disk.mounts import mount_of
from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.errors import FreezeError
from app.agent.daemon.freezer.client import Freezer
from app.agent.daemon.freezer.crew import Crew
from app.agent.daemon.freezer.holder import Holder
from app.agent.daemon.freezer.protocol import Fate, Reason
from app.agent.daemon.freezer.rescue import thaw_left_frozen
from tests.daemon.disk_images import run
from tests.daemon.live_disks import (
    filesystem,
    freeze,
    image,
    loop,
    mounted,
    mounted_elsewhere,
    standing_on,
    thaw,
    wait_for,
    writer,
)

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
BUDGET = 30.0
KINDS = ("ext4", "xfs", "btrfs")
FREEZE_AND_WAIT = """
import sys, time
from pathlib import Path
from app.agent.daemon.freezer.client import Freezer
from tests.daemon.live_disks import standing_on
freezer = Freezer(Path(sys.argv[1]))
freezer.start()
freezer.prepare(standing_on(*map(Path, sys.argv[2:])).filesystems)
freezer.freeze(30.0, dead_man=3600.0)
print(freezer.pid, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def freezer(notes: Path) -> Iterator[Freezer]:
    made = Freezer(notes)
    assert all("is not spared when memory is short" in note for note in made.start())
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_waits_from_freeze_to_thaw(kind: str, freezer: Freezer, tmp_path: Path, notes: Path) -> None:
    with filesystem(tmp_path, kind) as (device, root), writer(root / "file") as at_work:
        assert at_work.goes_on()
        freezer.prepare(standing_on(device).filesystems)
        frozen = freezer.freeze(BUDGET)
        assert [outcome.fate for outcome in frozen.outcomes] == [Fate.FROZEN]
        assert (at_work.stands_still(), len(list(notes.iterdir()))) == (True, 1)
        thawed = freezer.thaw()
        assert thawed.was_held
        assert thawed.seconds >= frozen.took > 0
        assert at_work.goes_on()
        wait_for(lambda: not list(notes.iterdir()), "the note was not removed")


def test_one_freezer_serves_many_cuts_and_holds_nothing_open_between(
    freezer: Freezer, tmp_path: Path
) -> None:
    with loop(image(tmp_path / "disk", "ext4")) as device:
        root = tmp_path / "mnt"
        root.mkdir()
        for _ in range(3):
            run("mount", device, root)
            try:
                (root / "file").write_bytes(b"x" * 100_000)
                freezer.prepare(standing_on(device).filesystems)
                freezer.freeze(BUDGET)
                assert freezer.thaw().was_held
            finally:
                run("umount", root)


def test_without_a_freeze_there_is_nothing_to_thaw(freezer: Freezer) -> None:
    with pytest.raises(FreezeError, match="nothing is frozen") as raised:
        freezer.thaw()
    assert raised.value.code == "NOT_FROZEN"


def daemon_that_froze(notes: Path, *devices: Path) -> tuple[subprocess.Popen[str], int]:
    """A process that froze what is on the devices and holds it; and its freezer's pid."""
    command = [sys.executable, "-c", FREEZE_AND_WAIT, str(notes), *map(str, devices)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    return process, int(process.stdout.readline())


CUT_FOR_EVER = """
import sys
from pathlib import Path
from app.agent.daemon.freezer.client import Freezer
from tests.daemon.live_disks import standing_on
freezer = Freezer(Path(sys.argv[1]))
freezer.start()
print(freezer.pid, flush=True)
while True:
    freezer.prepare(standing_on(*map(Path, sys.argv[2:])).filesystems)
    freezer.freeze(30.0, dead_man=3600.0)
    freezer.thaw()
"""


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["daemon", "freezer", "both"])
def test_killed_at_any_moment_nothing_stays_frozen(victim: str, tmp_path: Path, notes: Path) -> None:
    chance = random.Random(victim)
    with (
        filesystem(tmp_path, "ext4", "one") as (one, root),
        filesystem(tmp_path, "xfs", "two") as (two, other),
        writer(root / "file") as at_work,
        writer(other / "file") as too,
    ):
        for _ in range(6):
            command = [sys.executable, "-c", CUT_FOR_EVER, str(notes), str(one), str(two)]
            daemon = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
            )
            assert daemon.stdout
            pid = int(daemon.stdout.readline())
            time.sleep(chance.uniform(0, 0.8))
            if victim == "both":
                daemon.send_signal(signal.SIGSTOP)
            if victim != "daemon":
                os.kill(pid, signal.SIGKILL)
            if victim != "freezer":
                daemon.kill()
            if victim == "both":
                daemon.wait()
                thaw_left_frozen(notes)
            assert at_work.goes_on()
            assert too.goes_on()
            daemon.kill()
            daemon.communicate()
            wait_for(lambda pid=pid: not is_running(pid), "the freezer did not end")  # type: ignore[misc]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_daemon_killed_while_frozen_leaves_nothing_frozen(kind: str, tmp_path: Path, notes: Path) -> None:
    with filesystem(tmp_path, kind) as (device, root), writer(root / "file") as at_work:
        daemon, pid = daemon_that_froze(notes, device)
        assert at_work.stands_still()
        daemon.kill()
        daemon.communicate()
        assert at_work.goes_on()
        wait_for(lambda: not is_running(pid), "the freezer did not end")
        assert list(notes.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_freezer_killed_while_frozen_leaves_nothing_frozen(
    kind: str, freezer: Freezer, tmp_path: Path, notes: Path
) -> None:
    with filesystem(tmp_path, kind) as (device, root), writer(root / "file") as at_work:
        freezer.prepare(standing_on(device).filesystems)
        freezer.freeze(BUDGET, dead_man=3600.0)
        os.kill(freezer.pid, signal.SIGKILL)
        assert at_work.goes_on()
        thawed = freezer.thaw()
        assert (thawed.freezer_died, thawed.was_held) == (True, False)
        assert [outcome.fate for outcome in thawed.outcomes] == [Fate.THAWED]
        with pytest.raises(FreezeError) as raised:
            freezer.prepare(())
        assert raised.value.code == "FREEZER_DIED"
        freezer.start()
        freezer.prepare(standing_on(device).filesystems)
        freezer.freeze(BUDGET)
        assert freezer.thaw().was_held
        wait_for(lambda: not list(notes.iterdir()), "a note stayed")


def test_a_freezer_that_falls_silent_is_replaced_by_its_daemon(
    freezer: Freezer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agent.daemon.freezer.client._GRACE_SECONDS", 0.5)
    with filesystem(tmp_path, "ext4") as (device, root), writer(root / "file") as at_work:
        freezer.prepare(standing_on(device).filesystems)
        freezer.freeze(BUDGET, dead_man=3600.0)
        os.kill(freezer.pid, signal.SIGSTOP)
        assert freezer.thaw().freezer_died
        assert at_work.goes_on()


def test_the_dead_man_timer_thaws(freezer: Freezer, tmp_path: Path) -> None:
    with filesystem(tmp_path, "ext4") as (device, root), writer(root / "file") as at_work:
        freezer.prepare(standing_on(device).filesystems)
        freezer.freeze(BUDGET, dead_man=1.0)
        assert at_work.goes_on()
        thawed = freezer.thaw()
        assert (thawed.timer_fired, thawed.was_held) == (True, False)


def test_a_daemon_that_is_stopped_while_frozen_does_not_keep_the_host_frozen(
    tmp_path: Path, notes: Path
) -> None:
    script = FREEZE_AND_WAIT.replace("3600.0", "2.0")
    with filesystem(tmp_path, "ext4") as (device, root), writer(root / "file") as at_work:
        command = [sys.executable, "-c", script, str(notes), str(device)]
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert daemon.stdout
        pid = int(daemon.stdout.readline())
        daemon.send_signal(signal.SIGSTOP)
        try:
            assert at_work.goes_on()
        finally:
            daemon.kill()
            daemon.communicate()
            wait_for(lambda: not is_running(pid), "the freezer did not end")


def test_daemon_and_freezer_killed_the_command_thaws(tmp_path: Path, notes: Path) -> None:
    with (
        filesystem(tmp_path, "ext4", "one") as (one, root),
        filesystem(tmp_path, "xfs", "two") as (two, other),
        writer(root / "file") as at_work,
        writer(other / "file") as too,
    ):
        daemon, pid = daemon_that_froze(notes, one, two)
        daemon.send_signal(signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        daemon.kill()
        daemon.communicate()
        assert at_work.stands_still()
        assert too.stands_still()
        told = thaw_command(notes)
        assert f"{root} " in told
        assert told.count(" thawed\n") == 2
        assert at_work.goes_on()
        assert too.goes_on()
        assert list(notes.iterdir()) == []
        assert thaw_command(notes) == "nothing was left frozen\n"


def thaw_command(notes: Path, *options: str) -> str:
    command = [sys.executable, "-m", "app.agent.daemon", "thaw", "--run-dir", str(notes), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_start_thaws_what_an_earlier_freezer_left(tmp_path: Path, notes: Path) -> None:
    with filesystem(tmp_path, "ext4") as (device, root), writer(root / "file") as at_work:
        daemon, pid = daemon_that_froze(notes, device)
        daemon.send_signal(signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        daemon.kill()
        daemon.communicate()
        following = Freezer(notes)
        said = following.start()
        following.close()
        assert said[0].startswith(f"left frozen: {root} ")
        assert at_work.goes_on()


def test_the_rescue_leaves_a_living_freezer_alone_unless_told(
    freezer: Freezer, tmp_path: Path, notes: Path
) -> None:
    with filesystem(tmp_path, "ext4") as (device, root), writer(root / "file") as at_work:
        freezer.prepare(standing_on(device).filesystems)
        freezer.freeze(BUDGET, dead_man=3600.0)
        assert thaw_left_frozen(notes) == ()
        assert at_work.stands_still()
        assert thaw_command(notes, "--all").endswith(" thawed\n")
        assert at_work.goes_on()
        assert not freezer.thaw().was_held


@pytest.mark.parametrize(("outer", "inner"), [("ext4", "xfs"), ("xfs", "ext4"), ("btrfs", "ext4")])
def test_a_filesystem_in_a_file_on_another_freezes_first_and_thaws_last(
    outer: str, inner: str, freezer: Freezer, tmp_path: Path
) -> None:
    with (
        loop(image(tmp_path / "disk", outer, 900 * 1024 * 1024)) as device,
        mounted(device, tmp_path / "outer") as below,
        loop(image(below / "file", inner)) as upper,
        mounted(upper, tmp_path / "inner") as above,
        writer(below / "one") as one,
        writer(above / "two") as two,
    ):
        found = standing_on(device).filesystems
        assert [(each.kind, each.depth) for each in found] == [(inner, 1), (outer, 0)]
        for _ in range(3):
            freezer.prepare(reversed(found))
            frozen = freezer.freeze(BUDGET)
            assert [outcome.standing.kind for outcome in frozen.outcomes] == [inner, outer]
            assert one.stands_still()
            assert two.stands_still()
            assert freezer.thaw().was_held
            assert one.goes_on()
            assert two.goes_on()


def test_nested_filesystems_thaw_when_the_freezer_is_killed(freezer: Freezer, tmp_path: Path) -> None:
    with (
        loop(image(tmp_path / "disk", "ext4", 900 * 1024 * 1024)) as device,
        mounted(device, tmp_path / "outer") as below,
        loop(image(below / "file", "ext4")) as upper,
        mounted(upper, tmp_path / "inner") as above,
        writer(above / "two") as two,
    ):
        freezer.prepare(standing_on(device).filesystems)
        freezer.freeze(BUDGET, dead_man=3600.0)
        os.kill(freezer.pid, signal.SIGKILL)
        assert two.goes_on()
        assert {outcome.fate for outcome in freezer.thaw().outcomes} == {Fate.THAWED}


def test_what_is_mounted_in_another_namespace_only_is_frozen(freezer: Freezer, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    with (
        loop(image(tmp_path / "disk", "ext4")) as device,
        mounted_elsewhere(device, tmp_path / "mnt") as process,
        writer(Path(f"/proc/{process.pid}/root{tmp_path}/mnt/file")) as at_work,
    ):
        assert at_work.goes_on()
        freezer.prepare(standing_on(device).filesystems)
        assert freezer.freeze(BUDGET).outcomes
        assert at_work.stands_still()
        assert freezer.thaw().was_held
        assert at_work.goes_on()


def test_when_one_refuses_all_are_thawed_and_the_error_names_it(freezer: Freezer, tmp_path: Path) -> None:
    with (
        filesystem(tmp_path, "ext4", "one") as (one, root),
        filesystem(tmp_path, "xfs", "two") as (two, other),
        writer(root / "file") as at_work,
    ):
        freeze(other)
        freezer.prepare(standing_on(one, two).filesystems)
        with pytest.raises(
            FreezeError, match=f"^xfs at {other} cannot be frozen: Device or resource busy"
        ) as raised:
            freezer.freeze(BUDGET)
        assert raised.value.code == "FREEZE_REFUSED"
        assert at_work.goes_on()
        thaw(other)
        freezer.prepare(standing_on(one, two).filesystems)
        assert freezer.freeze(BUDGET)
        assert freezer.thaw().was_held


def test_a_budget_that_is_over_thaws_all(freezer: Freezer, tmp_path: Path) -> None:
    with (
        filesystem(tmp_path, "ext4", "one") as (one, root),
        filesystem(tmp_path, "ext4", "two") as (two, other),
        writer(root / "file") as at_work,
        writer(other / "file") as too,
    ):
        freezer.prepare(standing_on(one, two).filesystems)
        with pytest.raises(FreezeError, match="freezing took longer than 0 s") as raised:
            freezer.freeze(0.0)
        assert raised.value.code == "FREEZE_OVER_BUDGET"
        assert at_work.goes_on()
        assert too.goes_on()


def test_a_stranger_that_thawed_meanwhile_is_reported(freezer: Freezer, tmp_path: Path) -> None:
    with (
        filesystem(tmp_path, "ext4", "one") as (one, _),
        filesystem(tmp_path, "xfs", "two") as (two, other),
    ):
        freezer.prepare(standing_on(one, two).filesystems)
        freezer.freeze(BUDGET)
        thaw(other)
        thawed = freezer.thaw()
        fates = {outcome.standing.kind: outcome.fate for outcome in thawed.outcomes}
        assert fates == {"ext4": Fate.THAWED, "xfs": Fate.STRANGER}
        assert not thawed.was_held


def test_a_filesystem_without_freezing_is_written_back_instead(freezer: Freezer, tmp_path: Path) -> None:
    with (
        filesystem(tmp_path, "ext4") as (device, _),
        mounted(Path("none"), tmp_path / "memory", "-t", "tmpfs") as memory,
    ):
        (ext4,) = standing_on(device).filesystems
        strange = standing_for(memory, "tmpfs", ext4)
        freezer.prepare((ext4, strange))
        frozen = freezer.freeze(BUDGET)
        assert [outcome.fate for outcome in frozen.outcomes] == [Fate.FROZEN, Fate.SYNCED]
        assert frozen.unfrozen == (strange,)
        assert freezer.thaw().was_held


def standing_for(root: Path, kind: str, like: Standing) -> Standing:
    """The standing of what is mounted at `root`, in most things like another."""
    fd = os.open(root, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        return replace(like, kind=kind, number=number, path=root, target=str(root), mount_id=mount_of(fd))
    finally:
        os.close(fd)


def test_what_is_read_only_is_skipped(freezer: Freezer, tmp_path: Path) -> None:
    with (
        loop(image(tmp_path / "disk", "ext4")) as device,
        mounted(device, tmp_path / "mnt", "-o", "ro"),
    ):
        (found,) = standing_on(device).filesystems
        assert found.is_read_only
        freezer.prepare((found,))
        assert freezer.freeze(BUDGET).outcomes == ()
        assert freezer.thaw().was_held


def test_what_was_unmounted_since_it_was_found_is_named(freezer: Freezer, tmp_path: Path) -> None:
    with loop(image(tmp_path / "disk", "ext4")) as device:
        with mounted(device, tmp_path / "mnt"):
            found = standing_on(device).filesystems
        with pytest.raises(FreezeError, match="another mount covers it") as raised:
            freezer.prepare(found)
        assert raised.value.code == "FILESYSTEM_UNREACHABLE"


def test_the_freezer_is_locked_in_memory_and_spared_where_the_host_allows_it(notes: Path) -> None:
    freezer = Freezer(notes)
    said = freezer.start()
    process = Path(f"/proc/{freezer.pid}")
    assert (process.joinpath("oom_score_adj").read_text() == "-1000\n") is (said == ())
    status = dict(line.split(":", 1) for line in process.joinpath("status").read_text().splitlines())
    assert int(status["VmLck"].split()[0]) > 1000
    outputs = {process.joinpath("fd", name).readlink() for name in ("0", "1", "2")}
    assert outputs == {Path("/dev/null")}
    freezer.close()


def test_a_freeze_that_hangs_does_not_keep_the_others_frozen(tmp_path: Path) -> None:
    """The last to be frozen writes to a filesystem that a stranger froze, and hangs until that thaws."""
    with (
        filesystem(tmp_path, "ext4", "one") as (_, root),
        loop(image(tmp_path / "disk", "ext4", 900 * 1024 * 1024)) as device,
        mounted(device, tmp_path / "outer") as below,
        loop(image(below / "file", "ext4")) as upper,
        mounted(upper, tmp_path / "inner") as above,
        writer(root / "file") as at_work,
    ):
        crew = Crew(2)
        holder = Holder(crew)
        for depth, path in ((1, root), (0, above)):
            holder.add(os.open(path, os.O_RDONLY), "", depth)
        (above / "new").write_bytes(b"x" * 1_000_000)
        freeze(below)
        try:
            worker = threading.Thread(target=holder.freeze)
            worker.start()
            wait_for(lambda: holder.is_holding, "nothing was frozen")
            assert at_work.stands_still()
            assert worker.is_alive()
            holder.thaw(Reason.BUDGET)
            assert at_work.goes_on()
            assert worker.is_alive()
        finally:
            thaw(below)
        worker.join()
        fates = [answer.code for answer in holder.answers()]
        assert fates == [Fate.THAWED, Fate.LATE, Reason.BUDGET]
        (above / "newer").write_bytes(b"x")
        holder.forget()
        crew.dismiss()
