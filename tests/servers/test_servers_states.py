"""The lifecycle table, row by row: what is not listed here is not allowed."""

from app.contract.words import LifecycleState as S
from app.contract.words import ServerOperation as Op
from app.migration.servers.states import SERVED, TRANSITIONS, after_checkpoint, allowed

EXPECTED = {
    S.NOT_READY: {Op.DISCONNECT: S.DISCONNECTED},
    S.READY_FOR_TEST: {Op.TEST: S.TESTING, Op.DISCONNECT: S.DISCONNECTED},
    S.TESTING: {
        Op.TEST: S.TESTING,
        Op.MARK_READY: S.READY_FOR_CUTOVER,
        Op.REVERT: S.READY_FOR_TEST,
        Op.DISCONNECT: S.DISCONNECTED,
    },
    S.READY_FOR_CUTOVER: {
        Op.TEST: S.TESTING,
        Op.CUTOVER: S.CUTTING_OVER,
        Op.REVERT: S.READY_FOR_TEST,
        Op.DISCONNECT: S.DISCONNECTED,
    },
    S.CUTTING_OVER: {
        Op.FINALIZE: S.CUTOVER,
        Op.REVERT: S.READY_FOR_CUTOVER,
        Op.REVERSE: S.CUTTING_OVER,
    },
    S.CUTOVER: {Op.DISCONNECT: S.DISCONNECTED, Op.ARCHIVE: S.CUTOVER, Op.REVERSE: S.CUTOVER},
    S.DISCONNECTED: {Op.ARCHIVE: S.DISCONNECTED},
}


def test_every_transition_is_the_expected_one() -> None:
    flat = {(state, op): target for state, row in EXPECTED.items() for op, target in row.items()}
    assert dict(TRANSITIONS) == flat


def test_allowed_operations_are_those_of_the_table_that_have_a_route() -> None:
    assert {state: set(allowed(state)) for state in S} == {
        state: set(EXPECTED[state]) & SERVED for state in S
    }


def test_the_first_checkpoint_makes_a_server_ready_and_later_ones_change_nothing() -> None:
    assert after_checkpoint(S.NOT_READY) is S.READY_FOR_TEST
    assert all(after_checkpoint(state) is state for state in S if state is not S.NOT_READY)
