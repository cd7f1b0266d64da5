"""The `go2cloud` command: its nouns, its options, and how it ends."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from app.cli import (
    document,
    jobs,
    launching,
    login,
    offline,
    preflights,
    projects,
    replicas,
    replication,
    scrub,
    servers,
    tests,
    tokens,
    verifications,
)
from app.cli.connection import Target
from app.cli.demo.command import demo
from app.cli.exits import KNOWN, Exit, report

INTERRUPTED = 130

app = typer.Typer(
    name="go2cloud",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Replicate running Linux servers into a cloud of your own, and prove the copy.",
)

app.command()(offline.serve)
app.command()(demo)
app.command()(login.login)
app.command()(login.logout)
app.command()(login.passwd)
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
servers.app.command()(launching.launch_settings)
servers.app.command("test")(tests.order_test)
servers.app.command("tests")(tests.list_tests)
servers.app.command()(tests.screenshot)
servers.app.command()(tests.serial)
servers.app.command()(tests.terminate_test)
servers.app.command()(tests.mark_ready)
servers.app.command()(tests.revert)
app.add_typer(servers.app, name="server")
app.add_typer(replicas.app, name="replica")
app.add_typer(jobs.app, name="job")
app.add_typer(projects.app, name="project")
app.add_typer(tokens.api, name="token")
app.add_typer(tokens.install, name="install-token")
app.add_typer(offline.admin, name="admin")
app.add_typer(offline.db, name="db")
app.add_typer(offline.store, name="store")
app.command(hidden=True)(document.openapi)
servers.app.command()(verifications.verify)
offline.store.command()(scrub.status)


@app.callback()
def options(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(envvar="GO2CLOUD_URL", help="Where the service is.")] = None,
    token: Annotated[str | None, typer.Option(envvar="GO2CLOUD_TOKEN", help="An API token.")] = None,
) -> None:
    """Options of every command that talks to a service."""
    context.obj = Target(url, token)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def agent(context: typer.Context) -> None:
    """The agent on a source host: the same as `go2cloud-agent …`."""
    os.execv(sys.executable, [sys.executable, "-m", "app.agent.daemon", *context.args])  # noqa: S606  (no shell)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    try:
        app(args=list(arguments), prog_name="go2cloud")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.FAILED
    except KNOWN as error:
        return report(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return Exit.OK
