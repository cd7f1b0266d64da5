"""A disk that is made to be guessed wrongly."""

from pathlib import Path

MIB = 1024 * 1024
GUESSED = 64 * MIB
"""The size that the header claims."""
SECRET = b"SECRET-OF-THE-NODE"


def hostile_disk(secret: Path) -> bytes:
    """A raw disk whose first sector is the header of a qcow2 with a file of the node as its backing file."""
    name = str(secret).encode()
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + (512).to_bytes(8, "big") + len(name).to_bytes(4, "big")
    header += (16).to_bytes(4, "big") + GUESSED.to_bytes(8, "big") + bytes(4)
    return (header.ljust(512, b"\0") + name).ljust(2 * MIB, b"\0")
