"""Fixtures for all tests: real services, started once a run, when the first test asks for one."""

pytest_plugins = [
    "tests.services.mariadb_server",
    "tests.services.redis_server",
    "tests.services.databases",
]
