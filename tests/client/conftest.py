"""A service to talk to."""

from tests.services.running import running

__all__ = ["running"]
