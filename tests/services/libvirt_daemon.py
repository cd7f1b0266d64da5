"""A real libvirtd of our own, with QEMU, that touches nothing of the machine.

It runs as root in namespaces of its own: of mounts, where its folders are in memory, its QEMU's user is known
and KVM is hidden, since on some machines it hangs; and of processes, where its machines end with it, whatever
ends the tests. One apart has also a network of its own: libvirt's networks, bridges and rules exist nowhere
else, and no port leads there.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.processes import Service, required_binary

PACKAGE = "libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients"
SETUP = """\
set -e
for place in /run /var/lib /var/log /var/cache /etc/libvirt; do mount -t tmpfs none $place; done
(cat /etc/passwd; echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin') > /run/passwd
(cat /etc/group; echo 'libvirt-qemu:x:64055:') > /run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
if test -e /dev/kvm; then
  touch /run/kvm
  chmod 0 /run/kvm
  mount --bind /run/kvm /dev/kvm
fi
cat > /etc/libvirt/qemu.conf <<END
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
END
cat > /etc/libvirt/libvirtd.conf <<END
auth_unix_rw = "none"
unix_sock_dir = "$1"
END
libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid &
wait $!
"""
"""The shell stays as the namespace's first process: it buries QEMU's processes, which libvirtd does not."""


@dataclass(frozen=True)
class LibvirtDaemon:
    """A running daemon."""

    folder: Path
    """Short, and open to the user that its QEMU runs as: a place for pools."""

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.folder}/libvirt-sock"

    def virsh(self, *arguments: str) -> str:
        """What a command prints; it must succeed."""
        command = ["virsh", "--quiet", "-c", self.uri, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def define(self, kind: str, text: str) -> None:
        """Define a domain (`define`), or a network (`net-define`)."""
        description = self.folder / "description.xml"
        description.write_text(text)
        self.virsh(kind, str(description))

    def answers(self) -> bool:
        command = ["virsh", "-c", self.uri, "version"]
        return subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def libvirt_daemon(*namespaces: str) -> Iterator[LibvirtDaemon]:
    """A daemon, ended with all its machines at the end; `namespaces` are further options of unshare."""
    required_binary("libvirtd", PACKAGE)
    required_binary("virsh", PACKAGE)
    folder = Path(tempfile.mkdtemp(prefix="g2c-virt-"))
    folder.chmod(0o711)
    unshare = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        *namespaces,
    ]
    daemon = LibvirtDaemon(folder)
    command = [*unshare, "sh", "-c", SETUP, "libvirtd", str(folder)]
    service = Service(command, folder / "log", daemon.answers)
    try:
        service.start()
        yield daemon
    finally:
        service.kill()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[LibvirtDaemon]:
    """A daemon whose machines' ports are forwarded to our own 127.0.0.1."""
    with libvirt_daemon() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def libvirtd_apart() -> Iterator[LibvirtDaemon]:
    """A daemon with a network of its own."""
    with libvirt_daemon("--net") as daemon:
        yield daemon
