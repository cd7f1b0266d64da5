"""Words of launch settings that change what a guest is told."""

from enum import StrEnum


class AddressingMode(StrEnum):
    """What becomes of the addresses of a network card: the source's, those of DHCP, or given ones."""

    KEEP = "keep"
    DHCP = "dhcp"
    STATIC = "static"


class CloudInitMode(StrEnum):
    """What becomes of a guest's cloud-init: as the source has it, switched off, or given user-data."""

    KEEP = "keep"
    DISABLE = "disable"
    NOCLOUD = "nocloud"
