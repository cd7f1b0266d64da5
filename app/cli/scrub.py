"""`go2cloud store status`: what scrubbing found, asked of the running service."""

import typer

from app.cli.connection import connected
from app.cli.output import Column, Format, Out, View, show_one, size
from app.client import store
from app.contract.resources.scrub import Scrub, ScrubRound

VIEW: View[Scrub] = View(
    (
        Column("PACE", lambda scrub: scrub.bytes_per_second or None, show=lambda value: f"{size(value)}/s"),
        Column("EVERY", lambda scrub: f"{scrub.days}d"),
        Column("CURRENT ROUND", lambda scrub: _round(scrub.current)),
        Column("LAST ROUND", lambda scrub: _round(scrub.last)),
    ),
    name=lambda scrub: scrub.current.id if scrub.current else "",
)


def _round(found: ScrubRound | None) -> str | None:
    if found is None:
        return None
    since = f"{found.finished_at or found.started_at:%Y-%m-%d %H:%M:%SZ}"
    when = f"finished {since}" if found.finished_at else f"since {since}, {found.share:.0%}"
    return (
        f"{when}, {found.packs} packs ({size(found.bytes_read)}), "
        f"{found.finding_count} findings, {found.chunks_damaged} chunks damaged"
    )


def status(context: typer.Context, output: Out = Format.TABLE) -> None:
    """Show how scrubbing of the store stands, as the running service says it."""
    with connected(context) as client:
        scrub = client.send(store.scrub())
    show_one(scrub, VIEW, output)
    if output in (Format.TABLE, Format.WIDE):
        for each in (scrub.current, scrub.last):
            for finding in each.findings if each else ():
                typer.echo(f"{finding.kind}: {finding.object}: {finding.detail}")
