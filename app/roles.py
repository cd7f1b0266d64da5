"""The roles of a process: which tiers it serves. Imports nothing of ours."""

from enum import StrEnum


class Role(StrEnum):
    """A tier of the service."""

    PLATFORM = "platform"
    API = "api"
    AGENT = "agent"


ALL = "all"
NAMES = (*(role.value for role in Role), ALL)
PORTS = {Role.PLATFORM: 8088, Role.API: 8004, Role.AGENT: 8005}
PORT_OF_ALL = 8088


def parse_roles(text: str) -> frozenset[Role]:
    """The tiers that a `--role` names; `all` stands for the three in one process.

    Raises ValueError, with the names that are allowed.
    """
    if text == ALL:
        return frozenset(Role)
    try:
        return frozenset((Role(text),))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a role: use one of {', '.join(NAMES)}") from error


def name_of(roles: frozenset[Role]) -> str:
    """How these tiers together are called."""
    return ALL if len(roles) > 1 else next(iter(roles)).value


def default_port(roles: frozenset[Role]) -> int:
    """The port where no HTTP_LISTEN_PORT is set."""
    return PORT_OF_ALL if len(roles) > 1 else PORTS[next(iter(roles))]
