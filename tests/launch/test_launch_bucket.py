"""Images in a bucket of a real object gateway: proved, whole or not shown, gone when they are to go."""

import asyncio
import hashlib
import http.server
import json
import multiprocessing
import random
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.words import BootFailure, FindingSeverity, ImageFormat
from app.launch.boot.checks import CheckPlan, ImagesCheck
from app.launch.bucket.client import PIECE, Body, BucketClient, FilePart, Upload
from app.launch.bucket.uploading import Uploading, digest_of
from app.launch.errors import BucketFull, BucketRefused, UploadDiffers
from app.launch.image.driver import ImageTarget
from app.launch.machine import LaunchOrder, MachineSpec, Volume
from app.launch.target import TargetFinding
from app.store.s3place import S3Place
from tests.launch.buckets import PART, Bucket, bucket_of, publish, with_settings
from tests.launch.cutting import Cutter
from tests.launch.mortal import Killed, Mortal
from tests.launch.replica import Replica
from tests.services.ceph_cluster import Ceph
from tests.services.processes import free_port

pytestmark = [pytest.mark.service, pytest.mark.slow]

MIB = 1 << 20
CHECK = CheckPlan((ImagesCheck(),))


@pytest.fixture
def place(bucket: S3Place, tmp_path: Path) -> Bucket:
    return bucket_of(bucket, tmp_path)


@pytest.fixture
def content() -> bytes:
    """Three parts, the last one a short one."""
    return random.Random(5).randbytes(2 * PART + MIB)


def order_of(volume: Volume) -> LaunchOrder:
    return LaunchOrder("web-1-17", MachineSpec(), (volume,))


async def launched(place: Bucket, replica: Replica, content: bytes) -> tuple[ImageTarget, LaunchOrder]:
    target = place.target()
    order = order_of(await replica.volume(target, content))
    await target.launch(order)
    return target, order


async def test_an_image_of_many_parts_is_the_disk_with_sums_and_a_manifest(
    place: Bucket, replica: Replica, content: bytes
) -> None:
    target, order = await launched(place, replica, content)
    names = ["SHA256SUMS", "dsk-1.raw", "manifest.json"]
    assert place.names() == [f"web-1-17/{name}" for name in names]
    assert place.read("web-1-17/dsk-1.raw") == content
    digest = hashlib.sha256(content).hexdigest()
    assert place.read("web-1-17/SHA256SUMS").decode() == f"{digest}  dsk-1.raw\n"
    (image,) = json.loads(place.read("web-1-17/manifest.json"))["images"]
    assert (image["sha256"], image["fileSize"], image["root"]) == (
        digest,
        len(content),
        order.volumes[0].root,
    )
    found = await target.find("web-1-17")
    assert found is not None
    assert found.place == f"s3://{place.settings.bucket}/{place.settings.prefix}/web-1-17"
    assert [file.name for file in found.files] == ["dsk-1.raw"]
    assert place.uploads() == []
    assert not list((place.work / "images").iterdir())


async def test_an_image_that_was_changed_or_lost_in_the_bucket_fails_by_name(
    place: Bucket, replica: Replica, content: bytes, tmp_path: Path
) -> None:
    target, _ = await launched(place, replica, content)
    place.write("web-1-17/dsk-1.raw", content[:-1] + b"!")
    proof = await target.check("web-1-17", CHECK, tmp_path / "evidence")
    assert (proof.passed, proof.reason) == (False, BootFailure.IMAGE_DIFFERS)
    assert "dsk-1.raw" in proof.detail
    with BucketClient(place.settings) as client:
        client.delete(place.settings.key("web-1-17/dsk-1.raw"))
    assert not (await target.check("web-1-17", CHECK, tmp_path / "evidence")).passed


async def test_a_process_killed_while_it_sends_leaves_nothing_that_looks_whole_and_all_of_it_goes(
    place: Bucket, replica: Replica
) -> None:
    target = place.target(*ImageFormat)
    order = order_of(await replica.volume(target, random.Random(6).randbytes(4 * PART)))
    process = multiprocessing.get_context("spawn").Process(target=publish, args=(target, order))
    process.start()
    deadline = time.monotonic() + 120
    while not place.uploads():
        assert time.monotonic() < deadline, "nothing is ever sent"
        await asyncio.sleep(0.02)
    process.kill()
    process.join()
    assert await target.find("web-1-17") is None
    assert "web-1-17/manifest.json" not in place.names()
    assert await target.terminate("web-1-17")
    assert (place.names(), place.uploads()) == ([], [])
    assert not await target.terminate("web-1-17")
    assert len((await target.launch(order)).files) == len(ImageFormat)


async def test_a_launch_that_is_cancelled_sends_no_further_part_and_leaves_no_upload(
    place: Bucket, replica: Replica, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, goes_on = threading.Event(), threading.Event()
    send_part = BucketClient.send_part

    def sending(
        client: BucketClient, upload: Upload, number: int, part: Body, headers: Mapping[str, str]
    ) -> str:
        assert number == 1
        tag = send_part(client, upload, number, part, headers)
        sent.set()
        assert goes_on.wait(60)
        client.head(upload.key)
        return tag

    monkeypatch.setattr(BucketClient, "send_part", sending)
    target = place.target()
    order = order_of(await replica.volume(target, content))
    launch = asyncio.create_task(target.launch(order))
    await asyncio.to_thread(sent.wait, 60)
    launch.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert (place.names(), place.uploads()) == ([], [])


EFFECTS = ("put", "delete", "begin", "send_part", "complete", "abort")


@pytest.mark.parametrize("is_undone", [True, False], ids=["undone", "repeated"])
async def test_killed_at_any_request_the_next_call_goes_on_or_removes_all(
    place: Bucket, replica: Replica, is_undone: bool
) -> None:
    target = place.target()
    content = random.Random(7).randbytes(PART + MIB)
    order = order_of(await replica.volume(target, content))
    for last in range(100):
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(last)
            for name in EFFECTS:
                mortal.watch(patch, BucketClient, name)
            if not await is_killed(target, order):
                assert last > 10
                return
        if await target.find("web-1-17") is None:
            assert "web-1-17/manifest.json" not in place.names()
        if not is_undone:
            await target.launch(order)
            assert place.read("web-1-17/dsk-1.raw") == content
        await target.terminate("web-1-17")
        assert (place.names(), place.uploads()) == ([], [])
    raise AssertionError("it is killed for ever")


async def is_killed(target: ImageTarget, order: LaunchOrder) -> bool:
    try:
        await target.launch(order)
    except Killed:
        return True
    return False


async def test_bytes_that_the_bucket_has_otherwise_are_seen_before_a_manifest_is_written(
    place: Bucket, replica: Replica, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = BucketClient.complete

    def completed(client: BucketClient, upload: Upload, parts: bytes) -> None:
        complete(client, upload, parts)
        place.write("web-1-17/dsk-1.raw", b"!" + content[1:])

    monkeypatch.setattr(BucketClient, "complete", completed)
    target = place.target()
    order = order_of(await replica.volume(target, content))
    with pytest.raises(UploadDiffers, match="read back"):
        await target.launch(order)
    assert await target.find("web-1-17") is None
    assert place.names() == ["web-1-17/dsk-1.raw"]
    assert await target.terminate("web-1-17")
    assert place.names() == []


def test_a_part_that_changes_on_its_way_is_refused_by_the_bucket(place: Bucket, tmp_path: Path) -> None:
    file = tmp_path / "image.raw"
    file.write_bytes(b"other")
    with BucketClient(place.settings) as client:
        upload = client.begin(place.settings.key("x"), {})
        part = FilePart(file, 0, 5, hashlib.sha256(b"bytes").digest())
        with pytest.raises(BucketRefused, match="XAmzContentSHA256Mismatch"):
            client.send_part(upload, 1, part, {})


def test_a_file_that_changes_while_it_is_sent_is_no_image(place: Bucket, tmp_path: Path) -> None:
    file = tmp_path / "image.raw"
    file.write_bytes(b"after")
    before = hashlib.sha256(b"before").hexdigest()
    with (
        BucketClient(place.settings) as client,
        pytest.raises(UploadDiffers, match="changed while it was sent"),
    ):
        Uploading(client, file, place.settings.key("x"), before).run()
    assert (place.names(), place.uploads()) == ([], [])


def test_an_upload_that_was_completed_and_not_answered_counts_by_what_the_bucket_has(
    place: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = BucketClient.complete

    def twice(client: BucketClient, upload: Upload, parts: bytes) -> None:
        complete(client, upload, parts)
        complete(client, upload, parts)

    monkeypatch.setattr(BucketClient, "complete", twice)
    file = tmp_path / "image.raw"
    file.write_bytes(b"image")
    with BucketClient(place.settings) as client:
        Uploading(client, file, place.settings.key("x"), hashlib.sha256(b"image").hexdigest()).run()
    assert place.read("x") == b"image"


def test_sending_and_reading_back_take_a_few_pieces_of_memory_whatever_the_part(
    place: Bucket, tmp_path: Path
) -> None:
    file = tmp_path / "image.raw"
    file.write_bytes(random.Random(8).randbytes(48 * MIB))
    settings = replace(place.settings, part_bytes=32 * MIB)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with BucketClient(settings) as client:
        tracemalloc.start()
        Uploading(client, file, settings.key("x"), digest).run()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 8 * PIECE


def test_connections_that_break_are_taken_up_where_they_broke(place: Bucket, tmp_path: Path) -> None:
    content = random.Random(9).randbytes(2 * PART + 1)
    file = tmp_path / "image.raw"
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with Cutter.before(place.settings.url, every=3 * MIB, times=4) as cutter:
        settings = replace(place.settings, endpoint=cutter.url)
        with BucketClient(settings) as client:
            Uploading(client, file, settings.key("x"), digest).run()
            assert digest_of(client, settings.key("x")) == digest
        assert cutter.cuts == 4
    assert place.read("x") == content


def test_lists_of_many_pages_are_read_to_their_end(place: Bucket) -> None:
    with BucketClient(place.settings) as client:
        keys = [place.settings.key(f"many/{number}") for number in range(5)]
        for key in keys:
            client.put(key, b"x")
            client.begin(key, {})
        start = place.settings.key("many/")
        assert list(client.keys(start, page=2)) == keys
        assert [upload.key for upload in client.uploads(start, page=2)] == keys


async def blocker(place: Bucket) -> TargetFinding:
    (found,) = await place.target().validate()
    assert found.severity is FindingSeverity.BLOCKER
    return found


@pytest.mark.parametrize(
    ("changes", "code", "text", "remedy"),
    [
        ({"bucket": "nobody-made-it"}, "BUCKET_REFUSED", "NoSuchBucket", "settings bucket and endpoint"),
        ({"credentials": "other"}, "TARGET_SETTINGS_WRONG", "no section [other]", "setting credentials"),
        ({"credentials_file": None}, "TARGET_SETTINGS_WRONG", "LAUNCH.S3_CREDENTIALS", "[ceph]"),
        (
            {"credentials_file": Path("/nonexistent/keys")},
            "TARGET_SETTINGS_WRONG",
            "/nonexistent/keys cannot be read",
            "put it there",
        ),
    ],
)
async def test_settings_that_cannot_work_are_told_with_the_remedy(
    place: Bucket, changes: dict[str, object], code: str, text: str, remedy: str
) -> None:
    found = await blocker(with_settings(place, **changes))
    assert found.code == code
    assert text in found.text
    assert remedy in (found.remedy or "")


@pytest.mark.parametrize(("access", "secret"), [("", "wrong-secret"), ("NOBODY", "wrong-secret")])
async def test_keys_that_are_refused_are_told_and_not_cited(
    place: Bucket, access: str, secret: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong"
    access = access or place.store.access_key or ""
    file.write_text(f"[ceph]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    found = await blocker(with_settings(place, credentials_file=file))
    assert found.code == "BUCKET_REFUSED"
    assert "correct the keys in LAUNCH.S3_CREDENTIALS" in (found.remedy or "")
    assert "wrong-secret" not in f"{found}"


async def test_an_endpoint_where_nobody_listens_is_told(place: Bucket) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    found = await blocker(with_settings(place, endpoint=endpoint))
    assert found.code == "BUCKET_UNREACHABLE"
    assert place.settings.bucket in found.text
    assert "setting endpoint" in (found.remedy or "")


async def test_an_endpoint_that_speaks_no_tls_is_told(place: Bucket) -> None:
    endpoint = place.settings.url.replace("http://", "https://")
    found = await blocker(with_settings(place, endpoint=endpoint))
    assert found.code == "BUCKET_UNREACHABLE"
    assert "SSL" in found.text


async def test_an_endpoint_that_speaks_no_s3_is_told(place: Bucket, web_page: str) -> None:
    found = await blocker(with_settings(place, endpoint=web_page))
    assert found.code == "BUCKET_REFUSED"
    assert "does not lead to a service that speaks S3" in (found.remedy or "")


@pytest.fixture
def web_page() -> Iterator[str]:
    """A web server that shows a page wherever one looks."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><p>It works!<br>")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_looking_leaves_nothing(place: Bucket) -> None:
    (found,) = await place.target().validate()
    assert found.severity is FindingSeverity.OK
    assert str(place.settings) in found.text
    assert (place.names(), place.uploads()) == ([], [])


def test_a_quota_that_is_used_up_is_a_full_bucket(ceph: Ceph, tmp_path: Path) -> None:
    shared = ceph.place()
    place = bucket_of(shared, tmp_path)
    quota = ("--quota-scope=bucket", f"--bucket={shared.bucket}")
    ceph.run("radosgw-admin", "quota", "set", *quota, "--max-objects=1")
    ceph.run("radosgw-admin", "quota", "enable", *quota)
    with BucketClient(place.settings) as client, pytest.raises(BucketFull, match="the bucket is full"):
        put_many(client, place.settings.key("x"))


def put_many(client: BucketClient, start: str) -> None:
    """More than the quota: the gateway counts with a delay."""
    for number in range(50):
        client.put(f"{start}{number}", b"x" * 5000)
