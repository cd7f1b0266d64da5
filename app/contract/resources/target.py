"""Targets: places where checkpoints become machines, images or devices."""

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from app.contract.resources.base import Input, Resource, UtcTime
from app.contract.words import FindingSeverity, ImageFormat, TargetMakes

TargetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
"""Lower-case letters, digits, dot, underscore and hyphen; 1 to 63 characters; unique in its project."""
KindName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
TargetSettingsJson = Annotated[dict[str, JsonValue], Field(max_length=100)]


class Target(Resource):
    """A driver with its settings; what settings a kind has stands in docs/targets.md.

    The target `qemu` is there by itself (`builtIn`), belongs to no project and cannot be changed.
    """

    id: str
    project_id: str | None = None
    name: str
    kind: str
    makes: TargetMakes
    settings: dict[str, JsonValue]
    built_in: bool = False
    created_at: UtcTime | None = None
    updated_at: UtcTime | None = None
    version: int


class TargetCreate(Input):
    """A target to be created in a project, named by its id or name."""

    name: TargetName
    kind: KindName
    settings: TargetSettingsJson = Field(default_factory=dict)
    project: Annotated[str, Field(min_length=1, max_length=64)] = "default"


class TargetUpdate(Input):
    """What to change of a target; what is absent stays. `settings` are set as a whole."""

    name: TargetName | None = None
    settings: TargetSettingsJson | None = None


class TargetValidation(Input):
    """Where to look whether a target works: a node's name; by itself the target's own node, or any."""

    node: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    project: Annotated[str, Field(min_length=1, max_length=64)] = "default"
    """To which the job belongs, where the target belongs to none."""


class TargetFinding(Resource):
    """Something about a target that an operator should know before work begins."""

    severity: FindingSeverity
    code: str
    text: str
    remedy: str | None = None


class FollowOrder(Input):
    """Which target is to be kept up to date with a server's checkpoints, by id or name."""

    target: Annotated[str, Field(min_length=1, max_length=64)]


class Follow(Resource):
    """A target that is brought to each new checkpoint of a server.

    `checkpoint_number` is what it holds, null before the first one; `behind` counts the checkpoints since.
    """

    server_id: str
    target_id: str
    target_name: str
    checkpoint_id: str | None = None
    checkpoint_number: int | None = None
    behind: int = 0
    job_id: str | None = None
    created_at: UtcTime
    advanced_at: UtcTime | None = None


class PublishOrder(Input):
    """What to publish, and where: a checkpoint by id, number or `latest`, else the newest that is not fuzzy.

    `formats` take the place of the target's.
    """

    target: Annotated[str, Field(min_length=1, max_length=64)]
    checkpoint: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    formats: Annotated[tuple[ImageFormat, ...], Field(min_length=1, max_length=4)] | None = None
