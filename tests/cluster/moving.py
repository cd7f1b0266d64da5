"""Whether an agent's session goes on at the living replica, by what the replicas themselves have logged."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tests.e2e.deployment import Deployment, until

MOVED_WITHIN_SECONDS: Final = 15.0
"""What is promised, from the moment in which a replica is killed."""

PATIENCE_SECONDS: Final = 60.0
UNDER_WAY_SECONDS: Final = 1.0
POLL: Final = "/agent/v1/poll"
_SESSION: Final = re.compile(r"/agent/v1/sessions/([^/]+)/")

Log = Callable[[], str]
"""What a replica has logged so far: one JSON record a line."""


def log_of(deployment: Deployment, name: str) -> Log:
    """The log of a process of a deployment."""
    return (deployment.folder / f"{name}.log").read_text


@dataclass(frozen=True)
class Accepted:
    """A request of an agent that was answered with success.

    `began` is when the replica took it, in seconds since the epoch: how long its data then takes is the
    pace's business.
    """

    began: float
    path: str

    @property
    def session(self) -> str | None:
        """The session of replication that it belongs to, if any."""
        found = _SESSION.match(self.path)
        return found.group(1) if found else None


def accepted(log: str) -> Iterator[Accepted]:
    """The requests in a log, in the order of their answers. A last line may not be whole yet."""
    for line in log[: log.rfind("\n") + 1].splitlines():
        record = json.loads(line)
        if record.get("event", {}).get("action") != "http.request":
            continue
        if 200 <= record["http"]["response"]["status_code"] < 300:
            ended = datetime.fromisoformat(record["@timestamp"]).timestamp()
            yield Accepted(ended - record["event"]["duration"] / 1e9, record["url"]["path"])


def busy(logs: Mapping[str, Log], since: float = 0.0) -> tuple[str, str]:
    """The replica that took a request of a session last, and that session; its data is under way then.

    Waits for a session that began after `since`.
    """
    found: dict[str, Accepted] = {}

    def is_there() -> bool:
        for name, log in logs.items():
            for each in accepted(log()):
                if each.session is not None and each.began > since:
                    found[name] = each
        return bool(found)

    until(is_there, PATIENCE_SECONDS, "a request of a session at a replica")
    time.sleep(UNDER_WAY_SECONDS)
    name = max(found, key=lambda each: found[each].began)
    return name, str(found[name].session)


def require_moved(log: Log, session: str, killed: float) -> None:
    """Session and heartbeats go on at the replica of this log as soon after `killed` as is promised."""
    moved = _seconds_to(log, killed, lambda each: each.session == session, f"session {session} goes on")
    beaten = _seconds_to(log, killed, lambda each: each.path == POLL, "heartbeats go on")
    assert max(moved, beaten) <= MOVED_WITHIN_SECONDS, f"session after {moved} s, heartbeat after {beaten} s"


def _seconds_to(log: Log, killed: float, is_it: Callable[[Accepted], bool], what: str) -> float:
    found: list[float] = []

    def is_there() -> bool:
        found[:] = [each.began - killed for each in accepted(log()) if each.began > killed and is_it(each)]
        return bool(found)

    until(is_there, PATIENCE_SECONDS, what)
    return min(found)
