"""What a kind of target is: its settings, and the driver that comes of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from app.contract.resources.base import Input
from app.contract.words import InstancePurpose, TargetMakes
from app.kit.clock import Clock
from app.kit.settings import LaunchingSettings

if TYPE_CHECKING:
    from app.launch.target import Target


def _absolute(value: str) -> str:
    path = Path(value)
    if not path.is_absolute() or ".." in path.parts or "\0" in value or str(path) != value:
        raise ValueError("write the whole path, without '..' and without a '/' at its end")
    return value


AbsolutePath = Annotated[str, Field(min_length=2, max_length=1000), AfterValidator(_absolute)]
"""A path on the node."""
NodeName = Annotated[str, Field(min_length=1, max_length=100)]


class TargetSettings(Input):
    """What targets of every kind have: the node (`WORK.NODE`) on which alone they work, null for any."""

    node: NodeName | None = None


@dataclass(frozen=True)
class Opening:
    """What a driver is made with besides its settings."""

    launch: LaunchingSettings
    clock: Clock
    purpose: InstancePurpose
    folder: Path
    """The target's own on the node."""
    is_publishing: bool = False
    """Whether it is to publish, apart from what it keeps up to date."""


@dataclass(frozen=True)
class TargetKind:
    """A kind of target. `open` imports the driver when it is called: role api never does."""

    name: str
    makes: TargetMakes
    settings: type[TargetSettings]
    open: Callable[[Any, Opening], "Target"]
    """Takes settings of the type `settings`."""
    publishes: bool = False
    """Whether it can be published to, whatever it makes."""
