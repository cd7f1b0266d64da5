"""`go2cloud application …`"""

from typing import Annotated

import typer

from app.cli.confirm import Yes, sure
from app.cli.connection import connected
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.cli.waveruns import Ref, put_under
from app.client import servers, waves
from app.client.transport import Client
from app.contract.resources.wave import (
    Application,
    ApplicationCreate,
    ApplicationServer,
    ApplicationUpdate,
    ServerOfApplication,
)

app = typer.Typer(no_args_is_help=True, help="Applications: servers that belong together.")
put_under(app, "application")


def _servers(application: Application) -> str | None:
    return ", ".join(f"{each.name}={each.group}" for each in application.servers) or None


VIEW: View[Application] = View(
    (
        Column("ID", lambda application: application.id, wide=True),
        Column("NAME", lambda application: application.name),
        Column("PROJECT", lambda application: application.project_name),
        Column("WAVE", lambda application: application.wave.name if application.wave else None),
        Column("AFTER", lambda application: ", ".join(each.name for each in application.after) or None),
        Column("SERVERS", _servers),
        Column("CREATED", lambda application: application.created_at, wide=True),
        Column("DESCRIPTION", lambda application: application.description or None, wide=True),
    ),
    name=lambda application: application.name,
)

MEMBERS: View[ApplicationServer] = View(
    (
        Column("GROUP", lambda server: server.group),
        Column("SERVER", lambda server: server.name),
        Column("LIFECYCLE", lambda server: server.lifecycle_state.value),
        Column("ALLOWED", lambda server: ",".join(server.allowed_operations) or None),
        Column("ID", lambda server: server.id, wide=True),
    ),
    name=lambda server: server.name,
)


def _member(text: str) -> ServerOfApplication:
    """A server's id or name, and its group behind an equals sign."""
    server, sign, group = text.rpartition("=")
    if not sign:
        return ServerOfApplication(server=text)
    if not group.isdecimal():
        raise typer.BadParameter(f"{group!r} is no group: write SERVER=1, or SERVER alone for group 1")
    return ServerOfApplication(server=server, group=int(group))


Member = Annotated[
    list[ServerOfApplication] | None,
    typer.Option(
        "--server", parser=_member, metavar="SERVER[=GROUP]", help="A server; lower groups come first."
    ),
]
After = Annotated[
    list[str] | None, typer.Option("--after", help="An application whose servers come first; repeatable.")
]
Members = Annotated[
    list[ServerOfApplication],
    typer.Argument(parser=_member, metavar="SERVER[=GROUP]…", help="Lower groups come first; 1 by itself."),
]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Letters, digits, dot, underscore, hyphen.")],
    server: Member = None,
    after: After = None,
    project: Annotated[str, typer.Option(help="Id or name.")] = "default",
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    output: Out = Format.TABLE,
) -> None:
    """Create an application."""
    body = ApplicationCreate(
        name=name,
        project=project,
        description=description,
        servers=tuple(server or ()),
        after=tuple(after or ()),
    )
    with connected(context) as client:
        show_one(client.send(waves.create_application(body)), VIEW, output)


@app.command("list")
def list_(
    context: typer.Context,
    project: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    wave: Annotated[str | None, typer.Option(help="Only of this wave; id or name.")] = None,
    q: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    output: Out = Format.TABLE,
) -> None:
    """List applications."""
    with connected(context) as client:
        show_list(client.every(waves.applications(project=project, wave=wave, q=q)), VIEW, output)


@app.command()
def show(context: typer.Context, name: Ref, output: Out = Format.TABLE) -> None:
    """Show an application and its servers."""
    with connected(context) as client:
        application = client.send(waves.application(name))
    show_one(application, VIEW, output)
    if output in (Format.TABLE, Format.WIDE) and application.servers:
        typer.echo()
        show_list(application.servers, MEMBERS, output)


@app.command()
def update(
    context: typer.Context,
    name: Ref,
    rename: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    after: After = None,
    no_after: Annotated[bool, typer.Option("--no-after", help="It comes after no other any more.")] = False,
    output: Out = Format.TABLE,
) -> None:
    """Change an application; `--after` sets all that it comes after."""
    given: dict[str, object] = {"name": rename, "description": description, "after": after or None}
    members = {member: value for member, value in given.items() if value is not None}
    members |= {"after": ()} if no_after else {}
    with connected(context) as client:
        version = client.send(waves.application(name)).version
        body = ApplicationUpdate.model_validate(members)
        show_one(client.send(waves.update_application(name, version, body)), VIEW, output)


@app.command()
def delete(context: typer.Context, name: Ref, yes: Yes = False) -> None:
    """Remove an application; its servers stay."""
    with connected(context) as client:
        application = client.send(waves.application(name))
        sure(f"Remove application {application.name}?", yes)
        client.send(waves.delete("application", application.id, application.version))


@app.command()
def add(context: typer.Context, name: Ref, members: Members, output: Out = Format.TABLE) -> None:
    """Put servers into an application, or into another group of it."""
    with connected(context) as client:
        application = client.send(waves.application(name))
        inside = {each.id: each.group for each in application.servers}
        inside |= {client.send(servers.get(each.server)).id: each.group for each in members}
        _set(client, application, inside, output)


@app.command()
def remove(
    context: typer.Context,
    name: Ref,
    members: Annotated[list[str], typer.Argument(metavar="SERVER…", help="Ids or names.")],
    output: Out = Format.TABLE,
) -> None:
    """Take servers out of an application."""
    with connected(context) as client:
        application = client.send(waves.application(name))
        gone = {client.send(servers.get(each)).id for each in members}
        inside = {each.id: each.group for each in application.servers if each.id not in gone}
        _set(client, application, inside, output)


def _set(client: Client, application: Application, groups: dict[str, int], output: Format) -> None:
    """Set the servers of an application that is as it was read."""
    members = tuple(ServerOfApplication(server=server, group=group) for server, group in groups.items())
    body = ApplicationUpdate(servers=members)
    changed = client.send(waves.update_application(application.id, application.version, body))
    show_one(changed, VIEW, output)
