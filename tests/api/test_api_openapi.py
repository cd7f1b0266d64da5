"""The committed document is the one that the code makes."""

import json
from pathlib import Path

from app.kit.settings import load_settings
from app.main import create_app
from app.roles import Role

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_committed_document_is_the_codes(tmp_path: Path) -> None:
    settings = load_settings({"HOME": str(tmp_path)})
    made = create_app(settings, frozenset({Role.API})).openapi()
    assert json.loads(DOCUMENT.read_text("utf-8")) == made, "run: python -m app openapi > docs/openapi.json"


def test_every_operation_says_how_it_fails(tmp_path: Path) -> None:
    made = create_app(load_settings({"HOME": str(tmp_path)}), frozenset({Role.API})).openapi()
    operations = [operation for item in made["paths"].values() for operation in item.values()]
    assert all(
        set(operation["responses"]["default"]["content"]) == {"application/problem+json"}
        for operation in operations
    )
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_a_process_of_all_roles_describes_the_same_api(tmp_path: Path) -> None:
    settings = load_settings({"HOME": str(tmp_path)})
    one, every = (create_app(settings, roles).openapi() for roles in (frozenset({Role.API}), frozenset(Role)))
    assert one == every
