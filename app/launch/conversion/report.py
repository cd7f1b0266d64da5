"""What a conversion found and changed, for people and as a document."""

from dataclasses import dataclass
from typing import Final

from app.launch.conversion.changes import Change, Plan
from app.launch.conversion.inspection import Inspection, Kernel

MOST_TEXT: Final = 1000


@dataclass(frozen=True)
class ReportedChange:
    """A change: what it is about, why, and the lines that went ('-') and came ('+')."""

    path: str
    reason: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class FoundKernel:
    """A kernel, and its initrd; `drivers` says how many modules that held."""

    release: str
    initrd: str | None
    maker: str | None
    modules: int


@dataclass(frozen=True)
class Found:
    """The system on the disks; `root` is empty where none was found."""

    system: str
    root: str
    filesystems: tuple[str, ...]
    kernels: tuple[FoundKernel, ...]
    esp: str


@dataclass(frozen=True)
class ConversionReport:
    """The inspection before, the changes after. `found` is None where the disks were not looked at."""

    found: Found | None
    changes: tuple[ReportedChange, ...]
    warnings: tuple[str, ...]
    seconds: int

    @classmethod
    def of(cls, inspection: Inspection, plan: Plan, seconds: float) -> "ConversionReport":
        """The report of a plan that was carried out."""
        changes = tuple(map(_reported, plan.changes))
        return cls(_found(inspection), changes, tuple(map(_readable, plan.warnings)), round(seconds))

    @classmethod
    def not_done(cls, why: str) -> "ConversionReport":
        """Nothing was looked at."""
        return cls(None, (), (why,), 0)


def _reported(change: Change) -> ReportedChange:
    return ReportedChange(_readable(change.path), change.reason, tuple(map(_readable, change.lines)))


def _found(inspection: Inspection) -> Found:
    return Found(
        system=_readable(inspection.system),
        root=inspection.root.device if inspection.root else "",
        filesystems=tuple(
            f"{each.device} {each.kind} {each.uuid}".strip() for each in inspection.filesystems
        ),
        kernels=tuple(map(_kernel, inspection.kernels)),
        esp=inspection.esp,
    )


def _kernel(kernel: Kernel) -> FoundKernel:
    initrd = kernel.initrd
    if initrd is None:
        return FoundKernel(kernel.release, None, None, 0)
    return FoundKernel(kernel.release, initrd.path, initrd.maker.value, len(initrd.modules))


def _readable(text: str) -> str:
    """Guests write what they like: no surrogates, no end of the line, no more than a report bears."""
    return text.encode("utf-8", errors="replace").decode()[:MOST_TEXT]
