"""The machine of a test: what the source has, what an operator set, what the node allows."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from app.contract.resources.launch import LaunchNic, LaunchSettingsUpdate
from app.contract.words import DiskBus, Firmware
from app.kit.errors import Invalid
from app.kit.settings import LaunchingSettings
from app.launch.boot.checks import HttpCheck, LoginCheck, ScriptCheck
from app.launch.errors import SettingsWrong
from app.migration.launch.machines import DiskPlace, boot_order, effective, plan, require_possible, spec
from app.wire.messages import Inventory, Mount, Nic, Route

GIB = 1 << 30
CAPS = LaunchingSettings(folder=Path("/launch"))
SOURCE = Inventory(
    "web-1",
    cpu_count=64,
    memory_bytes=3 * GIB + 17,
    firmware="uefi",
    nics=(
        Nic("lo", "00:00:00:00:00:00", ("127.0.0.1/8",)),
        Nic("docker0", "02:42:00:00:00:01", ("172.17.0.1/16",)),
        Nic("eth1", "52:54:00:00:00:02", ("fe80::1/64", "10.1.0.5/32")),
        Nic("eth0", "52:54:00:00:00:01", ("192.168.7.20/24", "2001:db8::1/64")),
    ),
    routes=(Route("default", "192.168.7.1", "eth0"), Route("10.0.0.0/8", "10.1.0.1", "eth1")),
)


def wanted(**members: object) -> LaunchSettingsUpdate:
    return LaunchSettingsUpdate.model_validate(members)


def test_without_settings_the_machine_is_the_source_within_the_caps() -> None:
    machine = effective(wanted(), SOURCE, CAPS)
    assert (machine.cpus, machine.memory_bytes) == (4, 3 * GIB)
    assert (machine.firmware, machine.bus) == (Firmware.UEFI, DiskBus.VIRTIO_BLK)
    assert machine.nics == (
        LaunchNic(mac="52:54:00:00:00:01", address="192.168.7.20/24", gateway="192.168.7.1"),
        LaunchNic(mac="52:54:00:00:00:02"),
    )
    assert (machine.ports, machine.timeout) == ((), timedelta(minutes=10))
    assert plan(machine, None).checks == (LoginCheck(),)
    assert spec(machine).memory_mib == 3 * 1024


def test_a_source_that_says_little_is_a_bios_machine_with_one_card() -> None:
    machine = effective(wanted(), Inventory("web-1"), CAPS)
    assert (machine.cpus, machine.firmware, len(machine.nics)) == (1, Firmware.BIOS, 1)
    assert spec(machine).memory_mib == 64


@pytest.mark.parametrize("gateway", ["fe80::1", "link#1", "192.168.7.1/24"])
def test_a_gateway_that_no_card_can_have_is_left_out(gateway: str) -> None:
    source = replace(SOURCE, routes=(Route("default", gateway, "eth0"),))
    assert effective(wanted(), source, CAPS).nics[0].gateway is None


def test_what_is_set_wins_and_ports_of_checks_are_forwarded() -> None:
    checks = ({"kind": "http", "port": 8080, "body": "ok"}, {"kind": "tcp", "port": 22})
    machine = effective(
        wanted(cpus=32, memoryBytes=64 * GIB, firmware="bios", bus="sata", ports=(80, 22), checks=checks),
        SOURCE,
        CAPS,
    )
    assert (machine.cpus, machine.memory_bytes // GIB, machine.ports) == (32, 64, (22, 80, 8080))
    assert plan(machine, None).checks[0] == HttpCheck(8080, body="ok")


@pytest.mark.parametrize(
    "members",
    [
        {"nics": (), "ports": (80,)},
        {"nics": ({"mac": "52:54:00:00:00:01", "address": "10.0.0.5/30"},)},
        {"checks": ({"kind": "http", "port": 80, "body": "("},)},
        {"checks": ({"kind": "login"}, {"kind": "login"})},
    ],
)
def test_what_no_node_could_make_is_refused_when_it_is_set(members: dict[str, object]) -> None:
    with pytest.raises(SettingsWrong):
        require_possible(effective(wanted(**members), SOURCE, CAPS))


def test_programs_are_those_of_the_administrator_s_folder_alone(tmp_path: Path) -> None:
    checks = ({"kind": "script", "script": "probe", "arguments": ("-v",)},)
    machine = effective(wanted(checks=checks), SOURCE, CAPS)
    require_possible(machine)
    for folder in (None, tmp_path):
        with pytest.raises(Invalid, match="probe"):
            plan(machine, folder)
    (tmp_path / "probe").touch()
    assert plan(machine, tmp_path).checks == (ScriptCheck((str(tmp_path / "probe"), "-v")),)
    for name in ("../probe", "/bin/sh", ".probe"):
        with pytest.raises(ValueError, match="script"):
            wanted(checks=({"kind": "script", "script": name},))


@pytest.mark.parametrize(
    ("mounts", "first"),
    [
        ({"/": "/dev/vdb2", "/boot": "/dev/vdc1"}, "c"),
        ({"/": "/dev/vdb2"}, "b"),
        ({"/": "/dev/mapper/vg-root"}, "a"),
        ({"/": "/dev/mapper/vg-root", "/boot/efi": "/dev/vdb1"}, "b"),
    ],
)
def test_the_disk_that_the_source_boots_from_is_the_first(mounts: dict[str, str], first: str) -> None:
    disks = [DiskPlace("c", "/dev/vdc"), DiskPlace("a", "/dev/vda"), DiskPlace("b", "/dev/vdb")]
    found = boot_order(disks, [Mount(source, target, "ext4") for target, source in mounts.items()])
    assert (found[0], sorted(found)) == (first, ["a", "b", "c"])
    assert list(found[1:]) == sorted(found[1:])


def test_settings_travel_unchanged() -> None:
    full = wanted(cpus=2, nics=({"mac": "52:54:00:00:00:01"},), checks=({"kind": "login"},), timeout="PT5M")
    adapter = TypeAdapter(LaunchSettingsUpdate)
    assert adapter.validate_json(full.model_dump_json(by_alias=True, exclude_unset=True)) == full
