"""What a call can fail with.

    ClientError
    ├── Unreachable            no answer: name, connection, TLS
    │   └── TimedOut           no answer in time
    ├── BadAnswer              an answer that is none of this API's
    ├── Interrupted            a stream that broke off before its end
    └── ApiProblem             the API refused, and says why: `code`, `detail`, `remedy`
        ├── NotAuthenticated   401
        ├── NotPermitted       403
        ├── NotFound           404
        ├── Conflicting        409, 412, 428
        ├── Rejected           400, 413, 422
        ├── TooManyRequests    429
        └── ServiceFailed      5xx

Errors of httpx2 do not leave this package.
"""

from app.contract.resources.base import Problem


class ClientError(Exception):
    """The root: a sentence, and what to do about it."""

    def __init__(self, detail: str, *, remedy: str | None = None) -> None:
        """`detail` names what was called."""
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


class Unreachable(ClientError):
    """There was no answer."""


class TimedOut(Unreachable):
    """There was no answer in time."""


class BadAnswer(ClientError):
    """The answer is none of this API's: another service, or another version."""


class Interrupted(ClientError):
    """A stream broke off before its end; what came so far is not the whole."""


class ApiProblem(ClientError):
    """The API refused; the whole problem document is in `problem`."""

    def __init__(self, problem: Problem) -> None:
        """Takes detail and remedy from the document."""
        super().__init__(problem.detail or problem.title, remedy=problem.remedy)
        self.problem = problem

    @property
    def code(self) -> str:
        """The stable code."""
        return self.problem.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


class NotAuthenticated(ApiProblem):
    """No credential, or one that does not count any more."""


class NotPermitted(ApiProblem):
    """The credential does not reach that far."""


class NotFound(ApiProblem):
    """There is no such thing in the caller's projects."""


class Conflicting(ApiProblem):
    """The present state or version forbids it."""


class Rejected(ApiProblem):
    """The request is wrong."""


class TooManyRequests(ApiProblem):
    """Try later."""


class ServiceFailed(ApiProblem):
    """The service failed, not the request."""


_BY_STATUS: dict[int, type[ApiProblem]] = {
    400: Rejected,
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    409: Conflicting,
    412: Conflicting,
    413: Rejected,
    422: Rejected,
    428: Conflicting,
    429: TooManyRequests,
}


def error_of(problem: Problem) -> ApiProblem:
    """The error that stands for a problem document."""
    kind = _BY_STATUS.get(problem.status, ServiceFailed if problem.status >= 500 else ApiProblem)
    return kind(problem)
