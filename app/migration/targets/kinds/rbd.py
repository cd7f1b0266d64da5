"""`rbd`: images in a pool of a Ceph cluster, kept up to date, or published."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints

from app.contract.words import TargetMakes
from app.migration.targets.kind import AbsolutePath, Opening, TargetKind, TargetSettings

if TYPE_CHECKING:
    from app.launch.target import Target

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class RbdTargetSettings(TargetSettings):
    """The pool, and namespace in it; what its images' names begin with; how the cluster is reached.

    `keep` is how many snapshots of the newest checkpoints stay.
    """

    pool: Name
    namespace: Name | None = None
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")] = "go2cloud-"
    conf: AbsolutePath = "/etc/ceph/ceph.conf"
    client: Name = "admin"
    keep: Annotated[int, Field(ge=1, le=100)] = 3


def _open(settings: RbdTargetSettings, opening: Opening) -> "Target":
    from app.launch.rbd.driver import RbdTarget
    from app.launch.rbd.settings import RbdSettings

    made = RbdSettings(
        settings.pool,
        opening.folder.name,
        settings.namespace,
        settings.prefix,
        Path(settings.conf),
        settings.client,
        settings.keep,
    )
    return RbdTarget(made, opening.is_publishing, opening.clock)


KIND = TargetKind("rbd", TargetMakes.DEVICES, RbdTargetSettings, _open, publishes=True)
