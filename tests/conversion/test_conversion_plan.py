"""What is changed and what is left alone, decided from values: no appliance, no disk."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from app.contract.words import DiskBus, Firmware
from app.launch.conversion.changes import CopyChange, FileChange, InitrdChange, Plan
from app.launch.conversion.facts import SourceDevice, SourceFacts, SourceMount, SourceNic, Wishes
from app.launch.conversion.inspection import Filesystem, Initrd, InitrdMaker, Inspection, Kernel
from app.launch.conversion.planning import LVM_LOCAL, plan

ROOT = Filesystem("/dev/sda1", "ext4", "aaaa-1", "p-1", "rootfs")
SWAP = Filesystem("/dev/sda2", "swap", "bbbb-2", "p-2")
MAC = "00:50:56:aa:bb:01"
FACTS = SourceFacts(
    disks=("/dev/sda",),
    devices=(
        SourceDevice("/dev/sda1", "aaaa-1", "p-1", "ext4", ("/dev/disk/by-path/pci-0-part1",)),
        SourceDevice("/dev/sda2", "bbbb-2", "p-2", "swap"),
        SourceDevice("/dev/sdb1", "cccc-3", "p-3", "ext4"),
    ),
    mounts=(SourceMount("/dev/sda1", "/", "ext4"),),
    nics=(SourceNic("ens192", MAC),),
)
NEEDS = {
    "kernel/drivers/virtio/virtio_ring.ko": ("kernel/drivers/virtio/virtio.ko",),
    "kernel/drivers/virtio/virtio.ko": ("kernel/drivers/virtio/virtio_ring.ko",),
    "kernel/drivers/virtio/virtio_pci.ko": (
        "kernel/drivers/virtio/virtio_pci_modern_dev.ko",
        "kernel/drivers/virtio/virtio.ko",
        "kernel/drivers/virtio/virtio_ring.ko",
    ),
    "kernel/drivers/virtio/virtio_pci_modern_dev.ko": (),
    "kernel/drivers/block/virtio_blk.ko.xz": ("kernel/drivers/virtio/virtio.ko",),
    "kernel/drivers/scsi/sd_mod.ko": (),
    "kernel/drivers/scsi/virtio-scsi.ko": ("kernel/drivers/virtio/virtio.ko",),
    "kernel/drivers/ata/ahci.ko": ("kernel/drivers/ata/libahci.ko",),
    "kernel/drivers/ata/libahci.ko": (),
}
INITRD = Initrd("/boot/initrd.img-6.1", 1000, InitrdMaker.INITRAMFS_TOOLS, frozenset(("sd_mod",)))
READY = frozenset(("sd_mod", "virtio", "virtio_ring", "virtio_pci", "virtio_pci_modern_dev", "virtio_blk"))
KERNEL = Kernel("6.1", NEEDS, frozenset(("nvme", "scsi_mod")), INITRD)
CONSOLES = " console=tty0 console=ttyS0,115200"
GRUB = "menuentry 'Linux' {\n\tlinux\t/vmlinuz-6.1 root=/dev/sda1 ro quiet\n\tinitrd\t/initrd.img-6.1\n}\n"
FILES = {
    "/etc/fstab": "# /dev/sda1\n/dev/sda1 / ext4 errors=remount-ro 0 1\n/dev/sda2\tnone\tswap\tsw\t0 0\n",
    "/boot/grub/grub.cfg": GRUB,
    "/etc/network/interfaces": "iface ens192 inet static\n  address 10.1.2.3/24\n  gateway 10.1.2.1\n",
}
GOOD = {
    "/etc/fstab": "UUID=aaaa-1 / ext4 defaults 0 1\n",
    "/boot/grub/grub.cfg": "\tlinux /vmlinuz root=UUID=aaaa-1 ro console=ttyS0\n",
}


def inspection(files: Mapping[str, str] = FILES, *kernels: Kernel) -> Inspection:
    return Inspection((ROOT, SWAP), ROOT, "Debian", files, kernels or (KERNEL,))


def texts(planned: Plan) -> dict[str, str | None]:
    """The files as they will be."""
    return {each.path: each.after for each in planned.changes if isinstance(each, FileChange)}


def initrds(planned: Plan) -> list[InitrdChange]:
    return [each for each in planned.changes if isinstance(each, InitrdChange)]


def edited(path: str, text: str, facts: SourceFacts = FACTS, wishes: Wishes | None = None) -> str | None:
    """What becomes of one file on a system that boots by itself otherwise."""
    files = {**GOOD, path: text}
    ready = replace(KERNEL, initrd=replace(INITRD, modules=READY))
    return texts(plan(inspection(files, ready), facts, wishes or Wishes())).get(path, text)


def test_devices_are_named_by_uuid() -> None:
    after = texts(plan(inspection(), FACTS, Wishes()))
    assert after["/etc/fstab"] == (
        "# /dev/sda1\nUUID=aaaa-1 / ext4 errors=remount-ro 0 1\nUUID=bbbb-2\tnone\tswap\tsw\t0 0\n"
    )
    assert "root=UUID=aaaa-1 ro quiet console=tty0 console=ttyS0,115200\n" in str(
        after["/boot/grub/grub.cfg"]
    )


def test_what_boots_already_is_left_alone() -> None:
    ready = replace(KERNEL, initrd=replace(INITRD, modules=READY))
    assert plan(inspection(GOOD, ready), FACTS, Wishes()) == Plan()


def test_planning_again_after_the_changes_gives_none() -> None:
    files = {**FILES, "/etc/default/grub": 'GRUB_CMDLINE_LINUX="quiet"\nGRUB_DISABLE_LINUX_UUID=true\n'}
    first = plan(inspection(files), FACTS, Wishes())
    (change,) = initrds(first)
    held = frozenset(path.rpartition("/")[2].partition(".ko")[0].replace("-", "_") for path in change.modules)
    after = replace(KERNEL, initrd=replace(INITRD, modules=INITRD.modules | held, texts=change.texts))
    done = {path: text for path, text in {**files, **texts(first)}.items() if text is not None}
    assert plan(inspection(done, after), FACTS, Wishes()) == Plan()


def test_a_plan_is_the_same_each_time() -> None:
    assert plan(inspection(), FACTS, Wishes()) == plan(inspection(), FACTS, Wishes())


def test_every_installed_kernel_gets_the_modules_that_its_initrd_lacks_and_what_they_need() -> None:
    other = replace(KERNEL, release="5.10", initrd=replace(INITRD, path="/boot/initrd.img-5.10"))
    found = initrds(plan(inspection(FILES, KERNEL, other), FACTS, Wishes()))
    assert [each.path for each in found] == ["/boot/initrd.img-6.1", "/boot/initrd.img-5.10"]
    assert found[0].modules == (
        "kernel/drivers/ata/ahci.ko",
        "kernel/drivers/ata/libahci.ko",
        "kernel/drivers/block/virtio_blk.ko.xz",
        "kernel/drivers/scsi/virtio-scsi.ko",
        "kernel/drivers/virtio/virtio.ko",
        "kernel/drivers/virtio/virtio_pci.ko",
        "kernel/drivers/virtio/virtio_pci_modern_dev.ko",
        "kernel/drivers/virtio/virtio_ring.ko",
    )
    assert "virtio_blk" in found[0].texts["conf/modules"].split()


def test_an_initrd_that_has_the_drivers_of_the_bus_stays_as_it_is() -> None:
    ready = replace(KERNEL, initrd=replace(INITRD, modules=READY))
    assert initrds(plan(inspection(FILES, ready), FACTS, Wishes())) == []
    assert initrds(plan(inspection(FILES, ready), FACTS, Wishes(bus=DiskBus.SATA))) != []


def test_drivers_in_the_kernel_itself_are_not_added() -> None:
    solid = replace(KERNEL, builtin=KERNEL.builtin | {"virtio_pci", "virtio_blk"})
    assert initrds(plan(inspection(FILES, solid), FACTS, Wishes())) == []


def test_the_next_update_of_the_kernel_keeps_the_drivers() -> None:
    after = texts(plan(inspection(), FACTS, Wishes()))
    assert "virtio_blk" in str(after["/etc/initramfs-tools/modules"]).split()
    dracut = replace(KERNEL, initrd=replace(INITRD, maker=InitrdMaker.DRACUT))
    planned = plan(inspection(FILES, dracut), FACTS, Wishes())
    assert 'add_drivers+=" virtio ' in str(texts(planned)["/etc/dracut.conf.d/go2cloud.conf"])
    assert "virtio_blk" in initrds(planned)[0].texts["etc/modules-load.d/go2cloud.conf"].split()


def test_a_kernel_without_the_driver_at_all_is_named() -> None:
    poor = replace(KERNEL, needs={})
    planned = plan(inspection(FILES, poor), FACTS, Wishes())
    assert "kernel 6.1 has no virtio_pci, virtio_blk" in planned.warnings[0]


def test_an_unreadable_or_unified_image_is_named_and_stays() -> None:
    odd = replace(KERNEL, initrd=replace(INITRD, unreadable="it is a program of UEFI, not an initrd"))
    planned = plan(inspection(GOOD, odd), FACTS, Wishes())
    assert planned.changes == ()
    assert "cannot be completed" in planned.warnings[0]
    bare = plan(inspection(GOOD, replace(KERNEL, initrd=None)), FACTS, Wishes())
    assert "unified kernel image" in bare.warnings[0]


def test_a_kernel_without_an_initrd_is_told_a_partition() -> None:
    bare = replace(KERNEL, initrd=None, builtin=KERNEL.builtin | {"virtio_pci", "virtio_blk"})
    after = texts(plan(inspection(FILES, bare), FACTS, Wishes()))
    assert "root=PARTUUID=p-1" in str(after["/boot/grub/grub.cfg"])


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("/dev/sdb1 /data ext4 defaults 0 2\n", "/dev/sdb1 /data ext4 defaults,nofail 0 2\n"),
        ("/dev/sdz9 /data xfs noatime\n", "/dev/sdz9 /data xfs noatime,nofail\n"),
        ("UUID=dddd-4 /data ext4 defaults 0 2\n", "UUID=dddd-4 /data ext4 defaults,nofail 0 2\n"),
        ("LABEL=rootfs /data ext4 defaults 0 2\n", None),
        ("UUID=AAAA-1 /data ext4 defaults 0 2\n", None),
        ("/dev/disk/by-path/pci-0-part1 /data ext4 ro 0 2\n", "UUID=aaaa-1 /data ext4 ro 0 2\n"),
        ("/dev/sr0 /media/cdrom iso9660 user,noauto 0 0\n", None),
        ("/dev/sdb1 /data ext4 noauto 0 2\n", None),
        ("/dev/mapper/vg-data /data ext4 defaults 0 2\n", None),
        ("tmpfs /tmp tmpfs size=1g 0 0\n", None),
        ("server:/export /mnt nfs defaults 0 0\n", None),
        ("# /dev/sda1 / ext4\n", None),
        ("broken\n", None),
    ],
)
def test_lines_of_fstab(line: str, after: str | None) -> None:
    assert edited("/etc/fstab", GOOD["/etc/fstab"] + line) == GOOD["/etc/fstab"] + (after or line)


def test_a_root_that_is_on_no_disk_is_not_hidden_by_nofail() -> None:
    text = "/dev/sdb1 / ext4 defaults 0 1\n"
    assert edited("/etc/fstab", text) == text


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("/etc/crypttab", "home /dev/sda2 none luks\n", "home UUID=bbbb-2 none luks\n"),
        ("/etc/kernel/cmdline", "root=/dev/sda1 ro\n", "root=UUID=aaaa-1 ro\n"),
        ("/boot/loader/entries/x.conf", "options root=/dev/sda1\n", f"options root=UUID=aaaa-1{CONSOLES}\n"),
        ("/boot/loader/entries/x.conf", "options $kernelopts\n", "options $kernelopts\n"),
        ("/etc/default/grub", 'GRUB_CMDLINE="resume=/dev/sda2"\n', 'GRUB_CMDLINE="resume=UUID=bbbb-2"\n'),
        ("/etc/default/grub", "GRUB_DISABLE_LINUX_UUID=true\n", "#GRUB_DISABLE_LINUX_UUID=true\n"),
        ("/etc/initramfs-tools/conf.d/resume", "RESUME=/dev/sda2\n", "RESUME=UUID=bbbb-2\n"),
        ("/boot/extlinux/extlinux.conf", " append root=/dev/sda1\n", f" append root=UUID=aaaa-1{CONSOLES}\n"),
    ],
)  # fmt: skip
def test_other_tables_and_command_lines(path: str, before: str, after: str) -> None:
    assert edited(path, before) == after


def test_the_environment_of_grub_keeps_its_size() -> None:
    head = "# GRUB Environment Block\nkernelopts=root=/dev/sda1 ro\n"
    after = edited("/boot/grub2/grubenv", head + "#" * (1024 - len(head)))
    assert after is not None
    assert len(after) == 1024
    assert after.rstrip("#").endswith("kernelopts=root=UUID=aaaa-1 ro console=tty0 console=ttyS0,115200\n")


def test_no_console_is_added_where_nobody_looks_at_it() -> None:
    text = "\tlinux /vmlinuz root=UUID=aaaa-1 ro\n"
    assert edited("/boot/grub/grub.cfg", text, wishes=Wishes(serial_console=False)) == text


def test_a_device_that_is_unknown_stays_and_is_named() -> None:
    files = {**GOOD, "/boot/grub/grub.cfg": "\tlinux /vmlinuz root=/dev/sdq7 console=ttyS0\n"}
    planned = plan(inspection(files), FACTS, Wishes())
    assert "/boot/grub/grub.cfg" not in texts(planned)
    assert any("root=/dev/sdq7" in text for text in planned.warnings)


def test_without_the_agents_word_the_place_of_the_disk_decides() -> None:
    nothing = SourceFacts()
    assert edited("/etc/fstab", "/dev/xvda2 none swap sw 0 0\n", nothing) == "UUID=bbbb-2 none swap sw 0 0\n"
    nvme = SourceFacts(disks=("/dev/nvme0n1",))
    assert edited("/etc/fstab", "/dev/nvme0n1p2 none swap sw 0 0\n", nvme) == "UUID=bbbb-2 none swap sw 0 0\n"


def test_a_configured_card_keeps_its_name() -> None:
    after = texts(plan(inspection(), FACTS, Wishes()))
    assert f"MACAddress={MAC}\nType=ether\n\n[Link]\nName=ens192\n" in str(
        after["/etc/systemd/network/05-go2cloud-ens192.link"]
    )
    old = replace(inspection(), has_link_files=False)
    rules = texts(plan(old, FACTS, Wishes()))["/etc/udev/rules.d/70-persistent-net.rules"]
    assert f'ATTR{{address}}=="{MAC}"' in str(rules)


def test_cards_that_nothing_relies_on_are_left_alone() -> None:
    files = {**FILES, "/etc/network/interfaces": "auto lo\n"}
    assert not [path for path in texts(plan(inspection(files), FACTS, Wishes())) if path.endswith(".link")]
    rule = {
        **FILES,
        "/etc/udev/rules.d/70-persistent-net.rules": f'ATTR{{address}}=="{MAC}", NAME="ens192"\n',
    }
    assert not [path for path in texts(plan(inspection(rule), FACTS, Wishes())) if path.endswith(".link")]
    plain = replace(FACTS, nics=(SourceNic("eth0", MAC),))
    grub = GOOD["/boot/grub/grub.cfg"].replace("ro", "ro net.ifnames=0")
    files = {**FILES, "/boot/grub/grub.cfg": grub, "/etc/network/interfaces": "iface eth0 inet dhcp\n"}
    assert not [path for path in texts(plan(inspection(files), plain, Wishes())) if path.endswith(".link")]


def test_the_cards_of_a_bond_are_named_and_not_told_apart_by_their_common_address() -> None:
    bond = replace(FACTS, nics=tuple(SourceNic(name, MAC) for name in ("ens192", "ens224", "bond0")))
    planned = plan(inspection(), bond, Wishes())
    assert not [path for path in texts(planned) if path.endswith(".link")]
    assert any("several network cards have the address" in text for text in planned.warnings)


def test_a_card_that_the_new_machine_lacks_is_named() -> None:
    planned = plan(inspection(), FACTS, Wishes(macs=("52:54:00:00:00:01",)))
    assert any("the new machine has none like it" in text for text in planned.warnings)


def test_uefi_finds_a_loader_without_variables() -> None:
    names = (
        "EFI/debian/shimx64.efi",
        "EFI/debian/grubx64.efi",
        "EFI/debian/grub.cfg",
        "EFI/other/grubx64.efi",
    )
    uefi = replace(inspection(GOOD), esp="/boot/efi", esp_files=names)
    facts = replace(FACTS, efi_loaders=("\\EFI\\DEBIAN\\SHIMX64.EFI",))
    planned = plan(uefi, facts, Wishes(Firmware.UEFI))
    copies = [(each.source, each.path) for each in planned.changes if isinstance(each, CopyChange)]
    assert copies == [
        ("/boot/efi/EFI/debian/shimx64.efi", "/boot/efi/EFI/BOOT/BOOTX64.EFI"),
        ("/boot/efi/EFI/debian/grubx64.efi", "/boot/efi/EFI/BOOT/grubx64.efi"),
        ("/boot/efi/EFI/debian/grub.cfg", "/boot/efi/EFI/BOOT/grub.cfg"),
    ]
    there = replace(uefi, esp_files=(*names, "EFI/Boot/bootx64.efi"))
    assert not [
        each for each in plan(there, facts, Wishes(Firmware.UEFI)).changes if isinstance(each, CopyChange)
    ]
    assert not [each for each in plan(uefi, facts, Wishes()).changes if isinstance(each, CopyChange)]


def test_uefi_without_a_system_partition_is_named() -> None:
    assert any(
        "no EFI system partition" in text
        for text in plan(inspection(), FACTS, Wishes(Firmware.UEFI)).warnings
    )


def test_agents_of_the_old_hypervisor_run_only_there() -> None:
    units = {"open-vm-tools.service": "[Unit]\n", "waagent.service": "ConditionVirtualization=microsoft\n"}
    found = replace(inspection(GOOD), units=units)
    after = texts(plan(found, FACTS, Wishes()))
    assert "ConditionVirtualization=vmware" in str(
        after["/etc/systemd/system/open-vm-tools.service.d/go2cloud.conf"]
    )
    assert not [path for path in after if "waagent" in path]


def test_lvm_forgets_the_names_of_the_disks() -> None:
    files = {**GOOD, "/etc/lvm/devices/system.devices": "IDTYPE=devname IDNAME=/dev/sda2\n"}
    held = replace(INITRD, modules=READY, texts={"etc/lvm/devices/system.devices": "IDNAME=/dev/sda2\n"})
    planned = plan(inspection(files, replace(KERNEL, initrd=held)), FACTS, Wishes())
    assert texts(planned) == {"/etc/lvm/devices/system.devices": None}
    assert list(initrds(planned)[0].texts) == [LVM_LOCAL]


def test_without_a_system_nothing_is_changed() -> None:
    planned = plan(Inspection((ROOT,), None, files=FILES, findings=("no Linux system",)), FACTS, Wishes())
    assert planned == Plan((), ("no Linux system",))
