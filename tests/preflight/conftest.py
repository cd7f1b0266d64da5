"""A real service that agents measure the way to."""

from collections.abc import Iterator

import pytest

from tests.gateway.service import Gateway, prepare, serving, settings_in


@pytest.fixture(scope="session")
def measured_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The running service."""
    settings = settings_in(tmp_path_factory.mktemp("preflight"))
    secrets = prepare(settings)
    with serving(settings, secrets) as running:
        yield running
