"""Files of sections with `Key=value`, such as systemd's and NetworkManager's, changed line by line."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A section: its name, its head line, and its lines with their ends; the first one may have no head."""

    name: str
    head: str
    lines: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As it stands in the file."""
        return self.head + "".join(self.lines)

    def values(self, *keys: str) -> list[str]:
        """What it says of any of these keys, in the order of the lines."""
        return [value_of(line) for line in self.lines if key_of(line) in keys]

    def without(self, drops: Callable[[str], bool]) -> "Section":
        """The same without the lines of keys of which `drops` says so."""
        return Section(self.name, self.head, tuple(line for line in self.lines if not drops(key_of(line))))

    def begun_with(self, lines: Iterable[str]) -> "Section":
        """The same with other lines (without ends) before its own."""
        head = self.head if self.head.endswith("\n") else self.head + "\n"
        return Section(self.name, head, (*(f"{line}\n" for line in lines), *self.lines))


def key_of(line: str) -> str:
    """The key of a line; empty for comments and blank ones."""
    text = line.strip()
    return "" if text.startswith(("#", ";")) else text.partition("=")[0].strip()


def value_of(line: str) -> str:
    """The value of a line; a backslash at the end of a line joins it with the next."""
    return line.replace("\\\n", " ").partition("=")[2].strip()


def parsed(text: str, *, joined: bool = False) -> list[Section]:
    """The sections of a file; their texts, put together, are the file. `joined`: a backslash joins lines."""
    found = [Section("", "")]
    for line in _lines(text, joined=joined):
        bare = line.strip()
        if bare.startswith("[") and bare.endswith("]"):
            found.append(Section(bare[1:-1], line))
        else:
            found[-1] = Section(found[-1].name, found[-1].head, (*found[-1].lines, line))
    return found


def _lines(text: str, *, joined: bool) -> Iterator[str]:
    held = ""
    for line in text.splitlines(keepends=True):
        held += line
        if not (joined and line.rstrip("\n").endswith("\\")):
            yield held
            held = ""
    if held:
        yield held


def named(sections: Iterable[Section], *names: str) -> list[Section]:
    """The sections of these names."""
    return [section for section in sections if section.name in names]


def put(
    sections: Iterable[Section], name: str, lines: list[str], drops: Callable[[str], bool]
) -> list[Section]:
    """The file with these lines first in the first section of the name, which is made where there is none.

    Lines of keys of which `drops` says so go away in all sections of the name. Repeating changes nothing.
    """
    found, is_put = [], False
    for section in sections:
        if section.name == name:
            section = section.without(drops)
            if not is_put:
                section = section.begun_with(lines)
                is_put = True
        found.append(section)
    if not is_put and lines:
        found.append(Section(name, f"\n[{name}]\n", tuple(f"{line}\n" for line in lines)))
    return found


def text_of(sections: Iterable[Section]) -> str:
    """The file."""
    text = ""
    for section in sections:
        text += ("\n" if text and not text.endswith("\n") else "") + section.text
    return text
