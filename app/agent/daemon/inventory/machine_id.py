"""The machine id: evidence of which host this is, never its identity (clones share it)."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from app.wire.messages import Inventory

_PLACES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def collect_machine_id(found: Inventory) -> Inventory:
    """Fill in machine_id. Raises OSError on a host that has none."""
    present = [place for place in _PLACES if place.exists()]
    return replace(found, machine_id=(present or _PLACES)[0].read_text().strip())
