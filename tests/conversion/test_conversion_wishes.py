"""Other addresses and cloud-init in the files of a guest, written by the appliance and read by e2fsprogs."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from app.contract.words import Firmware
from app.launch.conversion import cloudinit
from app.launch.conversion.appliance import ApplianceSettings, machine_user
from app.launch.conversion.converting import convert as made
from app.launch.conversion.facts import CardAddressing, CloudInitWish, SourceFacts, SourceNic, Wishes
from app.launch.conversion.report import ConversionReport
from app.launch.errors import WishImpossible
from app.launch.qemu.driver import QemuTarget
from tests.conversion.machines import Server, server
from tests.guests.guest import MAC, blank, run

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(600)]

MIB = 1 << 20
STATIC = CardAddressing("ens192", MAC, ("10.9.0.5/24",), ("10.9.0.1",), ("10.9.0.53",))
FACTS = SourceFacts(disks=("/dev/sda",), nics=(SourceNic("ens192", MAC),))
SECRET = "#cloud-config\npassword: s3cret\n"
NETPLAN = "/etc/netplan/50-cloud-init.yaml"
INTERFACES = "/etc/network/interfaces"
GUEST = {
    "/etc/fstab": "UUID=6b1f3c1e-5b7d-4d3a-9a51-2f6c5f6f0001 / ext4 defaults 0 1\n",
    "/etc/os-release": 'PRETTY_NAME="Small Linux"\n',
    "/usr/lib/os-release": "",
    "/lib/systemd/systemd-udevd": "",
    INTERFACES: "auto ens192\niface ens192 inet static\n    address 192.168.7.20/24\n    mtu 9000\n",
    NETPLAN: "network:\n  version: 2\n  ethernets:\n    ens192:\n      addresses: [192.168.7.20/24]\n",
    "/etc/cloud/cloud.cfg": "datasource_list: [Azure]\n",
    "/var/lib/cloud/seed/nocloud/network-config": "version: 2\n",
    cloudinit.USER_DATA: "#cloud-config\n",
}
WISHES = Wishes(Firmware.BIOS, macs=(MAC,), addressing=(STATIC,), cloud_init=CloudInitWish("tst-1", SECRET))
PROGRAM = {"/usr/bin/cloud-init": "#!/usr/bin/python3\n"}


def small_linux(qemu: QemuTarget, folder: Path, files: Mapping[str, str]) -> Server:
    """A filesystem with the configuration of a Linux, and no kernel."""
    tree, disk = folder / "tree", folder / "small.raw"
    for name, text in files.items():
        place = tree / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    blank(disk, 16 * MIB)
    run("mke2fs", "-q", "-F", "-U", "6b1f3c1e-5b7d-4d3a-9a51-2f6c5f6f0001", "-d", str(tree), str(disk))
    return server(qemu, disk)


async def convert(qemu: QemuTarget, found: Server, instance: str, wishes: Wishes) -> ConversionReport:
    return await qemu.convert(found.order(instance), FACTS, wishes)


def overlay(qemu: QemuTarget) -> Path:
    return qemu.settings.runs / "ins-1" / "overlay-0.qcow2"


def read(qemu: QemuTarget, folder: Path) -> Callable[[str, str], str]:
    """What debugfs says of files of the overlay: another program than the one that wrote them."""
    raw = folder / "overlay.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(overlay(qemu)), str(raw))
    return lambda command, path: run("debugfs", "-R", f"{command} {path}", str(raw))


async def test_the_guest_has_the_addresses_and_the_seed_and_a_second_conversion_changes_nothing(
    qemu: QemuTarget, tmp_path: Path
) -> None:
    found = small_linux(qemu, tmp_path, GUEST | PROGRAM)
    report = await convert(qemu, found, "ins-1", WISHES)
    paths = {change.path for change in report.changes}
    seed = (cloudinit.META_DATA, cloudinit.USER_DATA, cloudinit.CONFIG)
    assert paths >= {INTERFACES, NETPLAN, *seed, *cloudinit.OTHERS[:1]}
    assert "s3cret" not in str(report)

    guest = read(qemu, tmp_path)
    assert guest("cat", INTERFACES) == (
        "auto ens192\niface ens192 inet static\n    address 10.9.0.5/24\n    gateway 10.9.0.1\n"
        "    dns-nameservers 10.9.0.53\n    mtu 9000\n"
    )
    assert "      - 10.9.0.5/24\n" in guest("cat", NETPLAN)
    assert guest("cat", cloudinit.META_DATA) == "instance-id: tst-1\n"
    assert guest("cat", cloudinit.USER_DATA) == SECRET
    assert "Mode:  0600 " in guest("stat", cloudinit.USER_DATA), "only root reads it"
    assert "Mode:  0644 " in guest("stat", cloudinit.META_DATA)
    assert "datasource_list: [NoCloud, None]" in guest("cat", cloudinit.CONFIG)
    assert "network-config" not in guest("ls", cloudinit.SEED)
    settings = ApplianceSettings(qemu.settings.appliance, machine_user("nobody"))
    again = await made((overlay(qemu),), FACTS, WISHES, settings)
    assert (again.changes, again.warnings) == ((), report.warnings)


async def test_a_guest_without_cloud_init_is_refused_and_nothing_of_it_is_left(
    qemu: QemuTarget, tmp_path: Path
) -> None:
    found = small_linux(qemu, tmp_path, GUEST)
    with pytest.raises(WishImpossible, match="not installed in the guest") as failure:
        await convert(qemu, found, "ins-1", WISHES)
    assert "launch-settings" in str(failure.value.remedy)
    assert not (qemu.settings.runs / "ins-1").exists()
