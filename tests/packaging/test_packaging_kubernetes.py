"""The Kubernetes base: what must hold of its files and, where kubectl is installed, of what it renders."""

import shutil
from pathlib import Path

import pytest
import yaml

from app.kit.settings import Engine, Settings, load_settings
from app.main import DRAIN_SECONDS
from app.roles import PORTS, Role
from tests.packaging.manifests import (
    BASE,
    Document,
    Manifests,
    container_of,
    from_files,
    pod_of,
    rendered,
)

NODE_PORT = 30020
KUBECTL = shutil.which("kubectl")
ROLES = list(Role)
ON_THE_STORE = [Role.API, Role.AGENT]


@pytest.fixture(scope="module", params=["files", *(["kubectl"] if KUBECTL else [])])
def base(request: pytest.FixtureRequest) -> Manifests:
    """The base, both ways."""
    return rendered(KUBECTL) if request.param == "kubectl" and KUBECTL else from_files()


def _deployment(base: Manifests, role: Role) -> Document:
    return base.named("Deployment", f"go2cloud-{role}")


def _settings(base: Manifests, role: Role, folder: Path) -> Settings:
    """What a pod of the role reads: its ConfigMap as the file, its Secrets as the folder."""
    (text,) = base.named("ConfigMap", f"go2cloud-{role}")["data"].values()
    secrets = folder / "secrets"
    secrets.mkdir()
    for secret in _secrets(pod_of(_deployment(base, role))):
        for name, value in base.named("Secret", secret)["stringData"].items():
            (secrets / name).write_text(value)
    config = folder / "config.yaml"
    config.write_text(text)
    return load_settings({"GO2CLOUD_CONFIG": str(config), "GO2CLOUD_SECRETS": str(secrets), "HOME": "/"})


def _secrets(pod: Document) -> list[str]:
    """The names of the Secrets that a pod mounts as its folder."""
    (volume,) = [each for each in pod["volumes"] if each["name"] == "secrets"]
    match volume:
        case {"projected": {"sources": sources}}:
            return [each["secret"]["name"] for each in sources]
        case _:
            return [volume["secret"]["secretName"]]


def test_every_file_of_the_base_is_used() -> None:
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    generated = [
        entry.split("=", 1)[1] for each in kustomization["configMapGenerator"] for entry in each["files"]
    ]
    present = {str(path.relative_to(BASE)) for path in BASE.rglob("*.yaml")}
    assert present == {"kustomization.yaml", *kustomization["resources"], *generated}


def test_three_deployments_and_no_more(base: Manifests) -> None:
    assert base.names("Deployment") == {f"go2cloud-{role}" for role in Role}


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_serves_its_role_on_the_port_that_its_config_names(
    base: Manifests, role: Role, tmp_path: Path
) -> None:
    container = container_of(_deployment(base, role))
    settings = _settings(base, role, tmp_path)
    assert container["args"] == [role.value]
    assert settings.http.port == PORTS[role] == container["ports"][0]["containerPort"]
    assert settings.http.host == "0.0.0.0"


@pytest.mark.parametrize("role", ROLES)
def test_a_service_leads_to_the_pods_of_its_role(base: Manifests, role: Role) -> None:
    service = base.named("Service", f"go2cloud-{role}")["spec"]
    labels = _deployment(base, role)["spec"]["template"]["metadata"]["labels"]
    (port,) = service["ports"]
    assert service["selector"].items() <= labels.items()
    assert (port["port"], port["targetPort"]) == (PORTS[role], "http")


def test_browsers_come_in_by_the_node_port_of_the_platform_only(base: Manifests) -> None:
    node_ports = {
        each["metadata"]["name"]: [port["nodePort"] for port in each["spec"]["ports"]]
        for each in base.of("Service")
        if each["spec"].get("type", "ClusterIP") != "ClusterIP"
    }
    assert node_ports == {"go2cloud-platform": [NODE_PORT]}


def test_the_platform_finds_the_api_by_the_name_of_its_service(base: Manifests, tmp_path: Path) -> None:
    settings = _settings(base, Role.PLATFORM, tmp_path)
    assert settings.api_migrate_server_url == f"http://go2cloud-api:{PORTS[Role.API]}"
    assert "go2cloud-api" in base.names("Service")


@pytest.mark.parametrize("role", ON_THE_STORE)
def test_api_and_agent_share_database_bus_and_store(base: Manifests, role: Role, tmp_path: Path) -> None:
    settings = _settings(base, role, tmp_path)
    mounts = {
        each["mountPath"]: each["name"] for each in container_of(_deployment(base, role))["volumeMounts"]
    }
    assert settings.database.engine is Engine.MYSQL
    assert settings.database.password is not None
    assert settings.redis.host is not None
    assert mounts[str(settings.store.path)] == "store"


def test_the_platform_is_given_the_secret_of_callbacks_and_no_password(
    base: Manifests, tmp_path: Path
) -> None:
    assert _secrets(pod_of(_deployment(base, Role.PLATFORM))) == ["go2cloud-callbacks"]
    assert base.named("Secret", "go2cloud-callbacks")["stringData"].keys() == {"G2C_CALLBACKS__SECRET"}
    assert _settings(base, Role.PLATFORM, tmp_path).callbacks.secret is not None


def test_pods_of_the_version_before_know_all_keys_of_the_secret_that_they_mount(base: Manifests) -> None:
    """They refuse others; whatever is new has a Secret of its own."""
    assert base.named("Secret", "go2cloud-secrets")["stringData"].keys() == {
        "G2C_DB_PASSWORD",
        "G2C_REDIS_PASSWORD",
    }


def test_the_schema_is_upgraded_with_the_secrets_of_the_api(base: Manifests) -> None:
    api = _secrets(pod_of(_deployment(base, Role.API)))
    assert _secrets(pod_of(base.named("Job", "go2cloud-schema"))) == api
    assert api == ["go2cloud-secrets", "go2cloud-callbacks"]


def test_the_api_calls_the_platform_by_the_name_of_its_service(base: Manifests, tmp_path: Path) -> None:
    settings = _settings(base, Role.API, tmp_path)
    assert settings.platform_callback_url == f"http://go2cloud-platform:{PORTS[Role.PLATFORM]}/callbacks"
    assert settings.callbacks.secret is not None


@pytest.mark.parametrize("role", ROLES)
def test_no_password_stands_in_a_config_map(base: Manifests, role: Role) -> None:
    (text,) = base.named("ConfigMap", f"go2cloud-{role}")["data"].values()
    assert not [key for key in yaml.safe_load(text) if "PASSWORD" in key]


def test_no_setting_hides_in_the_environment(base: Manifests) -> None:
    assert not [
        each["metadata"]["name"]
        for each in base.workloads()
        if {"env", "envFrom"} & container_of(each).keys()
    ]


def test_the_schema_is_upgraded_with_the_settings_of_the_api(base: Manifests) -> None:
    job = base.named("Job", "go2cloud-schema")
    config = next(each for each in pod_of(job)["volumes"] if each["name"] == "config")
    assert container_of(job)["args"] == ["python", "-m", "app", "db", "upgrade"]
    assert config["configMap"]["name"] == base.named("ConfigMap", "go2cloud-api")["metadata"]["name"]


def test_what_a_pod_mounts_exists(base: Manifests) -> None:
    for workload in base.workloads():
        volumes = pod_of(workload)["volumes"]
        assert {each["name"] for each in container_of(workload)["volumeMounts"]} == {
            each["name"] for each in volumes
        }
        for volume in volumes:
            _require_source(base, volume)


def _require_source(base: Manifests, volume: Document) -> None:
    match volume:
        case {"configMap": {"name": name}}:
            assert name in base.names("ConfigMap")
        case {"secret": {"secretName": name}}:
            assert name in base.names("Secret")
        case {"projected": {"sources": sources}}:
            assert {each["secret"]["name"] for each in sources} <= base.names("Secret")
        case {"persistentVolumeClaim": {"claimName": name}}:
            assert name in base.names("PersistentVolumeClaim")
        case _:
            assert volume.keys() == {"name", "emptyDir"}


def test_pods_meet_the_restricted_security_standard(base: Manifests) -> None:
    for workload in base.workloads():
        pod, container = pod_of(workload)["securityContext"], container_of(workload)["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == 10001
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["allowPrivilegeEscalation"] is False
        assert container["readOnlyRootFilesystem"] is True
        assert container["capabilities"] == {"drop": ["ALL"]}


def test_pods_get_neither_service_links_nor_an_account_token(base: Manifests) -> None:
    for workload in base.workloads():
        assert pod_of(workload)["enableServiceLinks"] is False
        assert pod_of(workload)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_is_probed_and_limited(base: Manifests, role: Role) -> None:
    container = container_of(_deployment(base, role))
    paths = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_has_time_to_drain(base: Manifests, role: Role) -> None:
    deployment = _deployment(base, role)
    command, seconds = container_of(deployment)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert pod_of(deployment)["terminationGracePeriodSeconds"] > int(seconds) + DRAIN_SECONDS


def test_every_image_has_a_version(base: Manifests) -> None:
    for workload in base.workloads():
        _, _, tag = container_of(workload)["image"].partition(":")
        assert tag
        assert tag != "latest"


def test_any_node_may_write_the_store(base: Manifests) -> None:
    (claim,) = base.of("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
