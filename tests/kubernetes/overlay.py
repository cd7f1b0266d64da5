"""The manifests of the end-to-end test: the overlay `k8s/overlays/e2e`, on what the test has started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tests.kubernetes.network import HOST

OVERLAY: Final = Path("k8s/overlays/e2e").resolve()
MACHINES: Final = Path("k8s/components/machines").resolve()
MACHINES_CONFIG: Final = """DATA_DIR: /data/state
HTTP_LISTEN_HOST: 0.0.0.0
HTTP_LISTEN_PORT: 8005
DB_ENGINE: mysql
DB_HOST: mariadb
DB_USER: go2cloud
DB_NAME: go2cloud
REDIS_HOST: redis
LOG_FORMAT: json
STORE:
  PATH: /data/store
LAUNCH:
  FOLDER: /data/launch
"""


@dataclass(frozen=True)
class Outside:
    """What stands outside: ports on the host's end of the link, and the folder of the store."""

    mariadb: int
    redis: int
    password: str
    store: Path
    tag: str


def write_overlay(folder: Path, outside: Outside) -> None:
    """Write a kustomization into an empty folder: the overlay, test machines, and the places of this run.

    Components come last in a kustomization, so what changes them is one of its own.
    """
    base = folder / "base"
    base.mkdir()
    _write(base, {"resources": [_relative(OVERLAY, base)], "components": [_relative(MACHINES, base)]})
    (folder / "machines.yaml").write_text(MACHINES_CONFIG)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "go2cloud"}}
    (folder / "namespace.yaml").write_text(yaml.safe_dump(namespace))
    machines = {"name": "go2cloud-machines", "behavior": "replace", "files": ["config.yaml=machines.yaml"]}
    image = {"name": "go2cloud-volumes", "newName": "localhost/go2cloud", "newTag": f"{outside.tag}-volumes"}
    plan = {
        "namespace": "go2cloud",
        "resources": ["base", "namespace.yaml"],
        "configMapGenerator": [machines],
        "images": [image],
        "patches": [*_places(outside), *_machines()],
    }
    _write(folder, plan)


def _write(folder: Path, plan: Mapping[str, object]) -> None:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(head | dict(plan)))


def _relative(place: Path, folder: Path) -> str:
    return str(Path(*[".."] * (len(folder.parts) - 1), *place.parts[1:]))


def _places(outside: Outside) -> list[dict[str, object]]:
    secrets = {"G2C_DB_PASSWORD": outside.password, "G2C_REDIS_PASSWORD": outside.password}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "go2cloud-secrets"}}
    path = [{"op": "replace", "path": "/spec/hostPath/path", "value": str(outside.store)}]
    return [
        _endpoint("mariadb", outside.mariadb),
        _endpoint("redis", outside.redis),
        {"patch": yaml.safe_dump(secret | {"stringData": secrets})},
        {"target": {"kind": "PersistentVolume", "name": "go2cloud-store"}, "patch": yaml.safe_dump(path)},
    ]


def _endpoint(name: str, port: int) -> dict[str, object]:
    name_of_port = "mysql" if name == "mariadb" else name
    subsets = [{"addresses": [{"ip": HOST}], "ports": [{"name": name_of_port, "port": port}]}]
    change = [{"op": "replace", "path": "/subsets", "value": subsets}]
    return {"target": {"kind": "Endpoints", "name": name}, "patch": yaml.safe_dump(change)}


def _machines() -> list[dict[str, object]]:
    """The pods with test machines, on the node's own disk instead of a storage class, and with names."""
    names = yaml.safe_load((OVERLAY / "names.yaml").read_text())
    folder = {
        "op": "add",
        "path": "/spec/template/spec/volumes/-",
        "value": {"name": "launch", "emptyDir": {}},
    }
    claims = {"op": "remove", "path": "/spec/volumeClaimTemplates"}
    small = {
        "op": "replace",
        "path": "/spec/template/spec/containers/0/resources/requests",
        "value": {"cpu": "100m", "memory": "256Mi"},
    }
    change = [*names, claims, folder, small]
    return [{"target": {"kind": "StatefulSet"}, "patch": yaml.safe_dump(change)}]
