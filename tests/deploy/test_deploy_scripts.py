"""The scripts of image and delivery, as far as they need neither containers nor a cluster."""

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

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
        ["checks/tools.sh"],
    ],
    ids=" ".join,
)
def test_a_script_that_is_called_wrongly_says_how_and_does_nothing(command: list[str]) -> None:
    done = subprocess.run([K8S / command[0], *command[1:]], capture_output=True, text=True)
    assert done.returncode == 2
    assert command[0].rpartition("/")[2] in done.stderr
    assert list((K8S / "overlays").glob("release-*")) == []


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
