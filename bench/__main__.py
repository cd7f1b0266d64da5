"""`python -m bench`: see docs/performance.md. Needs root, for network namespaces."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TypeVar

from bench.bytecode import compile_product
from bench.episode import Result, Setting, play
from bench.floor import Floor, measure_floor
from bench.images import Image, cached, working_copy
from bench.launch.report import launch_tables
from bench.launch.run import PACKAGES, measure_launch
from bench.live.report import live_tables
from bench.live.run import measure_live
from bench.network import network
from bench.peers.registry import PEERS, missing_packages
from bench.plan import MB, Case, Data, LaunchCase, Link, LiveCase, LivePlan, Plan, parse_size, size_text
from bench.report import document, rows_of, tables

NICE = 10
"""The agent lowers its own priority by as much: so nobody is ahead, and nobody is disturbed."""

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

AnyCase = Case | LiveCase | LaunchCase
LAUNCH = "launch"
"""All cases of `LaunchCase`."""
_BY_WORD: dict[str, AnyCase] = {case.value: case for kind in (Case, LiveCase, LaunchCase) for case in kind}

W = TypeVar("W", bound=StrEnum)


def main() -> int:
    """Measure; the exit code."""
    options = _parser().parse_args()
    if options.packages:
        print(" ".join(_missing(options)))
        return 0
    plan = _plan(options)
    if os.geteuid() != 0:
        return _refuse("network namespaces need root: run it as root")
    missing = _missing(options)
    if missing:
        return _refuse(f"packages are missing: apt-get install {' '.join(missing)}")
    os.nice(max(0, NICE - os.nice(0)))
    for number in _STOPS:
        signal.signal(number, _stopped)
    compile_product()
    results, floors = _measure(plan) if plan.cases else ([], {})
    live_plan, cases = _live_plan(options, plan), _only(options.cases, LaunchCase)
    live = measure_live(live_plan, _tell) if live_plan.cases else []
    launched = measure_launch(live_plan, cases, _tell) if cases else []
    parts = [tables(rows_of(results), plan.cases, floors), live_tables(live), launch_tables(launched)]
    print("\n\n".join(filter(None, parts)))
    if plan.output:
        plan.output.write_text(document(plan, results, floors, [*live, *launched]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure replication against peers.")
    parser.add_argument("--size", default="4GiB", help="of the disk (default: 4GiB)")
    parser.add_argument("--runs", type=int, default=3, help="of which the medians are shown (default: 3)")
    parser.add_argument(
        "--cases", type=_cases, default=tuple(_BY_WORD.values()), help=",".join((*_BY_WORD, LAUNCH))
    )
    parser.add_argument("--links", type=_words(Link), default=tuple(Link), help=_known(Link))
    parser.add_argument("--data", type=_words(Data), default=(Data.REALISTIC,), help=_known(Data))
    parser.add_argument("--peers", type=_peers, default=tuple(PEERS), help=",".join(PEERS))
    parser.add_argument("--packages", action="store_true", help="only list the packages that are missing")
    parser.add_argument("--churn", type=_churns, default=_churns("1,5,20"), help="MB/s that a host writes")
    parser.add_argument("--seconds", type=int, default=30, help="of each steady state (default: 30)")
    parser.add_argument("--cut", type=int, default=60, help="seconds without a line (default: 60)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write everything as JSON")
    return parser


def _known(*kinds: type[StrEnum]) -> str:
    return ",".join(word.value for words in kinds for word in words)


def _cases(text: str) -> tuple[AnyCase, ...]:
    """The cases that these words name. Raises ValueError."""
    words = [word for part in text.split(",") for word in (LaunchCase if part == LAUNCH else (part,))]
    unknown = [word for word in words if word not in _BY_WORD]
    if unknown:
        raise ValueError(f"unknown cases: {', '.join(unknown)}")
    return tuple(_BY_WORD[word] for word in words)


def _churns(text: str) -> tuple[int, ...]:
    return tuple(int(float(part) * MB) for part in text.split(","))


def _only(cases: Iterable[AnyCase], kind: type[W]) -> tuple[W, ...]:
    """Those of a kind, in the order in which they are played."""
    wanted = set(cases)
    return tuple(case for case in kind if case in wanted)


def _missing(options: argparse.Namespace) -> list[str]:
    """Debian packages that the call needs."""
    more = PACKAGES if _only(options.cases, LaunchCase) else ()
    return missing_packages((PEERS[name] for name in options.peers), more)


def _words(words: type[W]) -> Callable[[str], tuple[W, ...]]:
    """A parser of a comma-separated list of these words."""

    def parse(text: str) -> tuple[W, ...]:
        return tuple(words(part) for part in text.split(","))

    parse.__name__ = words.__name__.lower()
    return parse


def _peers(text: str) -> tuple[str, ...]:
    unknown = [name for name in text.split(",") if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(PEERS)}")
    return tuple(text.split(","))


def _plan(options: argparse.Namespace) -> Plan:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Plan(
        size=parse_size(options.size),
        runs=options.runs,
        cases=_only(options.cases, Case),
        links=options.links,
        data=options.data,
        peers=options.peers,
        cache=home / "go2cloud-bench",
        output=options.output,
    )


def _live_plan(options: argparse.Namespace, plan: Plan) -> LivePlan:
    return LivePlan(
        size=plan.size,
        runs=plan.runs,
        cases=_only(options.cases, LiveCase),
        link=plan.links[0],
        peers=plan.peers,
        cache=plan.cache,
        churns=options.churn,
        seconds=options.seconds,
        cut=options.cut,
    )


def _stopped(number: int, _frame: FrameType | None) -> None:
    """Unwind, so that processes are ended and namespaces removed, whatever comes meanwhile."""
    for each in _STOPS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _refuse(reason: str) -> int:
    _tell(reason)
    return 2


def _tell(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _measure(plan: Plan) -> tuple[list[Result], dict[Data, Floor]]:
    results: list[Result] = []
    floors: dict[Data, Floor] = {}
    for data in plan.data:
        pristine = cached(data, plan.size, plan.cache)
        with tempfile.TemporaryDirectory(prefix="run-", dir=plan.cache) as folder:
            image = working_copy(data, pristine, Path(folder))
            _tell(f"{data}: {size_text(image.used)} of {size_text(image.size)} are in use")
            for link in plan.links:
                results += _on_link(plan, data, link, image, Path(folder))
            floors[data] = measure_floor(image, Path(folder))
    return results, floors


def _on_link(plan: Plan, data: Data, link: Link, image: Image, folder: Path) -> list[Result]:
    """Every peer in turn, as often as there are runs."""
    results: list[Result] = []
    with network(link) as joined:
        setting = Setting(data, link, image, joined, folder)
        for run in range(1, plan.runs + 1):
            for name in plan.peers:
                if data in PEERS[name].data:
                    results += play(PEERS[name], run, setting, plan, _tell)
    return results


if __name__ == "__main__":
    sys.exit(main())
