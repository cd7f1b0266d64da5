"""What one kind of configuration makes of a card."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.launch.conversion.changes import Privacy

MADE = "# Made by go2cloud: other addresses were asked for.\n"


@dataclass(frozen=True)
class Outcome:
    """The files that configure the card, as they have to be; None: the file goes away.

    Empty where this kind of configuration does not have the card. `refusal`: why it cannot be done there.
    """

    files: Mapping[str, str | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    privacy: Privacy = Privacy.PUBLIC
    """Of the files that are made."""


def is_part_of(name: str, whole: str, path: str) -> Outcome:
    """A card of a bond or of a bridge has no addresses of its own."""
    return Outcome(
        refusal=f"the network card {name} is a part of {whole} ({path}) and can have no addresses: "
        f"give them to {whole}"
    )


def stays(path: str, what: Iterable[str]) -> tuple[str, ...]:
    """A warning about what may still speak of the source's network; none where there is nothing."""
    found = "; ".join(" ".join(each.split()) for each in what)
    return (f"{path}: this stays as the source has it, look whether it fits: {found}",) if found else ()
