"""`go2cloud subscription …`"""

from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from app.cli.confirm import Yes, sure
from app.cli.connection import connected
from app.cli.exits import CommandFailed
from app.cli.output import Column, Format, Out, View, harmless, show_list, show_one
from app.client import subscriptions
from app.contract.callbackwords import DeliveryOutcome, EventKind
from app.contract.resources.subscription import (
    Ping,
    Subscription,
    SubscriptionCreate,
    SubscriptionUpdate,
)

M = TypeVar("M", bound=BaseModel)

app = typer.Typer(no_args_is_help=True, help="Subscriptions: who is told of events, by signed callbacks.")

Ref = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Id or name.")]
Kinds = Annotated[
    list[EventKind] | None, typer.Option("--kind", help="A kind of event, once for each; all if absent.")
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        help="A file with the secret; go2cloud makes one up if absent.", exists=True, dir_okay=False
    ),
]

VIEW: View[Subscription] = View(
    (
        Column("ID", lambda found: found.id, wide=True),
        Column("NAME", lambda found: found.name),
        Column("URL", lambda found: found.url),
        Column("KINDS", lambda found: ", ".join(found.kinds) if found.kinds else "all"),
        Column("ENABLED", lambda found: found.enabled),
        Column("WAITING", lambda found: found.waiting),
        Column("FAILURES", lambda found: found.failures),
        Column("LAST SUCCESS", lambda found: found.last_success_at),
        Column("LAST FAILURE", lambda found: found.last_failure_at),
        Column("REASON", lambda found: found.last_failure if found.failures else None),
        Column("RETRY", lambda found: found.retry_at, wide=True),
        Column("DROPPED", lambda found: found.dropped, wide=True),
        Column("PROJECT", lambda found: found.project_id, wide=True),
        Column("CREATED", lambda found: found.created_at, wide=True),
    ),
    name=lambda found: found.name,
)

PING_VIEW: View[Ping] = View(
    (
        Column("OUTCOME", lambda ping: ping.outcome),
        Column("STATUS", lambda ping: ping.status),
        Column("DETAIL", lambda ping: ping.detail),
        Column("MILLISECONDS", lambda ping: ping.milliseconds),
    ),
    name=lambda ping: ping.outcome,
)


@app.command("list")
def list_(context: typer.Context, output: Out = Format.TABLE) -> None:
    """List subscriptions, and how their deliveries go."""
    with connected(context) as client:
        show_list(client.every(subscriptions.page), VIEW, output)


@app.command()
def show(context: typer.Context, subscription: Ref, output: Out = Format.TABLE) -> None:
    """Show one subscription."""
    with connected(context) as client:
        show_one(client.send(subscriptions.get(subscription)), VIEW, output)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, underscore, hyphen.")],
    url: Annotated[str, typer.Argument(help="Where events are sent to.")],
    kinds: Kinds = None,
    secret_file: SecretFile = None,
    project: Annotated[str, typer.Option(help="Id or name.")] = "default",
    output: Out = Format.NAME,
) -> None:
    """Create a subscription and print the secret that go2cloud made up for it, this once."""
    given: dict[str, object] = {"name": name, "url": url, "project": project} | _given(kinds, secret_file)
    with connected(context) as client:
        made = client.send(subscriptions.create(_checked(SubscriptionCreate, given)))
    if output in (Format.JSON, Format.YAML) or made.secret is None:
        show_one(made, VIEW, output)
        return
    typer.echo(f"{made.id} {made.name}: the secret is shown this once", err=True)
    typer.echo(made.secret)


@app.command()
def update(
    context: typer.Context,
    subscription: Ref,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    url: Annotated[str | None, typer.Option(help="Another place.")] = None,
    kinds: Kinds = None,
    all_kinds: Annotated[bool, typer.Option("--all-kinds", help="Events of all kinds.")] = False,
    secret_file: SecretFile = None,
    enabled: Annotated[
        bool | None,
        typer.Option(
            "--enable/--disable", help="Whether it is told; what waits for one that is disabled is deleted."
        ),
    ] = None,
    output: Out = Format.TABLE,
) -> None:
    """Change a subscription; what waits for it is delivered at once then."""
    named = {"name": name, "url": url, "enabled": enabled}
    changes = {key: value for key, value in named.items() if value is not None} | _given(kinds, secret_file)
    if all_kinds:
        changes["kinds"] = None
    body = _checked(SubscriptionUpdate, changes)
    with connected(context) as client:
        found = client.send(subscriptions.get(subscription))
        show_one(client.send(subscriptions.update(found.id, found.version, body)), VIEW, output)


@app.command()
def delete(context: typer.Context, subscription: Ref, yes: Yes = False) -> None:
    """Delete a subscription, and the events that wait for it."""
    with connected(context) as client:
        found = client.send(subscriptions.get(subscription))
        sure(f"Delete the subscription {found.name} and {found.waiting} events that wait for it?", yes)
        typer.echo(client.send(subscriptions.delete(found.id, found.version)).name)


@app.command("test")
def send_ping(context: typer.Context, subscription: Ref, output: Out = Format.TABLE) -> None:
    """Send a ping and tell the answer; exit 1 where it was not taken."""
    with connected(context) as client:
        ping = client.send(subscriptions.test(subscription))
    show_one(ping, PING_VIEW, output)
    if ping.outcome is not DeliveryOutcome.DELIVERED:
        raise CommandFailed(
            f"the ping was not taken: {harmless(ping.detail)}", remedy="see docs/callbacks.md"
        )


def _given(kinds: list[EventKind] | None, secret_file: Path | None) -> dict[str, object]:
    given: dict[str, object] = {"kinds": tuple(kinds)} if kinds else {}
    return given if secret_file is None else given | {"secret": secret_file.read_text().strip()}


def _checked(kind: type[M], given: dict[str, object]) -> M:
    """The body. Raises typer.BadParameter, which names what is wrong and never shows the secret."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise typer.BadParameter(f"{place}: {first['msg']}") from None
