"""Hosts that are followed while they write, at length: every frozen checkpoint is what its disk held then.

    python -m tests.torture.following --minutes N --seed S

Hosts come one after the other, each with another filesystem. Every other one is synchronised at random
moments by an agent in this process, now and then with an ordered rescan, and in the end its filesystem and
databases are tried; of the rest the agent is killed at random moments of its passes.
Needs root and the Debian packages of the tests. Ends with a report; exit 1 when anything was violated, and
what was left is kept and named.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.deployment import Deployment, embedded
from tests.following import database
from tests.following.daemons import PATIENCE, steered_host
from tests.following.live_host import MIB, live_host, namespace_of_mounts, sharing_folder
from tests.following.replicas import differences, exported
from tests.following.workload import all_writers, assert_sound
from tests.services.loop_disks import LoopDisk, loop_disk

KINDS = ("ext4", "xfs", "btrfs")
SECONDS_A_HOST = 90.0
KILLS_A_HOST = 12


@dataclass
class Report:
    """What was done and found."""

    hosts: int = 0
    checkpoints: int = 0
    frozen: int = 0
    kills: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The closing lines."""
        counts = f"{self.hosts} hosts, {self.checkpoints} checkpoints, {self.frozen} of them frozen"
        return "\n".join(
            [*self.violations, f"{counts}, {self.kills} kills, {len(self.violations)} violations"]
        )


def main() -> int:
    """Torture for the given minutes; 0 when nothing was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.following")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; default: 30")
    parser.add_argument("--seed", type=int, default=1, help="where all randomness comes from; default: 1")
    asked = parser.parse_args()
    report, source = Report(), random.Random(asked.seed)
    deadline = time.monotonic() + 60 * asked.minutes
    for number, kind in enumerate(itertools.cycle(KINDS)):
        if number and time.monotonic() >= deadline:
            break
        _host(kind, is_killed=number % 2 == 1, seed=source.randrange(1 << 32), report=report)
    print(report, flush=True)
    return 1 if report.violations else 0


def _host(kind: str, *, is_killed: bool, seed: int, report: Report) -> None:
    print(f"host with {kind}, {'killed' if is_killed else 'watched'}, seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="g2c-torture-following-"))
    folder.chmod(0o755)
    report.hosts += 1
    try:
        with ExitStack() as stack:
            (folder / "service").mkdir()
            service = stack.enter_context(embedded(folder / "service"))
            images = stack.enter_context(sharing_folder(folder, 16 << 30))
            disk = stack.enter_context(loop_disk(images / "disk.img", 1024 * MIB))
            disk.format(kind)
            follow = _killed if is_killed else _watched
            follow(kind, disk, service, folder, random.Random(seed), report)
    except Exception as error:  # noqa: BLE001 - a violation, whatever it is, is counted and shown
        traceback.print_exc()
        report.violations.append(f"{kind}, seed {seed}, left in {folder}: {error!s:.500}")
    else:
        shutil.rmtree(folder)


def _watched(
    kind: str, disk: LoopDisk, service: Deployment, folder: Path, source: random.Random, report: Report
) -> None:
    images, ends = folder / "images", time.monotonic() + SECONDS_A_HOST
    with (
        namespace_of_mounts([(disk, folder / "mnt")]) as process,
        all_writers(process, folder, database.new_data(folder)) as telling,
        live_host(folder, service, [disk], images) as host,
    ):
        host.freezer.telling = telling
        while time.monotonic() < ends:
            time.sleep(source.uniform(0, 5))
            result = host.sync("torture" if source.random() < 0.1 else "")
            report.checkpoints += 1
            if result.label == "frozen":
                report.frozen += 1
                assert differences(service, host, images) == {}, f"checkpoint {result.number}"
                exported(images, disk, result.number).unlink()
        last = host.sync_frozen().number
        assert differences(service, host, images) == {}
        before = host.freezer.told
    assert_sound(exported(images, disk, last), kind, folder, before)


def _killed(
    kind: str, disk: LoopDisk, service: Deployment, folder: Path, source: random.Random, report: Report
) -> None:
    with (
        namespace_of_mounts([(disk, folder / "mnt")]) as process,
        all_writers(process, folder, database.new_data(folder)),
        steered_host(folder, service, [disk], folder / "images") as host,
    ):
        for _ in range(KILLS_A_HOST):
            host.order("die-after", str(source.uniform(0, 2)))
            with host.running() as agent:
                agent.wait(PATIENCE)
            report.kills += 1
            if source.random() < 0.3:
                with host.running() as agent:
                    report.checkpoints += len(host.settled(agent))
                    report.frozen += 1
                    assert host.differences(service, folder / "images") == {}
                    host.end(agent)


if __name__ == "__main__":
    sys.exit(main())
