"""Reading an answer: bounded, and a refusal turned into its error.

A refusal is a problem document (RFC 9457); its `code` decides, its `detail` and `remedy` are shown. Some
codes say that what arrived is nothing that an agent sends: the same again may arrive whole.
"""

import http.client
import json
from typing import Any, Final

from app.agent.daemon.errors import Denied, Garbled, LinkError, Refusal

MAX_PROBLEM: Final = 8 * 1024 * 1024
MOST_AFTER: Final = 300.0
"""Seconds that a service, or what stands in front of it, may ask to be left alone for."""
_DENIED: Final = (401, 403)
_STORE_FULL: Final = 507
_STALLED: Final = "STALLED"
_GARBLED: Final = frozenset(
    {"HASH_MISMATCH", "BAD_FRAME", "BAD_COMPRESSED_DATA", "BAD_PATCH", "BAD_TREE_NODE", "BAD_MESSAGE"}
)


class ServiceBusy(LinkError):
    """The service cannot answer right now; `after` is how many seconds it asked to wait."""

    code = "SERVICE_BUSY"

    def __init__(self, detail: str, after: float) -> None:
        super().__init__(detail)
        self.after = min(after, MOST_AFTER)


def asked_pause(error: Exception | None) -> float:
    """How many seconds the service wants to be left alone for after this failure; 0 where it said nothing."""
    return error.after if isinstance(error, ServiceBusy) else 0.0


def read_answer(response: http.client.HTTPResponse, limit: int) -> bytes:
    """The body of a good answer of at most `limit` bytes.

    Raises Refusal or Denied for the service's no, ServiceBusy for a no that passes, LinkError for an
    answer that is too long or makes no sense.
    """
    is_good = 200 <= response.status < 300
    body = response.read((limit if is_good else MAX_PROBLEM) + 1)
    if response.length and len(body) <= limit:
        raise LinkError("the service's answer was cut off", code="ANSWER_CUT_OFF")
    if is_good and len(body) <= limit:
        return body
    if is_good:
        raise LinkError(f"the service's answer is longer than {limit} bytes", code="ANSWER_TOO_LONG")
    raise refusal(response, body[:MAX_PROBLEM])


def refusal(response: http.client.HTTPResponse, body: bytes) -> LinkError | Refusal:
    """The error that an answer with this status and body stands for."""
    problem = _problem(body)
    detail = str(problem.get("detail") or problem.get("title") or f"HTTP {response.status} {response.reason}")
    if _may_pass(response.status, str(problem.get("code", ""))):
        return ServiceBusy(f"the service is busy: {detail}", _seconds(response.getheader("Retry-After")))
    if problem.get("code") in _GARBLED:
        return Garbled(detail, code=str(problem["code"]), remedy=str(problem.get("remedy") or ""))
    if not problem.get("code") and response.status not in _DENIED:
        return LinkError(
            f"the answer does not come from go2cloud: {detail}",
            code="BAD_ANSWER",
            remedy="check the URL and any proxy in between",
        )
    kind = Denied if response.status in _DENIED else Refusal
    return kind(
        detail,
        code=str(problem.get("code") or "DENIED"),
        status=response.status,
        remedy=str(problem.get("remedy") or ""),
        chunk_ids=_ids(problem),
    )


def _may_pass(status: int, code: str) -> bool:
    """Whether the same request may succeed later: overload, a restart, a body that stood still."""
    return status == 429 or code == _STALLED or (status >= 500 and status != _STORE_FULL)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _ids(problem: dict[str, Any]) -> tuple[str, ...]:
    value = problem.get("ids")
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
