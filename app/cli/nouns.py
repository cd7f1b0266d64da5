"""What can follow `go2cloud`: each word with the function that loads its commands.

A command loads its own noun and no other: to load all of them takes as long as a short command's whole work.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import typer

Load = Callable[[typer.Typer], None]
"""Put commands under the one that is given."""


def _serve(app: typer.Typer) -> None:
    from app.cli import offline

    app.command()(offline.serve)


def _demo(app: typer.Typer) -> None:
    from app.cli.demo.command import demo

    app.command()(demo)


def _login(app: typer.Typer) -> None:
    from app.cli import login

    app.command()(login.login)
    app.command()(login.logout)
    app.command()(login.passwd)


@cache
def _servers() -> typer.Typer:
    from app.cli import (
        cutovers,
        launching,
        preflights,
        publishing,
        replication,
        reports,
        reverses,
        servers,
        tests,
        verifications,
    )

    servers.app.command()(preflights.preflight)
    for command in (
        replication.update,
        replication.pause,
        replication.resume,
        replication.stop,
        replication.sync,
        replication.rescan,
        replication.retry,
    ):
        servers.app.command()(command)
    servers.app.command("replication")(replication.show_replication)
    servers.app.command()(verifications.verify)
    servers.app.command()(launching.launch_settings)
    servers.app.command("test")(tests.order_test)
    servers.app.command("tests")(tests.list_tests)
    servers.app.command()(tests.screenshot)
    servers.app.command()(tests.conversion)
    servers.app.command()(tests.serial)
    servers.app.command()(tests.terminate_test)
    servers.app.command()(tests.mark_ready)
    servers.app.command("report")(reports.server_report)
    for command in (
        cutovers.cutover,
        cutovers.finalize,
        cutovers.revert,
        cutovers.disconnect,
        cutovers.archive,
        reverses.reverse,
    ):
        servers.app.command()(command)
    servers.app.command("cutovers")(cutovers.list_cutovers)
    servers.app.command()(publishing.publish)
    servers.app.command()(publishing.follow)
    return servers.app


def _server(app: typer.Typer) -> None:
    app.add_typer(_servers(), name="server")


def _replica(app: typer.Typer) -> None:
    from app.cli import replicas

    app.add_typer(replicas.app, name="replica")


def _job(app: typer.Typer) -> None:
    from app.cli import jobs

    app.add_typer(jobs.app, name="job")


def _report(app: typer.Typer) -> None:
    from app.cli import reports

    app.add_typer(reports.app, name="report")


def _wave(app: typer.Typer) -> None:
    from app.cli import reports, waves

    waves.app.command("report")(reports.wave_report)
    app.add_typer(waves.app, name="wave")


def _application(app: typer.Typer) -> None:
    from app.cli import applications

    app.add_typer(applications.app, name="application")


def _target(app: typer.Typer) -> None:
    from app.cli import targets

    app.add_typer(targets.app, name="target")


def _subscription(app: typer.Typer) -> None:
    from app.cli import subscriptions

    app.add_typer(subscriptions.app, name="subscription")


def _project(app: typer.Typer) -> None:
    from app.cli import projects

    app.add_typer(projects.app, name="project")


def _token(app: typer.Typer) -> None:
    from app.cli import tokens

    app.add_typer(tokens.api, name="token")
    app.add_typer(tokens.install, name="install-token")


def _admin(app: typer.Typer) -> None:
    from app.cli import offline

    app.add_typer(offline.admin, name="admin")
    app.add_typer(offline.db, name="db")


@cache
def _stores() -> typer.Typer:
    from app.cli import offline, scrub

    offline.store.command()(scrub.status)
    return offline.store


def _store(app: typer.Typer) -> None:
    app.add_typer(_stores(), name="store")


def _openapi(app: typer.Typer) -> None:
    from app.cli import document

    app.command(hidden=True)(document.openapi)


NOUNS: Final[Mapping[str, Load]] = {
    "serve": _serve,
    "demo": _demo,
    "login": _login,
    "logout": _login,
    "passwd": _login,
    "server": _server,
    "replica": _replica,
    "application": _application,
    "wave": _wave,
    "job": _job,
    "report": _report,
    "target": _target,
    "project": _project,
    "subscription": _subscription,
    "token": _token,
    "install-token": _token,
    "admin": _admin,
    "db": _admin,
    "store": _store,
    "openapi": _openapi,
}
"""In the order of the help."""
