"""The results of a running host as tables for people."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final, TypeVar

from bench.live.results import Catchup, Delta, Idle, LiveResult, PreflightTime, Second, Steady
from bench.measuring import Measured
from bench.peers.registry import OURS
from bench.plan import MB, MIB, size_text

R = TypeVar("R")
Line = tuple[str, ...]

STEADY: Final = (
    "peer", "written MB/s", "lag s p50", "max", "copies", "pass s p50", "× ours", "freeze ms p50", "max",
    "core source", "target", "wire MB", "per written", "per delivered", "RSS source", "RSS target", "labels",
)  # fmt: skip
DELTA: Final = ("peer", "wall s", "× ours", "CPU s", "wire MB", "per changed", "after order s")


def live_tables(results: Sequence[LiveResult]) -> str:
    """One table for each case that was measured."""
    parts = [
        *(_preflight(each) for each in _only(results, PreflightTime)),
        *(_idle(each) for each in _only(results, Idle)),
        *_deltas(_only(results, Delta)),
        *_steady(_only(results, Steady)),
        *(_catchup(each) for each in _only(results, Catchup)),
        *(_second(each) for each in _only(results, Second)),
    ]
    return "\n\n".join(parts)


def _only(results: Iterable[LiveResult], kind: type[R]) -> list[R]:
    return [each for each in results if isinstance(each, kind)]


def table(title: str, header: Line, lines: Iterable[Line]) -> str:
    """Columns as wide as they have to be, under a title."""
    cells = [header, *lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    rows = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join([title, *(row.rstrip() for row in rows)])


def _steady(found: list[Steady]) -> list[str]:
    churns = dict.fromkeys(each.churn for each in found)
    return [
        table(
            f"steady at {churn / MB:g} MB/s",
            STEADY,
            _steady_lines([each for each in found if each.churn == churn]),
        )
        for churn in churns
    ]


def _steady_lines(found: list[Steady]) -> list[Line]:
    ours = [seconds for each in found if each.peer == OURS for seconds in each.passes]
    return [_steady_line(each, ours) for each in found]


def _steady_line(found: Steady, ours: Sequence[float]) -> Line:
    took = found.measured
    return (
        found.peer,
        f"{found.written / took.wall / MB:.1f}",
        _known(found.lags, lambda lags: f"{median(lags):.1f}"),
        _known(found.lags, lambda lags: f"{max(lags):.1f}"),
        str(len(found.passes)),
        _known(found.passes, lambda passes: f"{median(passes):.2f}"),
        f"{median(found.passes) / median(ours):.1f}" if found.passes and ours else "—",
        _known(found.freezes, lambda freezes: f"{median(freezes):.0f}"),
        _known(found.freezes, lambda freezes: str(max(freezes))),
        f"{took.cpu_source / took.wall:.1%}",
        f"{took.cpu_target / took.wall:.1%}",
        f"{took.wire / MB:.1f}",
        _share(took.wire, found.written),
        _share(took.wire, found.delivered),
        *_memory(took),
        ", ".join(f"{found.labels.count(name)} {name}" for name in dict.fromkeys(found.labels)),
    )


def _known(values: Sequence[R], text: Callable[[Sequence[R]], str]) -> str:
    return text(values) if values else "—"


def _share(part: int, whole: int | None) -> str:
    return f"{part / whole:.2f}" if whole else "—"


def _memory(took: Measured) -> tuple[str, str]:
    return f"{took.peak_source / MIB:.0f} MiB", f"{took.peak_target / MIB:.0f} MiB"


def _deltas(found: list[Delta]) -> list[str]:
    shares = dict.fromkeys(each.share for each in found)
    return [_delta([each for each in found if each.share == share]) for share in shares]


def _delta(found: list[Delta]) -> str:
    peers = dict.fromkeys(each.peer for each in found)
    ours = [each.measured.wall for each in found if each.peer == OURS]
    lines = [_delta_line([each for each in found if each.peer == peer], ours) for peer in peers]
    changed = size_text(median(each.changed for each in found))
    return table(f"delta of {found[0].share:.1%}: {changed}", DELTA, lines)


def _delta_line(found: list[Delta], ours: list[float]) -> Line:
    wall = median(each.measured.wall for each in found)
    return (
        found[0].peer,
        f"{wall:.2f}",
        f"{wall / median(ours):.1f}" if ours else "—",
        f"{median(each.measured.cpu for each in found):.2f}",
        f"{median(each.measured.wire for each in found) / MB:.1f}",
        f"{median(each.measured.wire / each.changed for each in found):.2f}",
        _known([each.ordered for each in found if each.ordered], lambda waits: f"{median(waits):.2f}"),
    )


def _preflight(found: PreflightTime) -> str:
    own, agent = found.wall - found.observed, found.agent - found.observed
    return (
        f"preflight: {found.wall:.1f} s, {found.observed:.1f} of which watched the disks: {own:.1f} s are "
        f"its own, {agent:.1f} the agent's; {found.outcome}"
    )


def _idle(found: Idle) -> str:
    took = found.measured
    return (
        f"idle: {took.wall:.0f} s, an interval of {found.interval} s and {found.checkpoints} checkpoints: "
        f"{took.cpu_source / took.wall:.2%} of a core at the host, {took.cpu_target / took.wall:.2%} at the "
        f"service, {found.wakeups / took.wall:.1f} wake-ups a second, {took.wire / 1000:.1f} kB on the wire, "
        f"RSS {' and '.join(_memory(took))}"
    )


def _catchup(found: Catchup) -> str:
    return (
        f"catch-up: after {found.cut} s without a line at {found.churn / MB:g} MB/s caught up in "
        f"{found.caught_up:.1f} s; written {found.written / MB:.1f} MB, delivered "
        f"{found.delivered / MB:.1f} MB, wire {found.measured.wire / MB:.1f} MB"
    )


def _second(found: Second) -> str:
    first, second = found.first, found.second
    ratio = "none" if found.dedup_ratio is None else f"{found.dedup_ratio:g}"
    return (
        f"second server ({size_text(found.different)} of files differ): {second.wall:.2f} s after "
        f"{first.wall:.2f} s, wire {second.wire / MB:.1f} after {first.wire / MB:.1f} MB, CPU "
        f"{second.cpu:.2f} after {first.cpu:.2f} s; the API shows a dedup ratio of {ratio}"
    )
