"""What a source host says of itself reaches the operator's terminal as text, and as nothing else."""

import pytest

from app.cli.output import Column, Format, View, harmless, show_list, show_one
from app.contract.resources.base import Resource


class Told(Resource):
    """Something with a text of a source host."""

    detail: str


VIEW: View[Told] = View(columns=(Column("DETAIL", lambda told: told.detail),), name=lambda told: told.detail)
HOSTILE = "ok\x1b]52;c;cm0gLXJm\x07\nserver  CONTINUOUS\x9b2J\u202e"


def test_what_cannot_be_printed_is_escaped() -> None:
    assert harmless("Zürich /dev/sda 日本") == "Zürich /dev/sda 日本"
    assert harmless(HOSTILE) == r"ok\x1b]52;c;cm0gLXJm\x07\nserver  CONTINUOUS\x9b2J\u202e"


@pytest.mark.parametrize("form", [Format.TABLE, Format.WIDE])
def test_a_table_shows_one_line_for_one_resource(form: Format, capsys: pytest.CaptureFixture[str]) -> None:
    """A host could have written the lines of other servers, or to the operator's clipboard."""
    show_list([Told(detail=HOSTILE)], VIEW, form)
    show_one(Told(detail=HOSTILE), VIEW, form)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
