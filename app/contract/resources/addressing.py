"""Launch settings that change what the guest is told: addresses of its network cards, and its cloud-init."""

import hashlib
import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.contract.guestwords import AddressingMode, CloudInitMode
from app.contract.resources.base import Input

MOST_USER_DATA = 65536
"""Bytes of user-data in UTF-8."""


def _without_zone(value: str) -> str:
    """A zone (fe80::1%eth0) may be any text, which has no place in a guest's files."""
    if "%" in value:
        raise ValueError("an address has no zone: leave out '%' and what follows")
    return value


def _interface(value: str) -> str:
    if "/" not in value:
        raise ValueError(f"{value!r} has no prefix length: write it as 10.0.0.5/24")
    return str(ipaddress.ip_interface(_without_zone(value)))


def _address(value: str) -> str:
    return str(ipaddress.ip_address(_without_zone(value)))


def _user_data(value: str) -> str:
    if len(value.encode()) > MOST_USER_DATA:
        raise ValueError(f"user-data has at most {MOST_USER_DATA} bytes")
    if "\0" in value or not value.strip():
        raise ValueError("user-data is text that is not empty")
    return value


def digest_of(user_data: str) -> str:
    """What is shown instead of user-data, which may hold secrets: its SHA-256, hexadecimal."""
    return hashlib.sha256(user_data.encode()).hexdigest()


InterfaceText = Annotated[str, Field(max_length=64), AfterValidator(_interface)]
"""An address with its prefix length, IPv4 or IPv6."""
AddressText = Annotated[str, Field(max_length=64), AfterValidator(_address)]


class NicAddressing(Input):
    """What becomes of the addresses of one of the source's network cards, by its name or MAC address.

    `static` gives it exactly these `addresses`, `gateways` (one for each family at most) and name servers;
    with `dhcp` and `keep` there are none.
    """

    nic: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,31}$")]
    mode: AddressingMode
    addresses: Annotated[tuple[InterfaceText, ...], Field(max_length=16)] = ()
    gateways: Annotated[tuple[AddressText, ...], Field(max_length=2)] = ()
    dns: Annotated[tuple[AddressText, ...], Field(max_length=6)] = ()


class CloudInit(Input):
    """What becomes of the guest's cloud-init. `nocloud` has it run once more on the launched machine.

    `userData` (text, at most 64 KiB) is taken and never shown: what is shown is its SHA-256, and sending only
    that keeps the user-data that is set.
    """

    mode: CloudInitMode = CloudInitMode.KEEP
    user_data: Annotated[str, AfterValidator(_user_data)] | None = Field(default=None, repr=False)
    user_data_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _belongs_to_its_mode(self) -> Self:
        given = self.user_data is not None or self.user_data_sha256 is not None
        if given != (self.mode is CloudInitMode.NOCLOUD):
            raise ValueError("user-data belongs to the mode nocloud, which needs it")
        return self
