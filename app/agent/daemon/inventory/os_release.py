"""Distribution and version, from os-release."""

import platform
from dataclasses import replace

from app.wire.messages import Inventory


def collect_os(found: Inventory) -> Inventory:
    """Fill in the os_ fields. Raises OSError where the host has no os-release."""
    release = platform.freedesktop_os_release()
    return replace(
        found,
        os_name=release.get("PRETTY_NAME", release["NAME"]),
        os_version=release.get("VERSION_ID", ""),
        os_id=release["ID"],
    )
