"""What can be refused about reports."""

from app.kit.errors import Unavailable


class SigningKeyUnusable(Unavailable):
    """The file of the signing key cannot be read, or holds no such key."""

    code = "SIGNING_KEY_UNUSABLE"
