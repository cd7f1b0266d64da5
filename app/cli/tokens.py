"""`go2cloud token …` and `go2cloud install-token …`"""

from datetime import timedelta
from typing import Annotated, TypeVar

import typer

from app.cli.confirm import Yes, sure
from app.cli.connection import connected
from app.cli.durations import duration
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.client import access
from app.contract.resources.access import InstallToken, InstallTokenCreate, Token, TokenCreate
from app.contract.words import Role

T = TypeVar("T", Token, InstallToken)

api = typer.Typer(no_args_is_help=True, help="API tokens, for scripts.")
install = typer.Typer(no_args_is_help=True, help="Install tokens, which enrol agents.")

API_VIEW: View[Token] = View(
    (
        Column("ID", lambda token: token.id),
        Column("NAME", lambda token: token.name),
        Column("ROLE", lambda token: token.role),
        Column("PROJECT", lambda token: token.project_id or "all"),
        Column("LAST USED", lambda token: token.last_used_at),
        Column("EXPIRES", lambda token: token.expires_at),
        Column("REVOKED", lambda token: token.revoked_at),
        Column("CREATED", lambda token: token.created_at, wide=True),
    ),
    name=lambda token: token.id,
)

INSTALL_VIEW: View[InstallToken] = View(
    (
        Column("ID", lambda token: token.id),
        Column("NAME", lambda token: token.name),
        Column("PROJECT", lambda token: token.project_id),
        Column("USES LEFT", lambda token: token.uses_left),
        Column("USES", lambda token: token.uses_allowed, wide=True),
        Column("EXPIRES", lambda token: token.expires_at),
        Column("REVOKED", lambda token: token.revoked_at),
        Column("CREATED", lambda token: token.created_at, wide=True),
    ),
    name=lambda token: token.id,
)

TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id.")]


@api.command("list")
def list_api(context: typer.Context, output: Out = Format.TABLE) -> None:
    """List API tokens."""
    with connected(context) as client:
        show_list(client.every(access.tokens), API_VIEW, output)


@api.command("create")
def create_api(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[Role, typer.Option(help="The most that it may do.")] = Role.OPERATOR,
    project: Annotated[str | None, typer.Option(help="Id or name; all projects if absent.")] = None,
    expires_in: Annotated[timedelta | None, typer.Option(parser=duration, metavar="DURATION")] = None,
    output: Out = Format.NAME,
) -> None:
    """Create an API token and print its secret, this once (-o json: the whole token)."""
    body = TokenCreate(name=name, role=role, project=project, expires_in=expires_in)
    with connected(context) as client:
        created = client.send(access.create_token(body))
    _show_secret(created, created.secret, API_VIEW, output)


@api.command("revoke")
def revoke_api(context: typer.Context, token: TokenId, yes: Yes = False, output: Out = Format.TABLE) -> None:
    """Revoke an API token for good."""
    sure(f"Revoke the API token {token}?", yes)
    with connected(context) as client:
        show_one(client.send(access.revoke_token(token)), API_VIEW, output)


@install.command("list")
def list_install(
    context: typer.Context,
    project: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    output: Out = Format.TABLE,
) -> None:
    """List install tokens."""
    with connected(context) as client:
        pages = client.every(lambda cursor: access.install_tokens(cursor, project=project))
        show_list(pages, INSTALL_VIEW, output)


@install.command("create")
def create_install(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")] = "install",
    project: Annotated[str, typer.Option(help="Id or name.")] = "default",
    uses: Annotated[int, typer.Option(min=1, max=1000, help="How many agents may enrol.")] = 1,
    expires_in: Annotated[timedelta, typer.Option(parser=duration, metavar="DURATION")] = "24h",  # type: ignore[assignment]  # typer parses it
    output: Out = Format.NAME,
) -> None:
    """Create an install token and print its secret, this once (-o json: the whole token)."""
    body = InstallTokenCreate(name=name, project=project, uses=uses, expires_in=expires_in)
    with connected(context) as client:
        created = client.send(access.create_install_token(body))
    show_install_token(created, output)


@install.command("revoke")
def revoke_install(
    context: typer.Context, token: TokenId, yes: Yes = False, output: Out = Format.TABLE
) -> None:
    """Let nobody enrol with an install token any more."""
    sure(f"Revoke the install token {token}?", yes)
    with connected(context) as client:
        show_one(client.send(access.revoke_install_token(token)), INSTALL_VIEW, output)


def show_install_token(created: InstallToken, output: Format) -> None:
    """A token that was created just now, with the command that takes it where the address is known."""
    _show_secret(created, created.secret, INSTALL_VIEW, output)
    if created.agent_url:
        typer.echo(f"go2cloud-agent enroll --url {created.agent_url} --token {created.secret}", err=True)


def _show_secret(created: T, secret: str | None, view: View[T], output: Format) -> None:
    """The secret alone where a script takes it, a note beside it for people."""
    if output in (Format.JSON, Format.YAML):
        show_one(created, view, output)
        return
    typer.echo(f"{created.id} {created.name}: the secret is shown this once", err=True)
    typer.echo(secret)
