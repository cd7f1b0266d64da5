"""When the next pass is due; and why one failed, in the contract's words."""

import pytest

from app.agent.daemon import schedule as rhythm
from app.agent.daemon.errors import AgentError, Denied, DiskError, Garbled, LinkError, Refusal, StateError
from app.agent.daemon.reasons import BY_CODE, BY_KIND, reason_of
from app.agent.daemon.schedule import LONGEST_LINK_RETRY, LONGEST_RETRY, Schedule
from app.contract.resources import server
from app.contract.words import ReplicationReason
from app.kit import settingkeys


class Time:
    """A clock that the test moves."""

    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def schedule(time: Time) -> Schedule:
    return Schedule(time)


def test_the_first_pass_is_due_at_once_and_the_next_at_the_interval(schedule: Schedule, time: Time) -> None:
    assert schedule.is_due(60)
    schedule.begins("")
    time.now += 20
    schedule.succeeded()
    assert schedule.due_in(60) == 40, "counted from the beginning of the pass"
    assert schedule.due_in(25) == 5, "a shorter interval counts at once"
    assert schedule.is_due(10)


@pytest.mark.parametrize(
    ("said", "kept"), [(1, 5), (4, 5), (5, 5), (3600, 3600), (604800, 604800), (1 << 40, 604800)]
)
def test_the_interval_is_five_seconds_to_a_week_whatever_the_service_says(
    schedule: Schedule, said: int, kept: int
) -> None:
    """A pass after another without a rest would be a burden, and one a year no replica."""
    schedule.begins("")
    schedule.succeeded()
    assert schedule.due_in(said) == kept


def test_service_and_agent_agree_on_what_an_interval_may_be() -> None:
    of_agent = (rhythm.SHORTEST_INTERVAL, rhythm.LONGEST_INTERVAL)
    of_contract = (server.SHORTEST_INTERVAL, server.LONGEST_INTERVAL)
    assert of_agent == tuple(each.total_seconds() for each in of_contract)
    assert of_agent == (settingkeys.SHORTEST_INTERVAL_SECONDS, settingkeys.LONGEST_INTERVAL_SECONDS)


def test_without_an_interval_only_a_command_brings_a_pass(schedule: Schedule) -> None:
    assert schedule.due_in(0) is None
    assert not schedule.is_due(0)
    schedule.begin_now()
    assert schedule.is_due(0)


@pytest.mark.parametrize(("is_link", "longest"), [(True, LONGEST_LINK_RETRY), (False, LONGEST_RETRY)])
def test_failures_are_tried_again_ever_later(
    schedule: Schedule, time: Time, is_link: bool, longest: float
) -> None:
    pauses = []
    for _ in range(12):
        schedule.begins("")
        schedule.failed(is_link=is_link)
        pauses.append(schedule.due_in(0))
        assert not schedule.is_due(1), "not at the interval, and also without one"
        time.now += pauses[-1] or 0
        assert schedule.is_due(0)
    assert pauses[0] == 4
    assert pauses == sorted(pauses, key=lambda pause: pause or 0)
    assert pauses[-1] == longest
    schedule.begins("")
    schedule.succeeded()
    schedule.failed(is_link=is_link)
    assert schedule.due_in(0) == 4


def test_a_service_that_wants_to_be_left_alone_is(schedule: Schedule) -> None:
    schedule.begins("")
    schedule.failed(is_link=True, at_least=120.0)
    assert schedule.due_in(60) == 120
    schedule.failed(is_link=True)
    assert schedule.due_in(60) == 8


def test_a_link_that_is_back_ends_the_pause_and_begins_nothing_else(schedule: Schedule) -> None:
    schedule.begins("")
    schedule.succeeded()
    schedule.link_is_back()
    assert not schedule.is_due(60)
    schedule.failed(is_link=False)
    schedule.link_is_back()
    assert schedule.is_due(60)


def test_a_rescan_is_begun_at_once_and_once(schedule: Schedule, time: Time) -> None:
    schedule.begins("")
    schedule.succeeded()
    assert not schedule.is_new_rescan("")
    assert schedule.is_new_rescan("rsc-1")
    schedule.begins("rsc-1")
    schedule.failed(is_link=False)
    assert not schedule.is_new_rescan("rsc-1"), "a failure has its pause"
    time.now += 4
    assert schedule.is_due(0)
    schedule.begins("rsc-1")
    schedule.succeeded()
    assert not schedule.is_new_rescan("rsc-1")
    assert schedule.is_new_rescan("rsc-2")


def test_a_pass_that_was_broken_off_is_due_when_passes_may_run(schedule: Schedule) -> None:
    schedule.begins("rsc-1")
    schedule.broke_off()
    assert schedule.is_due(3600)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DiskError("x"), "SOURCE_READ_ERROR"),
        (DiskError("x", code="DISK_SHRUNK"), "DISK_LAYOUT_CHANGED"),
        (LinkError("x"), "SERVICE_UNREACHABLE"),
        (LinkError("x", code="SERVICE_TIMEOUT"), "SERVICE_UNREACHABLE"),
        (LinkError("x", code="BAD_ANSWER"), "REFUSED"),
        (Garbled("x"), "UNSTABLE_NETWORK"),
        (Refusal("x", code="STORE_FULL", status=507), "STORE_FULL"),
        (Refusal("x", code="FENCED", status=409), "REFUSED"),
        (Denied("x", code="AGENT_CREDENTIAL_INVALID", status=401), "REFUSED"),
        (AgentError("x", code="NOT_CONVERGING"), "NOT_CONVERGING"),
        (AgentError("x", code="ROOT_MISMATCH"), "REPLICA_DIFFERS"),
        (StateError("x"), "NO_PROGRESS"),
    ],
)
def test_an_error_has_a_reason(error: AgentError, reason: str) -> None:
    assert reason_of(error) == reason


def test_every_reason_is_one_that_the_contract_knows() -> None:
    assert {*BY_CODE.values(), *(reason for _, reason in BY_KIND), "NO_PROGRESS"} <= set(ReplicationReason)


def test_whole_disks_are_read_for_a_twentieth_of_the_time(schedule: Schedule, time: Time) -> None:
    schedule.begins("")
    time.now += 500  # a slow link
    schedule.succeeded(whole_seconds=30)
    assert schedule.due_in(60) == 100, "600 s after the beginning, whatever the pass took"
    schedule.begins("")
    schedule.succeeded()
    assert schedule.due_in(60) == 60
