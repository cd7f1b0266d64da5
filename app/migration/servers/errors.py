"""What can be refused about a server."""

from app.kit.errors import Conflict, NotFound, PreconditionFailed


class ServerNotFound(NotFound):
    """No such server in the projects of the caller."""

    code = "SERVER_NOT_FOUND"


class ServerNameTaken(Conflict):
    """Another server of the project has the name."""

    code = "SERVER_NAME_TAKEN"


class ServerChanged(PreconditionFailed):
    """The server was changed since the caller read it."""

    code = "SERVER_CHANGED"


class DuplicateAgent(Conflict):
    """A second live agent shows the credential of a server whose own agent still holds its lease."""

    code = "DUPLICATE_AGENT"


class ServerDisconnected(Conflict):
    """The server was disconnected: its agent may not replicate any more."""

    code = "SERVER_DISCONNECTED"


class ReverseNotFound(NotFound):
    """The server never had a way back."""

    code = "REVERSE_NOT_FOUND"


class ServerIsReverse(Conflict):
    """The server is the way back of another one, and no source."""

    code = "SERVER_IS_REVERSE"


class ReverseRefused(Conflict):
    """The host cannot become the way back of the server; the code says why.

    NOT_CUT_OVER: it is not cut over (any more). REVERSE_STANDS: it has a way back. REVERSE_AT_SOURCE: the
    host is the source itself.
    """

    code = "REVERSE_REFUSED"


class ReenrolmentRefused(Conflict):
    """The host cannot take up the server again; the code says why.

    SERVER_IN_USE: its agent is alive. SERVER_AMBIGUOUS: the host may be several servers. ANOTHER_HOST:
    nothing says that the host is this server. SERVER_CUT_OVER: its source is held.
    """

    code = "REENROLMENT_REFUSED"


class LifecycleNotAllowed(Conflict):
    """The server's lifecycle state forbids the operation; `allowedOperations` lists those that it allows."""

    code = "LIFECYCLE_NOT_ALLOWED"
