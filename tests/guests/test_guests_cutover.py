"""Whole systems on their last way: replicated while they write, tested, cut over, served elsewhere, reported.

Each guest's disks are those of another hypervisor: they boot only by their conversion.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx2
import pytest

from app.client import access, cutovers, servers, tests
from app.client.transport import Client
from app.contract.cutoverwords import CutoverState
from app.contract.resources.cutover import Cutover
from app.contract.resources.launch import PortForward, ServerTest
from app.contract.words import (
    BootFailure,
    BootPhase,
    ConsistencyLabel,
    ConversionMode,
    Firmware,
    LifecycleState,
    ReplicationState,
)
from app.kit.clock import SystemClock
from app.kit.settings import load_settings
from app.migration.launch.targets import target_of
from tests.e2e.deployment import PROGRAM, USER, Deployment, embedded, run_command, until
from tests.guests.debian import cache
from tests.guests.guest import PAGE, Recipe, bios_btrfs, bios_ext4, two_disks_lvm, uefi_xfs
from tests.guests.guest_host import Guest, GuestHost, at_work
from tests.launch.conftest import end_all

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.guests, pytest.mark.timeout(1800)]

SECONDS = 300.0
SETTINGS = {
    "G2C_HTTP_LISTEN_HOST": "0.0.0.0",  # the guest's agent comes from its own network
    "G2C_AGENT__SYNC_INTERVAL_SECONDS": "5",
    "G2C_CUTOVER__STOP_SECONDS": "300",
}
GUESTS = {
    "ext4": Guest(
        lambda folder: (bios_ext4(folder / "sda.raw"),), "/dev/sda1", unconverted=BootFailure.INITRAMFS_SHELL
    ),
    "xfs-uefi": Guest(
        lambda folder: (uefi_xfs(folder / "sda.raw"),), "/dev/sda2", firmware=Firmware.UEFI, is_quiet=True
    ),
    "dracut": Guest(lambda folder: (bios_ext4(folder / "sda.raw", Recipe(dracut=True)),), "/dev/sda1"),
    "btrfs": Guest(lambda folder: (bios_btrfs(folder / "sda.raw"),), "/dev/sda1", "-o subvol=@"),
    # Its root needs a device mapper, which containers lack: /boot is mounted and written to instead.
    "lvm": Guest(
        lambda folder: two_disks_lvm(folder / "sda.raw", folder / "sdb.raw"), "/dev/sda1", page="ledger.txt"
    ),
}


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Role `all`, with the appliance that all tests share, of whose machines none outlives the test."""
    folder = tmp_path / "service"
    (folder / "launch").mkdir(parents=True)
    (cache() / "appliance").mkdir(exist_ok=True)
    (folder / "launch/appliance").symlink_to(cache() / "appliance")
    try:
        with embedded(folder, **SETTINGS) as running:
            yield running
    finally:
        settings = load_settings({"G2C_DATA_DIR": str(folder), "HOME": str(folder)})
        end_all(target_of(settings.launch, SystemClock()))


@dataclass(frozen=True)
class Operator:
    """Somebody at a terminal, and the server in question."""

    deployment: Deployment
    server: str

    @cached_property
    def environment(self) -> dict[str, str]:
        with Client(self.deployment.api_url) as anonymous:
            token = anonymous.send(access.log_in(USER, self.deployment.password)).token
        return self.deployment.environment | {
            "GO2CLOUD_URL": self.deployment.api_url,
            "GO2CLOUD_TOKEN": token,
        }

    def __call__(self, *arguments: str) -> str:
        """A command that must succeed; its output."""
        return run_command([*PROGRAM, *arguments], self.environment)

    def of_server(self, verb: str, *options: str) -> str:
        return self("server", verb, self.server, *options)

    def is_replicated_since(self, number: int) -> bool:
        """Whether replication is continuous, with a newer head than that, which is frozen."""
        with self.deployment.client() as client:
            found = client.send(servers.get(self.server))
        head = found.head_checkpoint
        is_newer = head is not None and head.label is ConsistencyLabel.FROZEN and head.number > number
        return is_newer and found.replication_state is ReplicationState.CONTINUOUS

    def head(self) -> int:
        """The number of the head; 0 before the first."""
        with self.deployment.client() as client:
            head = client.send(servers.get(self.server)).head_checkpoint
        return head.number if head else 0

    def set_machine(self, firmware: Firmware, conversion: ConversionMode) -> None:
        """The machine, and all that has to be seen of it."""
        self.of_server(
            *("launch-settings", "--reset", "--cpus", "2", "--memory", "512MiB", "--timeout", "15m"),
            *("--http", f"8080={PAGE}", "--http", r"8080/ledger.txt=\A1\n2\n3\n", "--screen"),
            *("--firmware", firmware, "--conversion", conversion),
        )

    def test(self) -> ServerTest:
        """The latest test."""
        with self.deployment.client() as client:
            return client.send(tests.get(self.server))

    def cutover(self) -> Cutover:
        """The latest cutover."""
        with self.deployment.client() as client:
            return client.send(cutovers.get(self.server))

    def lifecycle(self) -> LifecycleState:
        with self.deployment.client() as client:
            return client.send(servers.get(self.server)).lifecycle_state


def served(forwards: tuple[PortForward, ...]) -> int:
    """How many rows a machine serves, of which none is missing before the last."""
    (forward,) = forwards
    answer = httpx2.get(f"http://127.0.0.1:{forward.host}/ledger.txt", timeout=60)
    rows = [int(line) for line in answer.text.split()]
    assert rows == list(range(1, len(rows) + 1))
    return len(rows)


def fails_as_it_is(operator: Operator, guest: Guest, reason: BootFailure) -> None:
    """Without the conversion it does not boot, and cannot be made ready."""
    operator.set_machine(guest.firmware, ConversionMode.OFF)
    with pytest.raises(AssertionError, match=reason):
        operator.of_server("test", "--watch")
    assert (operator.test().passed, operator.test().reason) == (False, reason)
    with pytest.raises(AssertionError, match="did not pass"):
        operator.of_server("mark-ready")


def is_tested(operator: Operator, guest: Guest, host: GuestHost, folder: Path) -> None:
    """A checkpoint boots in isolation and serves what was acknowledged before it."""
    operator.set_machine(guest.firmware, ConversionMode.AUTO)
    before, known = operator.head(), host.source.told()
    until(lambda: operator.is_replicated_since(before + 1), SECONDS, "a checkpoint that began afterwards")
    operator.of_server("test", "--watch")
    test = operator.test()
    assert test.passed, test
    assert [(check.name, check.passed) for check in test.checks] == [
        (name, True) for name in ("login", "http", "http-2", "screen")
    ]
    seen = {each.phase for each in test.phases} | ({BootPhase.KERNEL} if guest.is_quiet else set())
    assert seen >= {BootPhase.BOOTLOADER, BootPhase.KERNEL, BootPhase.LOGIN}
    assert test.conversion is not None
    assert test.conversion.changes
    assert test.conversion.warnings == ()
    assert known <= served(test.forwards) <= host.source.told() + 1
    picture = folder / "proof.png"
    operator.of_server("screenshot", "--file", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "source login:" in operator.of_server("serial")
    operator.of_server("mark-ready")


def is_cut_over(operator: Operator, host: GuestHost) -> None:
    """The source's program has stopped, and the machine serves every row; the last one may be one that was
    on stable storage without being acknowledged.
    """
    operator.of_server("cutover", "--yes", "--watch")
    made = operator.cutover()
    assert (made.state, made.source_active) == (CutoverState.SUCCEEDED, False)
    assert not host.source.is_active()
    told = host.source.told()
    assert told > 100
    assert served(made.forwards) in (told, told + 1)


def is_finished(operator: Operator, host: GuestHost, folder: Path) -> None:
    """The machine stays, and the report proves itself."""
    operator.of_server("finalize", "--yes", "--watch")
    assert operator.lifecycle() is LifecycleState.CUTOVER
    assert served(operator.cutover().forwards) >= host.source.told()
    assert not host.source.is_active()
    fingerprint = json.loads(operator("report", "key", "-o", "json"))["fingerprint"]
    for name, options in (("report.json", ()), ("report.html", ("--html",))):
        operator.of_server("report", "--file", str(folder / name), *options)
        said = operator("report", "verify", str(folder / name), "--key", fingerprint)
        assert "byte for byte what was signed" in said


@pytest.mark.parametrize("name", GUESTS)
def test_a_system_at_work_is_tested_cut_over_and_serves_every_row(
    deployment: Deployment, tmp_path: Path, name: str
) -> None:
    guest, folder = GUESTS[name], tmp_path / "source"
    folder.mkdir()
    with at_work(guest, folder) as host:
        agent = host.agent(tmp_path / "agent")
        operator = Operator(deployment, host.enroll(agent, deployment))
        hooks = ("--cutover-hooks", str(host.source.hooks), "--hooks", str(folder / "no-hooks"))
        with agent.running(*hooks):
            until(lambda: operator.is_replicated_since(0), SECONDS, "replication is continuous")
            if guest.unconverted is not None:
                fails_as_it_is(operator, guest, guest.unconverted)
            is_tested(operator, guest, host, tmp_path)
            is_cut_over(operator, host)
            is_finished(operator, host, tmp_path)
