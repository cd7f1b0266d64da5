"""Alerts and dashboards speak of what the service measures, and each alert has its entry in the runbook."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from prometheus_client import REGISTRY

from app.kit import health, livesettings, metrics, redisbus, vitals
from app.migration.callbacks import meters as callbacks
from app.migration.replication import meters as replication
from app.migration.scrub import work as scrub
from app.migration.verification import meters as verification
from app.work import meters as work

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "k8s" / "components" / "monitoring"
CHART_FILES = ROOT / "k8s" / "chart" / "files"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
MEASURING = (health, livesettings, redisbus, vitals, callbacks, replication, scrub, verification, work)
"""The modules that declare metrics; they register them when they are imported."""


def _rules() -> list[dict[str, Any]]:
    spec = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
    return [rule for group in spec["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in _rules()}


def _declared() -> set[str]:
    """The names of all series of a process."""
    metrics.instrument(FastAPI(), "all")
    assert all(MEASURING)
    families = [family for family in REGISTRY.collect() if family.name]
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))} | {
        "up"
    }


def _named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:go2cloud|http|process)_\w+|\bup\b", expression))


def test_every_alert_has_its_entry_in_the_runbook_and_the_other_way_round() -> None:
    entries = re.findall(r"^### (Go2Cloud\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(entries) == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_its_entry(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook_url"].endswith(f"docs/runbook.md#{name.lower()}")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_speaks_of_what_is_measured(name: str) -> None:
    named = _named(ALERTS[name]["expr"])
    assert named
    assert named - _declared() == set()


def test_every_alert_is_tested() -> None:
    tests = yaml.safe_load((MONITORING / "alerts-test.yaml").read_text())["tests"]
    raised = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert raised == set(ALERTS)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: str(file.name))
def test_a_dashboard_shows_what_is_measured(file: Path) -> None:
    panels = json.loads(file.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert [each for each in expressions if not _named(each) or _named(each) - _declared()] == []
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("file", [MONITORING / "alerts.yaml", *DASHBOARDS], ids=lambda file: str(file.name))
def test_the_chart_has_the_same_alerts_and_dashboards(file: Path) -> None:
    assert (CHART_FILES / file.name).read_text() == file.read_text()


def test_links_within_the_runbook_lead_to_entries() -> None:
    anchors = {f"#{name.lower()}" for name in ALERTS}
    assert set(re.findall(r"\]\((#[^)]+)\)", RUNBOOK)) <= anchors
