"""A store in a bucket: what its errors say, and its lock."""

import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import FrameType
from uuid import uuid4

import obstore
import pytest
from pydantic import SecretStr

from app.kit.settings import StoreSettings
from app.store.errors import StoreFull, StoreInUse, StoreUnavailable
from app.store.opening import open_backend
from app.store.s3 import S3Backend
from app.store.s3lock import S3Lock
from app.store.s3place import S3Place
from tests.services.ceph_cluster import Ceph
from tests.services.processes import free_port

pytestmark = pytest.mark.service
LIFE = timedelta(seconds=2)


@pytest.fixture
def place(bucket: S3Place) -> S3Place:
    """A prefix of this test alone."""
    return replace(bucket, prefix=f"stores/{uuid4().hex}")


@pytest.fixture
def terminations() -> Iterator[threading.Event]:
    """Set when this process is asked to end, which it does not do."""
    asked = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = signal.signal(signal.SIGTERM, note)
    yield asked
    signal.signal(signal.SIGTERM, before)


def test_the_settings_name_a_bucket(place: S3Place) -> None:
    settings = StoreSettings.model_validate(
        {
            "path": "/nonexistent",
            "s3_bucket": place.bucket,
            "s3_prefix": place.prefix,
            "s3_endpoint": place.endpoint,
            "s3_access_key": place.access_key,
            "s3_secret_key": SecretStr(place.secret_key or ""),
        }
    )
    backend = open_backend(settings)
    backend.put("packs/aa/x", [b"x"])
    assert S3Backend(place).get("packs/aa/x") == b"x"


@pytest.mark.parametrize("change", [{"secret_key": "wrong"}, {"access_key": "NOBODY"}])
def test_keys_that_are_refused_are_told(place: S3Place, change: dict[str, str]) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        S3Backend(replace(place, **change))
    assert "right to list, read, write" in (refused.value.remedy or "")
    assert "wrong" not in refused.value.detail


def test_a_bucket_that_is_not_there_is_told(place: S3Place) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        S3Backend(replace(place, bucket="nobody-made-it"))
    assert "STORE.S3_BUCKET" in (refused.value.remedy or "")


def test_an_endpoint_that_nobody_listens_on_is_told(place: S3Place) -> None:
    with pytest.raises(StoreUnavailable, match=place.bucket):
        S3Backend(replace(place, endpoint=f"http://127.0.0.1:{free_port()}"))


def test_a_quota_that_is_used_up_is_a_full_store(ceph: Ceph) -> None:
    place = ceph.place()
    backend = S3Backend(place)
    quota = ("--quota-scope=bucket", f"--bucket={place.bucket}")
    ceph.run("radosgw-admin", "quota", "set", *quota, "--max-objects=1")
    ceph.run("radosgw-admin", "quota", "enable", *quota)
    backend.put("packs/aa/one", [b"x"])
    with pytest.raises(StoreFull, match="the bucket is full"):
        _put_many(backend)


def _put_many(backend: S3Backend) -> None:
    """More than the quota: the gateway counts with a delay."""
    for number in range(50):
        backend.put(f"packs/aa/{number}", [b"x" * 5000])


def test_a_connection_that_breaks_in_the_middle_is_no_short_object(place: S3Place) -> None:
    """Something that takes a request and hangs up is tried again, then told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        stopped = threading.Event()

        def hang_up() -> None:
            while not stopped.is_set():
                connection, _ = listener.accept()
                connection.recv(100)
                connection.close()

        hanging = threading.Thread(target=hang_up, daemon=True)
        hanging.start()
        with pytest.raises(StoreUnavailable):
            S3Backend(replace(place, endpoint=f"http://127.0.0.1:{port}"))
        stopped.set()
        socket.create_connection(("127.0.0.1", port)).close()
        hanging.join()


def test_services_share_and_an_offline_command_waits_for_them(place: S3Place) -> None:
    one, two = S3Backend(place), S3Backend(place)
    with one.lock(), two.lock(), pytest.raises(StoreInUse, match="in use by a service"):
        S3Backend(place).lock(exclusive=True).__enter__()
    with one.lock(exclusive=True):
        with pytest.raises(StoreInUse, match="in use by an offline command"):
            two.lock().__enter__()
        with pytest.raises(StoreInUse, match="in use by an offline command"):
            two.lock(exclusive=True).__enter__()
    with two.lock():
        assert [info.name for info in two.list("")] == []


def test_who_died_lets_go_and_who_lives_does_not(place: S3Place) -> None:
    client = place.connect()
    obstore.put(client, ".locks/shared-of-the-dead", b"killed", use_multipart=False)
    waited = threading.Event()
    with S3Lock(client, str(place), is_alone=False, life=LIFE).held():
        waited.wait(2 * LIFE.total_seconds())
        with pytest.raises(StoreInUse) as refused, S3Lock(client, "", is_alone=True, life=LIFE).held():
            pass
        assert "of-the-dead" not in refused.value.detail
    with S3Lock(client, str(place), is_alone=True, life=LIFE).held():
        pass


def test_a_service_that_finds_an_offline_command_at_work_ends(
    place: S3Place, terminations: threading.Event
) -> None:
    client = place.connect()
    with S3Lock(client, str(place), is_alone=False, life=LIFE).held():
        obstore.put(client, ".locks/alone-meanwhile", b"a command", use_multipart=False)
        assert terminations.wait(20)
