"""Reading the disks: which system is on them, and all that the plan needs of it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from app.launch.conversion import cloudinit, drivers, initrds, loaders, network
from app.launch.conversion.appliance import Appliance, GuestError
from app.launch.conversion.devices import UNSTABLE, Devices
from app.launch.conversion.facts import SourceFacts
from app.launch.conversion.inspection import Filesystem, Initrd, Inspection, Kernel
from app.launch.conversion.readdressing.choosing import RESOLVER

MOST_TEXT: Final = 1 << 20
"""Bytes of a file of configuration; a longer one is none."""
MOST_TABLE: Final = 1 << 24
"""Bytes of a kernel's list of modules; of Debian's they are below 1 MiB."""
MOST_INITRD: Final = 1 << 29
_NO_ROOT: Final = frozenset(
    ("swap", "unknown", "crypto_LUKS", "LVM2_member", "linux_raid_member", "vfat", "ntfs")
)
_MOUNTED: Final = ("/usr", "/boot", "/boot/efi", "/efi", "/var")
CONFIGURATION: Final = (
    *("/etc/fstab", "/etc/crypttab", "/etc/default/grub", "/etc/default/grub.d/*.cfg", "/etc/kernel/cmdline"),
    *("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/efi/EFI/*/grub.cfg", "/boot/grub/menu.lst"),
    *("/boot/grub/grub.conf", "/boot/loader/entries/*.conf", "/boot/efi/loader/entries/*.conf"),
    *(
        "/boot/grub/grubenv",
        "/boot/grub2/grubenv",
        "/boot/extlinux/extlinux.conf",
        "/boot/syslinux/syslinux.cfg",
    ),
    *("/etc/initramfs-tools/modules", "/etc/initramfs-tools/conf.d/*", "/etc/dracut.conf.d/go2cloud.conf"),
    *("/etc/lvm/devices/system.devices", network.RULES, "/etc/systemd/network/*.link"),
    *(f"/etc/systemd/system/{unit}.d/go2cloud.conf" for unit in loaders.AGENTS),
    *network.CONFIGURATION,
    RESOLVER,
    *cloudinit.CONFIGURATION,
)
_UNITS: Final = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_NETWORK_MANAGER: Final = "/usr/sbin/NetworkManager"
_UDEVS: Final = ("/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd")


def inspect(guest: Appliance, facts: SourceFacts) -> Inspection:
    """What is on the disks; their filesystems stay mounted for the changes. Raises ConversionFailed."""
    found = tuple(_filesystems(guest))
    root, why = _root(guest, found, facts)
    if root is None:
        return Inspection(filesystems=found, findings=(why,))
    findings = list(_mount_all(guest, root, found, facts))
    esp = _esp(guest, found)
    files = dict(_texts(guest, _matching(guest, CONFIGURATION)))
    kernels = tuple(_kernels(guest))
    if not kernels:
        findings.append("no installed kernel is found below /lib/modules")
    return Inspection(
        filesystems=found,
        root=root,
        system=_system(dict(_texts(guest, ("/etc/os-release", "/usr/lib/os-release")))),
        files=files,
        kernels=kernels,
        esp=esp,
        esp_files=tuple(f"EFI/{name.lstrip('/')}" for name in guest.call("find", esp + "/EFI"))
        if esp
        else (),
        units=_units(guest),
        has_link_files=any(guest.call("is_file", path) for path in _UDEVS),
        has_network_manager=guest.call("is_file", _NETWORK_MANAGER),
        has_cloud_init=any(guest.call("is_file", path) for path in cloudinit.PROGRAMS),
        findings=tuple(findings),
    )


def _filesystems(guest: Appliance) -> Iterator[Filesystem]:
    """Everything that has a filesystem, by its name in the appliance: the order is always the same."""
    for device, kind in sorted(guest.call("list_filesystems").items()):
        tags = _tags(guest, device)
        yield Filesystem(
            device, kind, tags.get("UUID", ""), tags.get("PART_ENTRY_UUID", ""), tags.get("LABEL", "")
        )


def _tags(guest: Appliance, device: str) -> dict[str, str]:
    """What blkid says; of a subvolume of btrfs, what it says of its filesystem."""
    if device.startswith("btrfsvol:"):
        device = "/".join(device.removeprefix("btrfsvol:").split("/")[:3])
    try:
        tags: dict[str, str] = guest.call("blkid", device)
    except GuestError:
        return {}
    return tags


def _root(
    guest: Appliance, found: tuple[Filesystem, ...], facts: SourceFacts
) -> tuple[Filesystem | None, str]:
    """The root filesystem: the source's own word, else the only one that holds a system."""
    candidates = [each for each in found if each.kind not in _NO_ROOT and _is_root(guest, each.device)]
    known = [each for each in candidates if each in set(_mounted_there(facts, found, "/"))]
    if len(known) == 1:
        return known[0], ""
    chosen = _without_snapshots(known or candidates)
    if len(chosen) == 1:
        return chosen[0], ""
    if not chosen:
        return (
            None,
            "no Linux system is found on the disks (encrypted ones cannot be read): nothing is changed",
        )
    names = ", ".join(each.device for each in chosen)
    return (
        None,
        f"several systems are on the disks ({names}), and the source did not say which: nothing is changed",
    )


def _without_snapshots(found: list[Filesystem]) -> list[Filesystem]:
    """Of a filesystem of btrfs the subvolume that distributions install into."""
    by_uuid: dict[str, list[Filesystem]] = {}
    for each in found:
        by_uuid.setdefault(each.uuid or each.device, []).append(each)
    chosen = []
    for group in by_uuid.values():
        preferred = [each for each in group if _subvolume(each) in ("@", "@rootfs", "root")]
        chosen.extend(preferred[:1] if len(group) > 1 and preferred else group)
    return chosen


def _subvolume(found: Filesystem) -> str:
    return "/".join(found.device.split("/")[3:]) if found.device.startswith("btrfsvol:") else ""


def _is_root(guest: Appliance, device: str) -> bool:
    try:
        guest.call("mount_ro", device, "/")
        is_root: bool = guest.call("exists", "/etc/fstab") or guest.call("exists", "/etc/os-release")
        is_root = is_root and (guest.call("is_dir", "/lib/modules") or guest.call("is_dir", "/usr/lib"))
    except GuestError:
        return False
    finally:
        guest.call("umount_all")
    return is_root


def _mounted_there(facts: SourceFacts, found: tuple[Filesystem, ...], target: str) -> Iterator[Filesystem]:
    """What the source had mounted at `target`."""
    mount = facts.mounted_at(target)
    meant = _meant(mount.source, Devices(facts, found)) if mount else None
    for each in found:
        if (
            mount
            and meant
            and each.uuid == meant.uuid
            and _subvolume(each) in (mount.subvolume.strip("/"), "")
        ):
            yield each


def _meant(name: str, devices: Devices) -> Filesystem | None:
    """The filesystem that a table names."""
    kind, _, value = name.partition("=")
    value = value.strip("\"'")
    attributes = {"UUID": "uuid", "LABEL": "label", "PARTUUID": "partuuid"}
    for each in devices.filesystems:
        if kind in attributes and value and getattr(each, attributes[kind]).casefold() == value.casefold():
            return each
        if each.device in (name, _logical(name)):
            return each
    return devices.find(name) if UNSTABLE.fullmatch(name) or devices.facts.device(name) else None


def _logical(name: str) -> str:
    """/dev/mapper/vg-lv as libguestfs names it: /dev/vg/lv; a hyphen in a name is doubled (lvm(8))."""
    if not name.startswith("/dev/mapper/"):
        return ""
    parts = name.removeprefix("/dev/mapper/").replace("--", "\0").split("-")
    return "/dev/" + "/".join(part.replace("\0", "-") for part in parts)


def _mount_all(
    guest: Appliance, root: Filesystem, found: tuple[Filesystem, ...], facts: SourceFacts
) -> Iterator[str]:
    """Mount the root and what its fstab has below it; yields what could not be mounted and matters."""
    guest.call("mount_options", "", root.device, "/")
    table = dict(_texts(guest, ("/etc/fstab",))).get("/etc/fstab", "")
    lines = [fields for line in table.splitlines() if len(fields := line.split()) >= 4]
    for name, target, kind, options, *_ in sorted(lines, key=lambda fields: fields[1]):
        if target not in _MOUNTED or name.startswith("#"):
            continue
        device = _device(_meant(name, Devices(facts, found)))
        subvolume = next((word for word in options.split(",") if word.startswith("subvol=")), "")
        if not device:
            yield f"{target} cannot be read: {name} is on none of the disks"
            continue
        try:
            guest.call("mount_options", subvolume if kind == "btrfs" else "", device, target)
        except GuestError as error:
            yield f"{target} cannot be read: {error}"


def _device(meant: Filesystem | None) -> str:
    """What to mount: of btrfs the device, not one of its subvolumes."""
    if meant is None or not meant.device.startswith("btrfsvol:"):
        return meant.device if meant else ""
    return "/".join(meant.device.removeprefix("btrfsvol:").split("/")[:3])


def _esp(guest: Appliance, found: tuple[Filesystem, ...]) -> str:
    """Where the EFI system partition is mounted; one that no table names is mounted at its place."""
    places = [place for place in ("/boot/efi", "/efi", "/boot") if guest.call("is_dir", place)]
    mounted = next((place for place in places if guest.call("is_dir", place + "/EFI")), "")
    free = next((place for place in places if place != "/boot" and not guest.call("ls", place)), "")
    if mounted or not free:
        return mounted
    for each in (each for each in found if each.kind == "vfat"):
        guest.call("mount_options", "", each.device, free)
        if guest.call("is_dir", free + "/EFI"):
            return free
        guest.call("umount", free)
    return ""


def _matching(guest: Appliance, patterns: Iterable[str]) -> list[str]:
    """Files of these names; one that is reached by several of them stands there once, by its real name."""
    found = dict[str, None]()
    for pattern in patterns:
        for path in guest.call("glob_expand", pattern) if "*" in pattern else (pattern,):
            if guest.call("is_file", path):
                found[guest.call("realpath", path)] = None
    return list(found)


def _texts(guest: Appliance, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if guest.call("is_file", path) and guest.call("filesize", path) <= MOST_TEXT:
            yield path, guest.call("read_file", path).decode(errors="surrogateescape")


def _system(texts: dict[str, str]) -> str:
    for text in texts.values():
        for line in text.splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"'")
    return ""


def _units(guest: Appliance) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in _UNITS:
        if guest.call("is_dir", folder):
            there = set(guest.call("ls", folder)) & set(loaders.AGENTS) - set(found)
            found |= {
                name: text
                for path, text in _texts(guest, (f"{folder}/{name}" for name in sorted(there)))
                for name in (path.rpartition("/")[2],)
            }
    return found


def _kernels(guest: Appliance) -> Iterator[Kernel]:
    releases = guest.call("ls", "/lib/modules") if guest.call("is_dir", "/lib/modules") else []
    for release in sorted(releases):
        folder = f"/lib/modules/{release}"
        texts = dict(_texts_of_modules(guest, folder))
        base = texts.get("pkgbase", "").strip()
        if "modules.dep" in texts and _is_bootable(guest, release, base):
            yield Kernel(
                release,
                drivers.parse_dependencies(texts["modules.dep"]),
                frozenset(drivers.name_of(path) for path in texts.get("modules.builtin", "").split()),
                _initrd(guest, release, base),
            )


def _is_bootable(guest: Appliance, release: str, base: str) -> bool:
    """Whether there is more of a kernel than modules, which stay behind when it is removed."""
    images = (f"/boot/vmlinuz-{release}", f"/boot/vmlinux-{release}", f"/boot/vmlinuz-{base}")
    patterns = (f"/boot/*/{release}/linux", f"/boot/efi/*/{release}/linux", "/boot/efi/EFI/Linux/*.efi")
    return any(guest.call("is_file", path) for path in images) or any(
        guest.call("glob_expand", pattern) for pattern in patterns
    )


def _texts_of_modules(guest: Appliance, folder: str) -> Iterator[tuple[str, str]]:
    for name in ("modules.dep", "modules.builtin", "pkgbase"):
        path = f"{folder}/{name}"
        if guest.call("is_file", path) and guest.call("filesize", path) <= MOST_TABLE:
            yield name, guest.call("read_file", path).decode(errors="replace")


def _initrd(guest: Appliance, release: str, base: str) -> Initrd | None:
    """The initrd of a kernel, where distributions put it."""
    places = [
        *(
            f"/boot/{name}"
            for name in (f"initrd.img-{release}", f"initramfs-{release}.img", f"initrd-{release}")
        ),
        *([f"/boot/initramfs-{base}.img"] if base else []),
        *guest.call("glob_expand", f"/boot/*/{release}/initrd"),
        *guest.call("glob_expand", f"/boot/efi/*/{release}/initrd"),
    ]
    path = next((place for place in places if guest.call("is_file", place)), None)
    if path is None:
        return None
    path = guest.call("realpath", path)
    return initrds.holding(path, fetched(guest, path), release)


def fetched(guest: Appliance, path: str) -> bytes:
    """A large file's content; empty where it is larger than any initrd."""
    if guest.call("filesize", path) > MOST_INITRD:
        return b""
    place = Path(guest.scratch) / "fetched"
    guest.call("download", path, str(place))
    content = place.read_bytes()
    place.unlink()
    return content
