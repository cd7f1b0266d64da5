"""What the agent reports for a conversion: names of devices, and what the firmware starts."""

import struct
from pathlib import Path

from app.agent.daemon.inventory.boot import efi_loaders, loader_of
from app.agent.daemon.inventory.links import links_below
from app.agent.daemon.inventory.registry import collect
from app.wire import jsonform
from app.wire.messages import DeviceLink, Inventory

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM = "\\EFI\\debian\\shimx64.efi"


def node(kind: int, subkind: int, content: bytes) -> bytes:
    return struct.pack("<BBH", kind, subkind, 4 + len(content)) + content


def option(file: str, description: str = "debian") -> bytes:
    """A load option: a partition, a file, the end."""
    path = node(4, 1, bytes(38)) + node(4, 4, (file + "\0").encode("utf-16-le")) + node(0x7F, 0xFF, b"")
    words = (description + "\0").encode("utf-16-le")
    return struct.pack("<IH", 1, len(path)) + words + path + b"optional data"


def test_the_file_of_a_load_option_is_found() -> None:
    assert loader_of(option(SHIM)) == SHIM


def test_damaged_load_options_name_no_file() -> None:
    whole = option(SHIM)
    assert [loader_of(whole[:end]) for end in (0, 4, 9, 20, 40)] == [""] * 5
    assert loader_of(struct.pack("<IH", 1, 4) + b"\0\0" + bytes(4)) == ""


def test_the_loader_of_this_boot_comes_first(tmp_path: Path) -> None:
    def variable(name: str, content: bytes) -> None:
        (tmp_path / f"{name}-{GLOBAL}").write_bytes(bytes(4) + content)

    variable("BootOrder", struct.pack("<3H", 0, 7, 0xAB))
    variable("BootCurrent", struct.pack("<H", 0xAB))
    variable("Boot0000", option("\\EFI\\first.efi"))
    variable("Boot00AB", option(SHIM))
    assert list(efi_loaders(tmp_path)) == [SHIM, "\\EFI\\first.efi"]
    assert list(efi_loaders(tmp_path / "none")) == []


def test_links_lead_to_devices(tmp_path: Path) -> None:
    (tmp_path / "sda1").touch()
    folder = tmp_path / "disk/by-uuid"
    folder.mkdir(parents=True)
    (folder / "1-2").symlink_to("../../sda1")
    assert list(links_below(tmp_path)) == [DeviceLink(str(folder / "1-2"), str(tmp_path / "sda1"))]


def test_this_host_is_described_without_a_warning() -> None:
    found = collect(())
    assert found.boot is not None
    assert found.boot.command_line
    assert not [each for each in found.warnings if each.startswith(("boot", "names of devices"))]
    assert jsonform.decode(Inventory, jsonform.encode(found)) == found
