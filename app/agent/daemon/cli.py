"""The command `go2cloud-agent`: enroll, run, preflight, status, thaw.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 denied, 5 no answer. Errors are one line with the remedy on
standard error; results are on standard output.
"""

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from app.agent.daemon import priority, signals
from app.agent.daemon.composition import Manner, compose
from app.agent.daemon.console import Console
from app.agent.daemon.errors import AgentError, FreezeError, UsageError
from app.agent.daemon.freezer.rescue import thaw_left_frozen
from app.agent.daemon.hold.ownservices import DIRECTORY as CUTOVER_HOOKS
from app.agent.daemon.hooks import DIRECTORY as HOOKS
from app.agent.daemon.hooks import HookResult
from app.agent.daemon.hooksleft import finish_left
from app.agent.daemon.inventory.registry import inventory_of
from app.agent.daemon.link.endpoint import Endpoint, is_of_way_back, split_token
from app.agent.daemon.link.link import Link
from app.agent.daemon.preflight import command as preflight
from app.agent.daemon.service import Service
from app.agent.daemon.state import DEFAULT_DIR, RUN_DIR, Enrolment, StateDir
from app.agent.daemon.stopping import Stop
from app.agent.daemon.version import VERSION
from app.agent.daemon.yielding import Caps
from app.wire.messages import Enroll, Enrolled


@dataclasses.dataclass(frozen=True)
class Streams:
    """Where results and errors go."""

    out: IO[str]
    err: IO[str]


def run(arguments: Sequence[str], streams: Streams) -> int:
    """Carry out a command line; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options, streams))
    except AgentError as error:
        streams.err.write(f"go2cloud-agent: {error.code}: {error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="go2cloud-agent", description="Replicates this host's disks to a go2cloud service."
    )
    parser.add_argument("--version", action="version", version=f"go2cloud-agent {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_enroll(commands.add_parser("enroll", help="register this host as a server"))
    _add_run(commands.add_parser("run", help="replicate this host's disks"))
    _add_preflight(commands.add_parser("preflight", help="measure this host and the way to the service"))
    _add_status(commands.add_parser("status", help="say what this agent is and did"))
    _add_thaw(commands.add_parser("thaw", help="finish what a killed agent left: thaw, run hooks"))
    return parser


def _add_state_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir", type=Path, default=DEFAULT_DIR, metavar="DIR", help=f"default: {DEFAULT_DIR}"
    )


def _add_caps(parser: argparse.ArgumentParser, otherwise: str) -> None:
    for option, metavar, what in (
        ("--max-cpu", "PERCENT", "CPU time to use at most, in percent of one core"),
        ("--max-read", "MIB", "MiB a second to read from the disks at most"),
    ):
        parser.add_argument(
            option, type=_cap, metavar=metavar, help=f"{what}; 0: no cap; default: {otherwise}"
        )


def _cap(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 upwards")
    return int(text)


def _add_enroll(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the service, e.g. https://go2cloud.example.org")
    parser.add_argument("--token", required=True, help="an install token")
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="PATH",
        help="a block device or file to replicate; may be repeated; default: every physical disk",
    )
    parser.add_argument("--proxy", default="", metavar="URL", help="an HTTP proxy that allows CONNECT")
    parser.add_argument(
        "--allow-plain-http", action="store_true", help="send disks unencrypted to a URL beyond loopback"
    )
    parser.add_argument("--no-preflight", action="store_true", help="do not examine host and network now")
    _add_claims(parser)
    _add_caps(parser, "no cap")
    _add_state_dir(parser)
    parser.set_defaults(command=_enroll)


def _add_claims(parser: argparse.ArgumentParser) -> None:
    """Which server to be; without any of these the one that the host is known to be, else a new one."""
    claims = parser.add_mutually_exclusive_group()
    claims.add_argument(
        "--server", metavar="SERVER", help="take up this server again (name or id), if its agent is silent"
    )
    claims.add_argument(
        "--replace",
        metavar="SERVER",
        help="take it up whatever host it was, and shut out an agent that lives",
    )
    claims.add_argument("--new", action="store_true", help="become a new server, as a clone of another must")


def _claim(options: argparse.Namespace, token: str) -> tuple[str, str]:
    """Claim and server of the message Enroll. Raises UsageError."""
    claims = {"server": options.server, "replace": options.replace}
    named = [(claim, server) for claim, server in claims.items() if server is not None]
    claim, server = named[0] if named else ("new" if options.new else "known", "")
    if named and not server:
        raise UsageError(f"--{claim} names no server")
    if claim != "known" and is_of_way_back(token):
        raise UsageError(
            f"--{claim} does not go with the token of a way back, which says what this host becomes"
        )
    return claim, server


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="bring the replica up to date, commit, exit")
    parser.add_argument(
        "--hooks",
        type=Path,
        default=HOOKS,
        metavar="DIR",
        help=f"programs to run around a freeze; default: {HOOKS}",
    )
    parser.add_argument(
        "--cutover-hooks",
        type=Path,
        default=CUTOVER_HOOKS,
        metavar="DIR",
        help=f"programs that stop and start this host's services; default: {CUTOVER_HOOKS}",
    )
    _add_caps(parser, "what enrolment said")
    parser.add_argument("--no-yield", action="store_true", help="work on as before while the host is busy")
    _add_state_dir(parser)
    parser.set_defaults(command=_run)


def _add_preflight(parser: argparse.ArgumentParser) -> None:
    preflight.add_arguments(parser, _add_state_dir)
    parser.set_defaults(command=lambda options, to: preflight.run(options, VERSION, to.out, to.err))


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    _add_state_dir(parser)
    parser.set_defaults(command=_status)


def _add_thaw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also what an agent that is running holds frozen")
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=RUN_DIR,
        metavar="DIR",
        help=f"where the notes are; default: {RUN_DIR}",
    )
    parser.set_defaults(command=_thaw)


def _enroll(options: argparse.Namespace, streams: Streams) -> int:
    token, fingerprint = split_token(options.token)
    endpoint = Endpoint.parse(
        options.url,
        fingerprint=fingerprint,
        allow_plain_http=options.allow_plain_http,
        proxy=options.proxy,
    )
    claim, server = _claim(options, token)
    disks = tuple(str(Path(path).absolute()) for path in options.disk)
    with StateDir(options.state_dir) as state:
        copied = state.enrolment() if is_of_way_back(token) else None
        if copied is None:
            state.require_not_enrolled()
        else:
            state.place_aside(copied)
        message = Enroll(token, state.instance_id(), VERSION, inventory_of(disks), claim, server)
        link = Link(endpoint, Stop())
        try:
            enrolled = Service(link).enroll(message)
        finally:
            link.close()
        enrolment = Enrolment(
            url=options.url,
            server_id=enrolled.server_id,
            name=enrolled.name,
            credential=enrolled.credential,
            fingerprint=fingerprint,
            allow_plain_http=options.allow_plain_http,
            proxy=options.proxy,
            disks=disks,
            max_cpu=options.max_cpu or 0,
            max_read=options.max_read or 0,
        )
        if copied is not None:
            _set_aside(state, copied, streams)
        state.save_enrolment(enrolment)
    for warning in message.inventory.warnings:
        streams.err.write(f"go2cloud-agent: warning: {warning}\n")
    _say_enrolled(enrolled, streams)
    if not options.no_preflight:
        preflight.after_enrolment(enrolment, VERSION, streams.out, streams.err)
    return 0


def _say_enrolled(enrolled: Enrolled, streams: Streams) -> None:
    who = f"{enrolled.name} ({enrolled.server_id})"
    if not enrolled.is_taken_up:
        streams.out.write(f"enrolled as {who}\n")
        return
    streams.out.write(
        f"enrolled again as {who}: its settings and checkpoints are kept, older agents of it are shut out; "
        "the next pass reads the disks and sends what differs\n"
    )
    if enrolled.stopped_for is not None:
        streams.err.write(
            f"go2cloud-agent: warning: an earlier agent stopped services for cutover {enrolled.stopped_for}, "
            "which was taken back, and never started them again; nor does this one: look whether they run\n"
        )


def _set_aside(state: StateDir, copied: Enrolment, streams: Streams) -> None:
    """A launched machine has a copy of the source's state: two hosts must not use one credential."""
    aside = state.set_aside(copied)
    streams.err.write(
        f"go2cloud-agent: {state.path} was the copy of the state of {copied.name} ({copied.server_id}), the "
        f"source of this machine: its credential must not be used here, it lies in {aside} now\n"
    )


def _run(options: argparse.Namespace, streams: Streams) -> int:
    stop = Stop()
    signals.watch(stop)
    console = Console(streams.out, is_terminal=streams.out.isatty())
    with StateDir(options.state_dir) as state:
        enrolment = state.require_enrolment()
        _finish_cut(state, console)
        for note in priority.lower():
            console.note(note)
        caps = _caps(options, enrolment)
        manner = Manner(caps, options.hooks, options.cutover_hooks, yields=not options.no_yield)
        daemon = compose(enrolment, state, console, stop, manner)
        if options.once:
            daemon.once()
        else:
            daemon.forever()
    return 0


def _finish_cut(state: StateDir, console: Console) -> None:
    """Do what an agent left undone that was killed during a cut; hooks not while something is frozen still:
    one that writes there waits, and not even SIGKILL ends it."""
    try:
        rescued = thaw_left_frozen(RUN_DIR) if os.geteuid() == 0 else ()
        for each in rescued:
            console.note(f"left frozen: {each}")
        for result in () if any(each.is_stuck for each in rescued) else finish_left(state.run_dir):
            console.note(f"left undone by an agent that was killed: {result}")
    except AgentError as error:
        console.note(str(error))


def _caps(options: argparse.Namespace, enrolment: Enrolment) -> Caps:
    return Caps(
        enrolment.max_cpu if options.max_cpu is None else options.max_cpu,
        enrolment.max_read if options.max_read is None else options.max_read,
    )


def _status(options: argparse.Namespace, streams: Streams) -> int:
    state = StateDir(options.state_dir)
    enrolment = state.require_enrolment()
    last = state.last_pass()
    public = {
        "serverId": enrolment.server_id,
        "name": enrolment.name,
        "url": enrolment.url,
        "disks": list(enrolment.disks) or "all physical disks",
        "running": state.is_locked,
        "lastPass": dataclasses.asdict(last) if last else None,
    }
    if options.json:
        streams.out.write(json.dumps(public) + "\n")
        return 0
    for name, value in public.items():
        streams.out.write(f"{name:10} {_shown(value)}\n")
    return 0


def _thaw(options: argparse.Namespace, streams: Streams) -> int:
    rescued = thaw_left_frozen(options.run_dir, also_live=options.all)
    for each in rescued:
        streams.out.write(f"{each}\n")
    hooks = [] if any(each.is_stuck for each in rescued) else _hooks_left(options.run_dir)
    for result in hooks:
        streams.out.write(f"{result}\n")
    if not rescued and not hooks:
        streams.out.write("nothing was left frozen\n")
    stuck = [str(each) for each in rescued if each.is_stuck]
    if stuck:
        raise FreezeError("; ".join(stuck), code="STILL_FROZEN", remedy="see the kernel's log")
    return 0


def _hooks_left(run: Path) -> list[HookResult]:
    """Run hooks that wait for their end, of agents on any state directory."""
    folders = [run, *sorted(entry for entry in run.glob("*") if entry.is_dir())]
    return [result for folder in folders for result in finish_left(folder)]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if item not in ("", 0))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        "none since boot" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
