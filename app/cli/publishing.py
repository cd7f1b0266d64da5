"""`go2cloud server …`, the part about targets that make no machines: images, and devices that follow.

The commands are put under `server` by `app.cli.command`.
"""

from typing import Annotated

import typer

from app.cli.connection import connected
from app.cli.jobs import finish, followed, show_job
from app.cli.output import Column, Format, Out, View, show_one
from app.cli.reverses import FromReverse, chain_of
from app.cli.servers import ServerRef
from app.cli.tests import Watch
from app.client import targets
from app.contract.resources.target import Follow, FollowOrder, PublishOrder
from app.contract.words import ImageFormat, WorkState

VIEW: View[Follow] = View(
    (
        Column("TARGET", lambda found: found.target_name),
        Column("HOLDS", lambda found: found.checkpoint_number),
        Column("BEHIND", lambda found: found.behind),
        Column("ADVANCED", lambda found: found.advanced_at),
        Column("JOB", lambda found: found.job_id),
        Column("SINCE", lambda found: found.created_at, wide=True),
    ),
    name=lambda found: found.target_id,
)


def publish(
    context: typer.Context,
    server: ServerRef,
    target: Annotated[str, typer.Option(help="A target of kind image.")],
    checkpoint: Annotated[
        str | None, typer.Option(help="Id, number or latest; by itself the newest that is not fuzzy.")
    ] = None,
    formats: Annotated[
        list[ImageFormat] | None, typer.Option("--format", help="Instead of the target's; repeatable.")
    ] = None,
    reverse: FromReverse = False,
    watch: Watch = False,
    output: Out = Format.TABLE,
) -> None:
    """Write a checkpoint as images with checksums and a manifest."""
    body = PublishOrder(target=target)
    if checkpoint is not None:
        body = body.model_copy(update={"checkpoint": checkpoint})
    if formats:
        body = body.model_copy(update={"formats": tuple(formats)})
    with connected(context) as client:
        chain = chain_of(client, server, is_reverse=reverse)
        job = client.send(targets.publish(chain, body))
        if not watch:
            show_job(job, output)
            typer.echo(f"follow it with: go2cloud job watch {job.id}", err=True)
            return
        ended = followed(client, job)
    finish(ended, output)
    if ended.state is WorkState.SUCCEEDED and output in (Format.TABLE, Format.WIDE):
        result = ended.result if isinstance(ended.result, dict) else {}
        typer.echo(f"the images: {result.get('folder')}", err=True)


def follow(
    context: typer.Context,
    server: ServerRef,
    target: Annotated[str | None, typer.Option(help="A target of kind device.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Nothing follows the server any more.")] = False,
    reverse: FromReverse = False,
    output: Out = Format.TABLE,
) -> None:
    """Keep a device target up to date with a server's checkpoints; without options show how far it is."""
    if off and target is not None:
        raise typer.BadParameter("give --target or --off")
    with connected(context) as client:
        chain = chain_of(client, server, is_reverse=reverse)
        if off:
            client.send(targets.unfollow(chain))
            typer.echo(f"nothing follows {server} any more")
            return
        call = (
            targets.followed(chain) if target is None else targets.follow(chain, FollowOrder(target=target))
        )
        show_one(client.send(call), VIEW, output)
