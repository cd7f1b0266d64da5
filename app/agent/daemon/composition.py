"""The running agent, put together from its parts."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.agent.daemon.console import Console
from app.agent.daemon.following.follower import Follower
from app.agent.daemon.freezer.client import Freezer
from app.agent.daemon.hold.journal import Journal
from app.agent.daemon.hold.keeper import Keeper
from app.agent.daemon.hold.ownservices import OwnServices
from app.agent.daemon.hold.reporter import Reporter
from app.agent.daemon.hookmark import HookMark
from app.agent.daemon.hooks import Hooks
from app.agent.daemon.host import Host
from app.agent.daemon.inventory.registry import inventory_of
from app.agent.daemon.link.enrolled import link_of
from app.agent.daemon.loop import Daemon, Workers
from app.agent.daemon.preflight.delivery import OnDemand
from app.agent.daemon.preflight.registry import Wanted
from app.agent.daemon.pressure import choose_gauge
from app.agent.daemon.service import Service
from app.agent.daemon.state import Enrolment, StateDir
from app.agent.daemon.status import Board
from app.agent.daemon.stopping import Halt, Stop
from app.agent.daemon.sync import Synchroniser
from app.agent.daemon.tracking.tracefs import TraceTracker
from app.agent.daemon.verification.background import Verifications
from app.agent.daemon.version import VERSION
from app.agent.daemon.yielding import Caps, Gate


@dataclass(frozen=True)
class Manner:
    """How the agent is to work: within which caps, with the hooks of which directories around a freeze and
    at a cutover, and whether it makes way for the host's own work."""

    caps: Caps
    hooks: Path
    cutover_hooks: Path
    yields: bool = True


def compose(enrolment: Enrolment, state: StateDir, console: Console, stop: Stop, manner: Manner) -> Daemon:
    """The daemon of an enrolled host; `stop` ends it. It freezes only as root."""
    link = link_of(enrolment, stop)
    stop.listen(link.interrupt)
    service, halt, board = Service(link), Halt(stop), Board()
    follower = Follower(state.run_dir, TraceTracker(state.run_dir), console.note)
    verifications = Verifications(link, enrolment.disks, stop, console.note, follower.doubt_all, follower)
    host = Host(
        follower,
        Freezer() if os.geteuid() == 0 else None,
        Hooks(manner.hooks, mark=HookMark(state.run_dir)),
        verifications,
        Gate(manner.caps, choose_gauge() if manner.yields else None, console.note),
        board,
    )
    synchroniser = Synchroniser(service, state.instance_id(), enrolment.disks, halt, console, host)
    preflights = OnDemand(
        link, lambda order: Wanted(enrolment.disks, VERSION, link, order), stop, console.note
    )
    services = OwnServices(manner.cutover_hooks)
    keeper = Keeper(Journal(state.path, state.run_dir), services, console.note, stop.set)
    reporter = Reporter(link, keeper, stop, console.note)
    workers = Workers(synchroniser, preflights, verifications, keeper, reporter)
    return Daemon(service, state, workers, console, halt, board, partial(inventory_of, enrolment.disks))
