"""The OpenAPI document of the REST API: what is committed as docs/openapi.json and served to clients."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

PREFIX = "/api/v1/"
TITLE = "go2cloud migration API"
DESCRIPTION = (
    "Projects, source servers, checkpoints and access. Errors are RFC 9457 problem documents with a stable "
    "`code`; lists are paged by an opaque cursor; changes need If-Match; POST takes an Idempotency-Key."
)
PROBLEM = "application/problem+json"


def install_document(app: FastAPI) -> None:
    """Make `app` describe its REST API, once all routes are on it."""
    app.openapi = lambda: rest_document(app)  # type: ignore[method-assign]  # how FastAPI lets it be replaced


def rest_document(app: FastAPI) -> dict[str, Any]:
    """The document of the routes under /api/v1 of an application, other tiers left out."""
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=TITLE, version=app.version, description=DESCRIPTION, routes=app.routes)
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith(PREFIX)}
    for item in document["paths"].values():
        for operation in item.values():
            _as_problem(operation["responses"]["default"])
    return document


def _as_problem(response: dict[str, Any]) -> None:
    """FastAPI gives every further answer the media type of the good one; problems have their own."""
    content = response["content"]
    _, schema = content.popitem()
    content.clear()
    content[PROBLEM] = schema
