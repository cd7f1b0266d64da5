"""Whoever subscribes cannot make the service speak to itself, its link, or a cloud's metadata."""

from ipaddress import ip_address, ip_network

import pytest

from app.kit.settings import SettingsError, load_settings
from app.migration.callbacks.addresses import is_permitted, permitted
from app.migration.callbacks.errors import AddressForbidden


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_what_is_ours_or_a_clouds_is_forbidden(address: str) -> None:
    assert not is_permitted(ip_address(address), ())


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.1.1", "93.184.216.34", "2606:2800::1", "fd00::7"])
def test_others_may_be_spoken_to(address: str) -> None:
    assert is_permitted(ip_address(address), ())


def test_an_operator_may_allow_a_network() -> None:
    allowed = (ip_network("127.0.0.0/8"),)
    assert is_permitted(ip_address("127.0.0.1"), allowed)
    assert is_permitted(ip_address("::ffff:127.0.0.1"), allowed)
    assert not is_permitted(ip_address("169.254.169.254"), allowed)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::ffff:7f00:1"])
async def test_however_this_host_is_written_it_is_known(host: str) -> None:
    with pytest.raises(AddressForbidden, match="where callbacks may not go"):
        await permitted(host, 80, ())
    assert await permitted(host, 80, None)


def test_networks_are_read_from_the_settings() -> None:
    environ = {"G2C_DATA_DIR": "/tmp/x", "HOME": "/tmp"}
    settings = load_settings(environ | {"G2C_CALLBACKS__ALLOW": "127.0.0.0/8, ::1"})
    assert settings.callbacks.allow == (ip_network("127.0.0.0/8"), ip_network("::1"))
    with pytest.raises(SettingsError, match=r"CALLBACKS\.ALLOW"):
        load_settings(environ | {"G2C_CALLBACKS__ALLOW": "everything"})


def test_a_platform_url_needs_the_shared_secret() -> None:
    environ = {"G2C_DATA_DIR": "/tmp/x", "HOME": "/tmp", "G2C_PLATFORM_CALLBACK_URL": "http://p/callbacks"}
    with pytest.raises(SettingsError, match=r"CALLBACKS\.SECRET"):
        load_settings(environ)
    with pytest.raises(SettingsError, match=r"CALLBACKS\.SECRET"):
        load_settings(environ | {"G2C_CALLBACKS__SECRET": "too short"})
    assert load_settings(environ | {"G2C_CALLBACKS__SECRET": "0123456789abcdef"}).callbacks.secret
