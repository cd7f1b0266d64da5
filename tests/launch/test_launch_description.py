"""What libvirt is told: every format, no way out for a test, and names that come from the instance alone."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.words import Accelerator, DiskBus, InstancePurpose
from app.launch.errors import SettingsWrong
from app.launch.libvirt.description import Description, letters
from app.launch.libvirt.domain import Domain
from app.launch.libvirt.machinefolder import MachineFolder
from app.launch.libvirt.settings import LibvirtSettings
from app.launch.libvirt.virsh import Virsh
from app.launch.machine import Forward, LaunchOrder, MachineSpec, Nic, Volume

POOL = Path("/srv/a & b")
ARGUMENT = "{http://libvirt.org/schemas/domain/qemu/1.0}commandline/"


def description(order: LaunchOrder, **settings: str) -> Description:
    target = LibvirtSettings("qemu:///system", POOL, **settings)  # type: ignore[arg-type]
    folder = MachineFolder.of(target.machines, order.instance)
    return Description(target, Domain(Virsh(target.uri), order.instance), folder, order, Accelerator.TCG)


def order_of(disks: int = 1, machine: MachineSpec | None = None) -> LaunchOrder:
    volumes = tuple(
        Volume("chk-1", f"dsk-{number}", POOL / f"{number}.raw", 512, "00") for number in range(disks)
    )
    return LaunchOrder("ins-1", machine or MachineSpec(ports=(80,)), volumes)


def described(order: LaunchOrder, **settings: str) -> ET.Element:
    return ET.fromstring(description(order, **settings).text((Forward(80, 40080),)))


def test_every_format_of_a_disks_chain_is_stated_and_the_chain_ends() -> None:
    disks = described(order_of(3)).findall("devices/disk")
    assert len(disks) == 3
    for number, disk in enumerate(disks):
        assert [each.get("type") for each in disk.findall("driver")] == ["qcow2"]
        backing = disk.find("backingStore")
        assert backing is not None
        assert [each.get("type") for each in backing.findall("format")] == ["raw"]
        assert [each.get("file") for each in backing.findall("source")] == [f"/srv/a & b/{number}.raw"]
        assert [len(each) for each in backing.findall("backingStore")] == [0]


def test_a_test_has_a_restricted_network_of_its_own_and_nothing_else() -> None:
    domain = described(order_of(), network="office")
    assert domain.findall("devices/interface") == []
    arguments = [argument.get("value", "") for argument in domain.findall(ARGUMENT)]
    assert arguments[1].startswith("user,id=net0,restrict=on")
    assert "hostfwd=tcp:127.0.0.1:40080-" in arguments[1]
    assert arguments[3].endswith("bus=pcie.0,addr=0x10")
    assert domain.findall("devices/graphics") == []


@pytest.mark.parametrize("kind", ["network", "bridge"])
def test_a_machine_that_takes_over_has_its_addresses_on_the_network_of_the_settings(kind: str) -> None:
    nics = (Nic("52:54:00:00:00:01"), Nic("52:54:00:00:00:02"))
    order = replace(order_of(machine=MachineSpec(nics=nics)), purpose=InstancePurpose.CUTOVER)
    domain = described(order, **{kind: "office"})
    assert domain.findall(ARGUMENT) == []
    cards = domain.findall("devices/interface")
    assert [card.get("type") for card in cards] == [kind, kind]
    assert [card.find("mac").get("address") for card in cards] == [nic.mac for nic in nics]  # type: ignore[union-attr]
    assert [card.find("source").get(kind) for card in cards] == ["office", "office"]  # type: ignore[union-attr]


def test_a_machine_without_a_network_or_with_too_many_disks_is_refused() -> None:
    with pytest.raises(SettingsWrong, match="no network"):
        described(replace(order_of(), purpose=InstancePurpose.CUTOVER))
    with pytest.raises(SettingsWrong, match="6 disks"):
        described(order_of(7, MachineSpec(bus=DiskBus.SATA)))


def test_name_and_uuid_come_from_the_instance_alone() -> None:
    first, second = described(order_of()), described(order_of(2), network="office")
    assert first.findtext("name") == second.findtext("name") == "go2cloud-ins-1"
    assert first.findtext("uuid") == second.findtext("uuid")
    assert described(replace(order_of(), instance="ins-2")).findtext("uuid") != first.findtext("uuid")


def test_there_are_letters_for_every_disk() -> None:
    assert [letters(number) for number in (0, 25, 26, 51, 52, 701, 702)] == [
        *("a", "z", "aa", "az", "ba", "zz", "aaa")
    ]
