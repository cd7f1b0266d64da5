"""Whether an agent's session goes on at the living replica, by what the replicas themselves have logged."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tests.e2e.deployment import Deployment, until

MOVED_WITHIN_SECONDS: Final = 15.0
"""What is promised, from the moment in which a replica is killed."""

PATIENCE_SECONDS: Final = 120.0
POLL: Final = "/agent/v1/poll"
_SESSION: Final = re.compile(r"/agent/v1/sessions/([^/]+)/")

Log = Callable[[], str]
"""What a replica has logged so far: one JSON record a line."""


def log_of(deployment: Deployment, name: str) -> Log:
    """The log of a process of a deployment."""
    return (deployment.folder / f"{name}.log").read_text


@dataclass(frozen=True)
class Accepted:
    """A request of an agent that a replica took: when it was answered (seconds since the epoch)."""

    at: float
    path: str

    @property
    def session(self) -> str | None:
        """The session of replication that it belongs to, if any."""
        found = _SESSION.match(self.path)
        return found.group(1) if found else None


def accepted(log: str) -> Iterator[Accepted]:
    """The requests that were answered with success, in their order. A last line may not be whole yet."""
    for line in log[: log.rfind("\n") + 1].splitlines():
        record = json.loads(line)
        http = record.get("http", {})
        status = http.get("response", {}).get("status_code", 0) if http else 0
        if record.get("event", {}).get("action") == "http.request" and 200 <= status < 300:
            yield Accepted(datetime.fromisoformat(record["@timestamp"]).timestamp(), record["url"]["path"])


def session_at(log: Log, since: float = 0.0) -> str:
    """The session of which this replica has just taken data, after `since`; waits for some."""
    found: list[str] = []

    def is_there() -> bool:
        puts = [each for each in accepted(log()) if each.at > since and each.path.endswith("/put")]
        found[:] = [each.session for each in puts if each.session is not None]
        return bool(found)

    until(is_there, PATIENCE_SECONDS, "data of a session at the replica")
    return found[-1]


def seconds_to_move(log: Log, session: str, killed: float) -> float:
    """From `killed` (seconds since the epoch) to the end of the session's first request in this log."""
    return _seconds_to(log, killed, lambda each: each.session == session, f"session {session} goes on")


def seconds_to_beat(log: Log, killed: float) -> float:
    """The same for a heartbeat."""
    return _seconds_to(log, killed, lambda each: each.path == POLL, "a heartbeat at the living replica")


def _seconds_to(log: Log, killed: float, is_it: Callable[[Accepted], bool], what: str) -> float:
    found: list[float] = []

    def is_there() -> bool:
        found[:] = [each.at - killed for each in accepted(log()) if each.at > killed and is_it(each)]
        return bool(found)

    until(is_there, PATIENCE_SECONDS, what)
    return found[0]


def require_moved(log: Log, session: str, killed: float) -> None:
    """The session and the agent's heartbeats go on at the replica of this log, as soon as is promised."""
    moved, beaten = seconds_to_move(log, session, killed), seconds_to_beat(log, killed)
    assert max(moved, beaten) <= MOVED_WITHIN_SECONDS, f"session after {moved} s, heartbeat after {beaten} s"
