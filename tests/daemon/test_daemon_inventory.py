"""What the agent tells of its host, and of its progress."""

import io
import json
import os
import platform
from pathlib import Path

import pytest

from app.agent.daemon.console import Console, Progress, bar, duration, size_text
from app.agent.daemon.disk.mounts import parse_mountinfo, read_all_mounts
from app.agent.daemon.disk.selection import describe_disks, discover, open_disks
from app.agent.daemon.errors import DiskError
from app.agent.daemon.inventory.cpu import model_of
from app.agent.daemon.inventory.memory import total_of
from app.agent.daemon.inventory.registry import COLLECTORS, collect
from app.agent.daemon.inventory.routes import ipv4_routes, ipv6_routes
from app.wire.messages import Counters, Inventory, Route


def test_this_host_has_an_inventory() -> None:
    found = collect(())
    assert found.hostname == platform.node()
    assert found.kernel == os.uname().release
    assert found.cpu_count == os.cpu_count()
    assert found.memory_bytes > 2**27
    assert found.firmware in ("efi", "bios")
    assert found.os_id
    assert len(found.boot_id) == 36
    assert any(mount.target == "/" for mount in found.mounts)
    assert not any(mount.kind in ("proc", "sysfs", "tmpfs", "cgroup2") for mount in found.mounts)


def test_a_collector_that_fails_costs_its_fields_and_leaves_a_warning() -> None:
    def broken(found: Inventory) -> Inventory:
        raise PermissionError(13, "Permission denied", "/proc/secret")

    found = collect((), ("disks: one is odd",), (("broken", broken), *COLLECTORS))
    assert found.warnings[:2] == ("disks: one is odd", "broken: [Errno 13] Permission denied: '/proc/secret'")
    assert found.kernel


def test_texts_of_the_kernel_are_parsed() -> None:
    assert model_of("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n\nmodel name\t: Other\n") == (
        "Fast CPU @ 3 GHz"
    )
    assert model_of("") == ""
    assert total_of("MemFree: 1 kB\nMemTotal:     2048 kB\n") == 2 * 1024 * 1024
    with pytest.raises(ValueError, match="MemTotal"):
        total_of("")


def test_routes_are_parsed() -> None:
    ipv4 = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "eth1\t0003A8C0\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert list(ipv4_routes(ipv4)) == [
        Route("0.0.0.0/0", "192.168.2.1", "eth0"),
        Route("192.168.2.0/24", "", "eth0"),
    ]
    zero, gate = "0" * 32, "fe80" + "0" * 27 + "1"
    ipv6 = (
        f"{zero} 00 {zero} 00 {gate} 00000400 00000001 00000000 00000003     eth0\n"
        f"fe80{'0' * 28} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
    )
    assert list(ipv6_routes(ipv6)) == [Route("::/0", "fe80::1", "eth0"), Route("fe80::/64", "", "eth0")]


def test_mount_tables_are_parsed_with_their_escapes() -> None:
    text = "36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/ro\\134ot rw\nbroken line\n"
    (line,) = parse_mountinfo(text)
    assert (line.number, line.target, line.kind, line.source) == ("98:0", "/mnt/a b", "ext4", "/dev/ro\\ot")


def test_processes_that_end_while_they_are_looked_at_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "self").mkdir()
    assert read_all_mounts(tmp_path).complete


def test_only_whole_physical_disks_with_a_medium_are_found(tmp_path: Path) -> None:
    for name in (
        "sda",
        "vdb",
        "nvme0n1",
        "xvdc",
        "hdd",
        "mmcblk0",
        "loop0",
        "ram1",
        "zram0",
        "dm-0",
        "sr0",
        "md127",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text("2048\n")
    for name in ("sdz", "nvme0c0n1", "nvme1n1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text("0\n" if name == "sdz" else "8\n")
    (tmp_path / "nvme1n1/hidden").write_text("1\n")
    found = [path.name for path in discover(tmp_path)]
    assert found == ["hdd", "mmcblk0", "nvme0n1", "sda", "vdb", "xvdc"]


def test_a_disk_named_twice_or_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(4096))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(DiskError, match="named 2 times"):
        open_disks((str(path), str(tmp_path / "link")))
    (tmp_path / "empty").touch()
    with pytest.raises(DiskError, match="0 bytes"):
        describe_disks((str(tmp_path / "empty"),))


def test_a_bar_fits_its_line() -> None:
    progress = Progress(512 << 20, 2 << 30, Counters(wire=100 << 20), 104857600.0, 15.2)
    line = bar(progress, 100)
    assert len(line) == 100 or "#" in line
    assert " 25%  512.0 MiB of 2.0 GiB  100.0 MiB/s  ETA 0:15  sent 100.0 MiB" in line
    assert len(bar(progress, 30)) <= 30
    assert "--:--" in bar(Progress(0, 0, Counters(), 0.0, None), 90)


def test_sizes_and_times_for_people() -> None:
    assert [size_text(n) for n in (0, 1023, 1024, 1 << 40)] == ["0 B", "1023 B", "1.0 KiB", "1.0 TiB"]
    assert [duration(n) for n in (0, 61, 3600)] == ["0:00", "1:01", "1:00:00"]


def test_a_note_is_a_line_or_an_object() -> None:
    out = io.StringIO()
    Console(out, is_terminal=True).note("hello")
    Console(out, is_terminal=False).note("hello")
    first, second = out.getvalue().splitlines()
    assert (first, json.loads(second)) == ("hello", {"event": "note", "text": "hello"})
