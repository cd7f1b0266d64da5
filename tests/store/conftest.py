"""Fixtures of the store's tests."""

from pathlib import Path

import pytest

from tests.store.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "store")
