"""Drop-ins of systemd-networkd, whose addresses would come beside those that were asked for."""

import pytest

from tests.conversion.test_conversion_readdressing import LAN, NETPLAN, NETWORKD, STATIC, one, planned

DROP_IN = f"{NETWORKD}.d/50-office.conf"


@pytest.mark.parametrize("folder", ["/etc", "/run", "/usr/lib", "/usr/local/lib", "/lib"])
@pytest.mark.parametrize(
    "text",
    [
        "[Network]\nAddress=10.1.2.9/24\n",
        "[Network]\nGateway=10.1.2.1\n",
        "[Network]\nDNS=10.1.2.53\n",
        "[Network]\nDHCP=yes\n",
        "[Address]\nAddress=10.1.2.9/24\n",
        "[Route]\nGateway=10.1.2.1\n",
    ],
)
def test_a_drop_in_that_gives_the_card_addresses_is_refused_by_name(folder: str, text: str) -> None:
    path = DROP_IN.replace("/etc", folder, 1)
    made = planned({NETWORKD: LAN, path: text}, STATIC)
    assert path in made.refusals[0]
    assert "on the source" in made.refusals[0]
    of_another = {NETWORKD: LAN, path.replace("10-lan", "20-wan"): text}
    assert "10.9.0.5/24" in one(planned(of_another, STATIC), NETWORKD)


def test_a_drop_in_of_other_options_stays_and_its_routes_are_told() -> None:
    text = "[Link]\nMTUBytes=9000\n[Route]\nDestination=10.7.0.0/16\nGateway=10.1.2.9\n"
    made = planned({NETWORKD: LAN, DROP_IN: text}, STATIC)
    assert "10.9.0.5/24" in one(made, NETWORKD)
    assert "route to 10.7.0.0/16" in made.warnings[0]
    masked = {NETWORKD: LAN, DROP_IN: "", DROP_IN.replace("/etc", "/usr/lib", 1): "[Network]\nDHCP=yes\n"}
    assert "10.9.0.5/24" in one(planned(masked, STATIC), NETWORKD)


def test_a_card_of_a_shared_file_gets_its_own_with_what_drop_ins_say_but_addresses() -> None:
    shared = "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n"
    text = "[Network]\nAddress=10.1.2.9/24\n[Link]\nMTUBytes=9000\n"
    made = planned({NETWORKD: shared, DROP_IN: text}, STATIC)
    own = one(made, "/etc/systemd/network/05-go2cloud-ens192.network")
    assert ("10.1.2.9" in own, "MTUBytes=9000" in own) == (False, True)


def test_a_drop_in_makes_a_card_a_part_of_a_bridge() -> None:
    made = planned({NETWORKD: LAN, DROP_IN: "[Network]\nBridge=br0\n"}, STATIC)
    assert "part of br0" in made.refusals[0]


def test_a_drop_in_of_what_netplan_makes_for_networkd_is_refused() -> None:
    path = "/etc/systemd/network/10-netplan-ens192.network.d/office.conf"
    plain = "network: {ethernets: {ens192: {dhcp4: true}}}\n"
    made = planned({NETPLAN: plain, path: "[Network]\nAddress=10.1.2.9/24\n"}, STATIC)
    assert path in made.refusals[0]
