"""What the files under k8s/ must keep, whoever changes them; `make k8s-check` renders and validates them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.kit.settings import Engine, load_settings

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
OVERLAYS = K8S / "overlays"
SETTINGS = sorted(
    [
        *K8S.glob("base/config/*.yaml"),
        *OVERLAYS.glob("*/config.yaml"),
        *OVERLAYS.glob("*/config/*.yaml"),
        *OVERLAYS.glob("*/settings/config/*.yaml"),
        *K8S.glob("components/*/config.yaml"),
    ]
)


def _documents(*files: Path) -> Iterator[dict[str, Any]]:
    for file in files:
        yield from (each for each in yaml.safe_load_all(file.read_text()) if each)


def _name(file: Path) -> str:
    return str(file.relative_to(K8S))


@pytest.mark.parametrize("file", SETTINGS, ids=_name)
def test_the_service_takes_the_settings_and_finds_no_password_in_them(file: Path, tmp_path: Path) -> None:
    assert "PASSWORD" not in re.sub(r"#.*", "", file.read_text())
    secret = {"G2C_CALLBACKS__SECRET": "as-in-the-secret-of-the-cluster"}
    settings = load_settings({"GO2CLOUD_CONFIG": str(file), "HOME": str(tmp_path), **secret})
    assert settings.data_dir == Path("/data/state")
    is_on_a_server = settings.database.engine is Engine.MYSQL
    assert is_on_a_server == (file.name != "platform.yaml" and "dev" not in file.parts)


def test_the_files_of_settings_are_found() -> None:
    assert len(SETTINGS) >= 11


def test_all_that_names_a_version_names_that_of_the_package() -> None:
    tags = {
        image["newTag"].removesuffix("-volumes")
        for file in K8S.rglob("kustomization.yaml")
        for image in yaml.safe_load(file.read_text()).get("images", ())
    }
    chart = yaml.safe_load((K8S / "chart" / "Chart.yaml").read_text())
    assert tags == {VERSION}
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


def test_nothing_is_allowed_that_no_policy_names() -> None:
    policies = list(_documents(K8S / "components" / "network-policy" / "policies.yaml"))
    (deny,) = (each for each in policies if each["metadata"]["name"] == "go2cloud-default-deny")
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert all(each["spec"]["podSelector"] for each in policies if each is not deny)


def test_who_deploys_can_neither_read_secrets_nor_raise_its_rights() -> None:
    (role,) = (each for each in _documents(K8S / "setup" / "deployer.yaml") if each["kind"] == "Role")
    for rule in role["rules"]:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert not {"secrets", "roles", "rolebindings", "pods/exec"} & {*rule["resources"]}


def test_the_namespace_is_held_to_the_restricted_standard() -> None:
    (namespace,) = _documents(K8S / "setup" / "namespace.yaml")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", ["production", "canary", "schema"])
def test_what_is_deployed_brings_no_password_along(overlay: str) -> None:
    patches = yaml.safe_load((OVERLAYS / overlay / "kustomization.yaml").read_text())["patches"]
    removals = [str(each) for each in patches if "$patch: delete" in each["patch"]]
    for name in ("go2cloud-secrets", "go2cloud-callbacks"):
        assert any("Secret" in each and (name in each or "'target'" in each) for each in removals)


def test_the_end_to_end_overlay_needs_nothing_that_kubernetes_1_20_does_not_know() -> None:
    folder = OVERLAYS / "e2e"
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert "components" not in kustomization
    versions = {
        each["apiVersion"]
        for each in _documents(*K8S.glob("base/*.yaml"), folder / "outside.yaml", folder / "store.yaml")
        if "kustomize" not in each["apiVersion"]
    }
    assert versions == {"v1", "apps/v1", "batch/v1"}


def test_agents_bodies_are_streamed_and_waited_for() -> None:
    (ingress,) = _documents(K8S / "components" / "ingress" / "agent.yaml")
    said = {
        name.removeprefix("nginx.ingress.kubernetes.io/"): value
        for name, value in ingress["metadata"]["annotations"].items()
    }
    assert said["proxy-request-buffering"] == said["proxy-buffering"] == "off"
    assert said["proxy-body-size"] == "1g"
    assert int(said["proxy-read-timeout"]) == int(said["proxy-send-timeout"]) == 300


def test_a_role_is_never_wholly_away_while_nodes_are_drained() -> None:
    scaling = list(_documents(*(K8S / "components" / "scaling").glob("[ad]*.yaml")))
    least = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]["minReplicas"]
        for each in scaling
        if each["kind"] == "HorizontalPodAutoscaler"
    }
    kept = {
        each["metadata"]["name"]: each["spec"]["minAvailable"]
        for each in scaling
        if each["kind"] == "PodDisruptionBudget"
    }
    assert least.keys() == kept.keys() == {"go2cloud-platform", "go2cloud-api", "go2cloud-agent"}
    assert all(least[name] > kept[name] >= 1 for name in least)
