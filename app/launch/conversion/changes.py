"""What a conversion changes: values that are reported as they are applied."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import TypeAlias

from app.launch.conversion.network import is_configuration
from app.launch.conversion.shown import shown

MOST_LINES = 200
"""Of a change that a report shows."""


class Privacy(Enum):
    """Who may read a file that is made: all, root only, or root only and no report either."""

    PUBLIC = auto()
    ROOT = auto()
    HIDDEN = auto()


@dataclass(frozen=True)
class FileChange:
    """A file gets another content, is made (`before` is None), or goes away (`after` is None)."""

    path: str
    before: str | None = field(repr=False)
    after: str | None = field(repr=False)
    reason: str
    privacy: Privacy = Privacy.PUBLIC

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that go ('-') and that come ('+'); of a hidden file, how much that is.

        Of the network's configuration, which may hold passwords, those of addresses.
        """
        if self.privacy is Privacy.HIDDEN:
            sides = (("-", self.before), ("+", self.after))
            return tuple(f"{sign}{len(text.encode())} bytes, not shown" for sign, text in sides if text)
        found = difflib.unified_diff(
            (self.before or "").splitlines(), (self.after or "").splitlines(), lineterm="", n=0
        )
        lines = [line for line in islice(found, 2, None) if not line.startswith("@@")]
        return tuple(shown(lines) if is_configuration(self.path) else lines)[:MOST_LINES]


@dataclass(frozen=True)
class InitrdChange:
    """A second archive is appended to an initrd: modules of its kernel, and texts by their names in it."""

    path: str
    release: str
    modules: tuple[str, ...]
    """Paths below the kernel's folder of modules."""
    texts: Mapping[str, str] = field(default_factory=dict)
    lib: str = "lib"
    reason: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """What comes."""
        return (*(f"+{path}" for path in self.modules), *(f"+{name}" for name in sorted(self.texts)))


@dataclass(frozen=True)
class CopyChange:
    """A file is copied to where there was none."""

    source: str
    path: str
    reason: str

    @property
    def lines(self) -> tuple[str, ...]:
        """What comes."""
        return (f"+copy of {self.source}",)


Change: TypeAlias = FileChange | InitrdChange | CopyChange


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order, and what an operator should know."""

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    """Why something that was asked for cannot be done: then nothing is."""


@dataclass
class Draft:
    """The configuration while a plan is made: the files as they will be, and why."""

    files: dict[str, str]
    before: Mapping[str, str]
    reasons: dict[str, list[str]] = field(default_factory=dict)
    others: list[Change] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    privacy: dict[str, Privacy] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, str]) -> "Draft":
        """Nothing is changed yet."""
        return cls(dict(files), files)

    def edit(self, path: str, text: str, reason: str, privacy: Privacy = Privacy.PUBLIC) -> None:
        """From now on the file has this text; the reason is kept where that changes anything."""
        if self.files.get(path) == text:
            return
        self.privacy[path] = privacy
        self.files[path] = text
        if reason not in self.reasons.setdefault(path, []):
            self.reasons[path].append(reason)

    def remove(self, path: str, reason: str, privacy: Privacy = Privacy.PUBLIC) -> None:
        """The file goes away."""
        if self.files.pop(path, None) is not None:
            self.privacy[path] = privacy
            self.reasons.setdefault(path, []).append(reason)

    def plan(self) -> Plan:
        """The changes, those of files by their paths and before all others."""
        changes = [
            FileChange(
                path, self.before.get(path), self.files.get(path), "; ".join(reasons), self.privacy[path]
            )
            for path, reasons in sorted(self.reasons.items())
            if self.before.get(path) != self.files.get(path)
        ]
        return Plan(
            (*changes, *self.others), *(tuple(dict.fromkeys(each)) for each in (self.warnings, self.refusals))
        )
