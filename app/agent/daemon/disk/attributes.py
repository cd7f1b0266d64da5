"""What /sys knows of a disk: serial, WWN, model."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Attributes:
    """Empty where the disk has none."""

    serial: str = ""
    wwn: str = ""
    model: str = ""


def read_attributes(directory: Path) -> Attributes:
    """The attributes of the whole disk with this /sys directory."""
    return Attributes(
        serial=_text(directory / "device/serial") or _text(directory / "serial") or _vpd_serial(directory),
        wwn=_text(directory / "wwid") or _text(directory / "device/wwid"),
        model=_text(directory / "device/model"),
    )


def _text(path: Path) -> str:
    try:
        return " ".join(path.read_text(errors="replace").split("\0")[0].split())
    except OSError:
        return ""


def _vpd_serial(directory: Path) -> str:
    """SCSI: the unit serial number, page 80 of the vital product data, behind a header of 4 bytes."""
    try:
        raw = (directory / "device/vpd_pg80").read_bytes()
    except OSError:
        return ""
    length = int.from_bytes(raw[2:4], "big")
    return raw[4 : 4 + length].decode("ascii", "replace").strip(" \0")
