"""Roles: what a process is asked to serve is all that it loads and answers."""

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from app.kit.settings import load_settings
from app.main import create_app
from app.roles import NAMES, Role, default_port, name_of, parse_roles

TIERS = {"platform": "app.platform", "api": "app.api", "agent": "app.agent"}
LOADED = """
import sys
from pathlib import Path
from app.kit.settings import load_settings
from app.main import create_app
from app.roles import parse_roles
settings = load_settings({"G2C_DATA_DIR": sys.argv[2], "HOME": sys.argv[2]})
create_app(settings, parse_roles(sys.argv[1]))
print(*sorted(name for name in sys.modules if name.startswith("app.")))
"""


def loaded_by(role: str, folder: Path) -> set[str]:
    """The modules of ours that a process of the role has loaded."""
    command = [sys.executable, "-c", LOADED, role, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("role", sorted(TIERS))
def test_a_pod_of_one_role_imports_no_other_tier(role: str, tmp_path: Path) -> None:
    loaded = loaded_by(role, tmp_path)
    for other, package in TIERS.items():
        found = {name for name in loaded if name == package or name.startswith(f"{package}.")}
        assert bool(found) == (other == role), (other, sorted(found)[:5])


def test_the_daemon_stands_on_the_wire_alone() -> None:
    script = "import sys, app.agent.daemon.cli\nprint(*(n for n in sys.modules if n.startswith('app.')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rooms = {".".join(name.split(".")[:2]) for name in done.stdout.split()}
    assert rooms == {"app.agent", "app.wire"}


def test_each_role_has_its_own_routes_and_all_has_them_together(tmp_path: Path) -> None:
    settings = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})

    def paths(role: str) -> set[str]:
        app = create_app(settings, parse_roles(role))
        return {str(context.path) for context in iter_route_contexts(app.routes)}

    single = {role: paths(role) for role in TIERS}
    assert paths("all") >= set().union(*single.values()) - {"/api/v1/openapi.json"}
    assert any(path.startswith("/api/v1/servers") for path in single["api"])
    assert any(path.startswith("/agent/v1/sessions") for path in single["agent"])
    assert "/" in single["platform"]
    for found in single.values():
        assert {"/healthz", "/readyz", "/metrics"} <= found


def test_ports_and_names() -> None:
    assert [default_port(parse_roles(role)) for role in ("platform", "api", "agent", "all")] == [
        8088,
        8004,
        8005,
        8088,
    ]
    assert [name_of(parse_roles(role)) for role in NAMES] == list(NAMES)
    assert parse_roles("all") == frozenset(Role)
    with pytest.raises(ValueError, match="platform, api, agent, all"):
        parse_roles("worker")


def test_role_api_loads_no_driver_of_machines(tmp_path: Path) -> None:
    script = LOADED.replace(
        "create_app(settings",
        "import app.migration.launch.kinds\ncreate_app(settings",
    )
    command = [sys.executable, "-c", script, "api", str(tmp_path)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "app.migration.launch.steps" in loaded
    assert [name for name in loaded if name.startswith(("app.launch.qemu", "app.launch.image"))] == []
