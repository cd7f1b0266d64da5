"""The course of a hold in a world that loses, delays and repeats orders, kills agents and reboots hosts.

All states that can be reached are walked through. Nobody may launch while the source is active, what is
launched is the source's last state, and whatever happened, the two sides come to an end that both know.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from app.agent.daemon.hold.course import begin_final, decide, pauses_passes, renewed
from app.agent.daemon.hold.moment import Moment
from app.agent.daemon.hold.outcomes import after_keep, after_start, after_stop
from app.agent.daemon.hold.record import Record, Stage
from app.agent.daemon.hold.telling import told_of
from app.agent.daemon.hooks import HookResult, Phase
from app.contract import words
from app.migration.hold.states import Judgement, Progress, judge, rank
from app.wire import hold as wire
from app.wire.hold import HoldOrder, HoldPhase, HoldReport

P = words.HoldPhase
SECONDS = 1
GOOD = (HookResult("10-app", Phase.STOP_SERVICES, 0),)
BAD = (HookResult("10-app", Phase.STOP_SERVICES, 1),)
PROOF = "ab" * 16


def order(phase: str, revision: int, cutover: str = "c1") -> HoldOrder:
    """An order of a cutover."""
    return HoldOrder(cutover, phase, SECONDS, revision)


@dataclass(frozen=True)
class Side:
    """The service's side: what it wants and believes; `has_launched` once a machine runs."""

    orders: tuple[HoldOrder, ...] = ()
    reached: P | None = None
    reported: int = 0
    code: str = ""
    proof: str = ""
    has_launched: bool = False

    @property
    def wanted(self) -> P | None:
        """The newest order's phase."""
        return P(self.orders[-1].phase) if self.orders else None

    def wants(self, phase: P) -> "Side":
        """With one order more."""
        return replace(self, orders=(*self.orders, order(phase, len(self.orders) + 1)))

    def takes(self, report: HoldReport) -> "Side":
        """After a report, as `app.migration.hold.reports` takes it."""
        phase = P(report.phase) if report.phase else None
        assert self.wanted is not None
        verdict = judge(
            self.wanted,
            Progress(self.reached, self.reported),
            Progress(phase, report.revision),
            proof=self.proof,
            reported_proof=report.proof,
        )
        assert verdict is not Judgement.NOT_THE_HOLDER
        if verdict is not Judgement.TAKE:
            return self
        proof = self.proof or (report.proof if phase is P.HELD else "")
        return replace(
            self, reached=phase or self.reached, reported=report.revision, code=report.code, proof=proof
        )


@dataclass(frozen=True)
class World:
    """`record` is the journal on stable storage, `heard` the newest order in the agent's memory. `is_done`:
    the effect of the stage is over and not written down. `has_written`: the services ran after the final
    checkpoint; `was_rebooted`: the host was, after the agent had said HELD."""

    side: Side = Side()
    record: Record | None = None
    heard: HoldOrder | None = None
    boot: int = 0
    is_active: bool = True
    is_done: bool = False
    has_written: bool = False
    was_rebooted: bool = False

    @property
    def moment(self) -> Moment:
        """Now: time stands still, and a silence lets the deadline pass."""
        return Moment(str(self.boot), 0)

    @property
    def due(self) -> Record | None:
        """What the agent decides."""
        return decide(self.record, self.heard, self.moment, lambda: PROOF)

    def active(self) -> "World":
        """The services run, and write."""
        return replace(self, is_active=True, has_written=True)


def futures(world: World) -> Iterator[World]:
    """All that can happen next."""
    yield from _of_the_service(world)
    yield from _of_the_agent(world)
    yield from _of_fate(world)


def _of_the_service(world: World) -> Iterator[World]:
    side = world.side
    if side.wanted is None:
        yield replace(world, side=side.wants(P.QUIESCED))
        return
    for want, after in ((P.FINAL, P.QUIESCED), (P.HELD, P.FINAL)):
        is_next = rank(want) == rank(side.wanted) + 1 and side.wanted is not P.RELEASED
        if is_next and side.reached is after and not side.code:
            yield replace(world, side=side.wants(want))
    if side.wanted is not P.RELEASED and not side.has_launched:
        yield replace(world, side=side.wants(P.RELEASED))
    if side.has_launched:  # an operator reverts: the machine is gone before the order
        yield replace(world, side=replace(side.wants(P.RELEASED), has_launched=False))
    if side.reached is P.HELD and side.wanted is P.HELD and not side.code and not side.has_launched:
        yield replace(world, side=replace(side, has_launched=True))


def _of_the_agent(world: World) -> Iterator[World]:
    for each in world.side.orders:  # also old ones: they come late, or twice
        yield hear(world, each)
    yield from step(world)
    told = told_of(world.record, world.heard)
    if told is not None:
        yield replace(world, side=world.side.takes(told.report))


def hear(world: World, heard: HoldOrder) -> World:
    """The agent hears an order, as `Keeper.hear`."""
    newest = max(world.heard.revision if world.heard else 0, world.record.revision if world.record else 0)
    if heard.revision < newest:
        return world
    world = replace(world, heard=heard)
    record = world.record
    if record is None or (world.due or record).stage != record.stage:
        return world
    return replace(world, record=renewed(record, heard, world.moment))


def step(world: World) -> Iterator[World]:
    """The agent's next step: decide and write; or an effect; or write down what came of it."""
    due = world.due
    if due != world.record:
        yield replace(world, record=due, is_done=False)
        return
    record = world.record
    if record is None:
        return
    final = begin_final(record, world.heard)
    if final is not None and final != record:
        yield replace(world, record=final)
    elif record.stage == Stage.FINISHING:
        if world.heard is not None:
            made = replace(record, stage=Stage.FINISHED, checkpoint_id="chk", label="frozen")
            yield replace(world, record=made, has_written=world.is_active)
            yield replace(world, record=replace(record, stage=Stage.FINISHED, code="FINAL_NOT_FROZEN"))
    elif record.stage in EFFECTS:
        yield from _effect(world, record)


EFFECTS = frozenset({Stage.STOPPING, Stage.RESTOPPING, Stage.HOLDING, Stage.STARTING})


def _effect(world: World, record: Record) -> Iterator[World]:
    if not world.is_done and record.stage == Stage.STARTING:
        yield replace(world.active(), is_done=True)
    elif not world.is_done:
        yield replace(world, is_done=True, is_active=False)
    elif record.stage == Stage.STARTING:
        yield replace(world, record=after_start(record, GOOD), is_done=False)
    elif record.stage == Stage.HOLDING:
        yield replace(world, record=after_keep(record, GOOD), is_done=False)
    else:
        yield replace(world, record=after_stop(record, GOOD), is_done=False)
        if record.stage == Stage.STOPPING:  # a hook failed: who knows what runs
            yield replace(world.active(), record=after_stop(record, BAD), is_done=False)


def _of_fate(world: World) -> Iterator[World]:
    killed = replace(world, heard=None, is_done=False)
    yield killed
    record = world.record
    if record is not None and record.is_loose and record.deadline_ms:
        yield replace(world, record=replace(record, deadline_ms=0))
    if world.boot < 2:
        is_held = record is not None and record.is_held
        yield replace(killed.active(), boot=world.boot + 1, was_rebooted=world.was_rebooted or is_held)


@pytest.fixture(scope="module")
def worlds() -> frozenset[World]:
    """All that can be reached."""
    found, open_ = {World()}, [World()]
    while open_:
        for future in futures(open_.pop()):
            if future not in found:
                found.add(future)
                open_.append(future)
    return frozenset(found)


def test_nothing_is_launched_while_the_source_is_active(worlds: frozenset[World]) -> None:
    launched = [world for world in worlds if world.side.has_launched]
    assert launched
    for world in launched:
        assert not world.is_active or world.was_rebooted, world
        assert not world.has_written or world.was_rebooted, world
        assert pauses_passes(world.record, world.heard), world


def test_a_host_that_is_rebooted_while_it_is_held_stops_its_services_again(
    worlds: frozenset[World],
) -> None:
    for world in worlds:
        is_firm = world.record is not None and world.record.is_firm
        if is_firm and world.is_active and world.heard is None and world.was_rebooted:
            after = settled(world)
            assert not after.is_active
            assert after.record is not None
            assert (after.record.stage, after.record.code) == (Stage.HELD, "SOURCE_REBOOTED")


def test_what_is_firm_is_given_back_only_by_order(worlds: frozenset[World]) -> None:
    for world in worlds:
        record = world.record
        if record is None or not record.is_held or record.is_firm:
            continue
        assert record.cause == "ORDERED"
        assert world.side.wanted is P.RELEASED


def test_services_run_when_a_hold_is_over(worlds: frozenset[World]) -> None:
    for world in worlds:
        if world.record is not None and world.record.is_over:
            assert world.is_active, world
        if world.side.reached is P.RELEASED:
            assert world.is_active, world


def settled(world: World) -> World:
    """The agent left alone: it does all that it can, and every effect succeeds."""
    while (after := next(step(world), world)) != world:
        world = after
    return world


def test_every_course_can_be_brought_to_an_end_that_both_sides_know(worlds: frozenset[World]) -> None:
    """With no more faults: the newest order is reached, or the end is known, or the failure is."""
    for world in worlds:
        if not world.side.orders:
            continue
        after = settled(hear(settled(world), world.side.orders[-1]))
        told = told_of(after.record, after.heard)
        assert told is not None, after
        side = after.side.takes(told.report)
        assert side.reached in (side.wanted, P.RELEASED) or side.code, (world, after)
        released = settled(hear(after, replace(order(P.RELEASED, 99))))
        told = told_of(released.record, released.heard)
        assert told is not None
        assert (told.report.phase, told.report.code) == (HoldPhase.RELEASED, "")
        assert released.is_active


def test_a_copy_of_the_source_never_says_that_it_holds_and_is_not_believed(
    worlds: frozenset[World],
) -> None:
    """The final checkpoint shows the journal before HELD: the machine that is made of it boots with that."""
    for world in worlds:
        if world.record is None or world.record.stage not in (Stage.FINISHING, Stage.FINISHED):
            continue
        copy = settled(replace(world, boot=9, heard=order(P.HELD, 3), is_active=True))
        assert copy.record is not None
        assert copy.record.stage == Stage.STARTED, "it stops nothing"
        assert pauses_passes(copy.record, copy.heard), "and adds nothing to the source's checkpoints"
        told = told_of(copy.record, copy.heard)
        assert told is not None
        phase = P(told.report.phase)
        held = Progress(P.HELD, 3)
        assert (
            judge(P.HELD, held, Progress(phase, 3), proof=PROOF, reported_proof=told.report.proof)
            is Judgement.NOT_THE_HOLDER
        )


def test_another_cutover_does_not_take_over_what_is_held() -> None:
    held = Record("c1", 3, Stage.HELD, "0", is_held=True, checkpoint_id="chk", proof=PROOF)
    other = order(P.QUIESCED, 9, "c2")
    assert decide(held, other, Moment("0", 0), lambda: PROOF) == held
    told = told_of(held, other)
    assert told is not None
    assert (told.cutover, told.report.code) == ("c2", "OTHER_HOLD")


def test_another_cutover_ends_a_hold_that_is_not_kept() -> None:
    stopped = Record("c1", 1, Stage.STOPPED, "0", deadline_ms=1000)
    world = World(record=stopped, heard=order(P.QUIESCED, 9, "c2"), is_active=False)
    first = decide(stopped, world.heard, world.moment, lambda: PROOF)
    assert first is not None
    assert (first.stage, first.cause) == (Stage.STARTING, "REPLACED")
    after = settled(world).record
    assert after is not None
    assert (after.cutover, after.stage) == ("c2", Stage.STOPPED)


def test_a_hold_that_was_released_is_not_begun_again_by_an_order_that_comes_late() -> None:
    world = settled(hear(World(), order(P.RELEASED, 2)))
    late = settled(hear(world, order(P.QUIESCED, 1)))
    assert late == world
    again = settled(hear(world, order(P.QUIESCED, 3)))
    assert again.record is not None
    assert again.record.is_over, "a cutover's name is used once"


def test_an_agent_does_not_hold_without_a_final_checkpoint_whatever_is_ordered() -> None:
    stopped = Record("c1", 1, Stage.STOPPED, "0", deadline_ms=1000, services="STOPPED")
    failed = replace(stopped, stage=Stage.FINISHED, code="FINAL_NOT_FROZEN")
    for record in (stopped, failed):
        assert decide(record, order(P.HELD, 3), Moment("0", 0), lambda: PROOF) == record


def test_an_agent_whose_hooks_failed_makes_no_final_checkpoint_whatever_is_ordered() -> None:
    stopped = Record("c1", 1, Stage.STOPPED, "0", deadline_ms=1000, services="FAILED")
    assert begin_final(stopped, order(P.FINAL, 2)) is None
    assert begin_final(replace(stopped, services="STOPPED"), order(P.FINAL, 2)) is not None


@pytest.mark.parametrize("phase", [P.FINAL, P.HELD])
def test_an_agent_that_stopped_nothing_refuses_to_finish(phase: P) -> None:
    world = settled(hear(World(), order(phase, 5)))
    told = told_of(world.record, world.heard)
    assert told is not None
    assert (told.report.phase, told.report.code) == (HoldPhase.RELEASED, "SOURCE_RELEASED")
    assert world.is_active


def test_the_wire_and_the_contract_have_the_same_words() -> None:
    for ours, theirs in (
        (words.HoldPhase, wire.HoldPhase),
        (words.HoldServices, wire.HoldServices),
        (words.HoldCause, wire.HoldCause),
    ):
        assert [each.value for each in ours] == [each.value for each in theirs]
