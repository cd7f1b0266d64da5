"""Every command says what it takes: its help is text for a terminal, in which brackets are marks."""

from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_group

from app.cli.nouns import NOUNS
from tests.cli.conftest import CommandLine


def commands(group: TyperGroup, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that lead to each command."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


@pytest.mark.parametrize("noun", NOUNS)
def test_the_help_of_every_command_is_printed(stranger: CommandLine, noun: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    NOUNS[noun](app)
    found = list(commands(get_group(app)))
    assert found
    for words in found:
        assert f"Usage: go2cloud {' '.join(words)}" in stranger(*words, "--help")
