"""What can be refused about a preflight."""

from app.kit.errors import Invalid, NotFound


class PreflightNotFound(NotFound):
    """No such preflight of this server."""

    code = "PREFLIGHT_NOT_FOUND"


class BadPreflight(Invalid):
    """A report whose times or severities are impossible."""

    code = "BAD_PREFLIGHT"
