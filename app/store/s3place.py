"""A bucket that speaks S3: how it is reached, and what its errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.exceptions import BaseError
from obstore.store import S3Store

from app.store.errors import ObjectMissing, StoreError, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

_CLIENT: Final["ClientConfig"] = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
_RETRIES: Final["RetryConfig"] = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_FULL: Final = frozenset({"QuotaExceeded", "InsufficientStorage"})
_KEYS: Final = "correct the keys, and give them the right to list, read, write and delete in the bucket"
_REMEDIES: Final = {
    "AccessDenied": _KEYS,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "403": _KEYS,
    "NoSuchBucket": "make the bucket, or correct STORE.S3_BUCKET and STORE.S3_ENDPOINT",
}
"""By the error code of S3, or by the HTTP status of an answer without a body."""

_REMEDY: Final = "look at the object storage: its endpoint, its health and its log"


@dataclass(frozen=True)
class S3Place:
    """A bucket, the prefix of our keys in it, and how it is reached.

    Without keys the environment's own are taken (AWS_… variables, a web identity, the instance's role).
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = None

    def __str__(self) -> str:
        """The address of the place, without keys."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def connect(self) -> S3Store:
        """A client of this bucket; sends nothing yet. Raises StoreUnavailable for an impossible address."""
        config: S3Config = {"region": self.region}
        if self.access_key is not None:
            config |= {"access_key_id": self.access_key, "secret_access_key": self.secret_key or ""}
        if self.endpoint is not None:
            config["endpoint"] = self.endpoint
        client: ClientConfig = _CLIENT | {"allow_http": (self.endpoint or "").startswith("http://")}
        with s3_errors("open", str(self)):
            return S3Store(
                self.bucket,
                prefix=self.prefix or None,
                config=config,
                client_options=client,
                retry_config=_RETRIES,
            )


@contextmanager
def s3_errors(action: str, name: str, missing: str | None = None) -> Iterator[None]:
    """Translate the client's errors; a key that is not there is ObjectMissing where one was asked for."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:  # the latter is how obstore tells a missing key
        raise _translated(error, f"{action} {name}", missing) from error


def _translated(error: Exception, doing: str, missing: str | None) -> StoreError:
    text = str(error)
    code = _found(_CODE, text)
    if isinstance(error, FileNotFoundError) and missing is not None and code != "NoSuchBucket":
        return ObjectMissing(f"{doing}: there is no such object", object=missing)
    if code in _FULL:
        return StoreFull(f"{doing}: the bucket is full", remedy="raise the quota of the bucket or its user")
    status = _found(_STATUS, text)
    said = f"{code or 'an error'} (HTTP {status})" if status else text.strip().partition("\n")[0][:300]
    return StoreUnavailable(f"{doing}: {said}", remedy=_REMEDIES.get(code or status, _REMEDY))


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
