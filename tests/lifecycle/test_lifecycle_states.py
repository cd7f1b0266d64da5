"""The states of a test, row by row, and a server's lifecycle around it."""

import pytest

from app.contract.words import LifecycleState, ServerOperation
from app.contract.words import TestState as S
from app.migration.launch.states import TRANSITIONS
from app.migration.launch.states import TestAction as A
from app.migration.servers.states import taken_back

L = LifecycleState
EXPECTED = {
    S.PREPARING: {A.LAUNCH: S.BOOTING, A.TERMINATE: S.TERMINATED},
    S.BOOTING: {A.LAUNCH: S.BOOTING, A.PASS: S.RUNNING, A.TERMINATE: S.TERMINATED},
    S.RUNNING: {A.PASS: S.RUNNING, A.END: S.ENDED, A.TERMINATE: S.TERMINATED},
    S.TERMINATED: {A.TERMINATE: S.TERMINATED},
    S.ENDED: {A.END: S.ENDED, A.TERMINATE: S.ENDED},
}


def test_every_transition_of_a_test_is_the_expected_one() -> None:
    flat = {(state, action): after for state, row in EXPECTED.items() for action, after in row.items()}
    assert dict(TRANSITIONS) == flat


@pytest.mark.parametrize("came_from", [L.READY_FOR_TEST, L.TESTING, L.READY_FOR_CUTOVER])
def test_a_test_that_is_taken_back_leaves_the_server_as_it_was(came_from: LifecycleState) -> None:
    assert taken_back(L.TESTING, ServerOperation.TEST, came_from) is came_from


@pytest.mark.parametrize("now", [state for state in L if state is not L.TESTING])
def test_a_server_that_was_led_on_since_is_not_taken_back(now: LifecycleState) -> None:
    assert taken_back(now, ServerOperation.TEST, L.READY_FOR_TEST) is now
