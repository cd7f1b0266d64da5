"""The collectors, in the order in which they run.

A collector takes the inventory so far and returns it with its own fields filled in. One that fails costs
its fields and leaves a warning that names it; an enrolment never fails for it.
"""

import platform
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from app.agent.daemon.disk.selection import describe_disks
from app.agent.daemon.inventory.boot import collect_boot
from app.agent.daemon.inventory.cpu import collect_cpu
from app.agent.daemon.inventory.firmware import collect_firmware
from app.agent.daemon.inventory.kernel import collect_kernel
from app.agent.daemon.inventory.links import collect_links
from app.agent.daemon.inventory.machine_id import collect_machine_id
from app.agent.daemon.inventory.memory import collect_memory
from app.agent.daemon.inventory.mounted import collect_mounts
from app.agent.daemon.inventory.nics import collect_nics
from app.agent.daemon.inventory.os_release import collect_os
from app.agent.daemon.inventory.routes import collect_routes
from app.agent.daemon.inventory.system_uuid import collect_system_uuid
from app.wire.messages import Disk, Inventory

Collector = Callable[[Inventory], Inventory]

COLLECTORS: Final[tuple[tuple[str, Collector], ...]] = (
    ("os", collect_os),
    ("kernel", collect_kernel),
    ("cpu", collect_cpu),
    ("memory", collect_memory),
    ("firmware", collect_firmware),
    ("machine id", collect_machine_id),
    ("system uuid", collect_system_uuid),
    ("mounts", collect_mounts),
    ("network interfaces", collect_nics),
    ("routes", collect_routes),
    ("names of devices", collect_links),
    ("boot", collect_boot),
)


def collect(
    disks: tuple[Disk, ...],
    warnings: tuple[str, ...] = (),
    collectors: tuple[tuple[str, Collector], ...] = COLLECTORS,
) -> Inventory:
    """The host's inventory with these disks, and the warnings that finding them gave."""
    found = Inventory(hostname=platform.node(), disks=disks, warnings=warnings)
    for name, collector in collectors:
        try:
            found = collector(found)
        except (OSError, ValueError, LookupError) as error:
            found = replace(found, warnings=(*found.warnings, f"{name}: {error or type(error).__name__}"))
    return found


def inventory_of(named: tuple[str, ...]) -> Inventory:
    """The host's inventory with the disks that are copied, all physical ones if none is named.

    Raises DiskError for a named one that cannot be opened.
    """
    disks, warnings = describe_disks(named)
    return collect(disks, warnings)
