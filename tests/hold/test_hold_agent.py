"""A real agent holds a real service on a real disk: stopped, copied for the last time, kept, given back."""

import time

import pytest

from app.agent.daemon.hold.record import Stage
from app.contract.words import HoldCause, HoldPhase, HoldServices
from app.migration.hold.errors import HoldNotReached, SourceReleased
from tests.hold.held_host import HeldHost

pytestmark = [pytest.mark.root, pytest.mark.slow]

P = HoldPhase
SHORT = 5
"""Seconds of a dead-man that must fire."""
STOP_UP_TO_HELD = [
    Stage.STOPPING,
    Stage.STOPPED,
    Stage.FINISHING,
    Stage.FINISHED,
    Stage.HOLDING,
    Stage.HELD,
]


def assert_final(host: HeldHost, checkpoint_id: str | None, told: int) -> None:
    """The checkpoint holds all that the service acknowledged, and just what the disk holds."""
    assert checkpoint_id is not None
    numbers = host.ledger_of(checkpoint_id)
    assert numbers == host.ledger
    assert numbers[:told] == list(range(1, told + 1))


def test_a_source_is_stopped_copied_kept_and_given_back(host: HeldHost) -> None:
    host.supervise()
    host.replicated()
    host.quiesce()
    assert host.reached(P.QUIESCED).services is HoldServices.STOPPED
    assert not host.is_active
    told = host.told
    host.finish()
    final = host.reached(P.FINAL)
    assert final.frozen_ms is not None
    host.keep()
    held = host.reached(P.HELD)
    number = host.checkpoints
    assert host.calls == ["stop-services", "keep-stopped"]
    assert_final(host, final.checkpoint_id, told)
    assert (held.checkpoint_id, host.checkpoints, host.is_active) == (final.checkpoint_id, number, False)
    host.release()
    assert host.reached(P.RELEASED).services is HoldServices.STARTED
    assert host.is_active
    host.wait(lambda: host.checkpoints > number, "replication goes on")
    assert host.calls == ["stop-services", "keep-stopped", "start-services"]


def test_an_agent_killed_at_every_step_holds_all_the_same(host: HeldHost) -> None:
    """Each death leaves the next agent only the journal; nothing is started before the order to release."""
    host.supervise()
    host.replicated()
    host.die(*(f"{when}-{stage}" for when in ("before", "after") for stage in STOP_UP_TO_HELD), "at-commit")
    host.quiesce()
    host.reached(P.QUIESCED)
    told = host.told
    host.finish()
    host.reached(P.FINAL)
    host.keep()
    held = host.reached(P.HELD)
    assert host.deaths_left == []
    assert host.deaths == 2 * len(STOP_UP_TO_HELD) + 1
    assert "start-services" not in host.calls
    assert not host.is_active
    assert_final(host, held.checkpoint_id, told)
    host.die(
        *(f"{when}-{stage}" for when in ("before", "after") for stage in (Stage.STARTING, Stage.STARTED))
    )
    host.release()
    assert host.reached(P.RELEASED).services is HoldServices.STARTED
    host.wait(lambda: host.deaths_left == [], "the last death")
    assert host.is_active
    assert host.calls[-1] == "start-services"
    assert host.calls.count("start-services") == 2, "again only where the journal does not say STARTED"


def test_an_agent_that_is_cut_off_gives_the_services_back_and_its_cutover_is_over(host: HeldHost) -> None:
    host.supervise()
    host.replicated()
    host.quiesce(SHORT)
    host.reached(P.QUIESCED)
    host.center.away()
    try:
        host.wait(lambda: host.is_active, "the dead-man fires")
    finally:
        host.center.back()
    assert host.failed().code == "SOURCE_RELEASED"
    host.wait(lambda: host.hold().reached is P.RELEASED, "the service knows")
    assert host.hold().cause is HoldCause.EXPIRED
    with pytest.raises(SourceReleased):
        host.finish()
    host.release()
    number = host.checkpoints
    host.wait(lambda: host.checkpoints > number, "replication goes on")
    assert host.calls == ["stop-services", "start-services"]


def test_an_agent_that_is_dead_at_the_deadline_gives_the_services_back_when_it_lives_again(
    host: HeldHost,
) -> None:
    host.start_agent()
    host.replicated()
    host.quiesce(SHORT)
    host.reached(P.QUIESCED)
    host.kill_agent()
    host.center.away()
    try:
        time.sleep(SHORT)
        assert not host.is_active
        host.start_agent()
        host.wait(lambda: host.is_active, "the dead-man fires")
    finally:
        host.center.back()
    assert host.failed().code == "SOURCE_RELEASED"


def test_an_agent_that_is_cut_off_while_it_holds_goes_on_holding(host: HeldHost) -> None:
    host.supervise()
    host.replicated()
    host.quiesce(2 * SHORT)
    host.reached(P.QUIESCED)
    host.finish()
    host.reached(P.FINAL)
    host.keep()
    host.reached(P.HELD)
    host.center.away()
    try:
        time.sleep(SHORT)
        host.agent.kill()  # type: ignore[union-attr]
        time.sleep(SHORT + 1)
        assert not host.is_active
    finally:
        host.center.back()
    assert host.hold().is_reached(P.HELD)
    host.release()
    host.reached(P.RELEASED)
    assert host.is_active


def test_a_hook_that_fails_hangs_or_is_missing_is_told_and_the_services_come_back(host: HeldHost) -> None:
    host.hook('[ "$1" != stop-services ] || { echo "no such unit"; exit 7; }')
    host.supervise()
    host.replicated()
    host.quiesce(cutover="fails")
    failed = host.failed("fails")
    assert (failed.code, failed.services, failed.reached) == ("HOOK_FAILED", HoldServices.FAILED, None)
    assert failed.has_failed
    assert "10-writer stop-services ended with 7" in failed.detail
    assert failed.hooks[0].output == "no such unit\n"
    with pytest.raises(HoldNotReached, match="HOOK_FAILED"):
        host.finish("fails")
    host.release("fails")
    assert host.reached(P.RELEASED, "fails").services is HoldServices.STARTED
    assert host.is_active

    host.hook('[ "$1" != stop-services ] || sleep 1000')
    host.quiesce(cutover="hangs")
    host.wait(lambda: len(host.calls) == 3, "the hook hangs")
    host.release("hangs")
    host.reached(P.RELEASED, "hangs")
    assert host.calls == ["stop-services", "start-services"] * 2
    assert host.is_active

    (host.hooks / "10-writer").rename(host.folder / "10-writer")
    host.quiesce(cutover="missing")
    found = host.reached(P.QUIESCED, "missing")
    assert (found.services, found.is_source_active) == (HoldServices.NO_HOOK, True)
    assert host.is_active
    host.release("missing")
    assert host.reached(P.RELEASED, "missing").services is HoldServices.NO_HOOK


def test_a_stop_that_outlives_its_agent_stops_nothing_after_the_release(host: HeldHost) -> None:
    """The hook is a process of its own: the next agent ends it before it starts anything."""
    host.hook('[ "$1" != stop-services ] || sleep 3')
    host.start_agent()
    host.replicated()
    host.quiesce()
    host.wait(lambda: host.calls == ["stop-services"], "the hook runs")
    host.kill_agent()
    host.release()
    host.start_agent()
    host.reached(P.RELEASED)
    time.sleep(4)
    assert host.is_active


def test_a_final_checkpoint_that_is_not_frozen_is_none(host: HeldHost) -> None:
    """Somebody else froze the filesystem, and may thaw it: nobody can say that this is one instant."""
    host.supervise()
    host.replicated()
    host.quiesce()
    host.reached(P.QUIESCED)
    with host.frozen_by_another():
        host.finish()
        failed = host.failed()
    assert (failed.code, failed.reached) == ("FINAL_NOT_FROZEN", P.QUIESCED)
    assert failed.checkpoint_id is None
    with pytest.raises(HoldNotReached, match="FINAL_NOT_FROZEN"):
        host.keep()
    host.release()
    host.reached(P.RELEASED)
    assert host.is_active
