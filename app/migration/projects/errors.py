"""Refusals of projects."""

from app.kit.errors import Conflict, NotFound, PreconditionFailed


class ProjectNotFound(NotFound):
    """No project of the caller has this id or name."""

    code = "PROJECT_NOT_FOUND"


class ProjectExists(Conflict):
    """The name is taken."""

    code = "PROJECT_EXISTS"


class ProjectChanged(PreconditionFailed):
    """The project is not at the version that the caller read."""

    code = "PROJECT_CHANGED"
