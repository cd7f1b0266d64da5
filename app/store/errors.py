"""What can go wrong with the store and with volumes made from it.

Go2CloudError
├── StoreError                500  STORE_ERROR
│   ├── StoreFull             507  STORE_FULL            no room beyond the reserve (also ENOSPC, EDQUOT)
│   ├── StoreUnavailable      503  STORE_UNAVAILABLE     the storage below answers with an error
│   ├── StoreInUse            409  STORE_IN_USE          another process holds the store's lock
│   ├── StoreAhead            409  STORE_AHEAD           the store knows checkpoints that the database lacks
│   ├── ObjectMissing         500  OBJECT_MISSING        an object or a chunk that should exist does not
│   └── ObjectDamaged         500  OBJECT_DAMAGED        bytes are not what their name or format says
└── VolumeError               500  VOLUME_ERROR
    ├── VolumeExists          409  VOLUME_EXISTS         the output exists and overwriting was not asked for
    ├── VolumeBusy            409  VOLUME_BUSY           the output is mounted or being written by another
    ├── VolumeTooSmall        422  VOLUME_TOO_SMALL      the device is smaller than the disk
    ├── VolumeUnusable        422  VOLUME_UNUSABLE       the output is no file and no block device, or fails
    ├── ExportTruncated       502  EXPORT_TRUNCATED      the stream ends early or lacks a chunk
    ├── ExportDamaged         502  EXPORT_DAMAGED        a frame does not hash to what was asked for
    ├── DeltaImpossible       409  DELTA_IMPOSSIBLE      the two disks cannot be compared chunk by chunk
    └── VolumeDiffers         500  VOLUME_DIFFERS        the written volume's own root is another one
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from app.kit import errors as kit


class StoreError(kit.Go2CloudError):
    """Something about the store."""

    code = "STORE_ERROR"
    title = "Store error"


class StoreFull(StoreError, kit.StoreFull):
    """There is no room beyond the reserve of free space."""

    status = 507
    code = "STORE_FULL"
    title = "Store full"


class StoreUnavailable(StoreError):
    """The storage below answers with an error; the object that was being written counts as lost."""

    status = 503
    code = "STORE_UNAVAILABLE"
    title = "Store unavailable"


class StoreInUse(StoreError):
    """Another process holds the store's lock."""

    status = 409
    code = "STORE_IN_USE"
    title = "Store in use"


class StoreAhead(StoreError):
    """The store holds confirmed checkpoints that the database does not know."""

    status = 409
    code = "STORE_AHEAD"
    title = "Store is ahead of the database"


class ObjectMissing(StoreError):
    """An object or a chunk that should exist does not."""

    code = "OBJECT_MISSING"
    title = "Object missing"


class ObjectDamaged(StoreError):
    """Stored bytes are not what their name or their format says."""

    code = "OBJECT_DAMAGED"
    title = "Object damaged"


class VolumeError(kit.Go2CloudError):
    """Something about a volume that is written or compared."""

    code = "VOLUME_ERROR"
    title = "Volume error"


class VolumeExists(VolumeError):
    """The output exists and overwriting it was not asked for."""

    status = 409
    code = "VOLUME_EXISTS"
    title = "Output exists"


class VolumeBusy(VolumeError):
    """The output is mounted or being written by somebody else."""

    status = 409
    code = "VOLUME_BUSY"
    title = "Output in use"


class VolumeTooSmall(VolumeError):
    """The device is smaller than the disk."""

    status = 422
    code = "VOLUME_TOO_SMALL"
    title = "Output too small"


class VolumeUnusable(VolumeError):
    """The output is neither a file nor a block device, or cannot be read or written."""

    status = 422
    code = "VOLUME_UNUSABLE"
    title = "Output unusable"


class ExportTruncated(VolumeError):
    """The export stream ends early or lacks a chunk that it owes."""

    status = 502
    code = "EXPORT_TRUNCATED"
    title = "Export cut off"


class ExportDamaged(VolumeError):
    """A frame of the export stream does not hash to what was asked for, or stands in the wrong place."""

    status = 502
    code = "EXPORT_DAMAGED"
    title = "Export damaged"


class DeltaImpossible(VolumeError):
    """The two disks cannot be compared chunk by chunk."""

    status = 409
    code = "DELTA_IMPOSSIBLE"
    title = "No delta"


class VolumeDiffers(VolumeError):
    """The root recomputed from the written volume's own bytes is another one."""

    code = "VOLUME_DIFFERS"
    title = "Volume differs"


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def storage_errors(action: str, name: str) -> Iterator[None]:
    """Translate the operating system's errors of `action` on the object `name` into StoreErrors."""
    try:
        yield
    except OSError as error:
        raise translated(error, action, name) from error


def translated(error: OSError, action: str, name: str) -> StoreError:
    """The StoreError that says what `error` means for `action` on the object `name`."""
    if error.errno in _NO_ROOM:
        return StoreFull(
            f"{action} {name}: {error.strerror}",
            remedy="free space in the store's filesystem, or raise its size or quota",
        )
    if isinstance(error, FileNotFoundError):
        return ObjectMissing(f"{action} {name}: there is no such object", object=name)
    return StoreUnavailable(
        f"{action} {name}: {error.strerror or error}",
        remedy="look at the storage under the store: its mount, permissions and kernel log",
    )
