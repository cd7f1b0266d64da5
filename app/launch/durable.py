"""Files and folders that are on stable storage when a call returns."""

import json
import os
from pathlib import Path

from app.kit.errors import Json


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_text(document: Json) -> str:
    """A document as files have it."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def write_json(path: Path, document: Json) -> None:
    """Give `path` this content, completely or not at all."""
    fresh = path.with_name(path.name + ".partial")
    fresh.write_text(json_text(document), encoding="utf-8")
    sync(fresh)
    fresh.replace(path)
    sync(path.parent)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing; harmless when it is gone."""
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
