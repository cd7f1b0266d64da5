"""`go2cloud project …`"""

from typing import Annotated

import typer

from app.cli.connection import connected
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.client import projects
from app.contract.resources.project import Project, ProjectCreate
from app.contract.words import DedupScope

app = typer.Typer(no_args_is_help=True, help="Projects.")

VIEW: View[Project] = View(
    (
        Column("ID", lambda project: project.id, wide=True),
        Column("NAME", lambda project: project.name),
        Column("DEDUP", lambda project: project.dedup_scope),
        Column("CREATED", lambda project: project.created_at),
        Column("DESCRIPTION", lambda project: project.description),
    ),
    name=lambda project: project.name,
)


@app.command("list")
def list_(context: typer.Context, output: Out = Format.TABLE) -> None:
    """List projects."""
    with connected(context) as client:
        show_list(client.every(projects.page), VIEW, output)


@app.command()
def show(
    context: typer.Context,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="Id or name.")],
    output: Out = Format.TABLE,
) -> None:
    """Show one project."""
    with connected(context) as client:
        show_one(client.send(projects.get(project)), VIEW, output)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, underscore, hyphen.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    dedup: Annotated[
        DedupScope, typer.Option(help="Where equal chunks are stored once.")
    ] = DedupScope.PROJECT,
    output: Out = Format.TABLE,
) -> None:
    """Create a project."""
    body = ProjectCreate(name=name, description=description, dedup_scope=dedup)
    with connected(context) as client:
        show_one(client.send(projects.create(body)), VIEW, output)
