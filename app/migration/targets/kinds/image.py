"""`image`: files that other platforms import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from app.contract.words import ImageFormat, TargetMakes
from app.migration.targets.kind import AbsolutePath, Opening, TargetKind, TargetSettings

if TYPE_CHECKING:
    from app.launch.target import Target


class ImageTargetSettings(TargetSettings):
    """The folder of the images, local or mounted, and what each disk is written as."""

    folder: AbsolutePath
    formats: Annotated[tuple[ImageFormat, ...], Field(min_length=1, max_length=4)] = (ImageFormat.QCOW2,)


def _open(settings: ImageTargetSettings, opening: Opening) -> "Target":
    from app.launch.image.driver import ImageSettings, ImageTarget

    made = ImageSettings(Path(settings.folder), opening.folder, settings.formats)
    return ImageTarget(made, opening.clock)


KIND = TargetKind("image", TargetMakes.IMAGES, ImageTargetSettings, _open)
