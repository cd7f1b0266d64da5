"""The composition root: one application out of the tiers that a process's roles name.

Each tier is imported only when its role is asked for, so that a pod of one role loads nothing of the others.
What the tiers share is made once and taken down in the opposite order by one `AsyncExitStack`.
"""

import asyncio
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import uvicorn
from fastapi import FastAPI

from app.kit.accesslog import AccessLogMiddleware
from app.kit.clock import SystemClock
from app.kit.database import Database
from app.kit.errors import Unavailable
from app.kit.health import Checks, health_router
from app.kit.livesettings import LiveSettings
from app.kit.logging import configure_logging, get_logger
from app.kit.memory import give_back_in_calms, keep_freed_memory, spare_long_lived_objects
from app.kit.metrics import instrument
from app.kit.problems import install_problem_handlers
from app.kit.redisbus import make_bus
from app.kit.requestid import RequestIdMiddleware
from app.kit.settings import DatabaseSettings, Engine, Settings
from app.kit.vitals import watch_connections, watch_loop
from app.roles import Role, default_port, name_of
from app.schema import running

if TYPE_CHECKING:
    from app.kit.database import UnitOfWork
    from app.migration.access.users import OneTimePassword
    from app.migration.services import Services
    from app.store.objects import ObjectStore

API_PREFIX = "/api/v1"
AGENT_PREFIX = "/agent/v1"
DRAIN_SECONDS = 20
"""Below the 30 seconds that Kubernetes gives a pod after SIGTERM."""

KEEP_ALIVE_SECONDS = 75
"""Longer than a heartbeat, so that an agent's connection is not closed under its next request."""

_log = get_logger("go2cloud.main")


class AddressInUse(Unavailable):
    """The address to listen on cannot be had."""

    code = "ADDRESS_IN_USE"
    title = "Address in use"


def create_app(settings: Settings, roles: frozenset[Role], base_url: str | None = None) -> FastAPI:
    """The application of these roles; nothing is opened before it starts.

    `base_url` is where this process itself listens: the tiers of one process reach each other there.
    `app.state.stopping` is set when the process begins to stop: requests that only wait for news end then.
    """
    checks = Checks()
    app = FastAPI(
        title="go2cloud migration API",
        version=version("go2cloud"),
        lifespan=lambda app: _lifespan(app, settings, roles, checks, base_url),
        openapi_url=f"{API_PREFIX}/openapi.json" if Role.API in roles else None,
        docs_url=None,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.stopping = asyncio.Event()
    app.add_middleware(AccessLogMiddleware)
    app.add_middleware(RequestIdMiddleware)
    install_problem_handlers(app)
    instrument(app, name_of(roles))
    app.include_router(health_router(checks))
    _include_tiers(app, roles)
    return app


def _include_tiers(app: FastAPI, roles: frozenset[Role]) -> None:
    if Role.API in roles:
        from app.api import routes as api
        from app.api.openapi import install_document

        app.include_router(api.router(), prefix=API_PREFIX)
        install_document(app)
    if Role.AGENT in roles:
        from app.agent.gateway import routes as gateway

        app.include_router(gateway.router(), prefix=AGENT_PREFIX)
    if Role.PLATFORM in roles:
        from app.platform import routes as platform

        app.include_router(platform.router())


@asynccontextmanager
async def _lifespan(
    app: FastAPI, settings: Settings, roles: frozenset[Role], checks: Checks, base_url: str | None
) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if roles & {Role.API, Role.AGENT}:
            await _open_services(app, stack, settings, roles, checks)
        run_beside(stack, watch_loop)
        run_beside(stack, give_back_in_calms)
        if Role.PLATFORM in roles:
            _open_platform(app, stack, settings, checks, base_url)
        spare_long_lived_objects()
        _log.info("service.started", role=name_of(roles))
        yield
        _log.info("service.stopping", role=name_of(roles))


async def _open_services(
    app: FastAPI, stack: AsyncExitStack, settings: Settings, roles: frozenset[Role], checks: Checks
) -> None:
    """What the API and the agent tier stand on: database, bus, store."""
    services = await _open_shared(stack, settings)
    (await running.standing(settings.database)).tell()
    app.state.services = services
    run_beside(stack, lambda: watch_connections(services.database))
    if services.live is not None:
        run_beside(stack, services.live.follow)
    checks.add("database", services.database.ping)
    checks.add("store", lambda: asyncio.to_thread(services.store.backend.usage))
    if Role.API in roles:
        await _first_start(services)
        await _call_back(app, stack, services)
    _work(app, stack, services, roles)
    if Role.AGENT in roles:
        from app.agent.gateway.commands import bring_forward
        from app.migration.follow.due import follow_checkpoints
        from app.migration.launch.living import look_after_tests
        from app.migration.replication import holdings
        from app.migration.retention.work import forget
        from app.migration.scrub.work import scrub
        from app.migration.verification.due import order_verifications

        run_beside(
            stack, lambda: bring_forward(services.bus, lambda: getattr(app.state, "command_watch", None))
        )
        run_beside(stack, lambda: _collect_garbage(services))
        run_beside(stack, lambda: scrub(services))
        run_beside(stack, lambda: follow_checkpoints(services))
        run_beside(stack, lambda: order_verifications(services))
        run_beside(stack, lambda: forget(services))
        run_beside(stack, lambda: look_after_tests(services))
        run_beside(stack, lambda: _watch_fleet(services))
        run_beside(stack, lambda: holdings.watch(services))


async def _open_shared(stack: AsyncExitStack, settings: Settings) -> "Services":
    from app.migration.services import Services

    await _settle_schema(settings.database)
    database = Database.connect(settings.database, SystemClock())
    stack.push_async_callback(database.close)
    bus = make_bus(settings.redis)
    stack.push_async_callback(bus.close)
    store = _open_store(stack, settings)
    return Services(settings, SystemClock(), database, bus, store, live=LiveSettings(settings))


async def _settle_schema(settings: DatabaseSettings) -> None:
    """The embedded database is brought up to date by the service itself; a server's by a job of its own."""
    if settings.engine is Engine.SQLITE:
        settings.path.parent.mkdir(parents=True, exist_ok=True)
        if (await running.standing(settings)).is_outdated:
            await running.upgrade(settings)
            _log.info("schema.upgraded", version=running.head())
    await running.require_usable(settings)


def _open_store(stack: AsyncExitStack, settings: Settings) -> "ObjectStore":
    from app.store.objects import ObjectStore
    from app.store.opening import open_backend

    backend = open_backend(settings.store)
    stack.callback(backend.close)
    stack.enter_context(backend.lock())
    return ObjectStore(backend, grace=timedelta(seconds=settings.store.gc_grace_seconds))


async def _first_start(services: "Services") -> None:
    """An empty installation gets a project and an administrator, whose password is shown this once."""
    from app.migration.access.users import ensure_administrator
    from app.migration.projects.service import ensure_default_project

    async def work(uow: "UnitOfWork") -> "OneTimePassword | None":
        await ensure_default_project(uow)
        return await ensure_administrator(uow)

    created = await services.database.run(work)
    if created is not None:
        _log.warning("administrator.created", user=created.user, one_time_password=created.password)


async def _call_back(app: FastAPI, stack: AsyncExitStack, services: "Services") -> None:
    """Deliver events to the platform and to webhooks for as long as the process lives."""
    from app.migration.callbacks.delivering import Deliverer
    from app.migration.callbacks.platform import keep_platform
    from app.migration.callbacks.sending import Sender
    from app.migration.callbacks.sweeping import sweep

    await keep_platform(services)
    sender = await stack.enter_async_context(Sender(services.settings.callbacks, services.clock))
    deliverer = Deliverer(services, sender)
    run_beside(stack, lambda: sweep(services))
    run_beside(stack, lambda: deliverer.run(app.state.stopping))


async def _collect_garbage(services: "Services") -> None:
    """Collect garbage at the configured interval for as long as the process lives."""
    from app.kit.errors import Go2CloudError
    from app.migration.replication.maintenance import collect_garbage
    from app.migration.replication.meters import COLLECTED_AT, COLLECTIONS_FAILED

    while True:
        await asyncio.sleep(services.settings.store.gc_interval_seconds)
        try:
            done = await collect_garbage(services)
        except Go2CloudError as error:
            COLLECTIONS_FAILED.inc()
            _log.exception("garbage.failed", code=error.code)
        else:
            COLLECTED_AT.set_to_current_time()
            _log.info("garbage.collected", **vars(done))


async def _watch_fleet(services: "Services") -> None:
    """Name lost agents and set the gauges of the fleet for as long as the process lives."""
    from app.migration.replication.fleet import watch

    await watch(services)


def _work(app: FastAPI, stack: AsyncExitStack, services: "Services", roles: frozenset[Role]) -> None:
    """Run the jobs' steps that belong to these roles, until the process begins to stop."""
    from app.contract.words import Place
    from app.migration.cutover.kinds import cutover_kinds
    from app.migration.follow.steps import follow_kinds
    from app.migration.launch.kinds import launch_kinds
    from app.migration.publish.steps import publish_kinds
    from app.migration.targets.validating import target_kinds
    from app.migration.waves.kinds import wave_kinds
    from app.work.crew import Crew

    for kinds in (launch_kinds, cutover_kinds, target_kinds, follow_kinds, publish_kinds, wave_kinds):
        for kind in kinds(services):
            services.kinds.add(kind)
    seats = {Role.API: Place.CONTROL, Role.AGENT: Place.VOLUMES}
    places = frozenset(place for role, place in seats.items() if role in roles)
    crew = Crew(services.database, services.jobs, services.settings.work, places)
    crew.start(app.state.stopping)
    stack.push_async_callback(crew.stop)


def run_beside(stack: AsyncExitStack, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a task as long as the application lives; one that dies before is logged."""
    task = asyncio.create_task(work())
    task.add_done_callback(_tell_death)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    stack.push_async_callback(stop)


def _tell_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("service.task_died", task=getattr(task.get_coro(), "__qualname__", ""), exc_info=error)


def _open_platform(
    app: FastAPI, stack: AsyncExitStack, settings: Settings, checks: Checks, base_url: str | None
) -> None:
    from app.platform.upstream import Platform
    from app.platform.upstream import checks as platform_checks

    url = settings.api_migrate_server_url or base_url or f"http://127.0.0.1:{default_port(frozenset(Role))}"
    if not hasattr(app.state, "services"):
        run_beside(stack, LiveSettings(settings, reloads=frozenset()).follow)
    platform = Platform.connect(settings, url)
    stack.push_async_callback(platform.close)
    app.state.platform = platform
    platform_checks(platform, checks)


def serve(settings: Settings, roles: frozenset[Role]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; returns when everything is closed.

    Raises SchemaOutdated, DatabaseInUse, StoreInUse and the like before it listens, AddressInUse.
    """
    configure_logging(settings)
    keep_freed_memory()
    _allow_open_files()
    asyncio.run(_try_out(settings, roles))
    listener = _listen(settings, roles)
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls.cert_file else "http"
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  (compared, not bound)
    app = create_app(settings, roles, f"{scheme}://{reached}:{port}")
    config = uvicorn.Config(
        app,
        http=_protocol(roles),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ssl_certfile=settings.tls.cert_file,
        ssl_keyfile=settings.tls.key_file,
        loop="asyncio" if settings.tls.cert_file else "auto",
    )
    for received in (signal.SIGTERM, signal.SIGINT):
        signal.signal(received, _drained)
    _log.info("service.listening", url=f"{scheme}://{host}:{port}", role=name_of(roles))
    _Server(config, app.state.stopping).run(sockets=[listener])


def _protocol(roles: frozenset[Role]) -> type[asyncio.Protocol] | Literal["auto"]:
    """Who parses HTTP: where agents come, what they put is received straight into its frames."""
    if Role.AGENT not in roles:
        return "auto"
    from app.agent.gateway.uploads import UploadingHttp

    return UploadingHttp


def _allow_open_files() -> None:
    """Every agent holds a connection, and a service is usually started with room for 1,024 files at first."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Server(uvicorn.Server):
    """Tells the application that it stops before it waits for requests to end: some wait for that alone."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain and close."""
        self._stopping.set()
        await super().shutdown(sockets)


def _drained(_number: int, _frame: FrameType | None) -> None:
    """uvicorn drains on the first signal, then raises it again: by then the work is done, and exit is 0."""


def _listen(settings: Settings, roles: frozenset[Role]) -> socket.socket:
    port = settings.http.port if settings.http.port is not None else default_port(roles)
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    try:
        return socket.create_server((settings.http.host, port), family=family, backlog=2048)
    except OSError as error:
        raise AddressInUse(
            f"cannot listen on {settings.http.host} port {port}: {error.strerror}",
            remedy="stop what listens there, or set HTTP_LISTEN_PORT",
        ) from error


async def _try_out(settings: Settings, roles: frozenset[Role]) -> None:
    """Open what the roles stand on and close it again, so that a refusal is an error of the command line."""
    async with AsyncExitStack() as stack:
        if roles & {Role.API, Role.AGENT}:
            await _open_shared(stack, settings)
