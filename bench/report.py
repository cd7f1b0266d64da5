"""Medians and ratios, as tables for people and as JSON for programs."""

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median

from bench.episode import Result
from bench.floor import Floor
from bench.launch.results import LaunchResult
from bench.live.results import LiveResult
from bench.peers.registry import OURS
from bench.plan import GIB, LINE_BITS, MIB, Case, Data, Link, Plan, size_text

HEADER = (
    "peer", "wall s", "× ours", "CPU s/GiB", "source", "target", "wire MB", "line", "RSS source", "RSS target"
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The medians of one peer in one case; CPU seconds per GiB of used data."""

    data: Data
    link: Link
    case: Case
    peer: str
    wall: float
    cpu_source: float
    cpu_target: float
    wire: int
    changed: int
    used: int
    peak_source: int
    peak_target: int

    @property
    def cpu(self) -> float:
        """CPU seconds of both ends per GiB of used data."""
        return self.cpu_source + self.cpu_target

    @property
    def line(self) -> float:
        """Share of a 1 Gbit/s line that was used over the whole step."""
        return self.wire * 8 / LINE_BITS / self.wall


def rows_of(results: Iterable[Result]) -> list[Row]:
    """The medians, in the order in which things were measured first."""
    groups: dict[tuple[Data, Link, Case, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.data, result.link, result.case, result.peer), []).append(result)
    return [_row(group) for group in groups.values()]


def _row(group: list[Result]) -> Row:
    one = group[0]
    per = GIB / one.used
    took = [result.measured for result in group]
    return Row(
        data=one.data,
        link=one.link,
        case=one.case,
        peer=one.peer,
        wall=median(item.wall for item in took),
        cpu_source=median(item.cpu_source for item in took) * per,
        cpu_target=median(item.cpu_target for item in took) * per,
        wire=int(median(item.wire for item in took)),
        changed=int(median(result.changed for result in group)),
        used=one.used,
        peak_source=max(item.peak_source for item in took),
        peak_target=max(item.peak_target for item in took),
    )


def tables(rows: list[Row], cases: tuple[Case, ...], floors: dict[Data, Floor]) -> str:
    """Everything as text, of the cases that were asked for."""
    keys = dict.fromkeys((row.data, row.link, row.case) for row in rows if row.case in cases)
    parts = [_table(*key, rows) for key in keys]
    parts += [_floor_text(data, floor, rows) for data, floor in floors.items()]
    return "\n\n".join(parts)


def _table(data: Data, link: Link, case: Case, rows: list[Row]) -> str:
    found = [row for row in rows if (row.data, row.link, row.case) == (data, link, case)]
    if case is Case.EXPORT:
        shown = {row.peer for row in found}
        found += [
            row
            for row in rows
            if (row.data, row.link, row.case) == (data, link, Case.FULL) and row.peer not in shown
        ]
    ours = next((row for row in found if row.peer == OURS), None)
    cells = [HEADER, *(_cells(row, ours, link) for row in found)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join([_title(data, link, case, found), *lines])


def _title(data: Data, link: Link, case: Case, rows: list[Row]) -> str:
    changed = f", {size_text(rows[0].changed)} changed" if rows[0].changed else ""
    return f"{data}, {link}, {case} ({size_text(rows[0].used)} used{changed})"


def _cells(row: Row, ours: Row | None, link: Link) -> tuple[str, ...]:
    return (
        row.peer,
        f"{row.wall:.2f}",
        f"{row.wall / ours.wall:.2f}" if ours else "",
        f"{row.cpu:.2f}",
        f"{row.cpu_source:.2f}",
        f"{row.cpu_target:.2f}",
        f"{row.wire / 1e6:.1f}",
        f"{row.line:.0%}" if link is Link.GBIT else "",
        f"{row.peak_source / MIB:.0f} MiB",
        f"{row.peak_target / MIB:.0f} MiB",
    )


def _floor_text(data: Data, floor: Floor, rows: list[Row]) -> str:
    ours = [row for row in rows if row.data is data and row.case is Case.FULL and row.peer == OURS]
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in floor.stages.items())
    lines = [f"floor of {data}: {floor.total:.2f} CPU s ({stages}); {floor.total_harder:.2f} with zstd 3"]
    for row in ours:
        spent = row.cpu * row.used / GIB
        over, harder = spent / floor.total, spent / floor.total_harder
        lines.append(
            f"{OURS} {row.link}: {spent:.2f} CPU s = {over:.2f} × the floor, {harder:.2f} with zstd 3"
        )
    return "\n".join(lines)


def document(
    plan: Plan, results: list[Result], floors: dict[Data, Floor], live: Sequence[LiveResult | LaunchResult]
) -> str:
    """Everything as JSON: where and when, each single measurement, the floors."""
    found = {
        "time": datetime.now(UTC).isoformat(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "size": plan.size,
        "runs": plan.runs,
        "results": [asdict(result) for result in results],
        "medians": [asdict(row) for row in rows_of(results)],
        "live": [{"case": type(result).__name__} | asdict(result) for result in live],
        "floors": {data.value: asdict(floor) for data, floor in floors.items()},
    }
    return json.dumps(found, indent=1) + "\n"
