"""The protocol's version: each request names it, and an unknown one is refused by name."""

from app.wire.errors import UnsupportedVersion

HEADER = "G2C-Wire"
VERSION = 1


def require_supported(text: str | None) -> None:
    """Accept the value of the version header of a request or an answer.

    Raises UnsupportedVersion for anything but the one version that this program speaks.
    """
    if text != str(VERSION):
        shown = text[:32] if text else "not stated"
        raise UnsupportedVersion(
            f"wire protocol version {shown} is not supported; this side speaks {VERSION}: "
            "upgrade the older of agent and service"
        )
