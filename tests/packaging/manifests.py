"""The Kubernetes base as objects: read from its files, or rendered by kubectl."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

BASE = Path(__file__).parents[2] / "k8s" / "base"

Document = dict[str, Any]
"""A Kubernetes object as YAML gives it."""


@dataclass(frozen=True)
class Manifests:
    """All objects that would be applied."""

    documents: tuple[Document, ...]

    def of(self, kind: str) -> tuple[Document, ...]:
        """The objects of one kind."""
        return tuple(each for each in self.documents if each["kind"] == kind)

    def names(self, kind: str) -> set[str]:
        """The names of the objects of one kind."""
        return {each["metadata"]["name"] for each in self.of(kind)}

    def named(self, kind: str, name: str) -> Document:
        """The object of this kind and name; a name that kustomize generated is found without its hash."""
        found = [each for each in self.of(kind) if _is_called(each["metadata"]["name"], name)]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
        return found[0]

    def workloads(self) -> tuple[Document, ...]:
        """Everything that runs pods."""
        return (*self.of("Deployment"), *self.of("Job"))


def _is_called(actual: str, name: str) -> bool:
    return actual == name or actual.rpartition("-")[0] == name


def pod_of(workload: Document) -> Document:
    """The pod's spec of a Deployment or Job."""
    spec: Document = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: Document) -> Document:
    """The one container of a Deployment or Job."""
    (container,) = pod_of(workload)["containers"]
    found: Document = container
    return found


def from_files() -> Manifests:
    """The files of the base, with what its kustomization generates and replaces."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    plain = [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((BASE / name).read_text())
    ]
    tags = {image["name"]: f"{image['newName']}:{image['newTag']}" for image in kustomization["images"]}
    for workload in Manifests(tuple(plain)).workloads():
        container_of(workload)["image"] = tags[container_of(workload)["image"]]
    return Manifests((*plain, *_generated(kustomization["configMapGenerator"])))


def _generated(generators: list[Document]) -> Iterator[Document]:
    for generator in generators:
        files = dict(entry.split("=", 1) for entry in generator["files"])
        data = {key: (BASE / file).read_text() for key, file in files.items()}
        yield {"kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}


def rendered(kubectl: str) -> Manifests:
    """What `kubectl kustomize` makes of the base."""
    done = subprocess.run([kubectl, "kustomize", BASE], capture_output=True, text=True, check=True)
    return Manifests(tuple(yaml.safe_load_all(done.stdout)))
