"""Every error as a problem document (RFC 9457, ``application/problem+json``), also 404, 405, 422 and 500.

Members: ``type`` (``urn:go2cloud:problem:<code>``), ``title``, ``status``, ``detail``, ``code``,
``remedy`` when there is one, ``requestId``, and the extras of the error. An unexpected error shows the
request id and nothing of its inside; the server's log has the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.kit.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Go2CloudError,
    Invalid,
    Json,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from app.kit.logging import get_logger
from app.kit.requestid import HEADER, request_id
from app.kit.retry import is_unreachable

MEDIA_TYPE = "application/problem+json"
URN = "urn:go2cloud:problem:"

_OURS = {
    kind.status: kind
    for kind in (
        BadRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        TooLarge,
        Invalid,
        TooManyRequests,
    )
}
"""The framework's errors get the codes of ours, where there is one with the same status."""

_log = get_logger("go2cloud.problems")


@dataclass(frozen=True, slots=True)
class Problem:
    """What a problem document says."""

    status: int
    title: str
    code: str
    detail: str
    remedy: str | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: Go2CloudError) -> Self:
        """The problem that `error` is."""
        return cls(
            error.status, error.title, error.code, error.detail, error.remedy, error.extra, error.headers
        )

    def members(self, name: str | None) -> dict[str, Json]:
        """The document, for the request with the id `name`."""
        remedy: dict[str, Json] = {} if self.remedy is None else {"remedy": self.remedy}
        standard: dict[str, Json] = {
            "type": URN + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        return dict(self.extra) | standard | remedy | {"requestId": name}


def install_problem_handlers(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.add_exception_handler(Go2CloudError, _known)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(DBAPIError, _of_database)
    app.add_exception_handler(NoFreeConnection, _of_database)
    app.add_exception_handler(ClientDisconnect, _cut_off)
    app.add_exception_handler(Exception, _unexpected)


def _cut_off(_request: Request, _error: Exception) -> Response:
    """The client hung up before its request was complete, which is no fault of ours: nobody reads this."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def problem_response(request: Request, error: Go2CloudError) -> Response:
    """The answer that says `error`."""
    return _answer(request, Problem.of(error))


def _answer(request: Request, problem: Problem) -> Response:
    name = request_id(request)
    headers = dict(problem.headers) | ({} if name is None else {HEADER: name})
    return JSONResponse(problem.members(name), problem.status, headers, MEDIA_TYPE)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, Go2CloudError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("request.failed", code=error.code, detail=error.detail, exc_info=error.__cause__)
    return problem_response(request, error)


async def _of_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    kind = _OURS.get(status)
    title, code = (status.phrase, status.name) if kind is None else (kind.title, kind.code)
    detail, remedy = _explained(request, status, str(error.detail))
    return _answer(request, Problem(status, title, code, detail, remedy, headers=error.headers or {}))


def _explained(request: Request, status: HTTPStatus, detail: str) -> tuple[str, str | None]:
    """What the framework's bare phrases mean, and what to do."""
    if status is HTTPStatus.NOT_FOUND and detail == status.phrase:
        return f"there is nothing at {request.url.path}", "see /openapi.json for all paths"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.url.path} does not take {request.method}", "see the Allow header"
    return detail, None


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [{"at": _place(each["loc"]), "detail": str(each["msg"])} for each in error.errors()]
    detail = "; ".join(f"{each['at']}: {each['detail']}" for each in problems)
    return problem_response(request, Invalid(detail, remedy="correct the named places", errors=problems))


def _place(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location)


async def _of_database(request: Request, error: Exception) -> Response:
    if not is_unreachable(error):
        raise error
    _log.warning("database.unreachable", exc_info=error)
    problem = Unavailable(
        "the database does not answer or is too busy",
        code="DATABASE_UNAVAILABLE",
        remedy="repeat the request later",
    )
    return problem_response(request, problem)


async def _unexpected(request: Request, _error: Exception) -> Response:
    return problem_response(
        request,
        Go2CloudError(
            "an internal error stopped this request", remedy="look for the request id in the server's log"
        ),
    )
