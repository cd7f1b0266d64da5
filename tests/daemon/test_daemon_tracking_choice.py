"""Which tracking method a disk gets, and what the operator is told."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.tracking import disks, trial
from app.agent.daemon.tracking.choice import NoTracking, TrackingMethod, choose_tracking
from app.agent.daemon.tracking.disks import (
    TrackedDisk,
    event_numbers,
    has_queues,
    kernel_number,
    sequence_of,
)
from app.agent.daemon.tracking.instance import TRACEFS, mount_tracefs
from app.agent.daemon.tracking.tracefs import TraceTracker, default_buffer_kib
from app.agent.daemon.tracking.trial import Probe, probe_disk, probe_machine
from tests.daemon.disk_images import run, sparse

NOWHERE = TrackedDisk("/dev/none", os.makedev(259, 1000), 0, 4096)
MIB = 1024 * 1024


class _Broken:
    name = "broken"
    tracks = True

    def probe(self, disk: TrackedDisk) -> Probe:
        return Probe(is_usable=False, reason="it is broken")


def test_the_first_method_that_works_is_chosen_and_says_why() -> None:
    methods: tuple[TrackingMethod, ...] = (_Broken(), NoTracking())
    choice = choose_tracking(NOWHERE, methods)
    assert (choice.method.name, choice.method.tracks) == ("rescan", False)
    assert str(choice) == ("rescan: /dev/none is read whole at each pass; not broken, because it is broken")
    assert (choice.name, choice.why) == ("", "it is broken")


def test_a_disk_that_comes_back_is_another_one_to_kernels_that_count_no_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that was attached elsewhere meanwhile has the same serial and size, and other bytes."""
    monkeypatch.setattr(disks, "_SYS", tmp_path)
    folder, number = tmp_path / "8:16", os.makedev(8, 16)
    folder.mkdir()
    before = sequence_of(number)
    assert before
    assert sequence_of(number) == before
    folder.rename(tmp_path / "detached")
    assert sequence_of(number) == ""
    folder.mkdir()
    assert sequence_of(number) not in (before, "")
    (folder / "diskseq").write_text("7\n")
    assert sequence_of(number) == "7"


def test_who_is_not_root_cannot_track(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert probe_machine() == Probe(is_usable=False, reason="the agent does not run as root")


@pytest.mark.root
@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("_LOCKDOWN", "none integrity [confidentiality]\n", "locked down"),
        ("_FILESYSTEMS", "nodev\tsysfs\n\text4\n", "without tracefs"),
    ],
)
def test_a_kernel_that_does_not_let_us_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, text: str, words: str
) -> None:
    (tmp_path / "file").write_text(text)
    monkeypatch.setattr(trial, file, tmp_path / "file")
    probe = probe_machine()
    assert not probe.is_usable
    assert words in probe.reason


@pytest.mark.root
def test_a_kernel_locked_down_to_integrity_may_be_traced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("none [integrity] confidentiality\n")
    monkeypatch.setattr(trial, "_LOCKDOWN", tmp_path / "file")
    assert probe_machine().is_usable


@pytest.mark.root
def test_an_event_that_the_kernel_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "EVENTS", ("block_rq_complete", "block_no_such_event"))
    assert probe_machine() == Probe(is_usable=False, reason="the kernel has no event block_no_such_event")


@pytest.mark.root
def test_a_tracefs_that_cannot_be_mounted_is_named(tmp_path: Path) -> None:
    probe = probe_machine(tmp_path / "missing")
    assert not probe.is_usable
    assert "cannot be mounted" in probe.reason


def trials() -> set[Path]:
    """The instances that a trial makes for itself."""
    return set((TRACEFS / "instances").glob("go2cloud-trial-*"))


@pytest.mark.root
def test_a_loop_device_is_tracked_through_tracefs(tmp_path: Path) -> None:
    device = Path(run("losetup", "--show", "-f", sparse(tmp_path / "disk", 16 * MIB)).strip())
    try:
        disk = TrackedDisk("disk", device.stat().st_rdev, 0, 16 * MIB)
        choice = choose_tracking(disk)
        assert choice.method.name == "tracefs"
        assert f"{device.name} was read, and its request was seen" in str(choice)
        assert event_numbers(disk.number) == (kernel_number(disk.number),)
        assert has_queues(disk.number)
    finally:
        run("losetup", "-d", device)


@pytest.mark.root
def test_a_trial_leaves_no_instance_and_removes_what_killed_agents_left(tmp_path: Path) -> None:
    mount_tracefs()
    abandoned, recent = (TRACEFS / "instances" / f"go2cloud-trial-{secrets.token_hex(8)}" for _ in range(2))
    device = Path(run("losetup", "--show", "-f", sparse(tmp_path / "disk", 16 * MIB)).strip())
    try:
        abandoned.mkdir()
        recent.mkdir()
        os.utime(abandoned, (0, 0))
        before = trials()
        assert probe_disk(TrackedDisk("disk", device.stat().st_rdev, 0, 16 * MIB)).is_usable
        assert trials() <= before - {abandoned}, "others may be at theirs"
        assert recent.is_dir(), "it may be another agent's, which is at it"
    finally:
        run("losetup", "-d", device)
        for instance in {abandoned, recent} & trials():
            instance.rmdir()


@pytest.mark.root
def test_a_disk_that_is_not_there_is_not_tracked() -> None:
    probe = probe_disk(NOWHERE)
    assert not probe.is_usable
    assert "trial" in probe.reason


@pytest.mark.root
def test_completions_under_another_number_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Path(run("losetup", "--show", "-f", sparse(tmp_path / "disk", 16 * MIB)).strip())
    monkeypatch.setattr(trial, "event_numbers", lambda number: (kernel_number(number) + 77,))
    try:
        probe = probe_disk(TrackedDisk("disk", device.stat().st_rdev, 0, 16 * MIB))
    finally:
        run("losetup", "-d", device)
    assert not probe.is_usable
    assert "does not report" in probe.reason


@pytest.fixture
def zram() -> Iterator[Path]:
    """A fresh disk of a bio-based driver."""
    control = Path("/sys/class/zram-control")
    number = (control / "hot_add").read_text().strip()
    Path(f"/sys/block/zram{number}/disksize").write_text(str(16 * MIB))
    yield Path(f"/dev/zram{number}")
    Path(f"/sys/block/zram{number}/reset").write_text("1")
    (control / "hot_remove").write_text(number)


@pytest.mark.root
def test_a_bio_based_disk_is_tracked(zram: Path, tmp_path: Path) -> None:
    disk = TrackedDisk("disk", zram.stat().st_rdev, 0, 16 * MIB)
    assert not has_queues(disk.number)
    assert "bio was seen" in str(choose_tracking(disk))
    tracker = TraceTracker(tmp_path / "run")
    tracker.start([disk])
    try:
        tracker.restart("disk")
        run("dd", "if=/dev/urandom", f"of={zram}", "bs=4k", "count=3", "seek=7", "oflag=direct")
        run("blkdiscard", "-o", "1048576", "-l", "8192", zram)
        tracker.drain()
        assert list(tracker.dirty_of("disk").take().extents()) == [(7 * 4096, 10 * 4096), (MIB, MIB + 8192)]
        assert tracker.gap_of("disk") == ""
    finally:
        tracker.close(keep=False)


def test_hosts_with_many_cpus_give_no_more_than_64_mib_in_buffers_until_1_mib_each() -> None:
    assert [default_buffer_kib(cpus) for cpus in (1, 16, 32, 64, 256)] == [4096, 4096, 2048, 1024, 1024]
