"""Boot mode, kernel and memory of the host."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from app.agent.daemon.inventory.firmware import collect_firmware
from app.agent.daemon.inventory.kernel import collect_kernel
from app.agent.daemon.preflight.subject import Subject
from app.wire.chunks import MIB
from app.wire.messages import Inventory
from app.wire.preflight import WARNING, Code, Finding, Preflight

NEEDED_MEMORY: Final = 256 * MIB
"""What the agent takes at most, with the buffer of a cut, and some room."""


def check_host(_: Subject, report: Preflight) -> Preflight:
    """Fill in firmware, kernel, memory_bytes, memory_free_bytes."""
    found = collect_kernel(collect_firmware(Inventory("")))
    meminfo = Path("/proc/meminfo").read_text()
    free = memory_field(meminfo, "MemAvailable")
    return replace(
        report,
        firmware=found.firmware,
        kernel=found.kernel,
        memory_bytes=memory_field(meminfo, "MemTotal"),
        memory_free_bytes=free,
        findings=(*report.findings, *memory_findings(free)),
    )


def memory_field(meminfo: str, name: str) -> int:
    """A field of /proc/meminfo in bytes. Raises ValueError for a text without it."""
    for line in meminfo.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/meminfo has no {name}")


def memory_findings(free: int) -> tuple[Finding, ...]:
    """A warning where the agent would not fit beside what runs."""
    if free >= NEEDED_MEMORY:
        return ()
    text = f"{free // MIB} MiB of memory are available; the agent takes up to {NEEDED_MEMORY // MIB} MiB"
    return (Finding(Code.LOW_MEMORY, WARNING, "host", text, "free some memory, or add swap"),)
