"""`go2cloud target …`"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue, TypeAdapter, ValidationError

from app.cli.confirm import Yes, sure
from app.cli.connection import connected
from app.cli.exits import CommandFailed
from app.cli.jobs import finish, followed
from app.cli.output import Column, Format, Out, View, harmless, show_list, show_one
from app.client import targets
from app.contract.resources.job import Job
from app.contract.resources.target import (
    Target,
    TargetCreate,
    TargetFinding,
    TargetUpdate,
    TargetValidation,
)
from app.contract.words import FindingSeverity, WorkState

app = typer.Typer(no_args_is_help=True, help="Targets: where checkpoints become machines, images, devices.")

TargetRef = Annotated[str, typer.Argument(metavar="TARGET", help="Id or name.")]
Values = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting; JSON or text.")
]
Devices = Annotated[
    list[str] | None, typer.Option("--device", metavar="DISK=PATH", help="Where a disk, by its id, goes.")
]
From = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="All settings, as JSON.", exists=True, dir_okay=False),
]

VIEW: View[Target] = View(
    (
        Column("ID", lambda target: target.id, wide=True),
        Column("NAME", lambda target: target.name),
        Column("KIND", lambda target: target.kind),
        Column("MAKES", lambda target: target.makes),
        Column("SETTINGS", lambda target: json.dumps(target.settings) if target.settings else None),
        Column("PROJECT", lambda target: target.project_id, wide=True),
        Column("CREATED", lambda target: target.created_at, wide=True),
        Column("UPDATED", lambda target: target.updated_at, wide=True),
    ),
    name=lambda target: target.name,
)


@app.command("list")
def list_(context: typer.Context, output: Out = Format.TABLE) -> None:
    """List targets; qemu is always there."""
    with connected(context) as client:
        show_list(client.every(targets.page), VIEW, output)


@app.command()
def show(context: typer.Context, target: TargetRef, output: Out = Format.TABLE) -> None:
    """Show one target."""
    with connected(context) as client:
        show_one(client.send(targets.get(target)), VIEW, output)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, underscore, hyphen.")],
    kind: Annotated[str, typer.Option(help="qemu, image, device, libvirt or rbd: see docs/targets.md.")],
    values: Values = None,
    devices: Devices = None,
    settings: From = None,
    project: Annotated[str, typer.Option(help="Id or name.")] = "default",
    output: Out = Format.TABLE,
) -> None:
    """Create a target; administrators do, since it names places on nodes."""
    made = _settings(settings, values or [], devices or [], {})
    body = TargetCreate(name=name, kind=kind, settings=made, project=project)
    with connected(context) as client:
        show_one(client.send(targets.create(body)), VIEW, output)


@app.command()
def update(
    context: typer.Context,
    target: TargetRef,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    values: Values = None,
    devices: Devices = None,
    settings: From = None,
    output: Out = Format.TABLE,
) -> None:
    """Change a target: --set and --device change single settings, --settings all of them."""
    with connected(context) as client:
        found = client.send(targets.get(target))
        changes: dict[str, object] = {} if name is None else {"name": name}
        if values or devices or settings:
            changes["settings"] = _settings(settings, values or [], devices or [], found.settings)
        body = TargetUpdate.model_validate(changes)
        show_one(client.send(targets.update(found.id, found.version, body)), VIEW, output)


@app.command()
def delete(context: typer.Context, target: TargetRef, yes: Yes = False) -> None:
    """Delete a target that nothing uses; what it wrote stays where it is."""
    with connected(context) as client:
        found = client.send(targets.get(target))
        sure(f"Delete the target {found.name}?", yes)
        typer.echo(client.send(targets.delete(found.id, found.version)).name)


@app.command()
def validate(
    context: typer.Context,
    target: TargetRef,
    node: Annotated[str | None, typer.Option(help="Where to look; by itself the target's own node.")] = None,
    output: Out = Format.TABLE,
) -> None:
    """Look whether a target works on a node; exit 1 where something stands in its way."""
    body = TargetValidation() if node is None else TargetValidation(node=node)
    with connected(context) as client:
        job = followed(client, client.send(targets.validate(target, body)))
    if job.state is not WorkState.SUCCEEDED or output not in (Format.TABLE, Format.WIDE):
        finish(job, output)
    _tell(job)


def _tell(job: Job) -> None:
    """Print the findings. Raises CommandFailed where one is a blocker."""
    result = job.result if isinstance(job.result, dict) else {}
    found = TypeAdapter(list[TargetFinding]).validate_python(result.get("findings") or [])
    for each in found:
        remedy = f" ({each.remedy})" if each.remedy else ""
        typer.echo(harmless(f"{each.severity:8} {each.code}: {each.text}{remedy}"))
    if any(each.severity is FindingSeverity.BLOCKER for each in found):
        raise CommandFailed("the target does not work there", remedy="see what stands above")


def _settings(
    file: Path | None, values: Sequence[str], devices: Sequence[str], base: dict[str, JsonValue]
) -> dict[str, JsonValue]:
    """The settings of the file, or the base, with the single ones put over it."""
    found = dict(base) if file is None else _read(file)
    for each in values:
        name, is_there, value = each.partition("=")
        if not is_there:
            raise typer.BadParameter(f"{each!r}: write NAME=VALUE")
        found[name] = _value(value)
    if devices:
        found["devices"] = [_device(each) for each in devices]
    return found


def _read(file: Path) -> dict[str, JsonValue]:
    try:
        return TypeAdapter(dict[str, JsonValue]).validate_json(file.read_bytes())
    except ValidationError as error:
        raise typer.BadParameter(f"{file} is no JSON object") from error


def _value(text: str) -> JsonValue:
    try:
        found: JsonValue = json.loads(text)
    except ValueError:
        return text
    return found


def _device(text: str) -> JsonValue:
    disk, is_there, path = text.partition("=")
    if not is_there:
        raise typer.BadParameter(f"{text!r}: write DISK=PATH")
    return {"disk": disk, "path": path}
