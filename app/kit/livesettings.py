"""Settings that may change while the process runs, and those that may not.

The settings file is looked at every LOOK_SECONDS. In Kubernetes it lies in a mounted ConfigMap: there a
change swaps the link ``..data`` to another folder, so the file that the path leads to becomes another one.
What RELOADS names is taken over, and the level of the log; of other changes the log says that a restart is
needed. A file that cannot
be used is refused as at the start, with its reason in the log, and what holds goes on to hold.
"""

import asyncio
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, TypeAlias

from prometheus_client import Gauge

from app.kit.logging import get_logger, set_level
from app.kit.settings import LogLevel, Settings, SettingsError, load_settings

LOOK_SECONDS: Final = 2.0

RELOADS: Final = frozenset({"limits", "pace"})
"""Fields of `Settings` whose readers ask for them anew each time."""

REFUSED = Gauge("go2cloud_settings_refused", "1 while the settings file cannot be used and older ones hold.")
RESTART_NEEDED = Gauge(
    "go2cloud_settings_restart_needed", "1 once the settings file says what takes a restart to hold."
)

_log = get_logger("go2cloud.settings")

Load: TypeAlias = Callable[[], Settings]
_Mark: TypeAlias = tuple[int, int, int, int]


class LiveSettings:
    """The settings as they hold now."""

    def __init__(
        self, settings: Settings, load: Load | None = None, reloads: frozenset[str] = RELOADS
    ) -> None:
        """Begin with `settings`; `load` reads all sources again (by default those of this process).

        `reloads`: the fields that this process asks for anew. What the command line said otherwise than the
        sources is no change of them. Raises SettingsError.
        """
        self._reloads = reloads
        self.current = settings
        self._load = load or (lambda: load_settings(file=settings.file))
        self._mark = _mark(settings.file)
        self._read = self._load() if settings.file else settings

    async def follow(self) -> None:
        """Look at the file now and then, until cancelled."""
        while self.current.file is not None:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take over what changed in the file since the last look."""
        mark = _mark(self.current.file)
        if mark is None or mark == self._mark:
            return
        self._mark = mark
        try:
            read = self._load()
        except SettingsError as error:
            REFUSED.set(1)
            _log.warning("settings.refused", reason=str(error))
        else:
            REFUSED.set(0)
            self._take(read)

    def _take(self, read: Settings) -> None:
        changed = {field.name for field in fields(Settings) if self._differs(read, field.name)}
        taken = changed & self._reloads
        if read.log.level is not self._read.log.level:
            self._take_level(read.log.level)
            taken |= {"log level"}
            if replace(read.log, level=self._read.log.level) == self._read.log:
                changed -= {"log"}
        self._read = read
        self.current = replace(self.current, **{name: getattr(read, name) for name in self._reloads})
        if taken:
            _log.info("settings.reloaded", sections=sorted(taken))
        if kept := changed - self._reloads:
            RESTART_NEEDED.set(1)
            _log.warning("settings.restart_needed", sections=sorted(kept))

    def _take_level(self, level: LogLevel) -> None:
        set_level(level)
        self.current = replace(self.current, log=replace(self.current.log, level=level))

    def _differs(self, read: Settings, name: str) -> bool:
        return bool(getattr(read, name) != getattr(self._read, name))


def _mark(file: Path | None) -> _Mark | None:
    """What changes with the file; None while there is none, as in the moment of a swap."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
