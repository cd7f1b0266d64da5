"""Command lines of kernels, wherever a boot loader keeps them: devices by UUID, and a serial console."""

import re
from collections.abc import Callable
from typing import Final

from app.launch.conversion.devices import UNSTABLE, Devices, stable

CONSOLE: Final = "console=ttyS0,115200"
_DEVICE: Final = re.compile(r"(?<![\w.-])(root|resume|real_root|rd\.luks\.name)=(/dev/[^\s\"',]+)")
_GRUB_LINE: Final = re.compile(r"^([ \t]*(?:linux|linux16|linuxefi|kernel)[ \t]+\S+)(.*)$", re.MULTILINE)
_OPTIONS_LINE: Final = re.compile(r"^([ \t]*(?:options|append|APPEND|kernelopts=)[ \t]*)(.*)$", re.MULTILINE)
_DEFAULT_LINE: Final = re.compile(r"^([ \t]*GRUB_CMDLINE_LINUX=)([\"']?)(.*?)\2([ \t]*)$", re.MULTILINE)
_NO_UUID: Final = re.compile(r"^[ \t]*(GRUB_DISABLE_LINUX_UUID=\"?true\"?)[ \t]*$", re.MULTILINE)
Rewrite = Callable[[str], str]
ENVIRONMENT_BYTES: Final = 1024
"""A block of GRUB's environment (grub-core/lib/envblk.c): text, filled up with '#'."""


def with_stable_devices(text: str, devices: Devices, *, without_initrd: bool = False) -> str:
    """The same with root= and resume= by UUID, where the name follows the hardware and is known."""

    def by_uuid(found: re.Match[str]) -> str:
        meant = devices.find(found[2]) if UNSTABLE.fullmatch(found[2]) else None
        name = stable(meant, without_initrd=without_initrd) if meant else None
        return f"{found[1]}={name}" if name else found[0]

    return _DEVICE.sub(by_uuid, text)


def unknown_devices(text: str, devices: Devices) -> list[str]:
    """Words that name a device which is not known."""
    return [
        found[0]
        for found in _DEVICE.finditer(text)
        if UNSTABLE.fullmatch(found[2]) and devices.find(found[2]) is None
    ]


def with_uuids_allowed(text: str) -> str:
    """/etc/default/grub without the line that makes grub-mkconfig write devices' names."""
    return _NO_UUID.sub(r"#\1", text)


def with_console(text: str) -> str:
    """Every command line of grub.cfg, of loader entries, of syslinux, with a console on the serial line."""
    lines = _GRUB_LINE.sub(lambda found: found[1] + _consoled(found[2]), text)
    return _OPTIONS_LINE.sub(lambda found: found[1] + _consoled(found[2]), lines)


def with_default_console(text: str) -> str:
    """/etc/default/grub with a console on the serial line."""

    def consoled(found: re.Match[str]) -> str:
        quote = found[2] or '"'
        return f"{found[1]}{quote}{_consoled(found[3]).strip()}{quote}{found[4]}"

    return _DEFAULT_LINE.sub(consoled, text)


def _consoled(words: str) -> str:
    """With the serial console behind the others; the screen stays one, too."""
    if "console=ttyS" in words or "$kernelopts" in words or "xen" in words.split("/")[-1][:4]:
        return words
    screen = "" if re.search(r"\bconsole=", words) else " console=tty0"
    return f"{words.rstrip()}{screen} {CONSOLE}"


def environment(block: str, change: Rewrite) -> str | None:
    """A block of GRUB's environment after a change of its text; None where it does not fit any more."""
    text = change(block.rstrip("#"))
    room = ENVIRONMENT_BYTES - len(text.encode())
    return None if room < 0 else text + "#" * room
