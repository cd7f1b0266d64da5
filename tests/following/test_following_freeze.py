"""The source is never held longer than its owner allows, and the owner's hooks are run around each try."""

from pathlib import Path
from typing import Any

import pytest

from app.agent.daemon.capture.activity import FROZEN, FUZZY, QUIET
from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.following import cut
from tests.e2e.deployment import Deployment, until
from tests.following.live_host import (
    FROZEN_TRIES,
    MIB,
    LiveHost,
    live_host,
    namespace_of_mounts,
    number_in,
    writing,
)
from tests.following.replicas import differences
from tests.services.loop_disks import loop_disk

pytestmark = [pytest.mark.root, pytest.mark.slow]

PATIENCE = 120.0
HOOK = """#!/bin/sh
echo "$(basename "$0") $1" >> {log}
exit {code}
"""


def test_a_freeze_over_its_budget_is_given_up_and_told(
    service: Deployment, place: Path, images: Path
) -> None:
    with loop_disk(images / "disk.img", 320 * MIB) as disk:
        disk.format("ext4")
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "ledger", place / "mnt", place / "told"),
            live_host(place, service, [disk], images, budget=0.001) as host,
        ):
            host.sync()
            result = host.sync()
            assert result.label in (QUIET, FUZZY)
            assert "0.001 s" in result.detail
            before = number_in(place / "told")
            until(lambda: number_in(place / "told") > before, PATIENCE, "the writer goes on")


def test_a_disk_that_does_not_answer_does_not_keep_the_source_frozen(
    service: Deployment, place: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read waits for a write, which waits for the thaw: that must not wait for the read."""
    monkeypatch.setattr(cut, "GRACE_SECONDS", 3600.0)
    stuck = list[int]()

    def read(*arguments: Any) -> None:
        if host.freezer.count and not stuck:
            before = number_in(place / "told")
            stuck.append(before)
            until(lambda: number_in(place / "told") > before, PATIENCE, "the source writes again")
        read_span(*arguments)

    monkeypatch.setattr("app.agent.daemon.following.arena.read_span", read)
    with loop_disk(images / "disk.img", 320 * MIB) as disk:
        disk.format("ext4")
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "ledger", place / "mnt", place / "told"),
            live_host(place, service, [disk], images, budget=5.0) as host,
        ):
            host.sync_frozen()
            assert stuck
            assert differences(service, host, images) == {}


def hooks_in(place: Path, **codes: int) -> tuple[Path, Path]:
    """A folder of hooks that note how they are run and end with these codes; and their notes."""
    folder, log = place / "hooks", place / "hooks.log"
    folder.mkdir()
    for name, code in codes.items():
        (folder / name).write_text(HOOK.format(log=log, code=code))
        (folder / name).chmod(0o700)
    return folder, log


def mounted_and_synced(
    service: Deployment, place: Path, images: Path, hooks: Path, budget: float
) -> LiveHost:
    """A host that was synchronised until a cut came."""
    with loop_disk(images / "disk.img", 320 * MIB) as disk:
        disk.format("ext4")
        with (
            namespace_of_mounts([(disk, place / "mnt")]) as process,
            writing(process, "ledger", place / "mnt", place / "told"),
            live_host(place, service, [disk], images, hooks=hooks, budget=budget) as host,
        ):
            for _ in range(FROZEN_TRIES):
                if host.sync().label == FROZEN or host.passes[-1].detail:
                    break
    return host


def phases(log: Path, begun: tuple[str, ...]) -> int:
    """How often the hooks were run around a try: each time all of them, in order."""
    lines = log.read_text().splitlines()
    once = [*(f"{name} pre-freeze" for name in begun), *(f"{name} post-thaw" for name in begun)]
    assert lines == once * (len(lines) // len(once))
    return len(lines) // len(once)


def test_hooks_are_run_in_order_before_the_freeze_and_after_the_thaw(
    service: Deployment, place: Path, images: Path
) -> None:
    folder, log = hooks_in(place, first=0, second=0)
    host = mounted_and_synced(service, place, images, folder, budget=10.0)
    assert host.passes[-1].label == FROZEN
    assert phases(log, ("first", "second")) >= 1


def test_hooks_are_run_after_a_freeze_that_failed(service: Deployment, place: Path, images: Path) -> None:
    folder, log = hooks_in(place, first=0, second=0)
    host = mounted_and_synced(service, place, images, folder, budget=0.0)
    assert (host.passes[-1].label, host.passes[-1].reason) == (FUZZY, "FREEZE_FAILED")
    assert phases(log, ("first", "second")) >= 1


def test_a_hook_that_fails_is_told_and_those_behind_it_are_left_out(
    service: Deployment, place: Path, images: Path
) -> None:
    folder, log = hooks_in(place, first=3, second=0)
    host = mounted_and_synced(service, place, images, folder, budget=10.0)
    assert (host.passes[-1].label, host.passes[-1].reason) == (FROZEN, "HOOK_FAILED")
    assert any("hook first pre-freeze ended with 3" in note for note in host.notes)
    assert set(log.read_text().splitlines()) == {"first pre-freeze", "first post-thaw"}


def test_a_pass_that_runs_no_hooks_says_nothing_of_one_that_failed_before(
    service: Deployment, place: Path, images: Path
) -> None:
    folder, _ = hooks_in(place, first=3)
    with (
        loop_disk(images / "disk.img", 64 * MIB) as disk,
        live_host(place, service, [disk], images, hooks=folder) as host,
    ):
        host.sync()
        assert host.sync().reason == "HOOK_FAILED"
        assert (host.sync(order="x").label, host.passes[-1].reason) == (QUIET, "")
