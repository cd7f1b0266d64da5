"""`go2cloud login` and `logout`."""

import sys
from typing import Annotated

import typer

from app.cli import credentials
from app.cli.connection import Target, connected
from app.cli.credentials import Credentials
from app.cli.exits import CommandFailed, Exit
from app.client import access
from app.client.transport import Client
from app.contract.words import PrincipalKind


def login(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="Where the service is.")] = None,
    user: Annotated[str, typer.Option(help="Who logs in.")] = "admin",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin.")
    ] = False,
) -> None:
    """Log in with a password, or keep the API token of --token or GO2CLOUD_TOKEN for later."""
    target = context.find_object(Target) or Target(None, None)
    where = url or target.url
    if where is None:
        raise CommandFailed("no URL is given", remedy="go2cloud login URL", code=Exit.USAGE)
    token = target.token or _session(where, user, password_stdin)
    with Client(where, token) as client:
        me = client.send(access.me())
    credentials.keep(Credentials(where, token))
    typer.echo(f"{me.name} ({me.role}) at {where}")
    if me.password_must_change:
        typer.echo("the password is a one-time one: change it with: go2cloud passwd", err=True)


def logout(context: typer.Context) -> None:
    """Close the session and forget it."""
    with connected(context) as client:
        if client.send(access.me()).kind is PrincipalKind.USER:
            client.send(access.log_out())
    credentials.forget()


def passwd(context: typer.Context) -> None:
    """Change the password of the logged-in user."""
    current = typer.prompt("Current password", hide_input=True, err=True)
    new = typer.prompt(
        "New password (12 characters or more)", hide_input=True, confirmation_prompt=True, err=True
    )
    with connected(context) as client:
        client.send(access.change_password(current, new))


def _session(url: str, user: str, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt(f"Password of {user}", hide_input=True, err=True)
    with Client(url) as client:
        return client.send(access.log_in(user, password)).token
