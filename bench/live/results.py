"""What was measured of a running host; see docs/performance.md for what the numbers mean."""

from dataclasses import dataclass

from bench.measuring import Measured


@dataclass(frozen=True)
class Steady:
    """A peer while the host writes at a rate.

    `churn` is the rate that the writer was told, in bytes a second, `written` what the disk took meanwhile.
    `lags` are seconds, one every half second, `freezes` milliseconds, one for each copy that was made;
    `passes` are the seconds that each of these took; `delivered` are the plain bytes that were sent, None
    where that is not known.
    """

    peer: str
    churn: int
    written: int
    lags: tuple[float, ...]
    freezes: tuple[int, ...]
    labels: tuple[str, ...]
    delivered: int | None
    passes: tuple[float, ...]
    measured: Measured


@dataclass(frozen=True)
class Delta:
    """A peer brings one delta over: `changed` bytes, a `share` of the data, in single blocks all over it.

    `ordered` are the seconds from the order to the commit: the agent hears of one within two seconds. That is
    no part of `measured.wall`, the pass alone, with which programs compare that are started by hand.
    """

    peer: str
    share: float
    changed: int
    ordered: float | None
    measured: Measured


@dataclass(frozen=True)
class Idle:
    """The agent follows a filesystem that nobody writes to; `wakeups` of all its threads together."""

    interval: int
    checkpoints: int
    wakeups: int
    measured: Measured


@dataclass(frozen=True)
class Second:
    """The first copy of a server, and that of one like it, of which `different` bytes are its own."""

    different: int
    dedup_ratio: float | None
    first: Measured
    second: Measured


@dataclass(frozen=True)
class Catchup:
    """The line was cut for `cut` seconds; `caught_up` seconds after it came back the lag was small again.

    `written` and `delivered` are bytes from the cut to that moment, `measured` counts from the line's return.
    """

    cut: int
    churn: int
    caught_up: float
    written: int
    delivered: int
    measured: Measured


@dataclass(frozen=True)
class PreflightTime:
    """Seconds of the command, of the agent's work, and of those that it watched the disks."""

    wall: float
    agent: float
    observed: float
    outcome: str


LiveResult = Steady | Delta | Idle | Second | Catchup | PreflightTime
