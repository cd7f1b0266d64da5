"""All contestants, in the order of the tables."""

import subprocess
from collections.abc import Iterable
from typing import Final

from bench.peers.borg import BORG
from bench.peers.dd import DD
from bench.peers.go2cloud import GO2CLOUD, GO2CLOUD_TLS
from bench.peers.nbdcopy import NBDCOPY
from bench.peers.partclone import PARTCLONE
from bench.peers.peer import PeerKind
from bench.peers.qemu import QEMU
from bench.peers.rdiff import RDIFF
from bench.peers.rsync import RSYNC

OURS: Final = GO2CLOUD.name
PEERS: Final = {
    kind.name: kind for kind in (GO2CLOUD, GO2CLOUD_TLS, NBDCOPY, QEMU, DD, PARTCLONE, RSYNC, RDIFF, BORG)
}
TOOLS: Final = ("iproute2", "e2fsprogs", "coreutils", "util-linux", "mount")
"""Packages that the bench itself needs."""


def missing_packages(kinds: Iterable[PeerKind], more: Iterable[str] = ()) -> list[str]:
    """The Debian packages that these contestants, the bench and what else is named lack."""
    wanted = {package for kind in kinds for package in kind.packages} | {*TOOLS, *more}
    return sorted(package for package in wanted if not _is_installed(package))


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "-W", "-f", "${Status}", package]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.endswith("ok installed")
