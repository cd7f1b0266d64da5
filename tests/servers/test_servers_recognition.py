"""A host is known again by what a reinstalled agent leaves alone, and a clone by the UUID of its firmware."""

from dataclasses import replace

import pytest

from app.migration.servers.recognition import Known, is_same_host, known_again, may_be_same_host
from app.wire.messages import Disk, Filesystem, Inventory

GIB = 1 << 30
ROOT = Disk("naa.5000", "/dev/sda", GIB, 512, filesystem=Filesystem("ext4", "AAAA-1"))
BLANK = Disk("naa.6000", "/dev/sdb", GIB, 512)
HOST = Inventory("web", machine_id="m1", system_uuid="U1", disks=(ROOT, BLANK))
KNOWN = Known("m1", "u1", HOST.disks)


def test_the_host_itself_is_known_again_whatever_its_name() -> None:
    assert is_same_host(KNOWN, replace(HOST, hostname="renamed"))


@pytest.mark.parametrize("system_uuid", ["", "u1", "U1"])
def test_a_uuid_that_is_not_known_says_nothing(system_uuid: str) -> None:
    assert is_same_host(KNOWN, replace(HOST, system_uuid=system_uuid))
    assert is_same_host(replace(KNOWN, system_uuid=""), HOST)


def test_a_clone_has_another_firmware() -> None:
    clone = replace(HOST, system_uuid="u2")
    assert not is_same_host(KNOWN, clone)
    assert may_be_same_host(KNOWN, clone), "a machine that was moved: for whoever names it"


@pytest.mark.parametrize("machine_id", ["", "m2"])
def test_a_system_that_was_installed_anew_is_another_host(machine_id: str) -> None:
    assert not is_same_host(KNOWN, replace(HOST, machine_id=machine_id))
    assert not is_same_host(replace(KNOWN, machine_id=machine_id), HOST)


def test_no_disk_known_again_is_another_host() -> None:
    other = replace(ROOT, filesystem=Filesystem("ext4", "bbbb-1"))
    assert not is_same_host(KNOWN, replace(HOST, disks=(other,)))
    assert not is_same_host(KNOWN, replace(HOST, disks=()))
    assert not is_same_host(replace(KNOWN, disks=()), HOST)


def test_a_disk_is_known_again_by_its_key_and_what_stands_on_it() -> None:
    grown = replace(ROOT, size=2 * GIB, path="/dev/sdz", filesystem=Filesystem("ext4", "aaaa-1"))
    assert known_again([ROOT, BLANK], [grown, replace(BLANK, path="/dev/sda")]) == (ROOT.key, BLANK.key)
    assert known_again([ROOT], [replace(ROOT, key="naa.7000")]) == (), "the copy on another disk"


def test_a_blank_disk_that_only_its_path_names_may_be_any() -> None:
    blank = Disk("/dev/vdb", "/dev/vdb", GIB, 512)
    assert known_again([blank], [blank]) == ()
    formatted = replace(blank, filesystem=Filesystem("ext4", "a"))
    assert known_again([blank], [formatted]) == ()
    assert known_again([formatted], [formatted]) == (blank.key,)


def test_whoever_names_a_server_needs_one_thing_that_speaks_for_it() -> None:
    stranger = Inventory("other", machine_id="m2", disks=(BLANK,))
    assert may_be_same_host(KNOWN, stranger), "by a disk"
    assert may_be_same_host(KNOWN, Inventory("x", machine_id="m1")), "by the machine id"
    assert may_be_same_host(Known("", "", ()), stranger), "restored from the store: nothing is known"
    assert not may_be_same_host(KNOWN, replace(stranger, disks=()))
