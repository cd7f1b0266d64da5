"""The `go2cloud` command: its options, its nouns, and how it ends."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from app.cli.connection import Target
from app.cli.exits import KNOWN, Exit, report
from app.cli.nouns import NOUNS

INTERRUPTED = 130

_WITH_VALUE: Final = ("--url", "--token")
"""The options before a noun that take a value."""


def options(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(envvar="GO2CLOUD_URL", help="Where the service is.")] = None,
    token: Annotated[str | None, typer.Option(envvar="GO2CLOUD_TOKEN", help="An API token.")] = None,
) -> None:
    """Options of every command that talks to a service."""
    context.obj = Target(url, token)


def agent(context: typer.Context) -> None:
    """The agent on a source host: the same as `go2cloud-agent …`."""
    os.execv(sys.executable, [sys.executable, "-m", "app.agent.daemon", *context.args])  # noqa: S606  (no shell)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    try:
        _app(_noun(arguments))(args=list(arguments), prog_name="go2cloud")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.FAILED
    except KNOWN as error:
        return report(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return Exit.OK


def _noun(arguments: Sequence[str]) -> str:
    """The first word that is no option and no option's value; empty if there is none."""
    rest = iter(arguments)
    for each in rest:
        if each in _WITH_VALUE:
            next(rest, None)
        elif not each.startswith("-"):
            return each
    return ""


def _app(noun: str) -> typer.Typer:
    """The command with this noun; with all of them where it is none, as for help and completion."""
    app = typer.Typer(
        name="go2cloud",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Replicate running Linux servers into a cloud of your own, and prove the copy.",
    )
    app.callback()(options)
    loads = [NOUNS[noun]] if noun in NOUNS else list(dict.fromkeys(NOUNS.values()))
    for load in loads:
        load(app)
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=settings, add_help_option=False)(agent)
    return app
