"""The kinds of targets, one module each. A new one is a module and a line here."""

from collections.abc import Mapping
from typing import Final

from app.migration.targets.kind import TargetKind
from app.migration.targets.kinds import device, image, libvirt, qemu, rbd

KINDS: Final[Mapping[str, TargetKind]] = {
    kind.name: kind
    for kind in (
        qemu.KIND,
        image.KIND,
        device.KIND,
        libvirt.KIND,
        rbd.KIND,
    )
}
