"""The image: what its recipe must keep, and that the wheel in it holds the whole program."""

import os
import platform
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = re.sub(r"\\\n", " ", DOCKERFILE).splitlines()


def _arguments(instruction: str) -> list[str]:
    return [line.split(None, 1)[1] for line in INSTRUCTIONS if line.startswith(f"{instruction} ")]


def _version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def test_all_stages_stand_on_one_base_that_a_build_may_replace() -> None:
    (base,) = (each for each in _arguments("ARG") if each.startswith("BASE="))
    assert re.fullmatch(r"BASE=[\w./-]+:\d+\.\d+\.\d+-[\w.-]+", base)
    stages = {each.split()[-1] for each in _arguments("FROM")}
    assert {each.split()[0] for each in _arguments("FROM")} - stages == {"${BASE}"}


def test_the_program_runs_without_root() -> None:
    last = max(at for at, line in enumerate(INSTRUCTIONS) if line.startswith(("RUN", "COPY")))
    users = {at: line.split()[1] for at, line in enumerate(INSTRUCTIONS) if line.startswith("USER ")}
    assert users[max(users)] == "10001:10001"
    assert max(users) > last


def test_a_build_without_a_target_has_no_qemu() -> None:
    assert _arguments("FROM")[-1] == "slim AS service"
    (tools,) = (each for each in _arguments("RUN") if "qemu" in each)
    assert INSTRUCTIONS.index(f"RUN {tools}") > INSTRUCTIONS.index("FROM slim AS volumes")


def test_dependencies_come_from_the_lock_with_their_hashes() -> None:
    (install,) = (each for each in _arguments("RUN") if "requirements.txt" in each)
    for option in ("--frozen", "--no-dev", "--no-emit-project", "--require-hashes", "--no-deps"):
        assert option in install


def test_what_is_copied_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        source
        for each in _arguments("COPY")
        if not each.startswith("--from")
        for source in [word for word in each.split() if not word.startswith("--")][:-1]
    }
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_label_states_the_version_of_the_package() -> None:
    assert f"VERSION={_version()}" in _arguments("ARG")


def test_the_cluster_runs_the_version_of_the_package() -> None:
    assert f"newTag: {_version()}\n" in (ROOT / "k8s" / "base" / "kustomization.yaml").read_text()


def _wheel(folder: Path, **environment: str) -> Path:
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "uv is needed to build the wheel: run the tests by make test, or install uv"
    command = [uv, "build", "--quiet", "--wheel", "--out-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _held(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("app/")}


@pytest.mark.slow
def test_the_wheel_holds_the_whole_program(tmp_path: Path) -> None:
    sources = (
        path for path in (ROOT / "app").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    wheel = _wheel(tmp_path)
    assert _held(wheel) == {str(path.relative_to(ROOT)) for path in sources}
    assert "app/store/liboutboard.so" in _held(wheel)
    assert wheel.name.endswith(f"_{platform.machine()}.whl")


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"], ids=["none", "one that fails"])
def test_without_a_compiler_the_wheel_is_for_every_machine(compiler: str, tmp_path: Path) -> None:
    wheel = _wheel(tmp_path, CC=compiler)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "app/store/liboutboard.so" not in _held(wheel)
