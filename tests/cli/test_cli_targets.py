"""`go2cloud target …`, `server publish` and `server follow`, against a service that runs the jobs."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.services.running import Running, Source, replicated

CONTENT = random.Random(7).randbytes(300_032)


@pytest.fixture
def source(running: Running, tmp_path: Path) -> Source:
    return replicated(running, tmp_path, CONTENT)


def test_targets_are_made_changed_looked_at_and_deleted(
    go2cloud: CommandLine, running: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    go2cloud("target", "create", "images", "--kind", "image", "--set", f"folder={folder}")
    assert go2cloud("target", "list", "-o", "name") == "qemu\nimages\n"
    formats = '--set=formats=["raw", "vhdx"]'
    found = json.loads(go2cloud("target", "update", "images", formats, "-o", "json"))
    assert found["settings"] == {"folder": str(folder), "formats": ["raw", "vhdx"]}
    assert "IMAGES_POSSIBLE: images are written as raw, vhdx" in go2cloud("target", "validate", "images")
    go2cloud("target", "delete", "images", code=2)
    assert go2cloud("target", "delete", "images", "--yes") == "images\n"
    go2cloud("target", "show", "images", code=3)
    go2cloud("target", "create", "broken", "--kind", "image", "--set", "folder=here", code=1)
    assert "folder" in go2cloud.notes


def test_a_target_that_cannot_work_is_told_of_by_its_exit_code(go2cloud: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    go2cloud("target", "create", "images", "--kind", "image", "--set", f"folder={tmp_path}/file/x")
    assert "FOLDER_UNUSABLE" in go2cloud("target", "validate", "images", code=1)


def test_a_bucket_without_keys_on_the_node_is_told_of_with_the_remedy(go2cloud: CommandLine) -> None:
    settings = ("--set", "bucket=images", "--set", "endpoint=http://127.0.0.1:9", "--set", "prefix=web")
    go2cloud("target", "create", "s3", "--kind", "image", *settings)
    told = go2cloud("target", "validate", "s3", code=1)
    assert "TARGET_SETTINGS_WRONG: LAUNCH.S3_CREDENTIALS names no file" in told
    assert "a section [default]" in told
    go2cloud("target", "create", "both", "--kind", "image", *settings, "--set", "folder=/srv/x", code=1)
    assert "name a folder or a bucket" in go2cloud.notes


@pytest.mark.slow
def test_a_server_is_published_and_followed(go2cloud: CommandLine, source: Source, tmp_path: Path) -> None:
    server, device = source.server, tmp_path / "device.raw"
    go2cloud("target", "create", "images", "--kind", "image", "--set", f"folder={tmp_path}/images")
    job = json.loads(
        go2cloud(
            *("server", "publish", server, "--target", "images", "--format", "raw", "--watch", "-o", "json")
        )
    )
    (name,) = job["result"]["files"]
    assert (Path(job["result"]["folder"]) / name).read_bytes() == CONTENT
    disk = name.removesuffix(".raw")
    node = json.loads(go2cloud("job", "show", job["id"], "-o", "json"))["node"]
    go2cloud(
        *("target", "create", "copies", "--kind", "device", "--set", f"node={node}"),
        *("--device", f"{disk}={device}"),
    )
    assert "TARGET: " in go2cloud("server", "follow", server, "--target", "copies")
    deadline = time.monotonic() + 60
    while json.loads(go2cloud("server", "follow", server, "-o", "json"))["behind"]:
        assert time.monotonic() < deadline, "the device was never brought up to date"
        time.sleep(0.5)
    assert device.read_bytes() == CONTENT
    assert "nothing follows" in go2cloud("server", "follow", server, "--off")
