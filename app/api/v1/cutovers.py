"""The last way of a server: cutover, revert, finalize, the way back, disconnect, archive."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response, status

from app.api.audit import Audit
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.api.repeats import Once
from app.contract.resources.access import InstallToken
from app.contract.resources.base import Listing
from app.contract.resources.cutover import Cutover, CutoverOrder, OperationPlan, ReverseOrder, RevertOrder
from app.contract.resources.job import Job
from app.contract.resources.server import Reverse, Server
from app.contract.words import ServerOperation
from app.kit.transaction import Uow
from app.migration.access import install_tokens
from app.migration.catalogue import reverses
from app.migration.catalogue.jobs import get_job
from app.migration.catalogue.service import get_server
from app.migration.cutover import evidence, orders, plans, reversing, service
from app.migration.launch.evidence import SCREENSHOT, SERIAL, THUMBNAIL
from app.migration.servers.service import find_in_scope

router = APIRouter(route_class=UnitRoute)

CutoverRef = Annotated[str, Path(description="Id or latest")]
PNG: Final = "image/png"
TEXT: Final = "text/plain; charset=utf-8"
UNGUESSED: Final = {"X-Content-Type-Options": "nosniff"}
"""What comes from a guest is shown as what it is said to be, and as nothing else."""


@router.post("/servers/{server}:cutover", status_code=status.HTTP_202_ACCEPTED)
async def order_cutover(
    uow: Uow,
    serving: Serving,
    who: Operator,
    record: Audit,
    once: Once,
    response: Response,
    server: str,
    body: CutoverOrder | None = None,
) -> Job:
    """Move a server to its target: stop the source, bring its last changes over, launch the machine.

    A failure before the launch gives the source its services back by itself. After it, `:revert` does.
    """
    wanted = body or CutoverOrder()

    async def create() -> Job:
        made = await get_job(
            uow, who.scope, await orders.order_cutover(serving, uow, who.scope, server, wanted, who.name)
        )
        details = wanted.model_dump(mode="json", by_alias=True)
        await record("server.cutover", made.server_id or server, made.project_id, job=made.id, **details)
        return made

    job = await once(wanted, create, lambda known: get_job(uow, who.scope, known))
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job


@router.post("/servers/{server}:revert", status_code=status.HTTP_202_ACCEPTED)
async def revert_server(
    uow: Uow,
    serving: Serving,
    who: Operator,
    record: Audit,
    response: Response,
    server: str,
    body: RevertOrder | None = None,
) -> Job:
    """Take a server one stage back.

    One that was tested is READY_FOR_TEST at once; the job ends its test machine. One that was cut over is
    READY_FOR_CUTOVER when its machine is gone and the source has its services back. With `sourceGone` nobody
    waits for the source; a revert that does so already is led on by it, and is the answer.
    """
    wanted = body or RevertOrder()
    made = await orders.revert(serving, uow, who.scope, server, who.name, wanted)
    job = await get_job(uow, who.scope, made)
    details = wanted.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    await record("server.revert", job.server_id or server, job.project_id, job=job.id, **details)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job


@router.post("/servers/{server}:finalize", status_code=status.HTTP_202_ACCEPTED)
async def finalize_server(
    uow: Uow, serving: Serving, who: Operator, record: Audit, response: Response, server: str
) -> Job:
    """End the replication of a server whose cutover succeeded; there is no way back after it."""
    job = await get_job(uow, who.scope, await orders.finalize(serving, uow, who.scope, server, who.name))
    await record("server.finalize", job.server_id or server, job.project_id, job=job.id)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job


@router.post("/servers/{server}:disconnect")
async def disconnect_server(uow: Uow, serving: Serving, who: Operator, record: Audit, server: str) -> Server:
    """End all dealings with a source: its replication, and its agent's credential. Checkpoints stay."""
    row = await orders.disconnect(serving, uow, who.scope, server, who.name)
    await record("server.disconnect", row.id, row.project_id)
    return await get_server(uow, who.scope, row.id)


@router.post("/servers/{server}:archive")
async def archive_server(uow: Uow, serving: Serving, who: Operator, record: Audit, server: str) -> Server:
    """Let lists leave a server out that nothing more happens to."""
    row = await orders.archive(serving, uow, who.scope, server)
    await record("server.archive", row.id, row.project_id)
    return await get_server(uow, who.scope, row.id)


@router.post("/servers/{server}:reverse", status_code=status.HTTP_201_CREATED)
async def reverse_server(
    uow: Uow,
    serving: Serving,
    who: Operator,
    record: Audit,
    once: Once,
    server: str,
    body: ReverseOrder | None = None,
) -> InstallToken:
    """Begin the way back of a server that was cut over: a token that enrols its launched machine, once.

    `secret` is in this answer only; a repeat of the request has it null. Tokens of earlier orders are
    worthless from now on.
    """

    wanted = body or ReverseOrder()

    async def create() -> install_tokens.InstallToken:
        row, made = await reversing.order_reverse(serving, uow, who.scope, server)
        await record("server.reverse", row.id, row.project_id, token=made.id)
        return made

    made = await once(wanted, create, lambda known: install_tokens.get_install_token(uow, who.scope, known))
    url = serving.settings.agent.public_url
    return InstallToken.model_validate(made).model_copy(update={"agent_url": url})


@router.post("/servers/{server}:stopReverse")
async def stop_reverse(uow: Uow, who: Operator, record: Audit, server: str) -> Server:
    """End the way back of a server: its machine's agent is shut out, its checkpoints stay."""
    row = await reversing.stop_reverse(uow, who.scope, server)
    await record("server.stopReverse", row.id, row.project_id)
    return await get_server(uow, who.scope, row.id)


@router.get("/servers/{server}/reverse")
async def get_reverse(uow: Uow, who: Viewer, server: str) -> Reverse:
    """The newest way back of a server, and which disk of the machine is which of the source's."""
    return await reverses.get_reverse(uow, who.scope, server)


@router.get("/servers/{server}/plan")
async def plan_operation(
    uow: Uow,
    serving: Serving,
    who: Viewer,
    server: str,
    operation: Annotated[ServerOperation, Query(description="What would be ordered")],
    target: Annotated[str | None, Query(max_length=64, description="Of a cutover")] = None,
    override: Annotated[str | None, Query(max_length=1000, description="Of a cutover")] = None,
) -> OperationPlan:
    """What an operation would do, and what it would meet now. Nothing is done."""
    wanted = CutoverOrder(target=target or None, override=override or None)
    return await plans.plan(serving, uow, who.scope, server, operation, wanted)


@router.get("/servers/{server}/cutovers")
async def list_cutovers(uow: Uow, who: Viewer, page: Paging, server: str) -> Listing[Cutover]:
    """The cutovers of a server, the newest first."""
    found = await find_in_scope(uow, who.scope, server)
    return listing(Cutover, await service.list_cutovers(uow, found.id, page))


@router.get("/servers/{server}/cutovers/{cutover}")
async def get_cutover(uow: Uow, who: Viewer, server: str, cutover: CutoverRef) -> Cutover:
    """One cutover, by id, or `latest`."""
    found = await find_in_scope(uow, who.scope, server)
    return await service.get_cutover(uow, found.id, cutover)


@router.get(
    "/servers/{server}/cutovers/{cutover}/screenshot",
    response_class=Response,
    responses={200: {"content": {PNG: {}}, "description": "The last picture of the machine's screen"}},
)
async def get_cutover_screenshot(
    uow: Uow,
    who: Viewer,
    server: str,
    cutover: CutoverRef,
    thumbnail: Annotated[bool, Query(description="At most 320 pixels wide and high")] = False,
) -> Response:
    """The last picture of the machine's screen."""
    found = await find_in_scope(uow, who.scope, server)
    wanted = await service.get_cutover(uow, found.id, cutover)
    content = await evidence.get_evidence(uow, wanted.id, THUMBNAIL if thumbnail else SCREENSHOT)
    return Response(content, media_type=PNG, headers=UNGUESSED)


@router.get(
    "/servers/{server}/cutovers/{cutover}/serial",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "As the guest wrote it, at most 1 MiB"}},
)
async def get_cutover_serial(uow: Uow, who: Viewer, server: str, cutover: CutoverRef) -> Response:
    """The end of what the machine wrote to its serial line."""
    found = await find_in_scope(uow, who.scope, server)
    wanted = await service.get_cutover(uow, found.id, cutover)
    return Response(await evidence.get_evidence(uow, wanted.id, SERIAL), media_type=TEXT, headers=UNGUESSED)
