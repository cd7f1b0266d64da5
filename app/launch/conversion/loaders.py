"""The loader that UEFI starts without an entry in its variables, and agents of hypervisors that are gone."""

from typing import Final

from app.launch.conversion.changes import CopyChange, Draft
from app.launch.conversion.facts import SourceFacts
from app.launch.conversion.inspection import Inspection

FALLBACK: Final = "EFI/BOOT/BOOTX64.EFI"
_SHIMS: Final = ("shimx64.efi", "shim.efi")
_FIRST: Final = ("shimx64.efi", "shim.efi", "grubx64.efi", "systemd-bootx64.efi")
_WITH_SHIM: Final = ("grubx64.efi", "grub.efi", "grub.cfg", "mmx64.efi")
AGENTS: Final = {
    "open-vm-tools.service": "vmware",
    "vmtoolsd.service": "vmware",
    "vgauthd.service": "vmware",
    "vgauth.service": "vmware",
    "vmware-tools.service": "vmware",
    "xe-linux-distribution.service": "xen",
    "xe-daemon.service": "xen",
    "vboxadd.service": "oracle",
    "vboxadd-service.service": "oracle",
    "walinuxagent.service": "microsoft",
    "waagent.service": "microsoft",
}
"""Units of agents, and where they belong to (systemd.unit(5), ConditionVirtualization)."""


def add_fallback(draft: Draft, inspection: Inspection, facts: SourceFacts) -> None:
    """A new machine's firmware knows no entries: the first one's loader goes where it looks by itself."""
    if not inspection.esp:
        draft.warnings.append("there is no EFI system partition, and the new machine boots by UEFI")
        return
    known = {name.casefold(): name for name in inspection.esp_files}
    if FALLBACK.casefold() in known:
        return
    loader = _loader(known, facts)
    if loader is None:
        draft.warnings.append("the EFI system partition has no boot loader that is known here")
        return
    folder = loader.rpartition("/")[0]
    pairs = [(loader, FALLBACK)]
    is_shim = loader.rpartition("/")[2].casefold() in _SHIMS
    for name in _WITH_SHIM if is_shim else ("grub.cfg",):
        beside = known.get(f"{folder}/{name}".casefold())
        if beside is not None and f"efi/boot/{name}" not in known:
            pairs.append((beside, f"EFI/BOOT/{name}"))
    for source, path in pairs:
        draft.others.append(
            CopyChange(
                f"{inspection.esp}/{source}", f"{inspection.esp}/{path}", "UEFI looks here without variables"
            )
        )


def _loader(known: dict[str, str], facts: SourceFacts) -> str | None:
    """The one that the source's firmware starts, else the best name, each by its path."""
    for entry in facts.efi_loaders:
        found = known.get(entry.replace("\\", "/").lstrip("/").casefold())
        if found is not None:
            return found
    for name in _FIRST:
        found = min((path for path in known if path.endswith("/" + name)), default=None)
        if found is not None:
            return known[found]
    return None


def add_agents(draft: Draft, inspection: Inspection) -> None:
    """Agents of a hypervisor run only under it; the file's removal undoes it."""
    for name, text in sorted(inspection.units.items()):
        if "ConditionVirtualization" in text or name not in AGENTS:
            continue
        draft.edit(
            f"/etc/systemd/system/{name}.d/go2cloud.conf",
            f"# Made by go2cloud: this agent belongs to a hypervisor that is gone.\n"
            f"[Unit]\nConditionVirtualization={AGENTS[name]}\n",
            "an agent of the old hypervisor stays off",
        )
