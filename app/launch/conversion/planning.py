"""What has to change so that the disks boot in the new machine: a pure function of what was found.

What boots already is left alone, and planning again after a conversion gives no changes.
"""

from app.contract.words import Firmware
from app.launch.conversion import cloudinit, commandline, drivers, loaders, network, tables
from app.launch.conversion.changes import Draft, InitrdChange, Plan
from app.launch.conversion.devices import Devices
from app.launch.conversion.facts import SourceFacts, Wishes
from app.launch.conversion.inspection import Initrd, InitrdMaker, Inspection, Kernel
from app.launch.conversion.readdressing.choosing import readdress

NAMES = "devices are named by UUID: their names follow the hardware"
DRIVERS = "drivers of the new machine's disks"
CONSOLE = "the boot is to be seen on the serial line"
LVM = "LVM finds its volumes by what is on the disks"
INITRAMFS_MODULES = "/etc/initramfs-tools/modules"
DRACUT = "/etc/dracut.conf.d/go2cloud.conf"
LVM_DEVICES = "etc/lvm/devices/system.devices"
LVM_LOCAL = "etc/lvm/lvmlocal.conf"
LVM_TEXT = "# Made by go2cloud: the disks have other names now.\ndevices {\n\tuse_devicesfile = 0\n}\n"
MODULES_LOAD = "etc/modules-load.d/go2cloud.conf"


def plan(inspection: Inspection, facts: SourceFacts, wishes: Wishes) -> Plan:
    """The changes, and what an operator should know. No root filesystem: no changes.

    Whatever is refused because it was asked for and cannot be, nothing is to be changed.
    """
    draft = Draft.of(inspection.files)
    draft.warnings.extend(inspection.findings)
    if inspection.root is None:
        if wishes.addressing or wishes.cloud_init:
            draft.refusals.append(
                f"other addresses or cloud-init were asked for, and {inspection.findings[0]}"
            )
        return draft.plan()
    devices = Devices(facts, inspection.filesystems)
    _tables(draft, devices)
    _command_lines(draft, devices, inspection)
    if wishes.serial_console:
        _console(draft)
    draft.remove("/" + LVM_DEVICES, LVM)
    for kernel in inspection.kernels:
        _kernel(draft, kernel, devices, wishes)
    readdress(draft, inspection, facts, wishes)
    _cards(draft, inspection, facts, wishes)
    cloudinit.settle(draft, inspection, wishes, _command_line(draft))
    loaders.add_agents(draft, inspection)
    if wishes.firmware is Firmware.UEFI:
        loaders.add_fallback(draft, inspection, facts)
    return draft.plan()


def _tables(draft: Draft, devices: Devices) -> None:
    for path, change in (("/etc/fstab", tables.fstab), ("/etc/crypttab", tables.crypttab)):
        if path in draft.files:
            draft.edit(path, change(draft.files[path], devices), NAMES)
    for entry in tables.missing(draft.files.get("/etc/fstab", ""), devices):
        draft.warnings.append(f"/etc/fstab: {entry} is on none of the disks; the boot does not wait for it")


def _is_environment(path: str) -> bool:
    return path.endswith("/grubenv")


def _is_command_line(path: str) -> bool:
    return path.startswith(("/boot/", "/etc/default/grub")) or path == "/etc/kernel/cmdline"


def _command_line(draft: Draft) -> str:
    """All words of all command lines."""
    return " ".join(text for path, text in draft.files.items() if _is_command_line(path))


def _command_lines(draft: Draft, devices: Devices, inspection: Inspection) -> None:
    bare = bool(inspection.kernels) and not any(kernel.initrd for kernel in inspection.kernels)
    for path, text in list(draft.files.items()):
        if _is_command_line(path):
            _edit_boot(
                draft, path, lambda old: commandline.with_stable_devices(old, devices, without_initrd=bare)
            )
            draft.warnings.extend(
                f"{path}: {word} names a device that no disk here has; it stays as it is"
                for word in commandline.unknown_devices(text, devices)
            )
        elif path.startswith("/etc/initramfs-tools/conf.d/"):
            draft.edit(path, _resume(text, devices), NAMES)
    default = draft.files.get("/etc/default/grub")
    if default is not None:
        draft.edit("/etc/default/grub", commandline.with_uuids_allowed(default), NAMES)


def _resume(text: str, devices: Devices) -> str:
    """initramfs-tools writes RESUME=/dev/sda2."""
    changed = commandline.with_stable_devices(text.replace("RESUME=", "resume="), devices)
    return changed.replace("resume=", "RESUME=")


def _edit_boot(draft: Draft, path: str, change: commandline.Rewrite, reason: str = NAMES) -> None:
    text = draft.files[path]
    if not _is_environment(path):
        draft.edit(path, change(text), reason)
        return
    block = commandline.environment(text, change)
    if block is None:
        draft.warnings.append(f"{path} has no room for its changed command line; it stays as it is")
    elif block.rstrip("#") != text.rstrip("#"):
        draft.edit(path, block, reason)


def _console(draft: Draft) -> None:
    before = dict(draft.files)
    for path in before:
        if path.startswith("/boot/"):
            _edit_boot(draft, path, commandline.with_console, CONSOLE)
    default = draft.files.get("/etc/default/grub")
    if default is not None and draft.files != before:
        draft.edit("/etc/default/grub", commandline.with_default_console(default), CONSOLE)


def _kernel(draft: Draft, kernel: Kernel, devices: Devices, wishes: Wishes) -> None:
    absent = drivers.impossible(kernel, wishes.bus)
    if absent:
        draft.warnings.append(
            f"kernel {kernel.release} has no {', '.join(absent)} and finds no disk at {wishes.bus}; "
            "take another bus"
        )
    lacking = [name for name in drivers.lacking(kernel, wishes.bus) if name not in absent]
    if kernel.initrd is None:
        if lacking:
            draft.warnings.append(
                f"kernel {kernel.release} has no initrd that is known here, and {', '.join(lacking)} as "
                "modules: where it boots as a unified kernel image, it has to be made anew on the source"
            )
        return
    if kernel.initrd.unreadable:
        draft.warnings.append(
            f"{kernel.initrd.path} cannot be completed: {kernel.initrd.unreadable}; it stays as it is"
        )
        return
    modules = drivers.to_add(kernel) if lacking else ()
    texts = _texts(kernel.initrd, modules, devices)
    if modules or texts:
        reason = DRIVERS if modules else NAMES
        draft.others.append(
            InitrdChange(kernel.initrd.path, kernel.release, modules, texts, kernel.initrd.lib, reason)
        )
    if modules:
        _next_update(draft, kernel.initrd)


def _texts(initrd: Initrd, modules: tuple[str, ...], devices: Devices) -> dict[str, str]:
    """Texts of an initrd that have to be others than they are."""
    texts = {}
    names = [drivers.name_of(path) for path in modules]
    if names and initrd.maker is InitrdMaker.INITRAMFS_TOOLS:
        texts["conf/modules"] = _with_lines(initrd.texts.get("conf/modules", ""), names)
    elif names and initrd.maker is InitrdMaker.DRACUT:
        texts[MODULES_LOAD] = _with_lines(initrd.texts.get(MODULES_LOAD, ""), names)
    for name, text in initrd.texts.items():
        if name.startswith("conf/conf.d/") and _resume(text, devices) != text:
            texts[name] = _resume(text, devices)
        is_secret = name.startswith(("etc/crypttab", "cryptroot/crypttab"))
        if is_secret and tables.crypttab(text, devices) != text:
            texts[name] = tables.crypttab(text, devices)
    if LVM_DEVICES in initrd.texts and initrd.texts.get(LVM_LOCAL) != LVM_TEXT:
        texts[LVM_LOCAL] = LVM_TEXT
    return texts


def _with_lines(text: str, lines: list[str]) -> str:
    there = {line.strip() for line in text.splitlines()}
    missing = [line for line in lines if line not in there]
    begin = text if not text or text.endswith("\n") else text + "\n"
    return begin + "".join(line + "\n" for line in missing)


def _next_update(draft: Draft, initrd: Initrd) -> None:
    """The initrd that the next update of the kernel makes has the drivers, too."""
    reason = "the next update of the kernel keeps the drivers"
    if initrd.maker is InitrdMaker.INITRAMFS_TOOLS:
        text = draft.files.get(INITRAMFS_MODULES, "")
        draft.edit(INITRAMFS_MODULES, _with_lines(text, list(drivers.ALL)), reason)
    elif initrd.maker is InitrdMaker.DRACUT:
        draft.edit(DRACUT, f'add_drivers+=" {" ".join(drivers.ALL)} "\n', reason)
    else:
        draft.warnings.append(
            f"{initrd.path} is of an unknown kind ({initrd.maker}): have the next update of the kernel "
            f"keep {', '.join(drivers.ALL)}"
        )


def _cards(draft: Draft, inspection: Inspection, facts: SourceFacts, wishes: Wishes) -> None:
    reason = "the network card keeps its name"
    for mac in network.shared_addresses(facts.nics):
        draft.warnings.append(
            f"several network cards have the address {mac}, as in a bond: check their names"
        )
    for nic in network.to_pin(facts.nics, draft.files, _command_line(draft)):
        if wishes.macs is not None and nic.mac not in wishes.macs:
            draft.warnings.append(
                f"the network card {nic.name} ({nic.mac}) is configured, and the new machine has none like it"
            )
        if inspection.has_link_files:
            draft.edit(*network.link_file(nic), reason)
        else:
            rules = draft.files.get(network.RULES, "")
            draft.edit(network.RULES, rules + network.rule(nic), reason)
