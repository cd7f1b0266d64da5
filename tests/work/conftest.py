"""Fixtures of the job engine's tests: a database on each engine, and workers on it that the test ends."""

from tests.work.engine import engine

__all__ = ["engine"]
