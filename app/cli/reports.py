"""`go2cloud report …`, and `go2cloud server report`: signed reports, and what a file of one is worth."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from app.cli.connection import connected
from app.cli.exits import CommandFailed, Exit
from app.cli.output import Column, Format, Out, View, harmless, show_one
from app.cli.servers import ServerRef
from app.client import reports
from app.contract.resources.report import ReportKey
from app.contract.signedreport import MOST_BYTES, OpenedReport, ReportRefused, opened
from app.kit.errors import Json
from app.kit.signing import KeyUnreadable, read_public

MOST_FIELDS = 20

app = typer.Typer(no_args_is_help=True, help="Signed reports: check a file, show the key.")

KEY: View[ReportKey] = View(
    (
        Column("ALGORITHM", lambda key: key.algorithm),
        Column("FINGERPRINT", lambda key: key.fingerprint),
        Column("PUBLIC", lambda key: key.public, wide=True),
    ),
    name=lambda key: key.fingerprint,
)

Into = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="Where to write it; by itself to standard output.", dir_okay=False),
]


def server_report(
    context: typer.Context,
    server: ServerRef,
    file: Into = None,
    html: Annotated[bool, typer.Option("--html", help="A page to read and to print.")] = False,
) -> None:
    """Get a server's report: what was copied, what is proved and what is not, signed by the service."""
    with connected(context) as client:
        _deliver(client.send(reports.page_of_server(server) if html else reports.of_server(server)), file)


def wave_report(
    context: typer.Context,
    wave: Annotated[str, typer.Argument(metavar="WAVE", help="Id or name.")],
    file: Into = None,
    html: Annotated[bool, typer.Option("--html", help="A page to read and to print.")] = False,
) -> None:
    """Get a wave's report: its newest runs, and its servers in short, signed by the service."""
    with connected(context) as client:
        _deliver(client.send(reports.page_of_wave(wave) if html else reports.of_wave(wave)), file)


def _deliver(content: bytes, file: Path | None) -> None:
    """Print a report, or write it to a file and print the file's name. Raises CommandFailed."""
    if file is None:
        typer.echo(content, nl=False)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror}") from error
    typer.echo(str(file))
    typer.echo(f"check it with: go2cloud report verify {file}", err=True)


@app.command()
def key(
    context: typer.Context,
    pem: Annotated[bool, typer.Option("--pem", help="The key itself, for a file.")] = False,
    output: Out = Format.TABLE,
) -> None:
    """Show the public key that the service signs reports with."""
    with connected(context) as client:
        found = client.send(reports.key())
    if pem:
        typer.echo(found.pem, nl=False)
    else:
        show_one(found, KEY, output)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A report, JSON or HTML.", dir_okay=False)],
    expected: Annotated[
        str | None,
        typer.Option("--key", metavar="FINGERPRINT|FILE", help="The key that must have signed it."),
    ] = None,
) -> None:
    """Check that a report is byte for byte what was signed, and by which key. Needs no service.

    Without --key anybody's key is taken, and named: compare it with what you were told by another way.
    """
    wanted = None if expected is None else _fingerprint(expected)
    try:
        found = opened(_content(file))
    except ReportRefused as refusal:
        raise CommandFailed(f"{file} is not as it was signed: {_reason(refusal)}") from refusal
    if wanted is not None and found.key.fingerprint != wanted:
        raise CommandFailed(
            f"{file} is whole, but another key signed it: {found.key.fingerprint}, expected is {wanted}",
            remedy="somebody else made it, or the installation has a new key: ask those who run it",
        )
    _show(file, found, wanted)


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise CommandFailed(f"{file} is too large for a report")
        return file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error


def _fingerprint(expected: str) -> str:
    """The fingerprint that is stated, or that of the public key in a file of PEM."""
    text = expected.replace(":", "").lower()
    if re.fullmatch("[0-9a-f]{64}", text):
        return text
    try:
        return read_public(Path(expected).read_bytes()).fingerprint
    except (OSError, KeyUnreadable) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandFailed(
            f"{expected} is neither a fingerprint of 64 hexadecimal digits nor a file of a key: {reason}",
            remedy="see: go2cloud report key",
            code=Exit.USAGE,
        ) from error


def _reason(refusal: ReportRefused) -> str:
    parts = [refusal.detail]
    if refusal.fields:
        more = f" and {len(refusal.fields) - MOST_FIELDS} more" if len(refusal.fields) > MOST_FIELDS else ""
        parts.append("altered: " + ", ".join(harmless(each) for each in refusal.fields[:MOST_FIELDS]) + more)
    if refusal.key is not None:
        parts.append(f"it says that key {refusal.key.fingerprint} signed it")
    return "; ".join(parts)


def _show(file: Path, found: OpenedReport, wanted: str | None) -> None:
    what = "the page and the report that it carries are" if found.is_page else "it is"
    typer.echo(f"{file}: {what} byte for byte what was signed")
    typer.echo(f"subject: {_subject(found.report)}")
    typer.echo(f"signed by: {found.key.fingerprint}{'' if wanted is None else ', the key that was expected'}")
    if wanted is None:
        typer.echo("nothing says whose key that is: state the one that you expect with --key", err=True)


def _subject(report: Mapping[str, Json]) -> str:
    server = report.get("server")
    name = server.get("name") if isinstance(server, Mapping) else report.get("name")
    return harmless(f"{name}, made {report.get('createdAt')} for {report.get('createdBy')}")
