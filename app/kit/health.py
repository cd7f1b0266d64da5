"""Whether the process is alive, and whether it can do its work.

``/healthz`` answers 200 as long as the process serves requests at all. ``/readyz`` runs the checks that
the roles have added, side by side, each with its own time-out; 503 with the names of those that fail. Why
one fails stands in the log once, when it begins to fail, and once more when it works again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from prometheus_client import Gauge

from app.kit.logging import get_logger

TIMEOUT_SECONDS = 3.0

FAILING = Gauge("go2cloud_check_failing", "1 while a readiness check fails, as last seen.", ["check"])

_log = get_logger("go2cloud.health")


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    run: Callable[[], Awaitable[object]]
    timeout_seconds: float


class Checks:
    """The readiness checks of a process, by name."""

    def __init__(self) -> None:
        """Without checks, a process is ready as soon as it is alive."""
        self._checks: dict[str, _Check] = {}
        self._failing: frozenset[str] = frozenset()

    def add(
        self, name: str, check: Callable[[], Awaitable[object]], timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Add a check that fails by raising or by taking too long. Raises ValueError for a name in use."""
        if name in self._checks:
            raise ValueError(f"there is a readiness check {name} already: give each its own name")
        self._checks[name] = _Check(name, check, timeout_seconds)
        FAILING.labels(name).set(0)

    async def failing(self) -> tuple[str, ...]:
        """Run all checks; the names of those that fail, sorted."""
        results = await asyncio.gather(*(self._passes(check) for check in self._checks.values()))
        failing = frozenset(name for name, passed in zip(self._checks, results, strict=True) if not passed)
        for name in self._failing - failing:
            _log.info("check.recovered", check=name)
        for name in self._checks:
            FAILING.labels(name).set(name in failing)
        self._failing = failing
        return tuple(sorted(failing))

    async def _passes(self, check: _Check) -> bool:
        try:
            async with asyncio.timeout(check.timeout_seconds):
                await check.run()
        except Exception as error:  # noqa: BLE001  (whatever a check raises is its way to fail)
            if check.name not in self._failing:
                _log.warning("check.failing", check=check.name, exc_info=error)
            return False
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all checks, sorted."""
        return tuple(sorted(self._checks))


def health_router(checks: Checks) -> APIRouter:
    """The routes ``/healthz`` and ``/readyz``; not part of the OpenAPI document."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        failing = await checks.failing()
        body = {"status": "not ready" if failing else "ready", "checks": checks.names, "failing": failing}
        return JSONResponse(body, 503 if failing else 200)

    return router
