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


class LifecycleNotAllowed(Conflict):
    """The server's lifecycle state forbids the operation; `allowedOperations` lists those that it allows."""

    code = "LIFECYCLE_NOT_ALLOWED"
