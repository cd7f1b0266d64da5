"""The agent is killed or ended at the worst moments: the host writes on, and nothing is read twice."""

import random
import subprocess
from pathlib import Path

import pytest

from app.agent.daemon.state import StateDir
from tests.e2e.deployment import Deployment, until
from tests.e2e.source_host import AGENT
from tests.following.daemons import PATIENCE, SteeredHost, steered_host
from tests.following.live_host import MIB, inside, namespace_of_mounts, number_in, settle, writing
from tests.following.raw_disk import fill
from tests.services.loop_disks import LoopDisk, loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

KILLS = 10
FILLED = 200 * MIB
INCREMENT = 150 * MIB
"""Much more than the writers write, much less than is in use."""


def filled(process: int, root: Path, disk: LoopDisk) -> None:
    """Have a good deal on the disk that nobody touches."""
    path = inside(process, root) / "filler"
    path.touch()
    fill(path, FILLED)
    settle(path)


def read_bytes(summaries: list[dict[str, object]]) -> list[int]:
    """What each pass read."""
    return [summary["counters"]["read"] for summary in summaries]  # type: ignore[index]


def assert_incremental(host: SteeredHost, summaries: list[dict[str, object]]) -> None:
    """No pass read the whole disk."""
    assert max(read_bytes(summaries)) < INCREMENT, host.log.read_text()[-3000:]


def test_an_agent_killed_while_the_source_is_frozen_lets_it_write_again(
    service: Deployment, place: Path, images: Path
) -> None:
    with loop_disk(images / "disk.img", 320 * MIB) as disk:
        disk.format("ext4")
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "ledger", place / "mnt", place / "told"),
            steered_host(place, service, [disk], images) as host,
        ):
            hold, held = host.order("hold"), host.steering / "held"
            with host.running() as agent:
                until(held.exists, PATIENCE, "the source is frozen")
                before = number_in(place / "told")
                agent.kill()
                until(lambda: number_in(place / "told") > before + 3, PATIENCE, "the writer goes on")
            hold.unlink()
            with host.running() as agent:
                host.settled(agent)
                assert host.differences(service, images) == {}
                host.end(agent)


def test_an_agent_killed_between_the_owners_hooks_leaves_none_without_its_end(
    service: Deployment, place: Path, images: Path
) -> None:
    """A database that was told to hold its files still would do so until somebody looks."""
    hooks, log = place / "hooks.d", place / "log"
    hooks.mkdir(mode=0o755)
    (hooks / "10-app").write_text(f"#!/bin/sh\necho $1 >> {log}\n")
    (hooks / "10-app").chmod(0o755)
    with loop_disk(images / "disk.img", 320 * MIB) as disk:
        disk.format("ext4")
        with (
            namespace_of_mounts([(disk, place / "mnt")]),
            steered_host(place, service, [disk], images) as host,
        ):
            host.order("hold")
            killed_while_frozen(host, hooks)
            assert log.read_text().split() == ["pre-freeze"]
            killed_while_frozen(host, hooks)
            assert log.read_text().split() == ["pre-freeze", "post-thaw", "pre-freeze"]
            assert "left undone by an agent that was killed: hook 10-app post-thaw" in host.log.read_text()
            run = str(StateDir(host.host.state).run_dir)
            thaw = [*AGENT, "thaw", "--run-dir", run]
            assert subprocess.check_output(thaw, text=True).startswith("hook 10-app post-thaw ended with 0")
            assert log.read_text().split() == ["pre-freeze", "post-thaw"] * 2
            assert subprocess.check_output(thaw, text=True) == "nothing was left frozen\n"


def killed_while_frozen(host: SteeredHost, hooks: Path) -> None:
    """Start the agent, and kill it when the source is frozen."""
    held = host.steering / "held"
    held.unlink(missing_ok=True)
    with host.running("--hooks", hooks) as agent:
        until(held.exists, PATIENCE, "the source is frozen")
        agent.kill()
        agent.wait(PATIENCE)


def test_killed_at_random_moments_it_goes_on_where_it_was(
    service: Deployment, place: Path, images: Path
) -> None:
    moments = random.Random(7)
    with loop_disk(images / "disk.img", 512 * MIB) as disk:
        disk.format("ext4")
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "ledger", place / "mnt", place / "told"),
            writing(process, "mapped", place / "mnt"),
            steered_host(place, service, [disk], images) as host,
        ):
            filled(process, place / "mnt", disk)
            with host.running() as agent:
                assert read_bytes(host.settled(agent))[0] > FILLED
            for _ in range(KILLS):
                host.order("die-after", str(moments.uniform(0, 1.0)))
                with host.running() as agent:
                    agent.wait(PATIENCE)
            with host.running() as agent:
                assert_incremental(host, host.settled(agent))
                assert host.differences(service, images) == {}
                host.end(agent)


def test_ended_and_started_again_it_reads_only_what_was_written(
    service: Deployment, place: Path, images: Path
) -> None:
    with loop_disk(images / "disk.img", 512 * MIB) as disk:
        disk.format("xfs")
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "ledger", place / "mnt", place / "told"),
            steered_host(place, service, [disk], images) as host,
        ):
            filled(process, place / "mnt", disk)
            with host.running() as agent:
                host.settled(agent)
                host.end(agent)
            for order in ("", "die-at-commit", ""):
                if order:
                    host.order(order)
                with host.running() as agent:
                    if order:
                        agent.wait(PATIENCE)
                        continue
                    assert_incremental(host, host.settled(agent))
                    assert host.differences(service, images) == {}
                    host.end(agent)
