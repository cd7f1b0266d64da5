"""A guest at work on this kernel: its disks under the names that it has for them, its card, its program.

The disks are loop devices. In namespaces of mounts and network they are /dev/sda and so on, as on the machine
that the guest was installed on, and the only card is the guest's; the agent and the program live in there.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.contract.words import BootFailure, Firmware
from tests.daemon.live_disks import is_free
from tests.e2e.bootable_source import BootableSource, attached, with_hook
from tests.e2e.deployment import Deployment, until
from tests.e2e.source_host import AGENT, SourceHost, enrolled_as
from tests.guests.guest import ADDRESS, GATEWAY, MAC, run
from tests.services.processes import required_binary

CARD: Final = "ens192"
FREE_SECONDS: Final = 60.0
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_SPACE: Final = """\
set -e
mount --make-rprivate /
mount -t sysfs sysfs /sys
mount -t tracefs tracefs /sys/kernel/tracing
mkdir {dev} {root}
mount -t tmpfs -o mode=755 devices {dev}
ln -s /proc/self/fd {dev}/fd
mkdir {dev}/shm
{nodes}
mount --move {dev} /dev
mount {options} {mounted} {root}
echo ready
exec sleep infinity
"""


@dataclass(frozen=True)
class Guest:
    """How a guest is made, which of its filesystems is mounted meanwhile, and where its program writes."""

    build: Callable[[Path], tuple[Path, ...]]
    mounted: str
    options: str = ""
    page: str = "srv/ledger.txt"
    """In the mounted filesystem; the guest serves it as /ledger.txt."""
    firmware: Firmware = Firmware.BIOS
    is_quiet: bool = False
    """Whether its kernel is told to say nothing but warnings: its start is seen by luck alone."""
    unconverted: BootFailure | None = None
    """How it ends without its conversion; None: that is not tried."""


@dataclass(frozen=True)
class GuestHost:
    """Where the guest is at work: `process` is one of the namespaces."""

    source: BootableSource
    process: int
    disks: tuple[Path, ...]

    def agent(self, state: Path) -> SourceHost:
        """Its agent, not enrolled."""
        return SourceHost(state, program=(*entered(self.process), *AGENT))

    def enroll(self, agent: SourceHost, deployment: Deployment) -> str:
        """Enrol by the guest's card, with its disks; the id of the new server."""
        options = [option for disk in self.disks for option in ("--disk", str(disk))]
        url = f"http://{GATEWAY}:{deployment.ports['all']}"
        known = ("--url", url, "--allow-plain-http", "--token", deployment.install_token())
        agent.call("enroll", "--no-preflight", *known, *options)
        return enrolled_as(agent)


def entered(process: int) -> tuple[str, ...]:
    """What goes before a command that is to run in the namespaces of a process, in this directory."""
    spaces = (f"--mount=/proc/{process}/ns/mnt", f"--net=/proc/{process}/ns/net")
    return (required_binary("nsenter", "util-linux"), *spaces, f"--wdns={Path.cwd()}", "--")


@contextmanager
def at_work(guest: Guest, folder: Path) -> Iterator[GuestHost]:
    """The guest, whose program runs; at the end nothing of it is left."""
    with ExitStack() as stack:
        loops = [stack.enter_context(attached(disk)) for disk in guest.build(folder)]
        process = stack.enter_context(_namespaces(guest, folder, loops))
        page = folder / "root" / guest.page
        python = " ".join((*entered(process), sys.executable))
        source = with_hook(BootableSource(loops[0], folder), page, python)
        stack.enter_context(source.at_work())
        yield GuestHost(source, process, tuple(Path("/dev", name) for name, _ in _names(loops)))


def _names(loops: list[Path]) -> list[tuple[str, Path]]:
    return [(f"sd{letter}", device) for letter, device in zip("abcd", loops, strict=False)]


def _nodes(dev: Path, loops: list[Path]) -> Iterator[str]:
    """Commands that make the device files, those of the loop devices under the kernel's names as well."""
    for name in _DEVICES:
        yield f"cp -a /dev/{name} {dev}"
    for name, device in _names(loops):
        for node in sorted(device.parent.glob(f"{device.name}*")):
            if node == device or node.name.startswith(f"{device.name}p"):
                number = node.name.removeprefix(device.name).removeprefix("p")
                yield f"cp -a {node} {dev}/{name}{number}; cp -a {node} {dev}"


@contextmanager
def _namespaces(guest: Guest, folder: Path, loops: list[Path]) -> Iterator[int]:
    """A process in them, with the guest's filesystem mounted and its card up."""
    dev, root = folder / "dev", folder / "root"
    nodes = "\n".join(_nodes(dev, loops))
    script = _SPACE.format(dev=dev, root=root, nodes=nodes, options=guest.options, mounted=guest.mounted)
    unshare = required_binary("unshare", "util-linux")
    with subprocess.Popen([unshare, "-mn", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n", "the filesystem is mounted"
            _plug(process.pid)
            yield process.pid
        finally:
            process.kill()
            process.wait()
            until(lambda: all(map(is_free, loops)), FREE_SECONDS, f"{loops} are free")


def _plug(process: int) -> None:
    """The guest's card, whose other end has the address of its gateway; both go with the namespace."""
    near, ip = f"g2c{process}", required_binary("ip", "iproute2")
    run(ip, "link", "add", near, "type", "veth", "peer", "name", CARD, "address", MAC, "netns", str(process))
    run(ip, "address", "add", f"{GATEWAY}/24", "dev", near)
    run(ip, "link", "set", near, "up")
    inside = (*entered(process), ip)
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "address", "add", ADDRESS, "dev", CARD)
    run(*inside, "link", "set", CARD, "up")
    run(*inside, "route", "add", "default", "via", GATEWAY)
