"""Which capture method a disk gets: the first of METHODS that works for it."""

from typing import Final

from app.agent.daemon.capture.method import CaptureMethod
from app.agent.daemon.capture.rescan import Rescan
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.errors import DiskError

METHODS: Final[tuple[CaptureMethod, ...]] = (Rescan(),)


def choose(reader: DiskReader, methods: tuple[CaptureMethod, ...] = METHODS) -> CaptureMethod:
    """The first method whose probe succeeds. Raises DiskError that says why each of them does not work."""
    reasons = []
    for method in methods:
        probe = method.probe(reader)
        if probe.is_usable:
            return method
        reasons.append(f"{method.name}: {probe.reason}")
    raise DiskError(f"no capture method works for {reader.path}: {'; '.join(reasons)}", code="NO_METHOD")
