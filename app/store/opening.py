"""Which backend a store has, by its settings."""

from app.kit.settings import StoreSettings
from app.store.backend import OpenBackend
from app.store.folder import FolderBackend


def open_backend(settings: StoreSettings) -> OpenBackend:
    """Open the store: the bucket where one is named, else the folder. Raises StoreError."""
    if settings.s3_bucket is None:
        return FolderBackend(settings.path, int(settings.reserve_bytes))
    from app.store.s3 import S3Backend  # the client is a large library
    from app.store.s3place import S3Place

    secret = settings.s3_secret_key
    place = S3Place(
        settings.s3_bucket,
        settings.s3_prefix,
        settings.s3_endpoint,
        settings.s3_region,
        settings.s3_access_key,
        secret.get_secret_value() if secret else None,
    )
    return S3Backend(place)
