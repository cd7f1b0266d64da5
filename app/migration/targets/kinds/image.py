"""`image`: files that other platforms import, in a folder or a bucket."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.contract.words import ImageFormat, TargetMakes
from app.migration.targets.kind import AbsolutePath, Opening, TargetKind, TargetSettings

if TYPE_CHECKING:
    from app.launch.image.place import ImagePlace
    from app.launch.target import Target

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
"""By the rules of AWS, which other services keep to or are laxer than."""
Prefix = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$", max_length=500
    ),
]
_OF_BUCKETS: Final = frozenset({"endpoint", "region", "prefix", "credentials"})


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    plain = f"{parts.scheme}://{parts.netloc}"
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in value
        or value.rstrip("/") != plain
        or not _has_usable_port(parts)
    ):
        raise ValueError("write http(s)://host or http(s)://host:port, without a path and without keys")
    return plain


def _has_usable_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


Endpoint = Annotated[str, Field(max_length=500), AfterValidator(_endpoint)]


class ImageTargetSettings(TargetSettings):
    """The folder of the images, local or mounted, or a bucket; and what each disk is written as.

    `credentials` names the keys to the bucket in the node's file `LAUNCH.S3_CREDENTIALS`.
    """

    folder: AbsolutePath | None = None
    bucket: BucketName | None = None
    endpoint: Endpoint | None = None
    region: Name = "us-east-1"
    prefix: Prefix = ""
    credentials: Name = "default"
    formats: Annotated[tuple[ImageFormat, ...], Field(min_length=1, max_length=4)] = (ImageFormat.QCOW2,)

    @model_validator(mode="after")
    def _one(self) -> "ImageTargetSettings":
        if (self.folder is None) == (self.bucket is None):
            raise ValueError("name a folder or a bucket, one of them")
        meant = sorted(_OF_BUCKETS & self.model_fields_set)
        if self.bucket is None and meant:
            raise ValueError(f"{', '.join(meant)} belong to a bucket: name it")
        return self


def _open(settings: ImageTargetSettings, opening: Opening) -> "Target":
    from app.launch.image.driver import ImageSettings, ImageTarget

    made = ImageSettings(_place(settings, opening), opening.folder, settings.formats)
    return ImageTarget(made, opening.clock)


def _place(settings: ImageTargetSettings, opening: Opening) -> "ImagePlace":
    if settings.folder is not None:
        from app.launch.image.folder import FolderPlace

        return FolderPlace(Path(settings.folder))
    from app.launch.bucket.settings import BucketSettings
    from app.launch.image.bucket import BucketPlace

    assert settings.bucket is not None, "the settings have one of them"
    bucket = BucketSettings(
        settings.bucket,
        settings.prefix,
        settings.endpoint,
        settings.region,
        settings.credentials,
        opening.launch.s3_credentials,
    )
    return BucketPlace(bucket, opening.folder / "images")


KIND = TargetKind("image", TargetMakes.IMAGES, ImageTargetSettings, _open)
