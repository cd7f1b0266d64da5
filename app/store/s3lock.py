"""The lock of a store in a bucket: one object for each process that holds it, below `.locks/`.

A process writes its own object first and looks for others then, so that of two that come at the same time at
least one sees the other. An object counts as long as it was renewed within `LIFE` before the newest one: all
these times are of the bucket's own clock. A process that died lets go of the lock that way.

A service that was paused for longer than that and finds an offline command at work ends itself.
"""

import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.store import S3Store

from app.kit.logging import get_logger
from app.store.errors import StoreError, StoreInUse
from app.store.s3place import s3_errors

if TYPE_CHECKING:
    from obstore import ObjectMeta

LIFE: Final = timedelta(seconds=90)
_FOLDER: Final = ".locks"
_ALONE: Final = "alone"
_SHARED: Final = "shared"

_log = get_logger("go2cloud.store")


@dataclass(frozen=True)
class S3Lock:
    """One process's hold."""

    client: S3Store
    place: str
    is_alone: bool
    life: timedelta = LIFE

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it: shared, or alone. Raises StoreInUse, StoreUnavailable."""
        kind = _ALONE if self.is_alone else _SHARED
        key = f"{_FOLDER}/{kind}-{secrets.token_hex(8)}"
        self._renew(key)
        done = threading.Event()
        renewing = threading.Thread(target=self._keep, args=(key, done), name="store lock", daemon=True)
        try:
            self._require_free(key)
            renewing.start()
            yield
        finally:
            done.set()
            if renewing.is_alive():
                renewing.join()
            with s3_errors("unlock", self.place):
                obstore.delete(self.client, key)

    def _renew(self, key: str) -> None:
        owner = f"{socket.gethostname()}, process {os.getpid()}"
        with s3_errors("lock", self.place):
            obstore.put(self.client, key, owner.encode(), use_multipart=False)

    def _keep(self, key: str, done: threading.Event) -> None:
        """Renew the hold until it is given up. One that cannot be renewed now is renewed later."""
        while not done.wait(self.life.total_seconds() / 4):
            try:
                self._renew(key)
                self._require_free(key)
            except StoreInUse as error:
                _log.error("store.lock_lost", detail=error.detail)
                os.kill(os.getpid(), signal.SIGTERM)
            except StoreError as error:
                _log.warning("store.lock_not_renewed", detail=error.detail)

    def _require_free(self, key: str) -> None:
        """Raises StoreInUse when another hold excludes this one."""
        holds = self._holds()
        newest = max((hold["last_modified"] for hold in holds.values()), default=None)
        for name, hold in holds.items():
            excludes = self.is_alone or name.startswith(f"{_FOLDER}/{_ALONE}-")
            if name != key and excludes and newest is not None and hold["last_modified"] > newest - self.life:
                raise self._in_use(name)

    def _holds(self) -> "dict[str, ObjectMeta]":
        with s3_errors("lock", self.place):
            return {hold["path"]: hold for page in obstore.list(self.client, _FOLDER) for hold in page}

    def _in_use(self, name: str) -> StoreInUse:
        holder = "an offline command" if name.startswith(f"{_FOLDER}/{_ALONE}-") else "a service"
        seconds = int(self.life.total_seconds())
        return StoreInUse(
            f"the store {self.place} is in use by {holder} ({name})",
            remedy=f"stop {holder} that uses it; one that was killed lets go after {seconds} s",
        )
