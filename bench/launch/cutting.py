"""Downtime of a cutover: a system disk that boots, and a data disk on which a host writes all the time.

The owner's hook stops the writer as a whole (SIGSTOP) and brings its filesystem to the disk; it goes on when
the source gets its services back, so that each cutover begins with a host at work.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from app.client import cutovers, servers, tests
from app.client.transport import Client
from app.contract.cutoverwords import CutoverPhase
from app.contract.resources.checkpoint import Checkpoint, CheckpointDisk
from app.contract.resources.cutover import Cutover
from app.contract.words import BootPhase, ConsistencyLabel, ReplicationState
from bench.compare import Differs, require_equal
from bench.freespace import Ranges, joined
from bench.launch.booting import MACHINE
from bench.launch.operator import done, seconds
from bench.launch.results import CutOver
from bench.live.cases import INTERVAL
from bench.live.host import Disk, Host, loop_disk, running
from bench.live.replica import LOOK_SECONDS, PATIENCE_SECONDS, Replica
from bench.live.scene import SETTLE_SECONDS, Scene
from bench.peers.go2cloud import Go2cloud
from bench.peers.registry import OURS
from bench.plan import MB
from bench.processes import ProcessFailed

CHURN: Final = 5 * MB
_HOOK: Final = """\
#!/bin/sh
set -e
case "$1" in
stop-services)
    kill -STOP {pid}
    until grep -q '^State:.T' /proc/{pid}/status; do sleep 0.01; done
    nsenter --mount=/proc/{pid}/ns/mnt sync --file-system {folder} ;;
start-services)
    kill -CONT {pid} ;;
esac
"""
_SAME_FILES: Final = 'mount -o ro,noload,loop "$1" "$2" && diff -rq --no-dereference "$2" "$3"'


@dataclass(frozen=True)
class Cutting:
    """The case; `tiny` is the image of the disk that boots, `state` the agent's folder."""

    scene: Scene
    service: Go2cloud
    client: Client
    tiny: Path
    state: Path

    def play(self) -> Iterator[CutOver]:
        """All runs, each with its way back. Raises ProcessFailed, Differs."""
        with ExitStack() as undo:
            system, data = undo.enter_context(_in_order(self.tiny, self.scene.disk))
            hooks = self.scene.folder / "cutover.d"
            options = ("--cutover-hooks", str(hooks))
            replica = Replica(self.service, self.client, data, self.state, system=system, options=options)
            host = undo.enter_context(running(data, self.scene.writers))
            undo.callback(subprocess.run, ["kill", "-CONT", str(host.pid)], check=True)
            _install(hooks, host, self._mounted)
            undo.enter_context(replica.following())
            replica.set_interval(INTERVAL)
            host.churn(CHURN)
            self._make_ready(replica)
            for _ in range(self.scene.plan.runs):
                yield self._cut_over(replica, host)

    @property
    def _mounted(self) -> Path:
        return self.scene.writers.folder / "mounted"

    def _make_ready(self, replica: Replica) -> None:
        """Let the server be ready for its cutover: a test boot first."""
        self._await_frozen(replica)
        self.client.send(tests.set_settings(replica.server, 0, MACHINE))
        done(self.client, self.client.send(tests.order(replica.server)))
        self.client.send(tests.mark_ready(replica.server))

    def _await_frozen(self, replica: Replica) -> None:
        """Wait until the replica follows and its newest checkpoint is frozen. Raises ProcessFailed."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = replica.show()
            label = found.head_checkpoint.label if found.head_checkpoint else None
            if (found.replication_state, label) == (ReplicationState.CONTINUOUS, ConsistencyLabel.FROZEN):
                return
            time.sleep(LOOK_SECONDS)
        raise ProcessFailed(f"replication is {found.replication_state}, the newest checkpoint {label}")

    def _cut_over(self, replica: Replica, host: Host) -> CutOver:
        time.sleep(SETTLE_SECONDS)
        self._await_frozen(replica)
        done(self.client, self.client.send(cutovers.order(replica.server)))
        made = self.client.send(cutovers.get(replica.server))
        final = self.client.send(servers.checkpoint(replica.server, made.checkpoint_id or ""))
        self._compare(final, host, replica.disk.device)
        done(self.client, self.client.send(cutovers.revert(replica.server)))
        return _result(made, final, self._delivered(replica, made))

    def _delivered(self, replica: Replica, made: Cutover) -> int:
        """Bytes that came after the checkpoint that was written first, up to the final one."""
        known = self.client.every(servers.checkpoints(replica.server))
        later = list(takewhile(lambda each: each.id != made.base_checkpoint_id, known))
        counted = [each for each in later if each.number <= (made.checkpoint_number or 0)]
        return sum(each.counters.sent_bytes + each.counters.patched_bytes for each in counted)

    def _compare(self, final: Checkpoint, host: Host, data: Path) -> None:
        """Hold the machine's disks against the source, which stands still. Raises Differs.

        The disk that boots is compared byte for byte, of the other one all files: the source's filesystem is
        mounted, and wrote into its superblock that it is in use when the freeze was over.
        """
        folder = self.service.stage.folder / "data" / "launch" / "cutovers" / final.id
        for disk in final.disks:
            volume = folder / f"{disk.disk_id}.raw"
            if disk.path == str(data):
                self._compare_files(volume, host)
            else:
                require_equal(self.tiny, volume, _omitted(disk))
        self.scene.tell(f"{OURS} cutover: equal")

    def _compare_files(self, volume: Path, host: Host) -> None:
        place = self.scene.folder / "compared"
        place.mkdir(exist_ok=True)
        inside = ["nsenter", f"--mount=/proc/{host.pid}/ns/mnt", "unshare", "--mount"]
        command = [*inside, "sh", "-c", _SAME_FILES, "sh", str(volume), str(place), str(self._mounted)]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode:
            raise Differs(f"{volume} has other files than the source: {found.stdout}{found.stderr}")


def _install(hooks: Path, host: Host, mounted: Path) -> None:
    """The owner's hook."""
    hooks.mkdir()
    hook = hooks / "writer"
    hook.write_text(_HOOK.format(pid=host.pid, folder=mounted))
    hook.chmod(0o755)


@contextmanager
def _in_order(tiny: Path, data: Disk) -> Iterator[tuple[Disk, Disk]]:
    """Loop devices of the disk that boots and of the data, in this order of their names.

    Where a source's boot disk is not mounted, the order of the names says which one is started from.
    """
    with ExitStack() as undo:
        system = undo.enter_context(loop_disk(tiny))
        while str(data.device) < str(system.device):
            data = undo.enter_context(loop_disk(data.backing))
        yield system, data


def _omitted(disk: CheckpointDisk) -> Ranges:
    return joined([(each.offset, each.offset + each.length) for each in disk.omitted])


def _result(made: Cutover, final: Checkpoint, delivered: int) -> CutOver:
    phases = {each.phase.value: seconds(each.started_at, each.finished_at) for each in made.phases}
    boot = {seen.phase: seen.after for seen in made.boot_phases}
    return CutOver(
        churn=CHURN,
        phases={phase.value: phases[phase.value] for phase in CutoverPhase},
        downtime=made.downtime_seconds or 0.0,
        login=boot[BootPhase.LOGIN],
        freeze=final.freeze_ms,
        delivered=delivered,
    )
