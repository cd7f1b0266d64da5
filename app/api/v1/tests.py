"""Launch settings of a server, test boots with their proof, and what they lead to."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response, status

from app.api.audit import Audit
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.conditional import IfMatch, tag
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.api.repeats import Once
from app.contract.resources.base import Listing
from app.contract.resources.job import Job
from app.contract.resources.launch import (
    LaunchSettings,
    LaunchSettingsUpdate,
    ReadyMark,
    ServerTest,
    TestOrder,
)
from app.contract.resources.server import Server
from app.contract.words import Role
from app.kit.transaction import Uow
from app.migration.catalogue.jobs import get_job
from app.migration.catalogue.service import get_server
from app.migration.launch import evidence, orders, service, settings
from app.migration.launch.caps import require_within
from app.migration.servers.service import find_in_scope

router = APIRouter(route_class=UnitRoute)

TestRef = Annotated[str, Path(description="Id or latest")]
PNG: Final = "image/png"
TEXT: Final = "text/plain; charset=utf-8"
UNGUESSED: Final = {"X-Content-Type-Options": "nosniff"}
"""What comes from a guest is shown as what it is said to be, and as nothing else."""


@router.get("/servers/{server}/launch-settings")
async def get_launch_settings(
    uow: Uow, serving: Serving, who: Viewer, response: Response, server: str
) -> LaunchSettings:
    """What is set of a server's machine, and the machine that comes of it and of the source."""
    found = await find_in_scope(uow, who.scope, server)
    current = await settings.get_settings(uow, found, serving.settings.launch)
    tag(response, current)
    return current


@router.put("/servers/{server}/launch-settings")
async def put_launch_settings(
    uow: Uow,
    serving: Serving,
    who: Operator,
    record: Audit,
    response: Response,
    server: str,
    version: IfMatch,
    body: LaunchSettingsUpdate,
) -> LaunchSettings:
    """Set all of a server's launch settings; what is absent is as the source has it, or the default.

    `addressing` gives network cards of the source other addresses; `cloudInit` runs the guest's cloud-init
    once more, or disables it. User-data is answered, and written into the audit trail, as its SHA-256 only.
    More processors and memory than LAUNCH.CPUS and LAUNCH.MEMORY can be set by administrators only.
    """
    found = await find_in_scope(uow, who.scope, server)
    if not who.may(Role.ADMINISTRATOR):
        await require_within(uow, found, body, serving.settings.launch)
    changed = await settings.put_settings(uow, found, version, body, serving.settings.launch)
    details = changed.settings.model_dump(mode="json", exclude_unset=True, by_alias=True)
    await record("server.launchSettings", found.id, found.project_id, **details)
    tag(response, changed)
    return changed


@router.post("/servers/{server}:test", status_code=status.HTTP_202_ACCEPTED)
async def order_test(
    uow: Uow,
    serving: Serving,
    who: Operator,
    record: Audit,
    once: Once,
    response: Response,
    server: str,
    body: TestOrder | None = None,
) -> Job:
    """Start a checkpoint as a machine in an isolated network and prove that it boots.

    A machine that passes lives until it is terminated, or replaced by that of another test.
    """
    wanted = body or TestOrder()

    async def create() -> Job:
        job = await orders.order_test(serving, uow, who.scope, server, wanted, who.name)
        made = await get_job(uow, who.scope, job)
        await record("server.test", made.server_id or server, made.project_id, job=job)
        return made

    job = await once(wanted, create, lambda known: get_job(uow, who.scope, known))
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job


@router.post("/servers/{server}:terminateTest", status_code=status.HTTP_202_ACCEPTED)
async def terminate_test(
    uow: Uow, serving: Serving, who: Operator, record: Audit, response: Response, server: str
) -> Job:
    """End the server's test machine and remove its volumes; the evidence stays."""
    job = await get_job(
        uow, who.scope, await orders.order_termination(serving, uow, who.scope, server, who.name)
    )
    await record("server.terminateTest", job.server_id or server, job.project_id, job=job.id)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job


@router.post("/servers/{server}:markReady")
async def mark_ready(
    uow: Uow, serving: Serving, who: Operator, record: Audit, server: str, body: ReadyMark | None = None
) -> Server:
    """Let a tested server be READY_FOR_CUTOVER; an override passes over a lacking or old test, audited."""
    mark = body or ReadyMark()
    marked = await orders.mark_ready(serving, uow, who.scope, server, mark)
    await record(
        "server.markReady",
        marked.server_id,
        marked.project_id,
        test=marked.test_id,
        passedOver=marked.passed_over,
        override=mark.override,
    )
    return await get_server(uow, who.scope, marked.server_id)


@router.get("/servers/{server}/tests")
async def list_tests(uow: Uow, who: Viewer, page: Paging, server: str) -> Listing[ServerTest]:
    """The tests of a server, the newest first."""
    found = await find_in_scope(uow, who.scope, server)
    return listing(ServerTest, await service.list_tests(uow, found.id, page))


@router.get("/servers/{server}/tests/{test}")
async def get_test(uow: Uow, who: Viewer, server: str, test: TestRef) -> ServerTest:
    """One test, by id, or `latest`."""
    found = await find_in_scope(uow, who.scope, server)
    return await service.get_test(uow, found.id, test)


@router.get(
    "/servers/{server}/tests/{test}/screenshot",
    response_class=Response,
    responses={200: {"content": {PNG: {}}, "description": "The last picture of the machine's screen"}},
)
async def get_screenshot(
    uow: Uow,
    who: Viewer,
    server: str,
    test: TestRef,
    thumbnail: Annotated[bool, Query(description="At most 320 pixels wide and high")] = False,
) -> Response:
    """The proof: the last picture of the machine's screen."""
    found = await find_in_scope(uow, who.scope, server)
    name = evidence.THUMBNAIL if thumbnail else evidence.SCREENSHOT
    wanted = await service.get_test(uow, found.id, test)
    content = await evidence.get_evidence(uow, wanted.id, name)
    return Response(content, media_type=PNG, headers=UNGUESSED)


@router.get(
    "/servers/{server}/tests/{test}/serial",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "As the guest wrote it, at most 1 MiB"}},
)
async def get_serial(uow: Uow, who: Viewer, server: str, test: TestRef) -> Response:
    """The end of what the machine wrote to its serial line."""
    found = await find_in_scope(uow, who.scope, server)
    wanted = await service.get_test(uow, found.id, test)
    content = await evidence.get_evidence(uow, wanted.id, evidence.SERIAL)
    return Response(content, media_type=TEXT, headers=UNGUESSED)
