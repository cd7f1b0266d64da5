"""The domain of an instance: its name, whether it is ours, how it stands, and its end.

Name and UUID come from the instance's id alone. A domain is ours when its metadata says so; libvirt itself
refuses to define one of our name over a domain of another UUID, whoever makes it meanwhile.
"""

import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Final

from app.launch.errors import DomainForeign, ToolFailed
from app.launch.libvirt.virsh import Virsh

METADATA: Final = "urn:go2cloud:machine:1"
PREFIX: Final = "go2cloud-"
_OURS: Final = uuid.uuid5(uuid.NAMESPACE_URL, METADATA)


@dataclass(frozen=True)
class Domain:
    """The domain of one instance, there or not."""

    virsh: Virsh
    instance: str

    @property
    def name(self) -> str:
        """The domain's name."""
        return PREFIX + self.instance

    @property
    def uuid(self) -> str:
        """The domain's UUID."""
        return str(uuid.uuid5(_OURS, self.instance))

    def exists(self) -> bool:
        """Whether it is there. Raises DomainForeign where a domain of that name is not ours."""
        if self.name not in self.virsh.lines("list", "--all", "--name"):
            return False
        description = ET.fromstring(self.virsh.run("dumpxml", self.name))  # noqa: S314  (libvirt wrote it)
        mark = description.find(f"metadata/{{{METADATA}}}machine")
        if mark is None or mark.get("instance") != self.instance:
            raise DomainForeign(
                f"the domain {self.name} at {self.virsh.uri} was not made by go2cloud for {self.instance}",
                remedy="rename or remove that domain; it is left as it is",
            )
        return True

    def active(self) -> bool:
        """Whether its machine runs, paused ones included; False where there is no such domain."""
        return self.name in self.virsh.lines("list", "--name")

    def number(self) -> str:
        """What libvirt numbers its running machines by, anew at each start; `-` where it does not run."""
        try:
            return self.virsh.run("domid", self.name).strip()
        except ToolFailed:
            if self.active():
                raise
            return "-"

    def remove(self) -> bool:
        """End the machine and forget the domain with its variables; False when there was none.

        Raises DomainForeign.
        """
        if not self.exists():
            return False
        self.end()
        kept = ("--managed-save", "--snapshots-metadata", "--checkpoints-metadata")
        self.virsh.run("undefine", self.name, "--nvram", *kept)
        return True

    def end(self) -> None:
        """End the machine at once; harmless where it ended."""
        if self.active():
            try:
                self.virsh.run("destroy", self.name)
            except ToolFailed:
                if self.active():
                    raise

    def press(self) -> None:
        """Press the power button."""
        self.virsh.run("shutdown", self.name, "--mode", "acpi")

    def address(self) -> str | None:
        """The machine's IPv4 address, as libvirt's DHCP or the node's neighbours know it; None before."""
        for source in ("lease", "arp"):
            for line in self.virsh.run("domifaddr", self.name, "--source", source).splitlines():
                words = line.split()
                if "ipv4" in words:
                    return words[words.index("ipv4") + 1].partition("/")[0]
        return None
