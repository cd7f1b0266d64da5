"""What a server says of its replication follows from its lease, not from the last words of its agent."""

from datetime import UTC, datetime, timedelta

import pytest

from app.contract.words import ReplicationReason, ReplicationState
from app.migration.replication.standing import since_of, standing_of
from app.migration.replication.states import Standing
from app.migration.servers.tables import ServerRow

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON, GONE = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)
STATE, REASON = ReplicationState, ReplicationReason


@pytest.mark.parametrize(
    ("state", "reason", "lease", "shown"),
    [
        (STATE.RESCAN, None, SOON, (STATE.RESCAN, None)),
        (STATE.RESCAN, None, GONE, (STATE.DISCONNECTED, REASON.AGENT_NOT_SEEN)),
        (STATE.CONTINUOUS, None, None, (STATE.DISCONNECTED, REASON.AGENT_NOT_SEEN)),
        (STATE.STALLED, REASON.STORE_FULL, SOON, (STATE.STALLED, REASON.STORE_FULL)),
        (STATE.STOPPED, None, None, (STATE.STOPPED, None)),
        (STATE.STOPPED, None, SOON, (STATE.STOPPED, None)),
        (STATE.STOPPED, None, GONE, (STATE.DISCONNECTED, REASON.AGENT_NOT_SEEN)),
    ],
)
def test_an_agent_without_a_lease_is_not_seen(
    state: ReplicationState,
    reason: ReplicationReason | None,
    lease: datetime | None,
    shown: tuple[ReplicationState, ReplicationReason | None],
) -> None:
    row = ServerRow(replication_state=state, replication_reason=reason, lease_until=lease)
    assert standing_of(row, NOW) == Standing(*shown)


def test_a_lost_agent_is_not_seen_since_its_lease_ended() -> None:
    row = ServerRow(replication_state=STATE.CONTINUOUS, lease_until=GONE, replication_since=NOW)
    assert since_of(row, NOW) == GONE
    row.lease_until = SOON
    assert since_of(row, NOW) == NOW
