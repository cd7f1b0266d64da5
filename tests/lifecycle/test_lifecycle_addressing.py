"""Other addresses and cloud-init in launch settings: what is refused and why, and who may read user-data."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from app.contract.guestwords import AddressingMode, CloudInitMode
from app.contract.resources.addressing import MOST_USER_DATA, CloudInit, NicAddressing, digest_of
from app.contract.resources.launch import LaunchNic, LaunchSettingsUpdate
from app.launch.conversion.facts import CardAddressing, CloudInitWish
from app.migration.launch.addressing import require_addressing
from app.migration.launch.conversion import source_facts, wishes
from app.migration.launch.errors import AddressingWrong, CloudInitWrong, UserDataGone
from app.migration.launch.machines import effective
from app.migration.launch.tables import LaunchSettingsRow, UserDataRow
from app.migration.launch.userdata import content_of
from app.wire.messages import Inventory, Nic
from app.work.tables import JobRow
from tests.launch.boot_sector import talking_disk
from tests.lifecycle.conftest import Rig
from tests.lifecycle.test_lifecycle_machines import CAPS, SOURCE

STATIC = {"nic": "eth0", "mode": "static", "addresses": ["10.9.0.5/24"], "gateways": ["10.9.0.1"]}
SECRET = "#cloud-config\npassword: s3cret\n"


def wanted(*addressing: Mapping[str, object], **others: object) -> LaunchSettingsUpdate:
    return LaunchSettingsUpdate.model_validate({"addressing": addressing, **others})


def test_the_machine_has_the_addresses_that_the_guest_will_have() -> None:
    mac = "52:54:00:00:00:01"
    machine = effective(wanted(STATIC), SOURCE, CAPS)
    assert machine.nics[0] == LaunchNic(mac=mac, address="10.9.0.5/24", gateway="10.9.0.1")
    assert machine.nics[1:] == effective(wanted(), SOURCE, CAPS).nics[1:]
    by_mac = wanted({"nic": mac, "mode": "dhcp"})
    assert effective(by_mac, SOURCE, CAPS).nics[0] == LaunchNic(mac=mac)
    office = replace(SOURCE, nics=(Nic("eth0", "52:54:00:ab:cd:ef", ("192.168.7.20/24",)),))
    for mac in ("52:54:00:AB:CD:EF", "52:54:00:ab:cd:ef"):
        (nic,) = effective(wanted({**STATIC, "nic": mac}), office, CAPS).nics
        assert (nic.address, nic.gateway) == ("10.9.0.5/24", "10.9.0.1"), mac
    kept = effective(wanted({"nic": "eth0", "mode": "keep"}), SOURCE, CAPS)
    assert kept == effective(wanted(), SOURCE, CAPS)


def test_a_conversion_is_told_the_card_by_name_and_mac_address() -> None:
    machine = effective(wanted(STATIC, cloudInit={"mode": "disable"}), SOURCE, CAPS)
    told = wishes(machine, source_facts(SOURCE, ()), "tst-1")
    assert told.addressing == (CardAddressing("eth0", "52:54:00:00:00:01", ("10.9.0.5/24",), ("10.9.0.1",)),)
    assert told.cloud_init == CloudInitWish("tst-1")
    with pytest.raises(AddressingWrong, match="no network card 'eth0'"):
        wishes(machine, source_facts(Inventory("web-1"), ()))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"nic": "eth7"}, "no network card 'eth7'"),
        ({"nic": "lo"}, "no network card 'lo'"),
        ({"addresses": []}, "static has no address"),
        ({"gateways": ["10.8.0.1"]}, r"the gateway 10\.8\.0\.1 is not another host of 10\.9\.0\.0/24"),
        ({"gateways": ["10.9.0.5"]}, "is not another host"),
        ({"gateways": ["10.9.0.1", "10.9.0.2"]}, "two gateways of IPv4"),
        ({"addresses": ["10.9.0.0/24"]}, "no address that a host can have"),
        ({"addresses": ["10.9.0.255/24"]}, "no address that a host can have"),
        ({"addresses": ["224.0.0.5/24"]}, "no address that a host can have"),
        ({"addresses": ["10.9.0.5/24", "10.9.0.5/16"]}, "given twice"),
        ({"dns": ["2001:db8::53"]}, "cannot reach the name server"),
        ({"mode": "dhcp"}, "dhcp has no addresses"),
        ({"mode": "keep"}, "keep has no addresses"),
    ],
)  # fmt: skip
def test_addresses_that_no_guest_could_have_are_refused_with_a_remedy(
    change: dict[str, object], why: str
) -> None:
    with pytest.raises(AddressingWrong, match=why) as failure:
        require_addressing(wanted({**STATIC, **change}), SOURCE)
    assert failure.value.remedy


def test_cards_are_named_once_and_clearly() -> None:
    dhcp = {"nic": "52:54:00:00:00:01", "mode": "dhcp"}
    with pytest.raises(AddressingWrong, match="eth0 is given addresses twice"):
        require_addressing(wanted(STATIC, dhcp), SOURCE)
    bond = Inventory("web-1", nics=tuple(Nic(name, "52:54:00:00:00:01") for name in ("eth0", "bond0")))
    with pytest.raises(AddressingWrong, match="several network cards"):
        require_addressing(wanted(dhcp), bond)
    require_addressing(wanted({"nic": "bond0", "mode": "dhcp"}), bond)
    other = {"nic": "eth1", "mode": "static", "addresses": ["10.7.0.5/24"], "gateways": ["10.7.0.1"]}
    with pytest.raises(AddressingWrong, match="two network cards have a gateway"):
        require_addressing(wanted(STATIC, other), SOURCE)


def test_both_need_the_conversion() -> None:
    with pytest.raises(AddressingWrong, match="need the conversion"):
        require_addressing(wanted(STATIC, conversion="off"), SOURCE)
    with pytest.raises(CloudInitWrong, match="needs the conversion"):
        require_addressing(wanted(cloudInit={"mode": "disable"}, conversion="off"), SOURCE)
    require_addressing(wanted({"nic": "eth0", "mode": "keep"}, conversion="off"), SOURCE)


@pytest.mark.parametrize(
    "value", ["10.9.0.5", "10.9.0.5/33", "10.9.0.5/24\nx", "fe80::1%e\nx/64", "fe80::1%e/64", "10.9.0.5/24 x"]
)
def test_what_is_no_address_is_refused_at_the_door(value: str) -> None:
    for members in ({"addresses": [value]}, {"dns": [value + "\n"]}, {"gateways": [value + " "]}):
        with pytest.raises(ValidationError):
            NicAddressing.model_validate({**STATIC, **members})


@pytest.mark.parametrize("nic", ["eth0\n", "eth0 x", "../eth0", "", "-x", "eth0]"])
def test_what_is_no_name_of_a_card_is_refused_at_the_door(nic: str) -> None:
    with pytest.raises(ValidationError):
        NicAddressing(nic=nic, mode=AddressingMode.DHCP)


@pytest.mark.parametrize(
    "members",
    [
        {"mode": "nocloud"},
        {"mode": "keep", "userData": SECRET},
        {"mode": "disable", "userData": SECRET},
        {"mode": "nocloud", "userData": " \n"},
        {"mode": "nocloud", "userData": SECRET + "\0"},
        {"mode": "nocloud", "userData": "ä" * (MOST_USER_DATA // 2 + 1)},
        {"mode": "nocloud", "userDataSha256": "x"},
    ],
)
def test_user_data_is_bounded_text_and_belongs_to_nocloud(members: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        CloudInit.model_validate(members)


async def stored(rig: Rig) -> list[str]:
    async with rig.services.database.reading() as uow:
        return sorted(await uow.session.scalars(select(UserDataRow.digest)))


async def test_user_data_is_kept_by_itself_and_goes_when_nothing_names_it(rig: Rig) -> None:
    agent = await rig.server(talking_disk())
    first = await rig.set(agent.server, wanted(cloudInit={"mode": "nocloud", "userData": SECRET}))
    known = CloudInit(mode=CloudInitMode.NOCLOUD, user_data_sha256=digest_of(SECRET))
    assert first.settings.cloud_init == first.machine.cloud_init == known
    async with rig.services.database.reading() as uow:
        settings = await uow.session.scalar(select(LaunchSettingsRow.settings))
        assert await content_of(uow, agent.server, known) == SECRET
    assert "s3cret" not in f"{settings}{first}"

    again = await rig.set(agent.server, first.settings.model_copy(update={"cpus": 2}))
    assert again.machine.cloud_init == known, "the digest alone keeps what is set"
    with pytest.raises(UserDataGone):
        await rig.set(agent.server, wanted(cloudInit={"mode": "nocloud", "userDataSha256": "0" * 64}))
    await rig.set(agent.server, wanted())
    assert await stored(rig) == []


async def test_a_job_that_stands_keeps_the_user_data_that_it_settled_on(rig: Rig) -> None:
    agent = await rig.server(talking_disk())
    await rig.set(agent.server, wanted(cloudInit={"mode": "nocloud", "userData": SECRET}))
    job = await rig.order(agent.server)
    await rig.set(agent.server, wanted())
    assert await stored(rig) == [digest_of(SECRET)]
    async with rig.services.database.begin() as uow:
        over = update(JobRow).where(JobRow.id == job)
        await uow.session.execute(over.values(finished_at=uow.now + timedelta(seconds=1)))
    await rig.set(agent.server, wanted())
    assert await stored(rig) == []
