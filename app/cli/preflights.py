"""`go2cloud server preflight`: ask for one, wait for it, and say what it comes to."""

import json
import time
from collections.abc import Iterator
from typing import Annotated

import typer
import yaml

from app.cli.connection import connected
from app.cli.exits import CommandFailed, Exit
from app.cli.output import Format, Out, harmless, size
from app.cli.servers import ServerRef
from app.client import servers
from app.client.transport import Client
from app.contract.preflightwords import PreflightOutcome
from app.contract.resources.preflight import (
    Preflight,
    PreflightDisk,
    PreflightEstimate,
    PreflightNetwork,
    PreflightReport,
)
from app.contract.words import FindingSeverity

_LOOK_SECONDS = 1.0


def preflight(
    context: typer.Context,
    server: ServerRef,
    watch: Annotated[
        bool, typer.Option("--watch/--no-wait", help="Wait for the report, or only ask for it.")
    ] = True,
    latest: Annotated[bool, typer.Option("--latest", help="Show the newest one; ask for none.")] = False,
    timeout: Annotated[float, typer.Option(help="How many seconds to wait at most.")] = 300.0,
    output: Out = Format.TABLE,
) -> None:
    """Let the server's agent measure its host and the way to the service, and say what follows from it.

    Ends with 1 where something blocks a migration.
    """
    with connected(context) as client:
        found = client.send(servers.preflight(server) if latest else servers.request_preflight(server))
        if watch and not latest:
            found = _awaited(client, server, found, timeout)
    _show(found, output)
    if found.verdict is not None and found.verdict.outcome is PreflightOutcome.BLOCKED:
        raise CommandFailed(f"something blocks the migration of {server}; see above")


def _awaited(client: Client, server: str, asked: Preflight, seconds: float) -> Preflight:
    typer.echo("waiting for the agent, which measures for about a minute", err=True)
    deadline = time.monotonic() + seconds
    while (found := client.send(servers.preflight(server, asked.id))).verdict is None:
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"the agent of {server} did not report within {seconds:.0f} seconds",
                remedy="see whether it runs: go2cloud server show; the order stands until it does",
                code=Exit.TIMEOUT,
            )
        time.sleep(_LOOK_SECONDS)
    return found


def _show(found: Preflight, form: Format) -> None:
    if form in (Format.TABLE, Format.WIDE):
        for line in _lines(found):
            typer.echo(harmless(line))
    elif form in (Format.JSON, Format.YAML):
        value = found.model_dump(mode="json", by_alias=True)
        text = json.dumps(value, indent=2) if form is Format.JSON else yaml.safe_dump(value, sort_keys=False)
        typer.echo(text.rstrip("\n"))
    elif form is Format.NAME:
        typer.echo(found.id)
    else:
        raise CommandFailed(f"a preflight cannot be shown as {form}", remedy="-o json", code=Exit.USAGE)


def _lines(found: Preflight) -> Iterator[str]:
    if found.verdict is None or found.report is None:
        yield f"{found.id} is asked for; look later with: go2cloud server preflight SERVER --latest"
        return
    yield f"{found.verdict.outcome}  ({found.id}, {found.finished_at:%Y-%m-%d %H:%M:%SZ})"
    yield from _measured(found.report)
    yield from _estimated(found.verdict.estimate)
    for each in found.verdict.findings:
        if each.severity is not FindingSeverity.OK:
            yield f"{each.severity.upper():8} {each.code}  {each.subject}"
            yield f"           {each.text}"
            yield from [f"           → {each.remedy}"] if each.remedy else []


def _measured(report: PreflightReport) -> Iterator[str]:
    if report.network is not None:
        yield f"network  {_network(report.network)}"
    for disk in report.disks:
        yield f"disk     {disk.path}: {_disk(disk)}"


def _network(check: PreflightNetwork) -> str:
    lost = f", {check.loss_permille / 10:.1f} % lost" if check.loss_permille else ""
    way = "TLS" if check.is_tls else "not encrypted"
    through = f" through {check.proxy}" if check.proxy else ""
    return (
        f"delay {check.delay_us / 1000:.1f} ms, jitter {check.jitter_us / 1000:.1f} ms{lost}, up "
        f"{size(check.up_rate)}/s, down {size(check.down_rate)}/s, {way}{through}"
    )


def _disk(disk: PreflightDisk) -> str:
    churn = "unknown churn" if disk.churn_rate is None else f"churn {size(disk.churn_rate)}/s"
    return (
        f"{size(disk.size)}, {size(disk.to_read)} to read at {size(disk.read_rate)}/s, {churn}, "
        f"tracker {disk.tracker or 'none'}"
    )


def _estimated(estimate: PreflightEstimate) -> Iterator[str]:
    assumed = f"if it compresses {estimate.compression_ratio:g} : 1 and nothing is known already"
    if estimate.first_copy_seconds is None:
        yield f"copy     about {size(estimate.wire_bytes)} to send, {assumed}; how long is not known"
    else:
        yield (
            f"copy     about {_time(estimate.first_copy_seconds)} for {size(estimate.wire_bytes)} to send, "
            f"{assumed}; it waits for: {estimate.bottleneck}"
        )
    if estimate.freeze_ms is not None:
        yield f"cutover  now would hold the source still for about {estimate.freeze_ms / 1000:.1f} s"
    if estimate.converges is False:
        yield "cutover  replication would not catch up with what is written now"


def _time(seconds: int) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds} s"
