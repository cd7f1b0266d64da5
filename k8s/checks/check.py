"""Check all that describes the cluster, offline: `make k8s-check` runs it with the tools of .tools/k8s.

Every overlay is rendered and held to the schemas of three versions of Kubernetes; the chart is linted and
must render what the production overlay says; alerts are tested; Dockerfile, scripts, pipelines are linted.
All findings are printed; it exits 1 if there is one.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import groovy
import helm_python as helm
import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
TOOLS = Path(sys.executable).parent
VERSIONS = ("1.29", "1.33", "1.37")
OVERLAYS = tuple(sorted(path.parent for path in K8S.glob("overlays/*/kustomization.yaml")))
KUSTOMIZED = (*OVERLAYS, K8S / "setup")
OWN_SCHEMA = json.loads((K8S / "checks/schemas/monitoring.coreos.com.json").read_text())
OWN_GROUP = "monitoring.coreos.com/"
CLOSED_TO_VALUES: tuple[dict[str, Any], ...] = (
    {"image": {"repository": "go2cloud", "tag": "latest"}},
    {"api": {"config": {"DB_PASSWORD": "secret"}}},
    {"api": {"config": {"STORE": {"S3_SECRET_KEY": "secret"}}}},
    {"agent": {"config": {"HTTP_LISTEN_PORT": 80}}},
    {"store": {"size": "lots"}},
    {"replicas": 3},
)

NO_GROOVY = (
    ("'Canary'", "'Canary"),
    ("unit: 'DAYS')", "unit: 'DAYS'"),
    ("defaultValue: '10', ", "defaultValue: '10' "),
    ("def answer =", "def answer = ="),
    ("yaml '''", "yaml ''"),
    ("    post {", "    post"),
)
"""Slips in the Jenkinsfile, each of which must be found."""

Document = dict[str, Any]


class Failed(Exception):
    """A check found something; the text says what."""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a tool; its output. Raises Failed with what it printed when it fails."""
    path = f"{TOOLS}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def rendered(folder: Path) -> list[Document]:
    """What `kubectl kustomize` makes of a folder."""
    return list(yaml.safe_load_all(run(TOOLS / "kubectl", "kustomize", folder)))


def named(document: Document) -> str:
    """Kind and name, to be shown."""
    return f"{document['kind']}/{document['metadata']['name']}"


def require_valid(document: Document) -> None:
    """Hold an object to its schema in all versions; unknown fields are refused. Raises Failed."""
    try:
        if document["apiVersion"].startswith(OWN_GROUP):
            jsonschema.validate(document, OWN_SCHEMA)
            return
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        where = ".".join(map(str, error.path))
        raise Failed(f"{named(document)} {where}: {error.message}") from error


def check_overlays() -> None:
    """Every overlay renders, and each of its objects is valid in every version."""
    for folder in KUSTOMIZED:
        for document in rendered(folder):
            require_valid(document)


def check_chart() -> None:
    """The chart has no finding, its objects are valid, and its schema refuses what it should."""
    findings = [
        each for each in helm.lint(str(K8S / "chart"), strict=True)["messages"] if each["severity"] > 1
    ]
    if findings:
        raise Failed(f"helm lint: {findings}")
    chart = helm.Chart.load(str(K8S / "chart"))
    for switches in ({}, {"autoscaling": {"enabled": False}}, {"monitoring": {"enabled": False}}):
        for document in chart_objects(chart, switches):
            require_valid(document)
    for values in CLOSED_TO_VALUES:
        if is_accepted(chart, values):
            raise Failed(f"values.schema.json accepts {values}")


def is_accepted(chart: helm.Chart, values: dict[str, Any]) -> bool:
    """Whether the schema of the values lets them pass."""
    try:
        chart.validate_schema(values)
    except helm.HelmError:
        return False
    return True


def chart_objects(chart: helm.Chart, values: dict[str, Any]) -> list[Document]:
    """What the chart makes as release go2cloud in the namespace go2cloud."""
    files = chart.render(values, name="go2cloud", namespace="go2cloud", revision=1, is_install=True)
    documents = (document for text in files.values() for document in yaml.safe_load_all(text))
    return [document for document in documents if document]


def check_chart_is_production() -> None:
    """The chart with its own values renders the objects of the production overlay."""
    ours = {named(each): each for each in map(plain, rendered(K8S / "overlays/production"))}
    chart = helm.Chart.load(str(K8S / "chart"))
    theirs = {named(each): each for each in map(plain, chart_objects(chart, {}))}
    differences = [*differing(ours, theirs)]
    if differences:
        raise Failed("the chart and overlays/production differ:\n" + "\n".join(differences))


def differing(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Each place in which two trees differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            yield from differing(ours.get(key), theirs.get(key), f"{path}.{key}" if path else key)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differing(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield f"  {path}: overlay {ours!r}, chart {theirs!r}"


def plain(document: Document) -> Document:
    """An object without what kustomize and Helm each add of their own: hashes, revisions, marks."""
    text = json.dumps(document)
    text = re.sub(r'"(go2cloud-(?:platform|api|agent))-[a-z0-9]{10}"', r'"\1"', text)
    document = json.loads(text.replace('"go2cloud-schema-1"', '"go2cloud-schema"'))
    metadata = document["metadata"]
    for mark in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
        metadata.get("labels", {}).pop(mark, None)
    metadata.get("annotations", {}).pop("helm.sh/resource-policy", None)
    for empty in [key for key, value in metadata.items() if value == {}]:
        del metadata[empty]
    if document["kind"] == "ConfigMap":
        document["data"] = {key: yaml.safe_load(value) for key, value in document["data"].items()}
    if "template" in document.get("spec", {}):
        plain_pod(document["spec"]["template"])
    return document


def plain_pod(template: Document) -> None:
    """Take a pod's defaults and marks away."""
    template["metadata"].get("annotations", {}).pop("checksum/config", None)
    for container in template["spec"]["containers"]:
        if container.get("imagePullPolicy") == "IfNotPresent":
            del container["imagePullPolicy"]


def check_alerts() -> None:
    """The rules are well-formed, and do what their tests say."""
    promtool = os.environ.get("PROMTOOL", "promtool")
    with tempfile.TemporaryDirectory() as name:
        rules, tests = Path(name) / "rules.yaml", Path(name) / "alerts-test.yaml"
        alerts = K8S / "components/monitoring"
        rules.write_text(yaml.safe_dump(yaml.safe_load((alerts / "alerts.yaml").read_text())["spec"]))
        tests.write_text((alerts / "alerts-test.yaml").read_text())
        run(promtool, "check", "rules", rules)
        run(promtool, "test", "rules", tests)


def check_policies() -> None:
    """Checkov finds nothing in manifests and Dockerfile but what checkov.yaml excepts, with its reasons."""
    with tempfile.TemporaryDirectory() as name:
        for folder in OVERLAYS:
            made = Path(name) / f"{folder.name}.yaml"
            made.write_text(yaml.safe_dump_all(rendered(folder)))
        config = K8S / "checks/checkov.yaml"
        run(TOOLS / "checkov", "--config-file", config, "--directory", name, "--framework", "kubernetes")
        run(
            TOOLS / "checkov",
            "--config-file",
            config,
            "--file",
            ROOT / "Dockerfile",
            "--framework",
            "dockerfile",
        )


def check_pipelines() -> None:
    """GitLab's pipeline fits GitLab's own schema; Jenkins's is Groovy, and its pod template a valid pod."""
    run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml")
    text = (ROOT / "Jenkinsfile").read_text()
    require_groovy(text)
    pod = re.search(r"yaml '''\n(.*?)'''", text, re.DOTALL)
    if pod is None:
        raise Failed("the Jenkinsfile has no pod template: yaml '''…'''")
    require_valid({"metadata": {"name": "agent"}, **yaml.safe_load(pod.group(1))})


def require_groovy(pipeline: str) -> None:
    """The pipeline parses, and none of its slips does. Raises Failed."""
    found = groovy.findings(pipeline)
    if found:
        raise Failed("Jenkinsfile is no Groovy:\n" + "\n".join(found))
    for wanted, slip in NO_GROOVY:
        if wanted not in pipeline or not groovy.findings(pipeline.replace(wanted, slip, 1)):
            raise Failed(f"Jenkinsfile: {slip!r} in place of {wanted!r} is not found to be no Groovy")


def check_scripts() -> None:
    """No finding in shell scripts and Dockerfile."""
    scripts = [ROOT / "entrypoint.sh", *sorted(K8S.rglob("*.sh"))]
    run(TOOLS / "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts)
    run(TOOLS / "hadolint", ROOT / "Dockerfile")


CHECKS: tuple[Callable[[], None], ...] = (
    check_overlays,
    check_chart,
    check_chart_is_production,
    check_alerts,
    check_policies,
    check_pipelines,
    check_scripts,
)


def main() -> int:
    """Run all checks, or those that are named; 1 if one finds something."""
    wanted = set(sys.argv[1:])
    failed = 0
    for check in CHECKS:
        if wanted and check.__name__ not in wanted:
            continue
        try:
            check()
        except Failed as error:
            sys.stderr.write(f"{check.__name__}: {error}\n")
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
