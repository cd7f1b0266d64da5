"""Passwords that stand in the files of a guest's network: in no report, no warning and no refusal."""

import pytest

from app.launch.conversion.changes import FileChange, Privacy
from tests.conversion.test_conversion_readdressing import (
    DHCP,
    IFCFG,
    INTERFACES,
    KEYFILE,
    NETPLAN,
    STATIC,
    planned,
)

WIFI_AND_WIRE = """\
network:
  wifis: {wlan0: {access-points: {office: {password: s3cret}}}}
  ethernets: {ens192: {auth: {key-management: 802.1x, password: s3cret}, addresses: [10.1.2.3/24]}}
"""
WIRE = """\
network:
  ethernets:
    ens192:
      auth:
        password: >-
          s3cret
      addresses: [10.1.2.3/24]
"""
SECURED = "iface ens192 inet static\n  address 10.1.2.3/24\n  wpa-psk s3cret\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (NETPLAN, WIFI_AND_WIRE),
        (NETPLAN, WIRE),
        (KEYFILE, "[802-1x]\npassword=s3cret\n[connection]\ninterface-name=ens192\n[ipv4]\nmethod=auto"),
        (
            KEYFILE,
            "[connection]\ninterface-name=ens192\n[ipv4]\nmethod=link-local\n[802-1x]\npassword=s3cret",
        ),
        (IFCFG, "DEVICE=ens192\nBOOTPROTO=dhcp\nIEEE_8021X_PASSWORD=s3cret"),
        (INTERFACES, f"{SECURED}\niface ens192 inet static\n  address 10.1.2.4/24\n  wpa-psk s3cret\n"),
        (INTERFACES, f"iface ens192 inet6 auto\n  wpa-psk s3cret\n{SECURED}"),
    ],
    ids=["flow", "block", "keyfile", "keyfile-last", "ifcfg", "ifupdown", "ifupdown-moved"],
)
def test_no_password_of_a_file_of_the_network_comes_into_a_report(path: str, text: str) -> None:
    for card in (DHCP, STATIC):
        (change,) = (each for each in planned({path: text}, card).changes if each.path == path)
        assert isinstance(change, FileChange)
        said = "\n".join(change.lines)
        assert "s3cret" not in said, said
        assert "10.9.0.5" in said or card is DHCP
        assert change.privacy is Privacy.PUBLIC, "its mode stays"


def test_a_warning_tells_routes_of_ifupdown_and_no_keys() -> None:
    text = (
        "iface ens192 inet dhcp\n  up ip route add 10.8.0.0/16 via 10.1.2.9 || true\n  wpa-psk s3cret\n"
        "  post-up wpa_cli set_network 0 psk s3cret\niface ens192 inet6 static\n  wpa-psk s3cret\n"
    )
    (warning,) = planned({INTERFACES: text}, STATIC).warnings
    assert "up ip route add 10.8.0.0/16 via 10.1.2.9 || true; post-up wpa_cli …; wpa-psk" in warning
    assert "s3cret" not in warning


def test_a_report_shows_the_addresses_and_how_much_it_does_not_show() -> None:
    (change,) = (each for each in planned({NETPLAN: WIRE}, STATIC).changes if each.path == NETPLAN)
    assert "-      addresses: [10.1.2.3/24]" in change.lines
    assert "+      - 10.9.0.5/24" in change.lines
    assert "+          via: 10.9.0.1" in change.lines or "+        via: 10.9.0.1" in change.lines
    assert any(line.endswith("lines, not shown") for line in change.lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("network:\n  wifis:\n    password: s3cret: x\n", 3),
        ("network:\n  password: !s3cret!x y\n", 2),
        ("network:\n  password: 's3cret\n", 3),
        ("network:\n\tpassword: s3cret\n", 2),
        ('network:\n  password: "\\qs3cret"\n', 2),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line_and_not_by_its_words(text: str, line: int) -> None:
    (refusal,) = planned({NETPLAN: text}, STATIC).refusals
    assert f"{NETPLAN} cannot be read as netplan: line {line}: " in refusal
    assert "s3cret" not in refusal
