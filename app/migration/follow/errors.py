"""Refusals of following."""

from app.kit.errors import NotFound


class FollowNotFound(NotFound):
    """No target follows the server."""

    code = "FOLLOW_NOT_FOUND"
