"""Exporting and verifying what a real agent replicated."""

import os
from pathlib import Path

import httpx2
import pytest

from app.client import servers
from app.client.errors import ClientError
from app.client.replicas import VerificationFailed, export_disk, verify
from app.client.transport import Client
from app.contract.resources.checkpoint import VerifyProgress, VerifyResult
from app.store.errors import StoreError, VolumeError, VolumeExists
from tests.services.running import Running, Source, replicated

CONTENT = os.urandom(1 << 20) + bytes(2 << 20) + os.urandom(70_000)


@pytest.fixture
def source(running: Running, tmp_path: Path) -> Source:
    return replicated(running, tmp_path, CONTENT[: len(CONTENT) // 512 * 512])


def test_an_export_is_the_source(running: Running, source: Source, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    with running.client() as client:
        at = client.send(servers.checkpoint(source.server))
        output = tmp_path / "out.raw"
        root = export_disk(client, at, at.disks[0], output, progress=lambda *step: steps.append(step))
        assert root.hex() == at.disks[0].root
        assert output.read_bytes() == source.disk.read_bytes()
        assert output.stat().st_blocks * 512 < output.stat().st_size, "zeros are written as holes"
        assert steps[-1] == (at.disks[0].size_bytes, at.disks[0].size_bytes)
        with pytest.raises(VolumeExists):
            export_disk(client, at, at.disks[0], output)
        export_disk(client, at, at.disks[0], output, force=True)


def test_a_lost_pack_leaves_no_half_written_file(running: Running, source: Source, tmp_path: Path) -> None:
    for pack in (running.settings.store.path / "packs").rglob("*"):
        if pack.is_file():
            pack.unlink()
    output = tmp_path / "out.raw"
    with running.client() as client:
        at = client.send(servers.checkpoint(source.server))
        with pytest.raises((ClientError, StoreError, VolumeError)):
            export_disk(client, at, at.disks[0], output)
    assert not output.exists()
    assert {each.name for each in tmp_path.iterdir()} == {"service", "source.img", "agent"}


def test_verification_ends_with_a_result(running: Running, source: Source) -> None:
    with running.client() as client:
        *progress, result = verify(client, source.server)
    assert all(isinstance(event, VerifyProgress) for event in progress)
    assert isinstance(result, VerifyResult)
    assert result.agrees
    assert result.disks[0].stored_root == result.disks[0].checkpoint_root


def answering(lines: bytes) -> Client:
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(200, content=lines))
    return Client("http://service.test", transport=transport)


def test_a_failed_verification_is_an_error_with_the_services_code() -> None:
    line = b'{"event":"failed","code":"STORE_UNAVAILABLE","detail":"the store is away"}\n'
    with answering(line) as client, pytest.raises(VerificationFailed, match="the store is away") as failed:
        list(verify(client, "web-1"))
    assert failed.value.code == "STORE_UNAVAILABLE"


@pytest.mark.parametrize(
    "lines",
    [b"", b'{"event":"progress","checkedBytes":1,"totalBytes":2}\n', b"[]\n", b'{"event":"progress"'],
)
def test_a_verification_without_a_result_proves_nothing(lines: bytes) -> None:
    with answering(lines) as client, pytest.raises(ClientError):
        list(verify(client, "web-1"))
