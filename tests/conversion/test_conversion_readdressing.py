"""Other addresses for a card, in the files of whatever the guest configures it with: from values, no disk."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import yaml

from app.launch.conversion.changes import FileChange, Plan, Privacy
from app.launch.conversion.facts import CardAddressing, SourceFacts, SourceNic, Wishes
from app.launch.conversion.inspection import Filesystem, Inspection
from app.launch.conversion.planning import plan
from app.launch.errors import SettingsWrong

ROOT = Filesystem("/dev/sda1", "ext4", "aaaa-1", "p-1", "rootfs")
MAC = "52:54:00:12:34:56"
NICS = (SourceNic("ens192", MAC), SourceNic("ens224", "52:54:00:12:34:57"))
DHCP = CardAddressing("ens192", MAC)
STATIC = CardAddressing("ens192", MAC, ("10.9.0.5/24",), ("10.9.0.1",), ("10.9.0.53", "10.9.0.54"))
BOTH = CardAddressing(
    "ens192",
    MAC,
    ("10.9.0.5/24", "10.9.0.6/24", "2001:db8::5/64"),
    ("10.9.0.1", "2001:db8::1"),
    ("2001:db8::53",),
)
INTERFACES = "/etc/network/interfaces"
NETPLAN = "/etc/netplan/50-cloud-init.yaml"
NETWORKD = "/etc/systemd/network/10-lan.network"
KEYFILE = "/etc/NetworkManager/system-connections/lan.nmconnection"
IFCFG = "/etc/sysconfig/network-scripts/ifcfg-ens192"


def planned(files: Mapping[str, str], *cards: CardAddressing, nics: tuple[SourceNic, ...] = NICS) -> Plan:
    """The plan for these cards; planning again for what comes of it changes nothing."""
    found, facts = Inspection((ROOT,), ROOT, files=files), SourceFacts(nics=nics)
    made = plan(found, facts, Wishes(addressing=cards))
    done = {**files, **{each.path: each.after for each in made.changes if isinstance(each, FileChange)}}
    after = replace(found, files={path: text for path, text in done.items() if text is not None})
    again = plan(after, facts, Wishes(addressing=cards))
    assert again.changes == ()
    assert again.refusals == made.refusals
    return made


def network(made: Plan) -> dict[str, str | None]:
    """The files that were changed, without those that keep cards' names."""
    assert made.refusals == ()
    return {
        each.path: each.after
        for each in made.changes
        if isinstance(each, FileChange) and not each.path.endswith(".link")
    }


def one(made: Plan, path: str) -> str:
    files = network(made)
    assert list(files) == [path]
    return str(files[path])


DEBIAN = """\
# The loopback
auto lo
iface lo inet loopback

auto ens192 ens192:0
iface ens192 inet static
    address 10.1.2.3
    netmask 255.255.255.0
    gateway 10.1.2.1
    dns-nameservers 10.1.2.53
    mtu 9000

iface ens192:0 inet static
    address 10.1.2.4/24
iface ens192 inet6 static
    address 2001:db8:1::3/64

# The other one
allow-hotplug ens224
iface ens224 inet static
    address 10.2.2.3/24
"""


def test_ifupdown_gets_the_addresses_in_the_cards_stanza_and_nothing_else_changes() -> None:
    assert (
        one(planned({INTERFACES: DEBIAN}, STATIC), INTERFACES)
        == """\
# The loopback
auto lo
iface lo inet loopback

auto ens192
iface ens192 inet static
    address 10.9.0.5/24
    gateway 10.9.0.1
    dns-nameservers 10.9.0.53 10.9.0.54
    mtu 9000


# The other one
allow-hotplug ens224
iface ens224 inet static
    address 10.2.2.3/24
"""
    )


def test_ifupdown_asks_dhcp() -> None:
    text = one(planned({INTERFACES: DEBIAN}, DHCP), INTERFACES)
    assert "iface ens192 inet dhcp\n    mtu 9000\n" in text
    assert "10.1.2" not in text
    assert "2001:db8:1" not in text


def test_ifupdown_has_a_stanza_for_each_address() -> None:
    text = one(planned({INTERFACES: DEBIAN}, BOTH), INTERFACES)
    assert (
        """\
iface ens192 inet static
    address 10.9.0.5/24
    gateway 10.9.0.1
    mtu 9000
iface ens192 inet static
    address 10.9.0.6/24
iface ens192 inet6 static
    address 2001:db8::5/64
    gateway 2001:db8::1
    dns-nameservers 2001:db8::53
"""
        in text
    )


def test_ifupdown_is_changed_in_the_file_that_has_the_card() -> None:
    files = {
        INTERFACES: "source /etc/network/interfaces.d/*\n",
        "/etc/network/interfaces.d/lan": "auto ens192\niface ens192 inet dhcp\n"
        "\tup ip route add 10.8.0.0/16 \\\n\t dev ens192",
    }
    made = planned(files, STATIC)
    text = one(made, "/etc/network/interfaces.d/lan")
    assert text.startswith("auto ens192\niface ens192 inet static\n    address 10.9.0.5/24\n")
    assert text.endswith("\tup ip route add 10.8.0.0/16 \\\n\t dev ens192\n")
    assert "up ip route add 10.8.0.0/16" in made.warnings[0]


def test_a_card_that_ifupdown_does_not_know_is_added() -> None:
    text = one(planned({INTERFACES: "auto lo\niface lo inet loopback"}, DHCP), INTERFACES)
    assert text.endswith(
        "loopback\n\n# Made by go2cloud: other addresses were asked for.\n"
        "auto ens192\niface ens192 inet dhcp\n"
    )


CLOUD = """\
# written by somebody
network:
  version: 2
  ethernets:
    # first
    lan:
      match:
        macaddress: 52:54:00:12:34:56
      set-name: ens192
      addresses: [10.1.2.3/24]  # old
      gateway4: 10.1.2.1
      mtu: 9000
      nameservers:
        search: [a.example]
        addresses:
          - 10.1.2.53
      routes:
        - to: default
          via: 10.1.2.1
        - to: 10.8.0.0/16
          via: 10.1.2.9
    # second
    ens224: {dhcp4: yes}
  renderer: networkd
"""


def test_netplan_gets_the_addresses_and_comments_elsewhere_stay() -> None:
    made = planned({NETPLAN: CLOUD}, STATIC)
    assert (
        one(made, NETPLAN)
        == """\
# written by somebody
network:
  version: 2
  ethernets:
    # first
    lan:
      match:
        macaddress: 52:54:00:12:34:56
      set-name: ens192
      mtu: 9000
      routes:
      - to: 0.0.0.0/0
        via: 10.9.0.1
      - to: 10.8.0.0/16
        via: 10.1.2.9
      nameservers:
        search:
        - a.example
        addresses:
        - 10.9.0.53
        - 10.9.0.54
      addresses:
      - 10.9.0.5/24
    # second
    ens224: {dhcp4: yes}
  renderer: networkd
"""
    )
    assert "route to 10.8.0.0/16" in made.warnings[0]


def test_netplan_asks_dhcp_in_the_last_file_that_has_the_card() -> None:
    later = "/etc/netplan/60-more.yaml"
    files = {
        NETPLAN: "network:\n  ethernets:\n    ens192:\n      addresses: [10.1.2.3/24]\n",
        later: "network:\n  ethernets:\n    ens192:\n      addresses:\n      - 10.1.2.4/24\n      mtu: 1400",
    }
    after = network(planned(files, DHCP))
    assert yaml.safe_load(str(after[NETPLAN]))["network"]["ethernets"]["ens192"] == {}
    assert after[later] == "network:\n  ethernets:\n    ens192:\n      mtu: 1400\n      dhcp4: true\n"


@pytest.mark.parametrize(
    "text",
    [
        "network: {version: 2, ethernets: {ens192: {dhcp4: true, mtu: 9000}, ens224: {dhcp4: true}}}\n",
        "network:\n  ethernets:\n    ens192: {dhcp4: true, mtu: 9000}\n    ens224: {dhcp4: true}\n",
        '"network":\n  "ethernets":\n    "ens192":\n      mtu: 9000\n    ens224:\n      dhcp4: true\n',
    ],
)
def test_netplan_in_every_form_of_yaml(text: str) -> None:
    after = yaml.safe_load(one(planned({NETPLAN: text}, BOTH), NETPLAN))["network"]["ethernets"]
    assert after["ens224"] == {"dhcp4": True}
    assert after["ens192"] == {
        "mtu": 9000,
        "addresses": ["10.9.0.5/24", "10.9.0.6/24", "2001:db8::5/64"],
        "routes": [{"to": "0.0.0.0/0", "via": "10.9.0.1"}, {"to": "::/0", "via": "2001:db8::1"}],
        "nameservers": {"addresses": ["2001:db8::53"]},
    }


def test_a_part_of_netplan_for_any_card_is_the_cards_where_there_is_one() -> None:
    files = {
        NETPLAN: "network:\n  ethernets:\n    all:\n      match:\n        name: en*\n      dhcp4: true\n"
    }
    assert "10.9.0.5/24" in one(planned(files, STATIC, nics=NICS[:1]), NETPLAN)
    refused = planned(files, STATIC)
    assert (refused.changes, "of ens192 and of ens224" in refused.refusals[0]) == ((), True)


def test_a_card_that_netplan_does_not_know_gets_a_file_that_only_root_reads() -> None:
    made = planned({NETPLAN: "# nothing yet\n"}, STATIC)
    (path,) = network(made)
    assert path == "/etc/netplan/90-go2cloud-ens192.yaml"
    (change,) = (each for each in made.changes if each.path == path)
    assert isinstance(change, FileChange)
    assert change.privacy is Privacy.ROOT
    assert yaml.safe_load(str(change.after))["network"]["ethernets"]["ens192"]["addresses"] == ["10.9.0.5/24"]


@pytest.mark.parametrize(
    "text",
    ["a: &a [x]\nb: [*a, *a]\nnetwork: {}\n", "network: [", "network: [1]\n",
     "network: {ethernets: {ens192: 7}}\n", "- a\n", "[" * 5000],
    ids=["aliases", "broken", "list", "number", "no mapping", "deep"],
)  # fmt: skip
def test_what_is_no_netplan_is_refused(text: str) -> None:
    assert NETPLAN in planned({NETPLAN: text, INTERFACES: DEBIAN}, DHCP).refusals[0]


LAN = """\
[Match]
Name=ens192

[Network]
# of the office
DHCP=no
Address=10.1.2.3/24
DNS=10.1.2.53
LLDP=yes

[Address]
Address=10.1.2.4/24

[Route]
Gateway=10.1.2.1

[Route]
Destination=10.8.0.0/16
Gateway=10.1.2.9
"""


def test_networkd_gets_the_addresses() -> None:
    made = planned({NETWORKD: LAN}, STATIC)
    assert (
        one(made, NETWORKD)
        == """\
[Match]
Name=ens192

[Network]
Address=10.9.0.5/24
Gateway=10.9.0.1
DNS=10.9.0.53
DNS=10.9.0.54
# of the office
LLDP=yes

[Route]
Destination=10.8.0.0/16
Gateway=10.1.2.9
"""
    )
    assert "route to 10.8.0.0/16" in made.warnings[0]
    assert "[Network]\nDHCP=yes\n# of" in one(planned({NETWORKD: LAN}, DHCP), NETWORKD)


def test_a_file_of_networkd_for_several_cards_stays_and_the_card_gets_its_own_before_it() -> None:
    shared = "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nRouteMetric=10\n"
    path = "/etc/systemd/network/05-go2cloud-ens192.network"
    text = one(planned({NETWORKD: shared}, STATIC), path)
    assert "[Match]\nName=ens192\n\n[Network]\nAddress=10.9.0.5/24\n" in text
    assert text.endswith("[DHCPv4]\nRouteMetric=10\n")
    early = planned({"/etc/systemd/network/00-all.network": shared}, STATIC)
    assert "read before all others" in early.refusals[0]


def test_networkd_knows_a_card_by_its_mac_address() -> None:
    text = f"[Match]\nMACAddress={MAC.upper()}\n[Network]\nDHCP=yes\n"
    assert "Address=10.9.0.5/24" in one(planned({NETWORKD: text}, STATIC), NETWORKD)
    other = {NETWORKD: text.replace("56", "99")}
    assert list(network(planned(other, STATIC))) == ["/etc/systemd/network/05-go2cloud-ens192.network"]


WIRED = """\
[connection]
id=lan
type=ethernet
interface-name=ens192

[ethernet]
mtu=9000

[ipv4]
address1=10.1.2.3/24,10.1.2.1
address2=10.1.2.4/24
dns=10.1.2.53;
dns-search=a.example;
method=manual
route1=0.0.0.0/0,10.1.2.1
route2=10.8.0.0/16,10.1.2.9

[ipv6]
address1=2001:db8:1::3/64
method=manual
"""


def test_networkmanager_gets_the_addresses() -> None:
    made = planned({KEYFILE: WIRED}, STATIC)
    assert (
        one(made, KEYFILE)
        == """\
[connection]
id=lan
type=ethernet
interface-name=ens192

[ethernet]
mtu=9000

[ipv4]
method=manual
address1=10.9.0.5/24,10.9.0.1
dns=10.9.0.53;10.9.0.54;
dns-search=a.example;
route2=10.8.0.0/16,10.1.2.9

[ipv6]
method=auto
"""
    )
    assert "route2=10.8.0.0/16" in made.warnings[0]
    asked = one(planned({KEYFILE: WIRED}, DHCP), KEYFILE)
    assert "[ipv4]\nmethod=auto\ndns-search=a.example;\n" in asked
    both = one(planned({KEYFILE: WIRED}, BOTH), KEYFILE)
    assert "address1=10.9.0.5/24,10.9.0.1\naddress2=10.9.0.6/24\n" in both
    assert "[ipv6]\nmethod=manual\naddress1=2001:db8::5/64,2001:db8::1\ndns=2001:db8::53;\n" in both


def test_a_connection_for_any_card_is_the_cards_where_there_is_one() -> None:
    any_card = {KEYFILE: "[connection]\nid=any\ntype=ethernet\n"}
    assert "address1=10.9.0.5/24,10.9.0.1" in one(planned(any_card, STATIC, nics=NICS[:1]), KEYFILE)
    found = Inspection((ROOT,), ROOT, files=any_card, has_network_manager=True)
    made = plan(found, SourceFacts(nics=NICS), Wishes(addressing=(STATIC,)))
    (own,) = (each for each in made.changes if each.path.endswith("go2cloud-ens192.nmconnection"))
    assert isinstance(own, FileChange)
    assert own.privacy is Privacy.ROOT, "NetworkManager reads no file that others can read"
    assert "interface-name=ens192\nautoconnect-priority=100\n" in str(own.after)


REDHAT = """\
TYPE=Ethernet
BOOTPROTO=static
DEVICE="ens192"
ONBOOT=yes # at once
IPADDR=10.1.2.3
NETMASK=255.255.255.0
GATEWAY=10.1.2.1
DNS1=10.1.2.53
MTU=9000
"""


def test_the_scripts_of_red_hat_get_the_addresses_and_aliases_go_away() -> None:
    alias = "/etc/sysconfig/network-scripts/ifcfg-ens192:0"
    after = network(planned({IFCFG: REDHAT, alias: "DEVICE=ens192:0\nIPADDR=10.1.2.4\n"}, BOTH))
    assert after == {
        alias: None,
        IFCFG: 'TYPE=Ethernet\nDEVICE="ens192"\nONBOOT=yes # at once\nMTU=9000\nBOOTPROTO=none\n'
        "IPADDR=10.9.0.5\nPREFIX=24\nIPADDR1=10.9.0.6\nPREFIX1=24\nGATEWAY=10.9.0.1\nIPV6INIT=yes\n"
        "IPV6ADDR=2001:db8::5/64\nIPV6_DEFAULTGW=2001:db8::1\nDNS1=2001:db8::53\n",
    }
    asked = one(planned({IFCFG: REDHAT}, DHCP), IFCFG)
    assert asked.endswith("MTU=9000\nBOOTPROTO=dhcp\n")
    assert "10.1.2" not in asked


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (INTERFACES, "iface ens192 inet manual\niface br0 inet static\n  bridge_ports ens192\n"),
        (INTERFACES, "iface ens192 inet manual\n  bond-master br0\n"),
        (
            NETPLAN,
            "network:\n  ethernets:\n    ens192: {}\n  bridges:\n    br0:\n      interfaces: [ens192]\n",
        ),
        (NETWORKD, "[Match]\nName=ens192\n[Network]\nBridge=br0\n"),
        (KEYFILE, "[connection]\ntype=ethernet\ninterface-name=ens192\nmaster=br0\n"),
        (IFCFG, "DEVICE=ens192\nBRIDGE=br0\n"),
    ],
)
def test_a_part_of_a_bridge_is_refused_and_the_bridge_is_named(path: str, text: str) -> None:
    made = planned({path: text}, DHCP)
    assert made.refusals[0].startswith("the network card ens192 is a part of br0 (")


def test_a_bridge_gets_addresses_like_any_card() -> None:
    bridge = CardAddressing("br0", MAC, ("10.9.0.5/24",))
    text = "iface br0 inet static\n  address 10.1.2.3/24\n  bridge_ports ens192\n"
    assert one(planned({INTERFACES: text}, bridge), INTERFACES) == (
        "iface br0 inet static\n    address 10.9.0.5/24\n  bridge_ports ens192\n"
    )


def test_what_cannot_be_done_is_refused() -> None:
    assert "neither ifupdown, netplan" in planned({}, DHCP).refusals[0]
    suse = planned({"/etc/sysconfig/network/ifcfg-ens192": "BOOTPROTO=dhcp\n"}, DHCP)
    assert "wicked" in suse.refusals[0]
    inherits = planned({INTERFACES: "iface ens192 inet static inherits base\n"}, DHCP)
    assert "inherits" in inherits.refusals[0]
    nothing = plan(Inspection(findings=("no Linux system",)), SourceFacts(), Wishes(addressing=(DHCP,)))
    assert (nothing.changes, "no Linux system" in nothing.refusals[0]) == ((), True)


def test_name_servers_stand_where_the_c_library_looks_for_them() -> None:
    files = {INTERFACES: DEBIAN, "/etc/resolv.conf": "search a.example\nnameserver 10.1.2.53\n"}
    after = network(planned(files, STATIC))
    assert after["/etc/resolv.conf"] == "search a.example\nnameserver 10.9.0.53\nnameserver 10.9.0.54\n"
    managed = {**files, "/etc/resolv.conf": "# Generated by NetworkManager\nnameserver 10.1.2.53\n"}
    assert list(network(planned(managed, STATIC))) == [INTERFACES]
    assert list(network(planned(files, DHCP))) == [INTERFACES]


def test_cards_that_are_not_named_keep_their_addresses() -> None:
    assert (
        network(planned({INTERFACES: DEBIAN, NETPLAN: CLOUD, NETWORKD: LAN, KEYFILE: WIRED, IFCFG: REDHAT}))
        == {}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        ("ens192\n[x]", MAC, ()),
        ("ens192", "52:54:00:12:34:56\nx", ()),
        ("ens192", MAC, ("10.9.0.5/24\niface eth0",)),
        ("ens192", MAC, ("fe80::1%a\nb/64",)),
        ("ens192", MAC, ("fe80::1%a/64",)),
        ("ens192", MAC, ("10.9.0.5",)),
    ],
)
def test_no_line_can_be_smuggled_into_a_file_of_the_guest(wrong: tuple[str, str, tuple[str, ...]]) -> None:
    with pytest.raises(SettingsWrong):
        CardAddressing(*wrong)
    with pytest.raises(SettingsWrong):
        CardAddressing("ens192", MAC, ("10.9.0.5/24",), dns=("10.9.0.53\noptions rotate",))
