"""A real service, and the real agent's code on disks of the test."""

from tests.services.running import running

__all__ = ["running"]
