"""The results on the way to a running machine as tables for people."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final, TypeVar

from app.contract.cutoverwords import CutoverPhase
from app.contract.words import BootPhase
from bench.launch.results import Advanced, Booted, CutOver, LaunchResult, Materialised
from bench.live.report import table
from bench.peers.registry import OURS
from bench.plan import MB, size_text

R = TypeVar("R")

MATERIALISE: Final = ("peer", "written s", "verified s", "MB/s", "× ours", "CPU s")
ADVANCE: Final = ("changed", "in pieces of", "verified s", "of materialising")
LOGIN: Final = ("peer", *(phase.value for phase in BootPhase), "× ours", "under")
_DOWN: Final = list(CutoverPhase)[list(CutoverPhase).index(CutoverPhase.STOP) :]
"""The phases of the downtime."""


def launch_tables(results: Sequence[LaunchResult]) -> str:
    """One table for each kind of measurement, of medians."""
    parts = (
        _materialised(_only(results, Materialised)),
        _advanced(_only(results, Advanced), _only(results, Materialised)),
        _booted(_only(results, Booted)),
        _steps(_only(results, Booted)),
        _cut_over(_only(results, CutOver)),
    )
    return "\n\n".join(filter(None, parts))


def _only(results: Iterable[LaunchResult], kind: type[R]) -> list[R]:
    return [each for each in results if isinstance(each, kind)]


def _materialised(found: list[Materialised]) -> str:
    if not found:
        return ""
    peers = dict.fromkeys(each.peer for each in found)
    ours = [each.verified for each in found if each.peer == OURS]
    lines = [_materialised_line([each for each in found if each.peer == peer], ours) for peer in peers]
    return table(f"materialise {size_text(found[0].used)} to a raw file", MATERIALISE, lines)


def _materialised_line(found: list[Materialised], ours: list[float]) -> tuple[str, ...]:
    verified = median(each.verified for each in found)
    written = [each.written for each in found if each.written is not None]
    return (
        found[0].peer,
        f"{median(written):.2f}" if written else "—",
        f"{verified:.2f}",
        f"{found[0].used / MB / verified:.0f}",
        _ratio(verified, ours),
        f"{median(each.cpu for each in found):.2f}",
    )


def _ratio(value: float, whole: list[float]) -> str:
    return f"{value / median(whole):.2f}" if whole else "—"


def _advanced(found: list[Advanced], anew: list[Materialised]) -> str:
    if not found:
        return ""
    ours = [each.verified for each in anew if each.peer == OURS]
    pieces = dict.fromkeys(each.piece for each in found)
    lines = [_advanced_line([each for each in found if each.piece == piece], ours) for piece in pieces]
    return table("advance to the next checkpoint", ADVANCE, lines)


def _advanced_line(found: list[Advanced], ours: list[float]) -> tuple[str, ...]:
    took = median(each.verified for each in found)
    changed = size_text(median(each.changed for each in found))
    return changed, size_text(found[0].piece), f"{took:.2f}", _ratio(took, ours)


def _booted(found: list[Booted]) -> str:
    if not found:
        return ""
    peers = dict.fromkeys(each.peer for each in found)
    ours = [each.phases[BootPhase.LOGIN] for each in found if each.peer == OURS]
    lines = [_booted_line([each for each in found if each.peer == peer], ours) for peer in peers]
    return table("seconds from the launch", LOGIN, lines)


def _booted_line(found: list[Booted], ours: list[float]) -> tuple[str, ...]:
    seen = {phase: [each.phases[phase] for each in found if phase in each.phases] for phase in BootPhase}
    times = [f"{median(after):.2f}" if after else "—" for after in seen.values()]
    return found[0].peer, *times, _ratio(median(seen[BootPhase.LOGIN]), ours), found[0].accelerator


def _steps(found: list[Booted]) -> str:
    """The product's jobs, step by step."""
    jobs = [each for each in found if each.job is not None]
    if not jobs:
        return ""
    steps = ", ".join(f"{name} {_of(jobs, _step(name)):.2f}" for name in jobs[0].steps)
    return f"job of the test: {median(each.job or 0.0 for each in jobs):.2f} s, of which {steps}"


def _step(name: str) -> Callable[[Booted], float]:
    return lambda each: each.steps[name]


def _of(found: Sequence[R], value: Callable[[R], float]) -> float:
    return median(value(each) for each in found)


def _cut_over(found: list[CutOver]) -> str:
    if not found:
        return ""
    phases = [(phase.value, _of(found, _phase(phase))) for phase in _DOWN]
    before = ", ".join(
        f"{phase} {_of(found, _phase(phase)):.2f} s" for phase in CutoverPhase if phase not in _DOWN
    )
    down = _of(found, lambda each: each.downtime)
    between = _of(found, lambda each: each.downtime - sum(each.phases[phase] for phase in _DOWN))
    lines = [
        (name, f"{value:.2f}") for name, value in (*phases, ("between them", between), ("downtime", down))
    ]
    title = (
        f"cutover at {found[0].churn / MB:g} MB/s: frozen for {_of(found, lambda each: each.freeze):.0f} ms, "
        f"{_of(found, lambda each: each.delivered) / MB:.1f} MB since the one written before, login "
        f"{_of(found, lambda each: each.login):.2f} s after the launch; before the downtime {before}"
    )
    return table(title, ("phase", "s"), lines)


def _phase(phase: CutoverPhase) -> Callable[[CutOver], float]:
    return lambda each: each.phases[phase]
