"""The isolated network's arguments, and who accepted a connection."""

from pathlib import Path

import pytest

from app.contract.words import DiskBus, InstancePurpose
from app.launch.errors import SettingsWrong
from app.launch.machine import Forward, LaunchOrder, MachineSpec, Nic, Volume
from app.launch.qemu.network import accepted_in, free_forwards, network_arguments

VOLUME = Volume("chk-1", "dsk-1", Path("/nowhere"), 512, "00")
TABLE = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[{state}]     19       127.0.0.1 58953       10.0.2.15  8080     0     0
  TCP[HOST_FORWARD]  15       127.0.0.1 58953       10.0.2.15  8080     0     0
  UDP[236 sec]       20         10.0.2.15    68        10.0.2.2    67     0     0
"""


@pytest.mark.parametrize(
    ("state", "accepted"),
    [("ESTABLISHED", True), ("TIME_WAIT", True), ("SYN_SENT", False), ("HOST_FORWARD", False)],
)
def test_only_the_guests_own_answer_counts(state: str, accepted: bool) -> None:
    table = TABLE.format(state=state)
    assert accepted_in(table, 8080) is accepted
    assert not accepted_in(table, 80)
    assert not accepted_in(table, 58953)


def test_every_network_is_restricted_and_forwards_lead_to_the_first_card() -> None:
    machine = MachineSpec(nics=(Nic("52:54:00:00:00:01"), Nic("52:54:00:00:00:02")), ports=(80,))
    arguments = network_arguments(machine, (Forward(80, 40080),))
    first, second = (each for each in arguments if each.startswith("user,"))
    assert first == "user,id=net0,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:40080-10.0.2.15:80"
    assert second == "user,id=net1,restrict=on,ipv6=off"
    assert "virtio-net-pci,netdev=net1,mac=52:54:00:00:00:02,romfile=" in arguments


def test_only_a_cutover_lets_the_guest_out() -> None:
    nic = MachineSpec()
    assert ",restrict=on," in network_arguments(nic, (), InstancePurpose.TEST)[1]
    assert ",restrict=off," in network_arguments(nic, (), InstancePurpose.CUTOVER)[1]
    assert LaunchOrder("ins-1", nic, (VOLUME,)).purpose is InstancePurpose.TEST


def test_a_static_address_has_its_own_range_and_gateway() -> None:
    nic = Nic("52:54:00:00:00:01", "192.168.7.2/24", "192.168.7.1")
    machine = MachineSpec(nics=(nic,), ports=(80,), bus=DiskBus.SATA)
    arguments = network_arguments(machine, (Forward(80, 40080),))
    assert arguments[1] == (
        "user,id=net0,restrict=on,ipv6=off,net=192.168.7.0/24,host=192.168.7.1,dns=192.168.7.3,"
        "dhcpstart=192.168.7.2,hostfwd=tcp:127.0.0.1:40080-192.168.7.2:80"
    )
    assert arguments[3].startswith("e1000e,")


@pytest.mark.parametrize("gateway", [None, "10.9.9.9", "192.168.7.2"])
def test_a_gateway_that_cannot_be_is_replaced(gateway: str | None) -> None:
    machine = MachineSpec(nics=(Nic("52:54:00:00:00:01", "192.168.7.2/24", gateway),))
    assert ",host=192.168.7.1,dns=192.168.7.3," in network_arguments(machine, ())[1]


def test_a_range_without_room_is_refused() -> None:
    with pytest.raises(SettingsWrong, match="too small"):
        Nic("52:54:00:00:00:01", "192.168.7.2/30")


@pytest.mark.parametrize(
    ("mac", "address"),
    [("52:54:00", None), ("53:54:00:00:00:01", None), ("52:54:00:00:00:01,x=y", None)]
    + [("52:54:00:00:00:01", address) for address in ("fe80::1/64", "10.0.0.300", "1.2.3.4/24,hostfwd=x")],
)
def test_what_is_no_address_never_comes_near_a_command_line(mac: str, address: str | None) -> None:
    with pytest.raises(SettingsWrong):
        Nic(mac, address)


def test_free_ports_are_distinct() -> None:
    forwards = free_forwards((22, 80, 443))
    assert [forward.guest for forward in forwards] == [22, 80, 443]
    assert len({forward.host for forward in forwards}) == 3
