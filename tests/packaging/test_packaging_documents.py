"""The documents say what is there: links lead somewhere, error codes and make targets exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: str(path.relative_to(ROOT))
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_that_are_there(name: str) -> None:
    document = ROOT / name
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_every_code_that_troubleshooting_names_is_in_the_program() -> None:
    rows = [
        line for line in (ROOT / "docs" / "operations.md").read_text().splitlines() if line.startswith("| `")
    ]
    codes = {code for line in rows for code in re.findall(r"`([A-Z_]+)`", line.split("|")[1])}
    program = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    assert codes
    assert {code for code in codes if f'"{code}"' not in program} == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_that_is_named_exists(name: str) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", (ROOT / name).read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets
