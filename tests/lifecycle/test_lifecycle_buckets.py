"""A bucket at work as a target: a checkpoint is published there, or nothing is left of it."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.paging import EVERYTHING
from app.contract.resources.target import PublishOrder
from app.contract.words import BootFailure, WorkState
from app.launch.bucket.client import Body, BucketClient, Upload
from app.launch.image.bucket import BucketPublication
from app.launch.image.manifest import Manifest
from app.migration.publish.orders import order_publishing
from app.store.s3place import S3Place
from tests.launch.buckets import Bucket, bucket_of
from tests.lifecycle.conftest import Rig
from tests.lifecycle.test_lifecycle_targets import FIRST, SECOND, created, disk_of, events, published

pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture
def place(bucket: S3Place, tmp_path: Path) -> Bucket:
    """A prefix of the bucket, with its keys where the settings of the services name them."""
    return bucket_of(bucket, tmp_path)


async def target(rig: Rig, place: Bucket) -> None:
    at = place.settings
    await created(
        *(rig, "images", "image"),
        bucket=at.bucket,
        endpoint=at.endpoint,
        prefix=at.prefix,
        credentials="ceph",
    )


async def test_a_checkpoint_is_published_in_a_bucket_and_no_volume_stays(rig: Rig, place: Bucket) -> None:
    await target(rig, place)
    agent = await rig.server(FIRST)
    await agent.replicate({"disk-a": SECOND})
    rig.work()
    job = await published(rig, agent.server, WorkState.SUCCEEDED, checkpoint="1", formats=["raw", "vmdk"])
    disk = await disk_of(rig, agent.server)
    assert isinstance(job.result, dict)
    folder = str(job.result["folder"])
    assert folder.startswith(f"{place.settings}/web-1-1-")
    name = folder.rpartition("/")[2]
    files = ["SHA256SUMS", f"{disk}.raw", f"{disk}.vmdk", "manifest.json"]
    assert place.names() == [f"{name}/{file}" for file in files]
    assert place.read(f"{name}/{disk}.raw") == FIRST
    assert json.loads(place.read(f"{name}/manifest.json"))["instance"] == name
    assert not list(rig.machines.rglob("*.raw"))


async def test_images_that_fail_their_second_look_go_from_the_bucket(
    rig: Rig, place: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = BucketPublication.finish

    def finished(publication: BucketPublication, manifest: Manifest) -> None:
        finish(publication, manifest)
        place.write(f"{manifest.instance}/{manifest.images[0].file}", b"rot")

    monkeypatch.setattr(BucketPublication, "finish", finished)
    await target(rig, place)
    agent = await rig.server(FIRST)
    rig.work()
    job = await published(rig, agent.server, WorkState.FAILED)
    assert job.code == BootFailure.IMAGE_DIFFERS
    assert (place.names(), place.uploads()) == ([], [])
    assert not list(rig.machines.rglob("*.raw"))


async def test_a_job_that_is_cancelled_while_it_sends_leaves_nothing(
    rig: Rig, place: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, send_part = threading.Event(), BucketClient.send_part

    def endless(
        client: BucketClient, upload: Upload, number: int, part: Body, said: Mapping[str, str]
    ) -> str:
        while True:
            send_part(client, upload, number, part, said)
            sent.set()

    monkeypatch.setattr(BucketClient, "send_part", endless)
    await target(rig, place)
    agent = await rig.server(FIRST)
    rig.work()
    async with rig.services.database.begin() as uow:
        order = PublishOrder(target="images")
        job = await order_publishing(rig.services, uow, EVERYTHING, agent.server, order, "ann")
    assert await asyncio.to_thread(sent.wait, 120)
    await rig.engine.cancel(job)
    await rig.engine.ended(job, WorkState.CANCELLED)
    assert (place.names(), place.uploads()) == ([], [])
    assert not list(rig.machines.rglob("*.raw"))


async def test_a_bucket_that_is_not_there_fails_the_job_with_the_remedy(rig: Rig, place: Bucket) -> None:
    await target(rig, replace(place, settings=replace(place.settings, bucket="nobody-made-it")))
    agent = await rig.server(FIRST)
    rig.work()
    job = await published(rig, agent.server, WorkState.FAILED)
    assert job.code == "TARGET_NOT_READY"
    assert "NoSuchBucket" in (job.detail or "")
    assert "make the bucket" in (job.remedy or "")
    said = await events(rig, job.id)
    assert str(place.store.secret_key) not in f"{said}{job.detail}{job.input}"
