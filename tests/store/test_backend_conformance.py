"""What every backend promises. Another backend joins by one more parameter of the fixture."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.store.backend import Backend
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.folder import FolderBackend
from app.store.s3 import S3Backend
from app.store.s3place import S3Place


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.service)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """An empty store of each kind; those in a bucket are apart by their prefix."""
    if request.param == "folder":
        folder = FolderBackend(tmp_path / "store")
        yield folder
        folder.close()
        return
    bucket: S3Place = request.getfixturevalue("bucket")
    yield S3Backend(replace(bucket, prefix=f"stores/{uuid4().hex}"))


def names(backend: Backend, prefix: str) -> set[str]:
    return {info.name for info in backend.list(prefix)}


def test_what_is_put_is_read_back_as_one_object(backend: Backend) -> None:
    backend.put("packs/aa/one", [b"first", memoryview(b"second"), bytearray(b""), b"third"])
    assert backend.get("packs/aa/one") == b"firstsecondthird"


def test_an_empty_object_is_an_object(backend: Backend) -> None:
    backend.put("packs/aa/none", [])
    assert backend.get("packs/aa/none") == b""
    assert names(backend, "packs/") == {"packs/aa/none"}


def test_more_buffers_than_the_kernel_takes_at_once_arrive_in_order(backend: Backend) -> None:
    parts = [bytes([number % 256]) * 3 for number in range(3000)]
    backend.put("packs/aa/many", parts)
    assert backend.get("packs/aa/many") == b"".join(parts)


@given(data=st.binary(max_size=300), offset=st.integers(0, 320), length=st.integers(0, 320))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_ranged_get_is_exact_or_refused(backend: Backend, data: bytes, offset: int, length: int) -> None:
    backend.put("ranged", [data])
    if offset + length > len(data):
        with pytest.raises(ObjectDamaged, match="ranged"):
            backend.get("ranged", offset, length)
    else:
        assert backend.get("ranged", offset, length) == data[offset : offset + length]


def test_ranges_come_in_their_order(backend: Backend) -> None:
    data = bytes(range(256)) * 40
    backend.put("packs/aa/x", [data])
    ranges = [(0, 1), (7, 300), (200, 10), (9000, 1240), (5000, 1)]
    assert list(backend.get_ranges("packs/aa/x", ranges)) == [data[at : at + size] for at, size in ranges]


def test_a_range_behind_the_end_is_refused_when_those_before_it_were_given(backend: Backend) -> None:
    backend.put("packs/aa/x", [b"0123456789"])
    found = backend.get_ranges("packs/aa/x", [(0, 4), (8, 3), (1, 1)])
    assert next(found) == b"0123"
    with pytest.raises(ObjectDamaged, match="packs/aa/x"):
        next(found)


def test_ranges_of_a_missing_object_are_refused(backend: Backend) -> None:
    with pytest.raises(ObjectMissing, match="packs/aa/nothing"):
        next(backend.get_ranges("packs/aa/nothing", [(0, 4)]))


def test_a_missing_object_is_named(backend: Backend) -> None:
    for call in (backend.get, backend.info):
        with pytest.raises(ObjectMissing, match="packs/aa/nothing"):
            call("packs/aa/nothing")


def test_put_again_replaces_so_that_damage_heals(backend: Backend) -> None:
    backend.put("leaves/aa/x", [b"damaged"])
    backend.put("leaves/aa/x", [b"whole"])
    assert backend.get("leaves/aa/x") == b"whole"
    assert names(backend, "") == {"leaves/aa/x"}


def test_info_states_size_and_time(backend: Backend) -> None:
    backend.put("roots/aa/x", [b"12345"])
    info = backend.info("roots/aa/x")
    assert (info.name, info.size) == ("roots/aa/x", 5)
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=1)


def test_list_finds_by_any_prefix(backend: Backend) -> None:
    for name in ("packs/aa/aa1", "packs/aa/aa2", "packs/ab/ab1", "leaves/aa/aa1"):
        backend.put(name, [b"x"])
    assert names(backend, "packs/") == {"packs/aa/aa1", "packs/aa/aa2", "packs/ab/ab1"}
    assert names(backend, "packs/aa/") == {"packs/aa/aa1", "packs/aa/aa2"}
    assert names(backend, "packs/aa/aa1") == {"packs/aa/aa1"}
    assert names(backend, "packs/a") == {"packs/aa/aa1", "packs/aa/aa2", "packs/ab/ab1"}
    assert names(backend, "images/") == set()
    assert len(names(backend, "")) == 4


def test_delete_is_repeatable(backend: Backend) -> None:
    backend.put("packs/aa/x", [b"x"])
    backend.delete("packs/aa/x")
    backend.delete("packs/aa/x")
    assert names(backend, "") == set()


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "packs/../../x", "packs//x", ".lock", "packs/.x", "a\0b"]
)
def test_a_name_that_leaves_the_store_is_refused(backend: Backend, name: str) -> None:
    with pytest.raises(ValueError, match="is not an object's name"):
        backend.put(name, [b"x"])


def test_many_threads_put_and_read_at_once(backend: Backend) -> None:
    def one(number: int) -> bytes:
        backend.put(f"packs/{number % 7:02x}/{number}", [str(number).encode() * 1000])
        return backend.get(f"packs/{number % 7:02x}/{number}")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(64))) == [str(number).encode() * 1000 for number in range(64)]
    assert len(names(backend, "packs/")) == 64


def test_threads_that_put_the_same_name_leave_one_whole_object(backend: Backend) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: backend.put("leaves/aa/same", [b"x" * 10_000]), range(32)))
    assert backend.get("leaves/aa/same") == b"x" * 10_000
    assert names(backend, "") == {"leaves/aa/same"}


def test_usage_states_room(backend: Backend) -> None:
    usage = backend.usage()
    assert 0 <= usage.free <= usage.total
