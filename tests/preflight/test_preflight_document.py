"""docs/operations.md names every finding."""

import re
from pathlib import Path

from app.migration.preflight.verdict import OwnCode
from app.wire.preflight import Code

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_every_finding_is_explained_and_every_explained_one_exists() -> None:
    _, _, table = TEXT.partition("| finding | what it means | what to do |\n")
    rows = table.partition("\n\n")[0].splitlines()[1:]
    explained = [re.split(r" \| ", row.strip("| "))[0].strip("`") for row in rows]
    assert sorted(explained) == sorted([*Code, *OwnCode])
    assert all(len(row.strip("| ").split(" | ")) == 3 for row in rows)
