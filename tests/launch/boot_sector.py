"""The smallest guests: a boot sector that says something on serial line and screen, and stops."""

from typing import Final

CODE: Final = bytes.fromhex(
    "31c0 8ed8"  # ds = 0
    "be177c"  # si = the text
    "ac 84c0 7408"  # next letter; done at a zero
    "b40e 31db cd10"  # to the screen (BIOS interrupt 10h), which SeaBIOS copies to the serial line
    "ebf3 f4 ebfd"
)
DISK_BYTES: Final = 1024 * 1024


def talking_disk(text: str = "\r\nsmallest GNU/Nothing\r\n\r\nsmallest login: ") -> bytes:
    """A disk whose machine says this within a second or two."""
    assert len(CODE) == 0x17
    sector = (CODE + text.encode("ascii") + b"\0").ljust(510, b"\0") + b"\x55\xaa"
    return sector.ljust(DISK_BYTES, b"\0")


def dead_disk() -> bytes:
    """A disk without a boot loader."""
    return b"data without a boot sector".ljust(DISK_BYTES, b"\x17")
