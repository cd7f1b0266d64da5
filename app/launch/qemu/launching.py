"""Starting a machine in its run folder; the lock is held by the caller."""

import os
import shutil
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.contract.words import Accelerator, Firmware
from app.launch.boot.seriallog import begin_log
from app.launch.durable import sync
from app.launch.errors import MachineRefused, MachineSilent
from app.launch.locking import hold_shared
from app.launch.machine import Forward, LaunchOrder
from app.launch.overlays import disk_serial, make_overlay
from app.launch.programs import QEMU, require_ovmf, require_program
from app.launch.qemu.commandline import OpenedDisk, OpenedMachine, address_space, command_line
from app.launch.qemu.network import free_forwards
from app.launch.qemu.process import Start, spawn
from app.launch.qemu.qmp import Qmp
from app.launch.qemu.runfolder import RunFolder
from app.launch.qemu.user import MachineUser

MIB: Final = 1024 * 1024
PORT_TRIES: Final = 5
START_SECONDS: Final = 60
_PORT_TAKEN: Final = "Could not set up host forwarding rule"


@dataclass(frozen=True)
class Launching:
    """One launch."""

    folder: RunFolder
    order: LaunchOrder
    accelerator: Accelerator
    user: MachineUser | None

    def prepare(self) -> None:
        """Make what the machine writes to: overlays, UEFI variables. A half-made folder is made anew.

        Nothing to do where that is done. Raises ToolMissing, ToolFailed.
        """
        if self.folder.prepared:
            return
        self.folder.require_removed()
        self.folder.path.mkdir(mode=0o700)
        for number, volume in enumerate(self.order.volumes):
            make_overlay(self.folder.overlay(number), volume)
        if self.order.machine.firmware is Firmware.UEFI:
            shutil.copyfile(require_ovmf().variables, self.folder.variables)
        sync(self.folder.path)
        self.folder.write_order(self.order, self.accelerator, ())

    def was_started(self) -> bool:
        """Whether its machine was ever started."""
        return self.folder.process() is not None

    def discard(self) -> None:
        """End the machine and remove its folder; harmless when there is none."""
        self.folder.require_removed()

    def start(self, lock: int) -> None:
        """Start QEMU and wait until its monitor answers; other ports where somebody took one of ours.

        Raises MachineRefused with what QEMU said.
        """
        begin_log(self.folder.serial)
        for _ in range(PORT_TRIES):
            forwards = free_forwards(self.order.machine.ports)
            self.folder.log.write_text("")
            self.folder.write_order(self.order, self.accelerator, forwards)
            self._spawn(forwards, lock)
            if self._answers():
                return
            if _PORT_TAKEN not in self.folder.last_words():
                break
        said = self.folder.last_words() or "nothing"
        raise MachineRefused(f"machine {self.order.instance} did not start; QEMU says: {said}")

    def _spawn(self, forwards: tuple[Forward, ...], lock: int) -> None:
        self.folder.record.unlink(missing_ok=True)
        with ExitStack() as stack:
            opened = self._opened(stack)
            argv = command_line(require_program(QEMU), self.order, opened, self.accelerator, forwards)
            largest = max(volume.size for volume in self.order.volumes)
            start = Start(
                argv=argv,
                record=str(self.folder.record),
                log=_descriptor(stack, self.folder.log, os.O_WRONLY | os.O_APPEND),
                lock=lock,
                memory=address_space(self.order.machine.memory_mib),
                file_bytes=largest + largest // 64 + 64 * MIB,
                user=self.user.uid if self.user else None,
                group=self.user.gid if self.user else None,
                groups=self.user.groups(self.accelerator) if self.user else (),
            )
            spawn(start, opened.descriptors)

    def _opened(self, stack: ExitStack) -> OpenedMachine:
        disks = tuple(
            OpenedDisk(
                overlay=_descriptor(stack, self.folder.overlay(number), os.O_RDWR),
                volume=_held(stack, volume.path),
                sector_size=volume.sector_size,
                serial=disk_serial(volume),
            )
            for number, volume in enumerate(self.order.volumes)
        )
        uefi = self.order.machine.firmware is Firmware.UEFI
        return OpenedMachine(
            disks=disks,
            monitor=_listening(stack, self.folder),
            serial=_descriptor(stack, self.folder.serial, os.O_WRONLY | os.O_APPEND),
            variables=_descriptor(stack, self.folder.variables, os.O_RDWR) if uefi else None,
            code=_descriptor(stack, require_ovmf().code, os.O_RDONLY) if uefi else None,
        )

    def _answers(self) -> bool:
        """Wait until QEMU's monitor greets; False where QEMU ended instead."""
        process, until = self.folder.process(), time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            process = process or self.folder.process()
            if process is not None and not process.alive():
                return False
            if process is not None and self._greeted():
                return True
            time.sleep(0.05)
        return False

    def _greeted(self) -> bool:
        try:
            with Qmp(self.folder.monitor, 2):
                return True
        except MachineSilent:
            return False


def _descriptor(stack: ExitStack, path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _held(stack: ExitStack, path: Path) -> int:
    """A volume that cannot be changed as long as the machine, which inherits this descriptor, lives."""
    descriptor = _descriptor(stack, path, os.O_RDONLY)
    hold_shared(descriptor, path)
    return descriptor


def _listening(stack: ExitStack, folder: RunFolder) -> int:
    """A listening socket in the folder, bound by the folder's descriptor since paths of sockets are short."""
    folder.monitor.unlink(missing_ok=True)
    place = _descriptor(stack, folder.path, os.O_RDONLY | os.O_DIRECTORY)
    listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listener.bind(f"/proc/self/fd/{place}/{folder.monitor.name}")
    listener.listen(8)
    return listener.fileno()
