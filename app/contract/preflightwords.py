"""The words of preflights; as `words`, standard library only."""

from enum import StrEnum


class PreflightOutcome(StrEnum):
    """What a preflight comes to: the gravest of its findings."""

    OK = "OK"
    WARNINGS = "WARNINGS"
    BLOCKED = "BLOCKED"


class Bottleneck(StrEnum):
    """What a first copy would wait for."""

    DISK = "disk"
    NETWORK = "network"
    PROCESSING = "processing"
