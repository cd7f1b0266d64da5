"""The targets that cutovers can go to, by name."""

from app.migration.cutover.errors import TargetNotFound
from app.migration.launch.tests import TARGET

KNOWN = (TARGET,)


def find_target(name: str | None) -> str:
    """The target of this name; by itself the node's own machines. Raises TargetNotFound."""
    wanted = name or TARGET
    if wanted not in KNOWN:
        raise TargetNotFound(f"there is no target {wanted!r}", remedy=f"take one of: {', '.join(KNOWN)}")
    return wanted
