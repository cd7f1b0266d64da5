"""The UUID that the firmware gives the machine: what tells it from its clones, which share the machine id."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from app.wire.messages import Inventory

_PLACES: Final = (Path("/sys/class/dmi/id/product_uuid"), Path("/sys/hypervisor/uuid"))
_MOST: Final = 64


def collect_system_uuid(found: Inventory, places: tuple[Path, ...] = _PLACES) -> Inventory:
    """Fill in system_uuid; it stays empty on a machine without one. Raises OSError: only root may read it."""
    present = [place for place in places if place.exists()]
    if not present:
        return found
    return replace(found, system_uuid=present[0].read_text().strip().lower()[:_MOST])
