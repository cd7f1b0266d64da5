"""Reading a serial log: how far the machine came and when, and the failures that have a name.

What SeaBIOS, OVMF, GRUB, Linux, initramfs-tools, dracut and systemd write is matched literally. The log is
read in pieces as it grows; a line that was cut in two is looked at again, with its rest.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.contract.words import BootFailure, BootPhase

MOST_KERNELS: Final = 4
"""Starts of a kernel in one boot before it counts as a loop; a relabelling guest needs two."""
MOST_WORDS: Final = 300
"""Characters of a failure's words: a line of the guest's can be as long as it likes."""
_TAIL: Final = 400
"""Characters that are kept for a phrase that continues in the next piece."""
_ANSI: Final = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[c78=>])|[\x00\r\x07]")
_KERNEL: Final = re.compile(r"Linux version \d")

_PHASES: Final[Mapping[BootPhase, re.Pattern[str]]] = {
    BootPhase.FIRMWARE: re.compile(r"SeaBIOS \(version|BdsDxe: |UEFI firmware|EDK II|iPXE"),
    BootPhase.BOOTLOADER: re.compile(
        r"GRUB loading|Welcome to GRUB|GNU GRUB|SYSLINUX|EXTLINUX|LILO|Loading Linux|systemd-boot"
    ),
    BootPhase.KERNEL: re.compile(r"Linux version \d|^\[ *\d+\.\d{6}\] ", re.MULTILINE),
    BootPhase.LOGIN: re.compile(r"^(?!Last )[\w.-]* ?login: ", re.MULTILINE),
}

_FAILURES: Final[Mapping[BootFailure, re.Pattern[str]]] = {
    BootFailure.KERNEL_PANIC: re.compile(r"Kernel panic - not syncing.*|end Kernel panic.*"),
    BootFailure.INITRAMFS_SHELL: re.compile(
        r"^\(initramfs\).*|^dracut:/?#.*|/run/initramfs/rdsosreport\.txt", re.MULTILINE
    ),
    BootFailure.EMERGENCY_MODE: re.compile(
        r"You are in (?:emergency|rescue) mode.*|Give root password for maintenance.*"
        r"|Cannot open access to console, the root account is locked.*"
    ),
    BootFailure.NO_BOOTABLE_DEVICE: re.compile(
        r"No bootable device.*|BdsDxe: No bootable option or device was found.*"
        r"|UEFI Interactive Shell.*|^Shell> ",
        re.MULTILINE,
    ),
    BootFailure.BOOTLOADER_FAILED: re.compile(
        r"^grub rescue>.*|^grub> .*|^GRUB Hard Disk Error.*|^boot: $|you need to load the kernel first",
        re.MULTILINE,
    ),
}


@dataclass(frozen=True)
class NamedFailure:
    """A failure, and the words of the machine or the hypervisor that showed it."""

    reason: BootFailure
    words: str


@dataclass
class SerialReader:
    """Takes a serial log piece by piece.

    `phases` has the seconds after the launch at which each phase was first seen; the reader of a log that was
    written before it looked learns no better time than its own.
    """

    phases: dict[BootPhase, float] = field(default_factory=dict)
    failure: NamedFailure | None = None
    kernels: int = 0
    characters: int = 0
    """How much the machine wrote, control codes not counted."""
    _rest: str = ""
    _pending: bytes = b""

    def feed(self, data: bytes, after: float) -> None:
        """Look at what the machine wrote next, `after` seconds after the launch."""
        whole = self._pending + data
        cut = _escape_at_the_end(whole)
        self._pending = whole[cut:]
        fresh = _ANSI.sub("", whole[:cut].decode("utf-8", "replace"))
        self.characters += len(fresh.strip())
        text = self._rest + fresh
        self._note_phases(text, after)
        self._note_failures(text)
        self.kernels += sum(1 for found in _KERNEL.finditer(text) if found.end() > len(self._rest))
        if self.kernels >= MOST_KERNELS and self.failure is None:
            self.failure = NamedFailure(BootFailure.REBOOT_LOOP, f"the kernel started {self.kernels} times")
        self._rest = text[-_TAIL:]

    def _note_phases(self, text: str, after: float) -> None:
        for phase, pattern in _PHASES.items():
            if phase not in self.phases and pattern.search(text):
                self.phases[phase] = after

    def _note_failures(self, text: str) -> None:
        for reason, pattern in _FAILURES.items():
            found = pattern.search(text)
            if self.failure is None and found:
                self.failure = NamedFailure(reason, found.group().strip()[:MOST_WORDS])


def _escape_at_the_end(data: bytes) -> int:
    """Where an unfinished control sequence begins, at most 16 bytes before the end; else the length."""
    at = data.rfind(b"\x1b", max(0, len(data) - 16))
    if at < 0 or _ANSI.match(data[at:].decode("latin-1")):
        return len(data)
    return at


def readable(data: bytes) -> str:
    """A piece of a serial log without control codes."""
    return _ANSI.sub("", data.decode("utf-8", "replace"))
