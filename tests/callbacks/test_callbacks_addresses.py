"""Whoever subscribes cannot make the service speak to itself, its link, or a cloud's metadata."""

import asyncio
import socket
import threading
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
        "fd00:ec2::253",
        "fd20:ce::254",
        "fd00:42::42",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
    ],
)
def test_what_is_ours_or_a_clouds_is_forbidden(address: str) -> None:
    assert not is_permitted(ip_address(address), ())


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "192.168.1.1",
        "93.184.216.34",
        "2606:2800::1",
        "fd00::7",
        "64:ff9b::5db8:d822",
        "64:ff9b:1::93.184.216.34",
        "64:ff9b:1:5db8:d8:2200::",
        "64:ff9b:1:0:5d:b8d8:2200:0",
        "::ffff:0:10.1.2.3",
    ],
)
def test_others_may_be_spoken_to(address: str) -> None:
    assert is_permitted(ip_address(address), ())


def test_an_operator_may_allow_a_network() -> None:
    allowed = (ip_network("127.0.0.0/8"),)
    assert is_permitted(ip_address("127.0.0.1"), allowed)
    assert is_permitted(ip_address("::ffff:127.0.0.1"), allowed)
    assert not is_permitted(ip_address("169.254.169.254"), allowed)
    assert not is_permitted(ip_address("64:ff9b:1::169.254.169.254"), allowed)


def test_an_address_that_reads_as_an_allowed_and_as_a_forbidden_one_is_forbidden() -> None:
    both = ip_address("64:ff9b:1:a01:2:300:a9fe:a9fe")
    assert not is_permitted(both, (ip_network("10.1.2.0/24"),))
    assert is_permitted(both, (ip_network("64:ff9b:1::/48"),))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::ffff:7f00:1"])
async def test_however_this_host_is_written_it_is_known(host: str) -> None:
    with pytest.raises(AddressForbidden, match="where callbacks may not go"):
        await permitted(host, 80, ())
    assert await permitted(host, 80, None)


async def test_names_that_hang_leave_the_threads_of_others_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the store's check of /readyz, which runs in the loop's own threads."""
    answered = threading.Event()

    def hang(*_given: object, **_more: object) -> list[object]:
        answered.wait()
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    looking = [asyncio.create_task(permitted(f"h{number}.invalid", 80, ())) for number in range(100)]
    try:
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(int, "7"), 60) == 7
    finally:
        answered.set()
        ended = await asyncio.gather(*looking, return_exceptions=True)
    assert all(isinstance(each, socket.gaierror) for each in ended)


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
