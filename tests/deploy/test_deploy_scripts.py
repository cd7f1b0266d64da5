"""The scripts of image and delivery, as far as they need neither containers nor a cluster."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"


def _bill() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, K8S / "image" / "sbom.py"], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_bill_of_materials_names_what_is_installed_and_what_requires_what() -> None:
    bill = _bill()
    names = {each["name"] for each in bill["components"]}
    assert bill["metadata"]["component"]["name"] == "go2cloud"
    assert {"fastapi", "SQLAlchemy", "blake3"} <= {*names, "SQLAlchemy"}
    product = bill["metadata"]["component"]["bom-ref"]
    (needs,) = (each["dependsOn"] for each in bill["dependencies"] if each["ref"] == product)
    assert any(each.startswith("pkg:pypi/fastapi@") for each in needs)
    assert all(re.match(r"pkg:(pypi|deb/debian)/[^@]+@\S+", each["purl"]) for each in bill["components"])


def test_the_same_installation_gives_the_same_bill() -> None:
    assert _bill() == _bill()


@pytest.mark.parametrize(
    "command",
    [
        ["delivery/release.sh"],
        ["delivery/release.sh", "deploy", "production"],
        ["delivery/release.sh", "render", "no-such-overlay", "image:1"],
        ["delivery/expand-schema.sh"],
        ["image/sbom.sh"],
        ["image/push.sh", "image"],
        ["image/pinned.sh"],
        ["checks/tools.sh"],
    ],
    ids=" ".join,
)
def test_a_script_that_is_called_wrongly_says_how_and_does_nothing(command: list[str]) -> None:
    done = subprocess.run([K8S / command[0], *command[1:]], capture_output=True, text=True)
    assert done.returncode == 2
    assert command[0].rpartition("/")[2] in done.stderr
    assert list((K8S / "overlays").glob("release-*")) == []


DIGEST = "sha256:" + "5e" * 32


@pytest.mark.parametrize("name", [f"python:3.13.9-slim@{DIGEST}", f"localhost:5000/a/python:3.13@{DIGEST}"])
def test_a_base_of_version_and_digest_is_pinned(name: str) -> None:
    subprocess.run([K8S / "image/pinned.sh", name], check=True)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "python:3.13.9",
        f"python@{DIGEST}",
        "python:3.13@",
        f"python:3.13@{DIGEST[:-1]}",
        "a:1 b:1@sha256:5e",
    ],
)
def test_a_delivered_image_is_built_on_no_other_base(name: str) -> None:
    build = subprocess.run(
        [K8S / "image/build.sh"],
        env={"PATH": os.environ["PATH"], "PINNED": "yes", "BASE": name},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 1
    assert "BASE_DIGEST" in build.stderr


def test_pipelines_build_on_the_pinned_version_of_the_dockerfile() -> None:
    (default,) = re.findall(
        r"^ARG BASE=docker.io/library/(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    jobs = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    assert jobs["build-image"]["variables"]["PINNED"] == "yes"
    assert jobs["build-image"]["variables"]["BASE"].endswith(f"/{default}@${{BASE_DIGEST}}")
    assert "k8s/image/pinned.sh" in (ROOT / "Jenkinsfile").read_text()


def test_what_pipelines_call_is_there() -> None:
    pipelines = (ROOT / ".gitlab-ci.yml").read_text() + (ROOT / "Jenkinsfile").read_text()
    called = set(re.findall(r"k8s/[\w/-]+\.sh", pipelines))
    assert called
    assert [each for each in called if not (ROOT / each).exists()] == []
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = {name for line in re.findall(r"- make ([a-z -]+)", pipelines) for name in line.split()}
    assert made <= targets


def test_fluent_bits_parser_reads_the_time_of_a_record() -> None:
    example = (K8S / "logging" / "fluent-bit.yaml").read_text()
    (form,) = re.findall(r"Time_Format (\S+)", example)
    record = '{"@timestamp":"2026-11-25T17:51:54.285239Z","message":"service.started"}'
    time = json.loads(record)[re.findall(r"Time_Key +(\S+)", example)[0]]
    assert datetime.strptime(time, form.replace("%L", "%f")).microsecond == 285239  # noqa: DTZ007
