"""The words of callbacks: the kinds of events that are delivered, and how a delivery ended.

Standard library only, so that pure tables can import it. A member's value is what travels in JSON.
"""

from enum import StrEnum


class EventKind(StrEnum):
    """What subscriptions hear of.

    `LIFECYCLE`: a server's lifecycle state changed. `FAILING`, `RECOVERED`: replication of a server began to
    fail, or works again. `JOB_STARTED`, `JOB_ENDED`: a job began its first step, or came to its end (again,
    where it was retried). `TEST_EXPIRING`, `TEST_ENDED`: a test machine will be terminated, or ended by
    itself.
    """

    LIFECYCLE = "server.lifecycle"
    FAILING = "replication.failing"
    RECOVERED = "replication.recovered"
    JOB_STARTED = "job.started"
    JOB_ENDED = "job.ended"
    TEST_EXPIRING = "test.expiring"
    TEST_ENDED = "test.ended"


class DeliveryOutcome(StrEnum):
    """How an attempt to deliver an event ended.

    `DELIVERED`: the receiver answered 2xx. `REFUSED`: it answered that this event itself is at fault (400,
    413, 422). `FAILED`: it answered anything else. `UNREACHABLE`: no answer could be had. `TIMED_OUT`: none
    came in time. `FORBIDDEN`: the settings do not let go2cloud speak to its address.
    """

    DELIVERED = "DELIVERED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    UNREACHABLE = "UNREACHABLE"
    TIMED_OUT = "TIMED_OUT"
    FORBIDDEN = "FORBIDDEN"
