"""Why a pass failed, in the contract's words: a table by the error's code, then by its kind."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.agent.daemon.errors import AgentError, DiskError, Garbled, LinkError, Refusal

BY_CODE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "STORE_FULL": "STORE_FULL",
        "DUPLICATE_AGENT": "DUPLICATE_AGENT",
        "DISK_LAYOUT_CHANGED": "DISK_LAYOUT_CHANGED",
        "DISK_NOT_FOUND": "DISK_LAYOUT_CHANGED",
        "DISK_SHRUNK": "DISK_LAYOUT_CHANGED",
        "DISK_VANISHED": "DISK_LAYOUT_CHANGED",
        "DISK_EMPTY": "DISK_LAYOUT_CHANGED",
        "DISK_TWICE": "DISK_LAYOUT_CHANGED",
        "NO_DISKS": "DISK_LAYOUT_CHANGED",
        "NOT_CONVERGING": "NOT_CONVERGING",
        "ROOT_MISMATCH": "REPLICA_DIFFERS",
        "FREEZE_FAILED": "FREEZE_FAILED",
        "HOOK_FAILED": "HOOK_FAILED",
        "TRACKER_GAP": "TRACKER_GAP",
        "BAD_ANSWER": "REFUSED",
    }
)

BY_KIND: Final[tuple[tuple[type[AgentError], str], ...]] = (
    (DiskError, "SOURCE_READ_ERROR"),
    (Garbled, "UNSTABLE_NETWORK"),
    (LinkError, "SERVICE_UNREACHABLE"),
    (Refusal, "REFUSED"),
)
"""The first that fits."""


def reason_of(error: AgentError) -> str:
    """The reason that the service and its operators know; NO_PROGRESS where none says more."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next((reason for kind, reason in BY_KIND if isinstance(error, kind)), "NO_PROGRESS")
