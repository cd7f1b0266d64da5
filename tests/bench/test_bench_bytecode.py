"""The product is measured with its byte code, as every installation has it."""

import importlib.util
import os
from pathlib import Path

import pytest

import app
from bench.bytecode import compile_product


def test_what_is_measured_starts_from_byte_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    compile_product()
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    for source in Path(app.__path__[0]).rglob("*.py"):
        assert Path(importlib.util.cache_from_source(str(source))).exists()
