"""Where settings come from: the environment, a folder of secret files, a YAML file.

Each source becomes a `Layer` of text under upper-case key paths, ``("STORE", "PATH")``, that knows how to
name the place of a key in a message. An unknown key is refused here, by its name, with the nearest known
key. But in the secrets folder it is a warning, unless it looks like a slip: the folder is often one Secret
of a cluster for pods of two versions, and a key that only the newer one knows must not keep pods of the older
one from starting. A password that is thereby missed is asked for by what it opens.

Every YAML scalar is read as text, so that the password 0123456 is not the octal number 42798.
"""

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.kit.settingserror import SettingsError

_log = logging.getLogger("go2cloud.settings")
"""Settings are read before logging is set up with them; until then a warning goes to stderr."""

PREFIX = "G2C_"
NESTING = "__"
KeyPath: TypeAlias = tuple[str, ...]
Texts: TypeAlias = dict[KeyPath, str]

SLIP = 0.9
"""How alike, by `difflib`, an unknown key and a known one are where one was meant for the other."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The values of one source, and how to name where one of them stands."""

    texts: Texts
    place_of: Callable[[KeyPath], str]

    def nested(self) -> dict[str, Any]:
        """The texts as mappings within mappings."""
        root: dict[str, Any] = {}
        for path, text in self.texts.items():
            group = root
            for part in path[:-1]:
                group = group.setdefault(part, {})
            group[path[-1]] = text
        return root


class LayerSource(PydanticBaseSettingsSource):
    """A layer as pydantic-settings takes it."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        """Feed `layer` to `settings_cls`."""
        super().__init__(settings_cls)
        self._values = layer.nested()

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one field, its key, and that it needs no further decoding."""
        key = field.alias or field_name
        return self._values.get(key), key, False

    def __call__(self) -> dict[str, Any]:
        """All values of the layer."""
        return self._values


class Vocabulary:
    """The known keys of a settings class."""

    def __init__(self, settings_cls: type[BaseModel]) -> None:
        """Collect the key paths of `settings_cls` and of its sections."""
        self.paths = frozenset(_paths(settings_cls))
        self.sections = frozenset(path[0] for path in self.paths if len(path) > 1)

    def check(self, path: KeyPath, written: str, place: str, spell: Callable[[KeyPath], str]) -> None:
        """Refuse a key that is not known; `written` is how it stands there, `spell` writes a known one so."""
        if path in self.paths:
            return
        if len(path) == 1 and path[0] in self.sections:
            some = spell(min(known for known in self.paths if known[0] == path[0]))
            raise SettingsError(
                f"{written} ({place}) is a section, not a value: set its keys, such as {some}"
            )
        raise SettingsError(f"{written} ({place}) is not a known key: {self._advice(path, spell)}")

    def is_foreign(self, path: KeyPath) -> bool:
        """Whether a key is not known, is no section, and looks like no known one."""
        is_section = len(path) == 1 and path[0] in self.sections
        return path not in self.paths and not is_section and self._nearest(path, SLIP) is None

    def _advice(self, path: KeyPath, spell: Callable[[KeyPath], str]) -> str:
        near = self._nearest(path, 0.6)
        return f"did you mean {spell(near)}?" if near else "remove it (config/config.yaml has all keys)"

    def _nearest(self, path: KeyPath, likeness: float) -> KeyPath | None:
        known = {".".join(each): each for each in self.paths}
        near = difflib.get_close_matches(".".join(path).upper(), known, n=1, cutoff=likeness)
        return known[near[0]] if near else None


def environment_layer(environ: Mapping[str, str], vocabulary: Vocabulary) -> Layer:
    """The variables with the prefix ``G2C_``; a section and its key are joined by two underscores."""
    texts: Texts = {}
    for name, value in environ.items():
        if name.startswith(PREFIX):
            path = _path_of(name)
            vocabulary.check(path, name, "environment", _variable)
            texts[path] = value
    return Layer(texts, lambda path: f"environment variable {_variable(path)}")


def secrets_layer(folder: Path, vocabulary: Vocabulary) -> Layer:
    """One file a key, named like the environment variable; a trailing line end is not part of the value.

    A key of another version is left alone, with a warning.
    """
    texts: Texts = {}
    for file in _secret_files(folder):
        path = _path_of(file.name)
        if file.name.startswith(PREFIX) and vocabulary.is_foreign(path):
            _log.warning("%s is not a key of this version: it is not read", file)
        elif file.name.startswith(PREFIX):
            vocabulary.check(path, file.name, str(folder), _variable)
            texts[path] = _text_of(file).rstrip("\r\n")
        elif path in vocabulary.paths:
            raise SettingsError(f"{file} would be ignored: rename it to {PREFIX}{file.name}")
    return Layer(texts, lambda path: f"secret file {folder / _variable(path)}")


def yaml_layer(file: Path, vocabulary: Vocabulary) -> Layer:
    """The keys of a YAML file, sections as mappings."""
    texts: Texts = {}
    for path, value in _flatten(_parse(file), ()):
        vocabulary.check(path, ".".join(path), str(file), ".".join)
        if not isinstance(value, str):
            raise SettingsError(f"{'.'.join(path)} ({file}) is a list or a mapping: write one value")
        texts[path] = value
    return Layer(texts, lambda _path: str(file))


class _TextLoader(yaml.BaseLoader):
    """Reads every scalar as text and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _value in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def _parse(file: Path) -> dict[str, Any]:
    try:
        content = yaml.load(_text_of(file), _TextLoader)  # noqa: S506  (a BaseLoader makes text and nothing else)
    except yaml.YAMLError as error:
        sentence = " ".join(str(error).split())
        raise SettingsError(f"{file} is not valid YAML: {sentence}; correct it there") from error
    if content in (None, ""):
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file} does not hold a mapping: write lines like KEY: value")
    return content


def _flatten(values: Mapping[str, Any], above: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and not above:
            yield from _flatten(value, (key,))
        elif value != "" or above:
            yield (*above, key), value


def _secret_files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.is_file())
    except OSError as error:
        raise SettingsError(f"cannot list the secrets folder {folder}: {error.strerror}") from error


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot read {file}: {error.strerror}; correct its path or permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8 text: save it as UTF-8") from error


def _path_of(name: str) -> KeyPath:
    return tuple(name.removeprefix(PREFIX).split(NESTING))


def _variable(path: KeyPath) -> str:
    return PREFIX + NESTING.join(path)


def _paths(model: type[BaseModel], above: KeyPath = ()) -> Iterator[KeyPath]:
    for name, field in model.model_fields.items():
        path = (*above, field.alias or name.upper())
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _paths(field.annotation, path)
        else:
            yield path
