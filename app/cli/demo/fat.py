"""A FAT16 filesystem with a few files in its root folder, as an EFI system partition has.

After Microsoft's FAT specification 1.03: boot sector, two file allocation tables, root folder, clusters.
"""

import struct
from collections.abc import Mapping
from typing import Final

SECTOR: Final = 512
CLUSTER_SECTORS: Final = 4
CLUSTER: Final = SECTOR * CLUSTER_SECTORS
ROOT_ENTRIES: Final = 512
ROOT_SECTORS: Final = ROOT_ENTRIES * 32 // SECTOR
RESERVED: Final = 1
END_OF_CHAIN: Final = 0xFFFF

_BOOT: Final = struct.Struct("<3s8sHBHBHHBHHHIIBBBI11s8s")


def fat16(size: int, files: Mapping[str, bytes]) -> bytes:
    """The image of a FAT16 filesystem of `size` bytes (16 to 128 MiB); names are 8.3 upper-case.

    Raises ValueError for a size that would be another kind of FAT.
    """
    sectors = size // SECTOR
    table_sectors = -(-(sectors // CLUSTER_SECTORS + 2) * 2 // SECTOR)
    clusters = (sectors - RESERVED - 2 * table_sectors - ROOT_SECTORS) // CLUSTER_SECTORS
    if not 4085 <= clusters < 65525:
        raise ValueError(f"{size} bytes do not make a FAT16")
    table, root, data = [0xFFF8, END_OF_CHAIN], bytearray(), bytearray()
    for name, content in files.items():
        root += _entry(name, len(table), len(content))
        count = max(1, -(-len(content) // CLUSTER))
        table += [*range(len(table) + 1, len(table) + count), END_OF_CHAIN]
        data += content.ljust(count * CLUSTER, b"\0")
    chain = struct.pack(f"<{len(table)}H", *table).ljust(table_sectors * SECTOR, b"\0")
    image = _boot_sector(sectors, table_sectors) + chain * 2
    return (image + bytes(root).ljust(ROOT_SECTORS * SECTOR, b"\0") + bytes(data)).ljust(size, b"\0")


def _boot_sector(sectors: int, table_sectors: int) -> bytes:
    small = sectors if sectors < 65536 else 0
    head = _BOOT.pack(
        b"\xeb\x3c\x90",
        b"GO2CLOUD",
        SECTOR,
        CLUSTER_SECTORS,
        RESERVED,
        2,
        ROOT_ENTRIES,
        small,
        0xF8,
        table_sectors,
        32,
        64,
        0,
        0 if small else sectors,
        0x80,
        0,
        0x29,
        0x60C10D01,
        b"NO NAME    ",
        b"FAT16   ",
    )
    return head.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _entry(name: str, cluster: int, length: int) -> bytes:
    stem, _, extension = name.partition(".")
    short = f"{stem:<8}{extension:<3}".encode("ascii")
    return struct.pack("<11sB10xHHHI", short, 0x20, 0, 0x5A21, cluster, length)
