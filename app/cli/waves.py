"""`go2cloud wave …`"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.confirm import Yes, sure
from app.cli.connection import connected
from app.cli.output import Column, Format, Out, View, show_list, show_one
from app.cli.waveruns import Ref, put_under, show_plan, show_run
from app.client import waves
from app.client.transport import Client
from app.contract.resources.wave import DEFAULT_AT_ONCE, Wave, WaveCreate, WaveUpdate
from app.contract.wavewords import WaveOperation

app = typer.Typer(no_args_is_help=True, help="Waves: applications that are tested and cut over together.")
put_under(app, "wave")


def _run(wave: Wave) -> str | None:
    return f"{wave.run.operation} {wave.run.state}" if wave.run else None


VIEW: View[Wave] = View(
    (
        Column("ID", lambda wave: wave.id, wide=True),
        Column("NAME", lambda wave: wave.name),
        Column("PROJECT", lambda wave: wave.project_name),
        Column("PLANNED", lambda wave: wave.planned_at),
        Column("APPLICATIONS", lambda wave: ", ".join(each.name for each in wave.applications) or None),
        Column("SERVERS", lambda wave: wave.server_count),
        Column(
            "STATES", lambda wave: ", ".join(f"{each.servers} {each.state}" for each in wave.states) or None
        ),
        Column("RUN", _run),
        Column("AT ONCE", lambda wave: wave.servers_at_once, wide=True),
        Column("STOP AFTER", lambda wave: wave.stop_after_failures, wide=True),
        Column("CREATED", lambda wave: wave.created_at, wide=True),
        Column("DESCRIPTION", lambda wave: wave.description or None, wide=True),
    ),
    name=lambda wave: wave.name,
)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write it like 2026-03-07T22:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


PlannedAt = Annotated[
    datetime | None, typer.Option("--at", parser=_time, metavar="TIME", help="Planned date, in UTC.")
]
AtOnce = Annotated[int | None, typer.Option("--at-once", help="Servers whose jobs run at once.")]
StopAfter = Annotated[
    int | None, typer.Option("--stop-after", help="Failures after which a run begins no more servers.")
]
Applications = Annotated[list[str], typer.Argument(metavar="APPLICATION…", help="Ids or names.")]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Letters, digits, dot, underscore, hyphen.")],
    application: Annotated[
        list[str] | None, typer.Option(help="Id or name of an application in it; repeatable.")
    ] = None,
    project: Annotated[str, typer.Option(help="Id or name.")] = "default",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    planned_at: PlannedAt = None,
    at_once: AtOnce = DEFAULT_AT_ONCE,
    stop_after: StopAfter = None,
    output: Out = Format.TABLE,
) -> None:
    """Create a wave."""
    body = WaveCreate(
        name=name,
        project=project,
        description=description,
        planned_at=planned_at,
        servers_at_once=DEFAULT_AT_ONCE if at_once is None else at_once,
        stop_after_failures=stop_after,
        applications=tuple(application or ()),
    )
    with connected(context) as client:
        show_one(client.send(waves.create_wave(body)), VIEW, output)


@app.command("list")
def list_(
    context: typer.Context,
    project: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    q: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    output: Out = Format.TABLE,
) -> None:
    """List waves."""
    with connected(context) as client:
        show_list(client.every(waves.waves(project=project, q=q)), VIEW, output)


@app.command()
def show(context: typer.Context, name: Ref, output: Out = Format.TABLE) -> None:
    """Show a wave and each of its servers: as it stands in the newest run, or would come in a first one."""
    with connected(context) as client:
        wave = client.send(waves.wave(name))
        show_one(wave, VIEW, output)
        if output not in (Format.TABLE, Format.WIDE) or not wave.server_count:
            return
        typer.echo()
        if wave.run is not None:
            show_run(client.send(waves.run("wave", wave.id, wave.run.job_id)), output)
        else:
            show_plan(client, "wave", wave.id, WaveOperation.TEST, output)


@app.command()
def update(
    context: typer.Context,
    name: Ref,
    rename: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    planned_at: PlannedAt = None,
    at_once: AtOnce = None,
    stop_after: StopAfter = None,
    no_date: Annotated[bool, typer.Option("--no-date", help="It has no planned date any more.")] = False,
    no_stop: Annotated[bool, typer.Option("--no-stop", help="Failures stop no run any more.")] = False,
    output: Out = Format.TABLE,
) -> None:
    """Change a wave; a run that stands goes on as it was ordered."""
    given: dict[str, object] = {
        "name": rename,
        "description": description,
        "planned_at": planned_at,
        "servers_at_once": at_once,
        "stop_after_failures": stop_after,
    }
    members = {member: value for member, value in given.items() if value is not None}
    members |= {"planned_at": None} if no_date else {}
    members |= {"stop_after_failures": None} if no_stop else {}
    with connected(context) as client:
        version = client.send(waves.wave(name)).version
        body = WaveUpdate.model_validate(members)
        show_one(client.send(waves.update_wave(name, version, body)), VIEW, output)


@app.command()
def delete(context: typer.Context, name: Ref, yes: Yes = False) -> None:
    """Remove a wave; its applications stay."""
    with connected(context) as client:
        wave = client.send(waves.wave(name))
        sure(f"Remove wave {wave.name}?", yes)
        client.send(waves.delete("wave", wave.id, wave.version))


@app.command()
def add(context: typer.Context, name: Ref, applications: Applications, output: Out = Format.TABLE) -> None:
    """Put applications into a wave."""
    with connected(context) as client:
        wave = client.send(waves.wave(name))
        inside = [each.id for each in wave.applications]
        _set(client, wave, (*inside, *applications), output)


@app.command()
def remove(context: typer.Context, name: Ref, applications: Applications, output: Out = Format.TABLE) -> None:
    """Take applications out of a wave."""
    with connected(context) as client:
        wave = client.send(waves.wave(name))
        gone = {client.send(waves.application(each)).id for each in applications}
        _set(client, wave, tuple(each.id for each in wave.applications if each.id not in gone), output)


def _set(client: Client, wave: Wave, applications: tuple[str, ...], output: Format) -> None:
    """Set the applications of a wave that is as it was read."""
    body = WaveUpdate(applications=applications)
    show_one(client.send(waves.update_wave(wave.id, wave.version, body)), VIEW, output)
