"""``/metrics`` for Prometheus: requests, and what the modules of this process declare themselves.

All applications of a process share one registry, so that product metrics are declared once, beside what
they measure.
"""

from collections.abc import Callable
from functools import cache

from fastapi import FastAPI
from prometheus_client import Gauge
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator import metrics as http_metrics
from prometheus_fastapi_instrumentator.metrics import Info

UNCOUNTED = ["^/healthz$", "^/readyz$", "^/metrics$"]

ROLE = Gauge("go2cloud_role", "1 for each role that this process has.", ["role"])


def instrument(app: FastAPI, role: str) -> None:
    """Count and time the requests of `app` and serve ``/metrics``; once an application, before it starts."""
    ROLE.labels(role).set(1)
    instrumentator = Instrumentator(excluded_handlers=UNCOUNTED)
    instrumentator.add(_requests())
    instrumentator.instrument(app).expose(app, include_in_schema=False)


@cache
def _requests() -> Callable[[Info], None]:
    """The request metrics, registered once a process: a second registration would measure nothing."""
    measure = http_metrics.default()
    assert measure is not None
    return measure
