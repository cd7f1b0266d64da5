"""Commands on this installation itself: `serve`, `admin`, `db`, `store`.

They read the service's settings and work without the API; all but `serve` refuse while a service holds the
database file or the store. What they run comes from the composition root and is loaded only when it is asked
for.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.cli.confirm import Yes, sure
from app.cli.exits import CommandFailed
from app.cli.progress import stages
from app.roles import ALL, parse_roles

if TYPE_CHECKING:
    from app.kit.settings import Settings
    from app.schema.standing import Standing

T = TypeVar("T")

admin = typer.Typer(no_args_is_help=True, help="Administrators, on the service's own host.")
db = typer.Typer(no_args_is_help=True, help="The database schema.")
store = typer.Typer(no_args_is_help=True, help="The store: status, check, collect garbage, rebuild.")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The YAML file with the settings.", exists=True, dir_okay=False
    ),
]
UserName = Annotated[str, typer.Argument(metavar="NAME")]


def serve(
    role: Annotated[str, typer.Option(help="platform, api, agent or all.")] = ALL,
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = None,
) -> None:
    """Serve one tier, or all of them in one process, until SIGTERM."""
    try:
        roles = parse_roles(role)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--role") from error
    from app import main

    main.serve(_listening(_settings(config), host, port), roles)


def _settings(file: Path | None) -> "Settings":
    from app.kit.settings import load_settings

    return load_settings(file=file)


def _listening(settings: "Settings", host: str | None, port: int | None) -> "Settings":
    http = replace(
        settings.http,
        host=settings.http.host if host is None else host,
        port=settings.http.port if port is None else port,
    )
    return replace(settings, http=http)


@admin.command("create")
def admin_create(name: UserName, config: Config = None) -> None:
    """Make an administrator and print its one-time password."""
    from app import offline

    _show_password(_run(offline.create_administrator(_settings(config), name)))


@admin.command("reset-password")
def admin_reset_password(name: UserName, config: Config = None) -> None:
    """Give a user a new one-time password, print it, and close the user's sessions."""
    from app import offline

    _show_password(_run(offline.reset_password(_settings(config), name)))


@db.command("upgrade")
def db_upgrade(
    revision: Annotated[str, typer.Argument(help="A version, or head.")] = "head", config: Config = None
) -> None:
    """Bring the schema up to the version that this program needs."""
    from app import offline

    typer.echo(_run(offline.upgrade(_settings(config), revision)))
    _tell_newer(_run(offline.current(_settings(config))))


@db.command("downgrade")
def db_downgrade(
    revision: Annotated[str, typer.Argument(help="A version, or base for an empty database.")],
    yes: Yes = False,
    config: Config = None,
) -> None:
    """Take the schema back to an older version; what that version has no place for is lost."""
    from app import offline

    sure(f"Take the schema back to {revision}? Data is lost.", yes)
    typer.echo(_run(offline.downgrade(_settings(config), revision)) or "empty")


@db.command("current")
def db_current(config: Config = None) -> None:
    """Print the schema's version; exit 1 when this program does not run on it."""
    from app import offline

    found = _run(offline.current(_settings(config)))
    typer.echo(found.present or "empty")
    if found.is_outdated:
        raise CommandFailed(f"this program needs version {found.wanted}", remedy="go2cloud db upgrade")
    found.require_not_too_new()
    _tell_newer(found)


def _tell_newer(found: "Standing") -> None:
    if found.is_newer:
        typer.echo(f"left as it is: newer than {found.wanted}, and this program runs on it", err=True)


@store.command("check")
def store_check(
    read_data: Annotated[bool, typer.Option("--read-data", help="Also read and hash every chunk.")] = False,
    subset: Annotated[str | None, typer.Option(metavar="N/T", help="Only part N of T of the packs.")] = None,
    config: Config = None,
) -> None:
    """Compare store and database; exit 1 when something is wrong."""
    part = None if subset is None else _subset(subset)
    from app import offline

    with stages() as show:
        report = _run(
            offline.check_store(
                _settings(config),
                read_data=read_data,
                subset=part,
                progress=lambda at: show(at.stage, at.done, at.total),
            )
        )
    for finding in report.findings:
        typer.echo(str(finding))
    typer.echo(
        f"{report.checkpoints} checkpoints, {report.nodes} nodes, {report.packs} packs; "
        f"{report.packs_read} packs read ({report.bytes_read} bytes); {len(report.findings)} findings"
    )
    if any(not finding.is_harmless for finding in report.findings):
        raise CommandFailed(
            "the store is damaged; see above", remedy="a new sync of the sources heals chunks"
        )


@store.command("gc")
def store_gc(yes: Yes = False, config: Config = None) -> None:
    """Apply retention and delete what nothing refers to any more."""
    from app import offline

    sure("Delete what nothing refers to?", yes)
    _show_counts(_run(offline.collect_garbage(_settings(config))))


@store.command("rebuild-db")
def store_rebuild_db(yes: Yes = False, config: Config = None) -> None:
    """Fill an empty database from the store."""
    from app import offline

    sure("Rebuild the database from the store?", yes)
    _show_counts(_run(offline.rebuild_database(_settings(config))))


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _show_password(fresh: Any) -> None:
    typer.echo(f"one-time password of {fresh.user}, shown this once:", err=True)
    typer.echo(fresh.password)


def _show_counts(report: object) -> None:
    for name, value in vars(report).items():
        shown = len(value) if isinstance(value, list | tuple) else value
        typer.echo(f"{name.replace('_', ' ')}: {shown}")


def _subset(text: str) -> tuple[int, int]:
    number, slash, total = text.partition("/")
    if not (slash and number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
        raise typer.BadParameter(f"{text!r} is not a part: write such as 1/7", param_hint="--subset")
    return int(number), int(total)
