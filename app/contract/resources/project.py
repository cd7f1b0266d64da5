"""Projects."""

from typing import Annotated

from pydantic import Field, StringConstraints

from app.contract.resources.base import Input, Resource, UtcTime
from app.contract.resources.pace import Pace, PaceInput
from app.contract.words import DedupScope

ProjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
"""Lower-case letters, digits, dot, underscore and hyphen; 1 to 63 characters; unique."""


class Project(Resource):
    """The boundary that servers and tokens belong to."""

    id: str
    name: str
    description: str
    dedup_scope: DedupScope
    pace: Pace | None = None
    created_at: UtcTime
    version: int


class ProjectCreate(Input):
    """A project to be created."""

    name: ProjectName
    description: Annotated[str, Field(max_length=1000)] = ""
    dedup_scope: DedupScope = DedupScope.PROJECT


class ProjectUpdate(Input):
    """What to change of a project; what is absent stays.

    `pace` is set as a whole; null takes it away. The dedup scope is fixed at creation: chunks that are
    already stored were shared by it.
    """

    name: ProjectName | None = None
    description: Annotated[str, Field(max_length=1000)] | None = None
    pace: PaceInput | None = None
