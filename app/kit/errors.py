"""The errors that reach a caller: an operator, a script, an agent.

    Go2CloudError               500  something that should not have happened
    ├── BadRequest              400  the request cannot be read at all
    ├── Unauthenticated         401  no credential, or not one that counts
    ├── Forbidden               403  a good credential that does not reach this far
    ├── NotFound                404  no such thing (or not in a project of the caller)
    ├── Conflict                409  the thing is in a state that forbids this
    ├── PreconditionFailed      412  the thing changed since the caller read it
    ├── TooLarge                413  more than the stated limit
    ├── Invalid                 422  readable, and wrong
    ├── TooManyRequests         429  try later; says when
    ├── BadGateway              502  another tier answered nonsense
    ├── Unavailable             503  a part that is needed is not there now
    └── StoreFull               507  the store keeps its reserve of free space

A feature derives its own errors from these, or raises them with its own `code`. The edges translate them
once: the web into a problem document (`app.kit.problems`), the command line into a line and an exit code.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias

Json: TypeAlias = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"] | None
"""A value that JSON can carry."""


class Go2CloudError(Exception):
    """An error with a stable code, a sentence on this case, and what to do about it.

    `extra` becomes members of the problem document: small facts that a program can act on, such as the
    present state of a server. Their names are camelCase there, so give them in camelCase.
    """

    status: ClassVar[int] = 500
    code: str = "INTERNAL"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self, detail: str, *, code: str | None = None, remedy: str | None = None, **extra: Json
    ) -> None:
        """`detail` says what happened to which thing, `remedy` what the reader can do."""
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.extra: Mapping[str, Json] = extra
        if code is not None:
            self.code = code

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers that belong to this error."""
        return {}


class BadRequest(Go2CloudError):
    """The request cannot be read: malformed frame, unknown protocol version, broken JSON."""

    status = 400
    code = "BAD_REQUEST"
    title = "Bad request"


class Unauthenticated(Go2CloudError):
    """No credential, or one that is unknown, expired or revoked."""

    status = 401
    code = "UNAUTHENTICATED"
    title = "Not authenticated"

    @property
    def headers(self) -> Mapping[str, str]:
        """The scheme to authenticate with."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(Go2CloudError):
    """The credential is good and does not permit this."""

    status = 403
    code = "FORBIDDEN"
    title = "Not permitted"


class NotFound(Go2CloudError):
    """There is no such thing; give the code of the noun, such as ``SERVER_NOT_FOUND``."""

    status = 404
    code = "NOT_FOUND"
    title = "Not found"


class Conflict(Go2CloudError):
    """The present state of the thing forbids this."""

    status = 409
    code = "CONFLICT"
    title = "Conflict with the present state"


class PreconditionFailed(Go2CloudError):
    """The thing is no longer the one that the caller read (`If-Match`)."""

    status = 412
    code = "PRECONDITION_FAILED"
    title = "Changed in the meantime"


class TooLarge(Go2CloudError):
    """More than the limit that stands in the detail."""

    status = 413
    code = "TOO_LARGE"
    title = "Too large"


class Invalid(Go2CloudError):
    """The request can be read and what it asks for is wrong."""

    status = 422
    code = "INVALID"
    title = "Invalid request"


class TooManyRequests(Go2CloudError):
    """Too often. `retryAfter` (seconds) in the extras also becomes the `Retry-After` header."""

    status = 429
    code = "TOO_MANY_REQUESTS"
    title = "Too many requests"

    @property
    def headers(self) -> Mapping[str, str]:
        """`Retry-After`, when the seconds are known."""
        seconds = self.extra.get("retryAfter")
        return {} if seconds is None else {"Retry-After": str(seconds)}


class BadGateway(Go2CloudError):
    """Another tier answered something that cannot be passed on."""

    status = 502
    code = "BAD_GATEWAY"
    title = "Bad answer from another tier"


class Unavailable(Go2CloudError):
    """A part that this needs does not answer at present."""

    status = 503
    code = "UNAVAILABLE"
    title = "Unavailable"


class StoreFull(Go2CloudError):
    """The store has no more room than its reserve."""

    status = 507
    code = "STORE_FULL"
    title = "Store full"
