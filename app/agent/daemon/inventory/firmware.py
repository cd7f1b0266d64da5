"""EFI or BIOS: what the machine was booted by, which the target must match."""

from dataclasses import replace
from pathlib import Path

from app.wire.messages import Inventory


def collect_firmware(found: Inventory) -> Inventory:
    """Fill in firmware: efi or bios."""
    return replace(found, firmware="efi" if Path("/sys/firmware/efi").is_dir() else "bios")
