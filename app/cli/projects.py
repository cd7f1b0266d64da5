"""`go2cloud project …`"""

from typing import Annotated

import typer

from app.cli.connection import connected
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.client import projects
from app.contract.resources.pace import PaceInput
from app.contract.resources.project import Project, ProjectCreate, ProjectUpdate
from app.contract.words import DedupScope
from app.kit.ratewindows import Rate, RateCalendar, RateWindow, parsed_rate, parsed_window, rate_text

UNLIMITED = -1

app = typer.Typer(no_args_is_help=True, help="Projects.")


def _pace(project: Project) -> str:
    """The default rate, then each window behind a semicolon."""
    if project.pace is None:
        return rate_text(None)
    calendar = project.pace.calendar()
    return "; ".join([rate_text(calendar.rate), *map(str, calendar.windows)])


VIEW: View[Project] = View(
    (
        Column("ID", lambda project: project.id, wide=True),
        Column("NAME", lambda project: project.name),
        Column("DEDUP", lambda project: project.dedup_scope),
        Column("PACE", _pace, wide=True),
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


def _rate(text: str) -> int:
    """-1 for no limit: an option that is None was not given."""
    try:
        rate = parsed_rate(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return UNLIMITED if rate is None else rate


def _window(text: str) -> RateWindow:
    try:
        return parsed_window(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def update(
    context: typer.Context,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="Id or name.")],
    rate: Annotated[
        int | None,
        typer.Option(parser=_rate, metavar="RATE", help="Bytes a second, such as 20MiB; 0; or unlimited."),
    ] = None,
    window: Annotated[
        list[RateWindow] | None,
        typer.Option(
            parser=_window,
            metavar="WINDOW",
            help="Such as 'Mon-Fri 08:00-18:00 Europe/Berlin 5MiB'; repeatable, the first that fits wins.",
        ),
    ] = None,
    no_pace: Annotated[bool, typer.Option("--no-pace", help="No limit any more.")] = False,
    output: Out = Format.TABLE,
) -> None:
    """Set how many bytes a second the project's servers may send together. It is set as a whole."""
    is_given = rate is not None or bool(window)
    if is_given == no_pace:
        raise typer.BadParameter("give --rate, --window or both; or --no-pace alone")
    body = ProjectUpdate(pace=None if no_pace else _calendar(rate, window or []))
    with connected(context) as client:
        version = client.send(projects.get(project)).version
        show_one(client.send(projects.update(project, version, body)), VIEW, output)


def _calendar(rate: Rate, windows: list[RateWindow]) -> PaceInput:
    return PaceInput.of(RateCalendar(None if rate == UNLIMITED else rate, tuple(windows)))
