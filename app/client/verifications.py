"""Calls on online verifications of servers."""

from collections.abc import Callable

from app.client.call import Call, model, segment
from app.contract.resources.base import Listing
from app.contract.resources.verification import Verification

LATEST = "latest"


def order(ref: str) -> Call[Verification]:
    """Let the server's agent compare its disks with the replica; the one that stands, where one does."""
    return Call("POST", f"/servers/{segment(ref)}:verify", model(Verification))


def get(ref: str, verification: str = LATEST) -> Call[Verification]:
    """One verification by id, or `latest`."""
    return Call("GET", f"/servers/{segment(ref)}/verifications/{segment(verification)}", model(Verification))


def pages(ref: str, *, limit: int | None = None) -> Callable[[str | None], Call[Listing[Verification]]]:
    """Pages of a server's verifications, the newest first; give it to `every`."""
    path = f"/servers/{segment(ref)}/verifications"
    return lambda cursor: Call("GET", path, model(Listing[Verification]), {"cursor": cursor, "limit": limit})
